//! Runs a pipeline and notes when buffers pass a pad, to compare two processes.
//!
//! ```text
//! xmem-test-stamps run FILE SECONDS ELEMENT:PAD DESCRIPTION...
//! xmem-test-stamps compare SENT RECEIVED
//! ```
//!
//! `run` plays the pipeline until it ends or the time is over, and writes to FILE: one line with the
//! time of the CPU in µs, then one line for each buffer, with `CLOCK_MONOTONIC` in ns. An error of the
//! pipeline is printed and fails the program.
//!
//! `compare` reads two such files. Buffers are matched by time: a buffer is received after the last one
//! that was sent before it. So the pipeline has to be paced, at an interval longer than the latency.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gst::prelude::*;
use rustix::time::{ClockId, clock_gettime};
use xmem_tests::roles::monotonic_ns;
use xmem_tests::samples::percentile_us;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The buffers at the beginning that are not compared.
const WARM_UP: usize = 30;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["run", file, seconds, pad, description @ ..] => {
            run(file, seconds, pad, &description.join(" "))
        }
        ["compare", sent, received] => compare(sent, received),
        _ => Err("see the documentation of this program for its arguments".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(file: &str, seconds: &str, pad: &str, description: &str) -> Result<()> {
    gst::init()?;
    let pipeline = gst::parse::launch(description)?;
    let pipeline = pipeline
        .downcast::<gst::Pipeline>()
        .map_err(|_| "one element alone is no pipeline")?;
    let (element, pad) = pad.split_once(':').ok_or("not ELEMENT:PAD")?;
    let element = pipeline.by_name(element).ok_or("no such element")?;
    let pad = element.static_pad(pad).ok_or("no such pad")?;
    let stamps = Arc::new(Mutex::new(Vec::with_capacity(1 << 16)));
    let noted = stamps.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let now = monotonic_ns();
        noted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(now);
        gst::PadProbeReturn::Ok
    });
    let ended = play(&pipeline, Duration::from_secs(seconds.parse()?));
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    pipeline.set_state(gst::State::Null)?;
    let mut text = format!("{}\n", cpu.tv_sec * 1_000_000 + cpu.tv_nsec / 1000);
    for stamp in stamps.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        writeln!(text, "{stamp}")?;
    }
    fs::write(file, text)?;
    ended
}

/// Plays until the stream ends or the time is over.
fn play(pipeline: &gst::Pipeline, time: Duration) -> Result<()> {
    use gst::MessageView;
    let bus = pipeline.bus().ok_or("a pipeline without a bus")?;
    let started = pipeline.set_state(gst::State::Playing);
    let kinds = [gst::MessageType::Error, gst::MessageType::Eos];
    let message = bus.timed_pop_filtered(gst::ClockTime::try_from(time)?, &kinds);
    let Some(message) = message else {
        started?;
        return Ok(());
    };
    match message.view() {
        MessageView::Error(error) => {
            let of = error.src().map(|src| src.path_string());
            let debug = error.debug().unwrap_or_default().replace('\n', " ");
            let of = of.unwrap_or_default();
            Err(format!("{of}: {} ({debug})", error.error()).into())
        }
        _ => Ok(()),
    }
}

struct Stamps {
    cpu_us: u64,
    times: Vec<u64>,
}

impl Stamps {
    fn read(file: &str) -> Result<Stamps> {
        let content = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        let numbers: std::result::Result<Vec<u64>, _> = content.lines().map(str::parse).collect();
        let numbers = numbers?;
        let (cpu_us, times) = numbers.split_first().ok_or("an empty file")?;
        Ok(Stamps {
            cpu_us: *cpu_us,
            times: times.to_vec(),
        })
    }

    /// With what the start of the process costs.
    fn cpu(&self) -> f64 {
        self.cpu_us as f64 / self.times.len().max(1) as f64
    }
}

fn compare(sent: &str, received: &str) -> Result<()> {
    let (sent, received) = (Stamps::read(sent)?, Stamps::read(received)?);
    let first = received
        .times
        .first()
        .copied()
        .ok_or("nothing was received")?;
    let last = received.times.last().copied().unwrap_or(first);
    let meanwhile = sent
        .times
        .iter()
        .filter(|time| (first..=last).contains(*time));
    let meanwhile = meanwhile.count();
    let counts = format!(
        "{} received of {} sent meanwhile",
        received.times.len(),
        meanwhile + 1
    );
    if std::env::var_os("XMEM_STAND_IN").is_some_and(|value| value == "1") {
        println!("{counts} (not timed)");
        return Ok(());
    }
    let mut late: Vec<u64> = received
        .times
        .iter()
        .skip(WARM_UP)
        .filter_map(|time| {
            let before = sent.times.partition_point(|sent| sent <= time);
            Some(time - sent.times.get(before.checked_sub(1)?)?)
        })
        .collect();
    late.sort_unstable();
    let longest = late.last().copied().ok_or("too few were received")?;
    println!(
        "latency p50 {:.0} p99 {:.0} max {:.0} us; CPU a frame {:.0} us of the producer, {:.0} us of the \
         client, with their start; {counts}",
        percentile_us(&late, 0.5),
        percentile_us(&late, 0.99),
        longest as f64 / 1000.0,
        sent.cpu(),
        received.cpu(),
    );
    Ok(())
}
