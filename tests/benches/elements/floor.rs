//! The floor of all latencies: waking processes that wait on a word of shared memory, and nothing
//! else.
//!
//! The parent keeps the pace and wakes; each waiter is a process. A wake is a `FUTEX_WAKE` of all
//! waiters on a word in a memfd. Its latency starts with the clock read before the word changes,
//! and ends with the clock read after `FUTEX_WAIT` returned.
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
use xmem_tests::roles::{Bill, Child, PATIENCE, Usage};
use xmem_tests::samples::{numbers, percentile_us, to_text};

use crate::Result;
use crate::environment::Environment;
use crate::figures::{Column, Figures, Row, mean};
use crate::frame::{self, INTERVAL_NS};

/// Number of wakes before the measured ones.
const WARMUP: u32 = 15;

/// The work that accompanies each wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Nothing.
    Bare,
    /// After the wake each waiter reads a frame while the waker writes the next one, as clients and
    /// producers do.
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

/// The result of a run.
pub struct Outcome {
    clients: Vec<Bill>,
    /// Latencies of all waiters in ns, ascending.
    latencies: Vec<u64>,
}

impl Outcome {
    /// Adds the result to the figures and returns a summary.
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

/// Wakes `clients` waiters `wakes` times, at the pace of the frames.
pub fn run(load: Load, clients: usize, wakes: u64, environment: &Environment) -> Result<Outcome> {
    let (area, memory) = Area::create()?;
    // Waiters open the memory through this entry of the parent. The memory needs no name, and no
    // process inherits its descriptor.
    let path = format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd());
    let role = ["waiter", &path, load.word(), &wakes.to_string()];
    let waiters = (1..=clients)
        .map(|number| Child::spawn(format!("waiter {number}"), environment.role(&role)))
        .collect::<Result<Vec<Child>>>()?;
    for waiter in &waiters {
        waiter.report("ready", PATIENCE)?;
    }

    let mut due_ns = monotonic_ns();
    // One more wake than is measured: the last one closes the windows of the waiters.
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

/// The role of a waiter. Reports `ready`, and after all wakes `latencies` (ns) and `bill`.
pub fn wait(path: &str, load: &str, wakes: &str) -> Result<()> {
    let area = Area::map(File::options().read(true).write(true).open(path)?)?;
    let last = WARMUP + wakes.parse::<u32>()?;
    let reads = load == Load::Frame.word();
    // The pages of the frames and of the vector exist before the first wake.
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
        .ok_or("no wake happened in the window")?
        .bill(latencies.len() as u64);
    tell("latencies", to_text(&latencies));
    tell("bill", bill);
    Ok(())
}

/// Ends this process when the parent closes its standard input, even while another thread waits.
fn exit_with_parent() {
    std::thread::spawn(|| {
        parent::orders().for_each(drop);
        std::process::exit(0);
    });
}

/// Sleeps until `due_ns` of `CLOCK_MONOTONIC`, as the clock of a live source does between frames.
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

/// The memory that the processes share. It consists of atomics only: any process may change any
/// part at any time.
#[repr(C)]
struct Shared {
    /// Number of the last wake; the word that waiters wait on.
    word: AtomicU32,
    /// `CLOCK_MONOTONIC` in ns at the last wake.
    stamp_ns: AtomicU64,
    /// Two frames in turn: one for odd wakes, one for even wakes.
    frames: [[AtomicU64; frame::SIZE / 8]; 2],
}

impl Shared {
    /// Wakes all waiters, as wake number `number`.
    fn wake(&self, number: u32) -> Result<()> {
        self.stamp_ns.store(monotonic_ns(), Ordering::Relaxed);
        self.word.store(number, Ordering::Release);
        futex::wake(&self.word, futex::Flags::empty(), i32::MAX as u32)?;
        Ok(())
    }

    /// Waits until the word differs from `seen`; returns its value.
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
    /// Creates the memory, writes all of it once, and returns its mapping and its descriptor.
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
        // SAFETY: a new mapping at an address that the kernel chooses replaces no other mapping.
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
        // SAFETY: `map` made the mapping as large as Shared, readable, writable and page-aligned,
        // and it lives as long as self. The memory starts as zeroes. All of Shared is atomic
        // integers, for which any bytes are valid, and all processes access it through this type
        // only, so no access is a data race. The file keeps its size: only `create` truncates it,
        // before it is mapped.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: self owns the mapping, and references into it borrow self, so none is left. If
        // the call fails, the mapping stays until the process ends, which is soon.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), size_of::<Shared>()) };
    }
}
