//! What segments cost: not a frame's cost, because a segment is made and imported once.

use std::fmt::Write;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use xmem_tests::roles::monotonic_ns;

use crate::answer::{Answer, Question, is_stand_in};
use crate::gpu::{Gpu, MIB, READ, READ_WRITE, name, ok};
use crate::link::{Link, Message, Peer};

/// Times of steps, in ns.
#[derive(Default)]
struct Times(Vec<(&'static str, Vec<u64>)>);

impl Times {
    fn time<T>(&mut self, step: &'static str, run: impl FnOnce() -> Answer<T>) -> Answer<T> {
        let begun = monotonic_ns();
        let result = run()?;
        let took = monotonic_ns() - begun;
        match self.0.iter_mut().find(|(known, _)| *known == step) {
            Some((_, times)) => times.push(took),
            None => self.0.push((step, vec![took])),
        }
        Ok(result)
    }

    /// The medians, and the longest.
    fn table(&self) -> String {
        if is_stand_in() {
            return "(not timed)".into();
        }
        let mut text = "us:".to_owned();
        for (step, times) in &self.0 {
            let mut times = times.clone();
            times.sort_unstable();
            let at = |index: usize| times[index] as f64 / 1e3;
            let _ = write!(
                text,
                " {step} {:.0} (max {:.0})",
                at(times.len() / 2),
                at(times.len() - 1)
            );
        }
        text
    }
}

pub fn ask(question: &Question) -> Answer<()> {
    let gpu = Gpu::new()?;
    let peer = Peer::start("costs", "")?;
    let order = |word: &str, size: u64, fd: Option<&OwnedFd>| {
        let mut message = Message::text(word);
        message.numbers = vec![size];
        peer.ask(&message, fd.map(AsFd::as_fd))
    };
    for mib in [2, 16, 256] {
        let size = gpu.round(mib * MIB);
        let ask = || {
            let mut times = Times::default();
            order("forget", size, None)?;
            for _ in 0..20 {
                one(&gpu, &mut times, size, |fd| order("once", size, Some(fd)))?;
            }
            let importer = order("times", size, None)?;
            Ok(format!(
                "p50 of the owner in {}; of the importer in {importer}",
                times.table()
            ))
        };
        question.line(&format!("a segment of {mib} MiB"), ask());
    }
    let size = gpu.round(2 * MIB);
    let thousand = || {
        order("forget", size, None)?;
        let before = order("state", size, None)?;
        for _ in 0..1000 {
            let handle = gpu.create(size)?;
            let fd = gpu.export(handle)?;
            ok("cuMemRelease", &[handle])?;
            order("keep", size, Some(&fd))?;
        }
        let held = order("state", size, None)?;
        let times = order("times", size, None)?;
        order("drop", size, None)?;
        let after = order("state", size, None)?;
        Ok(format!(
            "before: {before}; held: {held}; after: {after}; {times}"
        ))
    };
    question.line("1,000 segments of 2 MiB in a client", thousand());
    Ok(())
}

/// Makes a segment, gives it to the importer, and frees it.
fn one(
    gpu: &Gpu,
    times: &mut Times,
    size: u64,
    give: impl FnOnce(&OwnedFd) -> Answer,
) -> Answer<()> {
    let handle = times.time("create", || gpu.create(size))?;
    let fd = times.time("export", || gpu.export(handle))?;
    let address = times.time("map", || gpu.map(handle, size, READ_WRITE))?;
    times.time("clear", || gpu.set(address, size, 0))?;
    give(&fd)?;
    times.time("unmap", || gpu.unmap(address, size))?;
    times.time("release", || ok("cuMemRelease", &[handle]))
}

pub fn import(link: &Link, _: &str) -> Answer<()> {
    let gpu = Gpu::new()?;
    let (mut times, mut held) = (Times::default(), Vec::new());
    loop {
        let (message, fd) = link.receive_within(Duration::from_secs(60))?;
        let size = message.number()?;
        let mut answer = String::new();
        match (message.text.as_str(), fd) {
            ("once" | "keep", Some(fd)) => {
                let handle = times.time("import", || gpu.import(&fd))?;
                let address = times.time("map", || gpu.map(handle, size, READ))?;
                if message.text == "keep" {
                    held.push((handle, address));
                } else {
                    times.time("unmap", || gpu.unmap(address, size))?;
                    times.time("release", || ok("cuMemRelease", &[handle]))?;
                }
            }
            ("forget", _) => times = Times::default(),
            ("times", _) => answer = times.table(),
            ("drop", _) => {
                for (handle, address) in held.drain(..) {
                    gpu.unmap(address, size)?;
                    ok("cuMemRelease", &[handle])?;
                }
            }
            _ => answer = state(&gpu)?,
        }
        link.say(answer)?;
    }
}

/// The address space and the descriptors of this process.
fn state(gpu: &Gpu) -> Answer {
    let status = fs::read_to_string("/proc/self/status")?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let size = size.unwrap_or("?").split_whitespace().next().unwrap_or("?");
    let fds = fs::read_dir("/proc/self/fd")?.count();
    let context = name(gpu.synchronize()?);
    Ok(format!(
        "{size} kB of addresses, {fds} descriptors, context {context}"
    ))
}
