//! The floor under every latency: waking processes that wait on a word of shared memory, and nothing else.
//!
//! The parent paces and wakes, each waiter is a process. A wake is `FUTEX_WAKE` of all waiters on a word in a memfd; its
//! latency is from the clock read before the word changes to the clock read after `FUTEX_WAIT` returned.
#![allow(unsafe_code)]

use std::fmt;
use std::fs::File;
use std::hint::black_box;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::thread::{clock_nanosleep_absolute, futex};
use rustix::time::{ClockId, Timespec};
use xmem_tests::roles::monotonic_ns;
use xmem_tests::roles::parent::{self, tell};
use xmem_tests::roles::{Child, PATIENCE};
use xmem_tests::samples::{numbers, percentile_us, to_text};

use crate::Result;
use crate::environment::Environment;
use crate::figures::{Column, Figures, Row, mean};
use crate::frame::{self, INTERVAL_NS};
use crate::usage::{Bill, Usage};

/// Wakes before those that count.
const WARMUP: u32 = 15;

/// What happens beside the wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Nothing.
    Bare,
    /// Each waiter reads a frame after the wake while the waker writes the next one, as clients and producers do.
    Frame,
}

impl Load {
    pub const ALL: [Load; 2] = [Load::Bare, Load::Frame];

    fn word(self) -> &'static str {
        match self {
            Load::Bare => "bare",
            Load::Frame => "frame",
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Load::Bare => "futex",
            Load::Frame => "futex and a frame",
        })
    }
}

/// What a run found.
pub struct Outcome {
    clients: Vec<Bill>,
    /// ns, of all waiters, ascending.
    latencies: Vec<u64>,
}

impl Outcome {
    /// Adds it to the figures and says it in a few words.
    pub fn record(&self, load: Load, clients: usize, figures: &mut Figures) -> String {
        let [p50, p99] = [0.50, 0.99].map(|share| percentile_us(&self.latencies, share));
        let mut add = |row, value| figures.add(Column::Floor, clients, row, value);
        let rows = match load {
            Load::Bare => [Row::LatencyP50, Row::LatencyP99],
            Load::Frame => {
                add(
                    Row::ClientCpu,
                    mean(self.clients.iter().map(Bill::cpu_a_frame)),
                );
                add(
                    Row::ClientFaults,
                    mean(self.clients.iter().map(Bill::faults_a_frame)),
                );
                [Row::LoadedP50, Row::LoadedP99]
            }
        };
        add(rows[0], p50);
        add(rows[1], p99);
        format!("latency p50 {p50:.0}, p99 {p99:.0} µs")
    }
}

/// Wakes that many waiters `wakes` times, at the pace of the frames.
pub fn run(load: Load, clients: usize, wakes: u64, environment: &Environment) -> Result<Outcome> {
    let (area, memory) = Area::create()?;
    // Opened again by the waiters through the parent's own entry: it needs no name and is not inherited by anybody.
    let path = format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd());
    let role = ["waiter", &path, load.word(), &wakes.to_string()];
    let waiters = (1..=clients)
        .map(|number| Child::spawn(format!("waiter {number}"), environment.role(&role)))
        .collect::<Result<Vec<Child>>>()?;
    for waiter in &waiters {
        waiter.report("ready", PATIENCE)?;
    }

    let mut due_ns = monotonic_ns();
    // One more than counts: the last one closes the waiters' windows.
    for number in 1..=WARMUP + wakes as u32 + 1 {
        due_ns += INTERVAL_NS;
        pace(due_ns)?;
        area.wake(number)?;
        if load == Load::Frame {
            area.write_frame(number + 1);
        }
    }

    let mut outcome = Outcome {
        clients: Vec::new(),
        latencies: Vec::new(),
    };
    for waiter in &waiters {
        outcome
            .latencies
            .extend(numbers(&waiter.report("latencies", PATIENCE)?)?);
        outcome
            .clients
            .push(waiter.report("bill", PATIENCE)?.parse()?);
    }
    outcome.latencies.sort_unstable();
    waiters.into_iter().try_for_each(Child::end)?;
    Ok(outcome)
}

/// The role that waits: reports `ready`, then, when all wakes are over, `latencies` (ns) and `bill`.
pub fn wait(path: &str, load: &str, wakes: &str) -> Result<()> {
    let area = Area::map(File::options().read(true).write(true).open(path)?)?;
    let last = WARMUP + wakes.parse::<u32>()?;
    let reads = load == Load::Frame.word();
    // The pages of the frames, and those of the vector, are there before the first wake.
    (0..2).for_each(|number| area.read_frame(number));
    let mut latencies = vec![u64::MAX; wakes.parse()?];
    latencies.clear();
    exit_with_parent();
    tell("ready", "");

    let (mut seen, mut opened) = (0, None);
    while seen <= last {
        seen = area.wait_for_change_of(seen)?;
        let woken_ns = monotonic_ns();
        if (WARMUP + 1..=last).contains(&seen) {
            opened.get_or_insert_with(Usage::now);
            latencies.push(woken_ns.saturating_sub(area.stamp_ns.load(Ordering::Relaxed)));
        }
        if reads && seen <= last {
            area.read_frame(seen);
        }
    }
    let bill = opened
        .ok_or("not one wake was seen in the window")?
        .bill(latencies.len() as u64);
    tell("latencies", to_text(&latencies));
    tell("bill", bill);
    Ok(())
}

/// Ends this process when its parent closes its standard input, wherever it waits then.
fn exit_with_parent() {
    std::thread::spawn(|| {
        parent::orders().for_each(drop);
        std::process::exit(0);
    });
}

/// Sleeps until that moment of `CLOCK_MONOTONIC`, which is what the clock of a live source does between frames.
fn pace(due_ns: u64) -> Result<()> {
    let due = Duration::from_nanos(due_ns);
    let due = Timespec {
        tv_sec: due.as_secs() as i64,
        tv_nsec: due.subsec_nanos().into(),
    };
    loop {
        match clock_nanosleep_absolute(ClockId::Monotonic, &due) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// What the processes share. Atomics only: any process may change any of it at any time.
#[repr(C)]
struct Shared {
    /// Number of the last wake; what the waiters wait on.
    word: AtomicU32,
    /// `CLOCK_MONOTONIC` in ns when it was given.
    stamp_ns: AtomicU64,
    /// Frames in turn: that of an odd wake, that of an even one.
    frames: [[AtomicU64; frame::SIZE / 8]; 2],
}

impl Shared {
    /// Gives wake number `number` to all waiters.
    fn wake(&self, number: u32) -> Result<()> {
        self.stamp_ns.store(monotonic_ns(), Ordering::Relaxed);
        self.word.store(number, Ordering::Release);
        futex::wake(&self.word, futex::Flags::empty(), i32::MAX as u32)?;
        Ok(())
    }

    /// Waits until the word is no longer `seen`; returns what it is.
    fn wait_for_change_of(&self, seen: u32) -> Result<u32> {
        loop {
            let word = self.word.load(Ordering::Acquire);
            if word != seen {
                return Ok(word);
            }
            match futex::wait(&self.word, futex::Flags::empty(), seen, None) {
                Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The frame that belongs to wake number `number`.
    fn frame(&self, number: u32) -> &[AtomicU64] {
        &self.frames[number as usize % 2]
    }

    fn write_frame(&self, number: u32) {
        let words = self.frame(number).iter();
        words.for_each(|word| word.store(number.into(), Ordering::Relaxed));
    }

    fn read_frame(&self, number: u32) {
        let words = self.frame(number).iter();
        black_box(words.fold(0u64, |sum, word| {
            sum.wrapping_add(word.load(Ordering::Relaxed))
        }));
    }
}

/// A mapping of a [`Shared`].
struct Area(NonNull<Shared>);

impl Area {
    /// Makes the memory, writes all of it once, and returns it with its descriptor.
    fn create() -> Result<(Area, OwnedFd)> {
        let memory = memfd_create("xmem-bench", MemfdFlags::CLOEXEC)?;
        ftruncate(&memory, size_of::<Shared>() as u64)?;
        let area = Area::map(&memory)?;
        (0..2).for_each(|number| area.write_frame(number));
        Ok((area, memory))
    }

    /// Maps a memfd of [`Area::create`].
    fn map(memory: impl AsFd) -> Result<Area> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice takes no memory away from anybody.
        let address = unsafe {
            mmap(
                ptr::null_mut(),
                size_of::<Shared>(),
                protection,
                MapFlags::SHARED,
                memory,
                0,
            )
        }?;
        Ok(Area(
            NonNull::new(address.cast()).ok_or("mapped at address zero")?,
        ))
    }
}

impl Deref for Area {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        // SAFETY: `map` made the mapping as large as Shared, readable, writable and page-aligned, and it lives as long
        // as self. The memory starts as zeroes, all of Shared is atomic integers, for which any bytes are valid, and all
        // processes reach it through this type only, so that no access is a data race. The file keeps its size: nobody
        // truncates it but `create`, before it is mapped.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: the mapping is self's own, and the references into it borrow self: none is left.
        // A failure would leave the mapping until the process ends, which is soon.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), size_of::<Shared>()) };
    }
}
