//! The cost of the core without anything around it.
//!
//! - `one way`: from before `acquire` in one process to the return of `receive` in another. The
//!   other process takes the time (both read the same clock) and answers with it on a channel of
//!   its own, so no answer is part of the figure. Frames are published some time after the answer.
//!   `asleep`: the client sleeps by then, and is woken. `busy`: it polls with a timeout of zero.
//!   `6 MB, asleep`: frames of that size that no process writes or reads. The cost of handing over
//!   a frame does not depend on its size.
//! - `write 6 MB`: the same frame written whole by a copy and published, without a client. For
//!   comparison: the minimum cost of handing over a frame by copy.
//! - `recycle`: `acquire` and `publish` if every slot has to be taken from an older frame, with
//!   this many clients connected, each of which holds a frame and never receives the next.
//! - `held`: the same with 0 and with 64 clients that hold 31 frames each.
//! - `wake`: see `wake.rs`.
//! - `joins`: see `joins.rs`.

mod joins;
mod wake;

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use rustix::time::{ClockId, clock_gettime};
use xmem_core::{Channel, Error, Frame, FrameMut, Publisher, Result, Subscriber};

const SMALL: usize = 64;
const LARGE: usize = 6_000_000;

/// The time between an answer and the next frame: longer than any process takes to fall asleep.
const PAUSE: Duration = Duration::from_micros(100);

/// Set for the other process: the directory of the channels.
const DIRECTORY: &str = "XMEM_BENCH_DIRECTORY";
/// Set for the other process if it must not sleep.
const BUSY: &str = "XMEM_BENCH_BUSY";

fn main() -> Result<()> {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return answer(&PathBuf::from(directory), std::env::var_os(BUSY).is_some());
    }
    if let Some(done) = wake::other_process() {
        return done;
    }
    if let Some(done) = joins::other_process() {
        return done;
    }
    if std::env::args().any(|argument| argument == "joins") {
        return joins::bench();
    }
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .sample_size(50)
        .configure_from_args();
    one_way(&mut criterion)?;
    write(&mut criterion)?;
    recycle(&mut criterion)?;
    held(&mut criterion)?;
    criterion.final_summary();
    wake::bench()?;
    joins::bench()
}

fn ping(directory: &Path) -> Channel {
    Channel::path(directory.join("ping.sock"))
}

fn pong(directory: &Path) -> Channel {
    Channel::path(directory.join("pong.sock"))
}

/// The next frame, without sleeping if `busy`.
fn receive(subscriber: &mut Subscriber, busy: bool) -> Result<Frame> {
    if !busy {
        return subscriber.receive(None);
    }
    loop {
        match subscriber.receive(Some(Duration::ZERO)) {
            Err(Error::TimedOut) => std::hint::spin_loop(),
            other => return other,
        }
    }
}

/// Nanoseconds on a clock that both processes read.
fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The time of a frame in nanoseconds, as [`set_pts`] has set it.
fn pts(frame: &Frame) -> u64 {
    frame.meta().pts().expect("it was set").as_nanos() as u64
}

fn set_pts(frame: &mut FrameMut, nanoseconds: u64) {
    let pts = Some(Duration::from_nanos(nanoseconds));
    frame.meta_mut().set_pts(pts);
}

/// The other process: answers each frame with its latency, until there are no more frames.
fn answer(directory: &Path, busy: bool) -> Result<()> {
    let mut subscriber = Subscriber::builder(ping(directory)).connect()?;
    let publisher = Publisher::builder(pong(directory)).open()?;
    publisher.wait_for_clients(1, Some(Duration::from_secs(10)))?;
    loop {
        let taken = match receive(&mut subscriber, busy) {
            Ok(frame) => now() - pts(&frame),
            Err(error) if error.is_retryable() => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut frame = publisher.acquire(SMALL)?;
        set_pts(&mut frame, taken);
        frame.publish()?;
    }
}

/// The producer of the frames, and the process that receives them.
struct Players {
    publisher: Publisher,
    answers: Subscriber,
    /// Dropped after the publisher, whose end it waits for.
    _other: Other,
}

/// The other process; it ends when the producer does.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.wait();
    }
}

impl Players {
    fn start(directory: &Path, size: usize, busy: bool) -> Result<Players> {
        let publisher = Publisher::builder(ping(directory)).slot_size(size).open()?;
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(program);
        command.env(DIRECTORY, directory);
        if busy {
            command.env(BUSY, "1");
        }
        let other = Other(command.spawn().expect("this program starts again"));
        let answers = Subscriber::builder(pong(directory)).connect()?;
        Ok(Players {
            publisher,
            answers,
            _other: other,
        })
    }

    /// The latency of a frame to the other process.
    fn one_way(&mut self, size: usize) -> Result<Duration> {
        let start = Instant::now();
        while start.elapsed() < PAUSE {
            std::hint::spin_loop();
        }
        let sent = now();
        let mut frame = self.publisher.acquire(size)?;
        set_pts(&mut frame, sent);
        frame.publish()?;
        let answer = self.answers.receive(None)?;
        Ok(Duration::from_nanos(pts(&answer)))
    }
}

fn one_way(criterion: &mut Criterion) -> Result<()> {
    let mut group = criterion.benchmark_group("one way");
    for (name, size, busy) in [
        ("asleep", SMALL, false),
        ("busy", SMALL, true),
        ("6 MB, asleep", LARGE, false),
    ] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut players = Players::start(directory.path(), size, busy)?;
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let one_way = |_| players.one_way(size).expect("an answer");
                (0..rounds).map(one_way).sum()
            });
        });
    }
    group.finish();
    Ok(())
}

fn write(criterion: &mut Criterion) -> Result<()> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let publisher = Publisher::builder(ping(directory.path())).open()?;
    let picture = vec![7; LARGE];
    let mut group = criterion.benchmark_group("write");
    group.throughput(Throughput::Bytes(LARGE as u64));
    group.bench_function("6 MB", |bencher| {
        bencher.iter(|| {
            let mut frame = publisher.acquire(LARGE).expect("a slot");
            frame
                .payload()
                .expect("memory of the CPU")
                .write(0, &picture);
            frame.publish().expect("the frame is published")
        });
    });
    group.finish();
    Ok(())
}

fn recycle(criterion: &mut Criterion) -> Result<()> {
    let mut group = criterion.benchmark_group("recycle");
    for clients in [1, 8, 32] {
        recycle_with(&mut group, clients)?;
    }
    group.finish();
    Ok(())
}

fn recycle_with(group: &mut BenchmarkGroup<'_, WallTime>, clients: usize) -> Result<()> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let publisher = Publisher::builder(ping(directory.path()))
        .max_clients(clients as u32)
        .open()?;
    publisher.acquire(SMALL)?.publish()?;
    let mut subscribers = Vec::new();
    let mut held = Vec::new();
    for _ in 0..clients {
        let mut subscriber = Subscriber::builder(ping(directory.path())).connect()?;
        held.push(subscriber.receive(None)?);
        subscribers.push(subscriber);
    }
    // Until every slot has a frame.
    for _ in 0..publisher.stats().slots {
        publisher.acquire(SMALL)?.publish()?;
    }
    let id = BenchmarkId::from_parameter(format!("{clients} clients"));
    group.bench_function(id, |bencher| {
        bencher.iter(|| {
            let frame = publisher.acquire(SMALL).expect("a slot");
            frame.publish().expect("the frame is published")
        });
    });
    Ok(())
}

fn held(criterion: &mut Criterion) -> Result<()> {
    const LEASES: u32 = 31;
    let mut group = criterion.benchmark_group("held");
    for clients in [0, 8, 64] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let publisher = Publisher::builder(ping(directory.path()))
            .max_clients(64)
            .max_slots(2048)
            .slot_size(SMALL)
            .open()?;
        let mut subscribers = Vec::new();
        let mut held = Vec::new();
        for _ in 0..clients {
            let builder = Subscriber::builder(ping(directory.path())).leases(LEASES);
            let mut subscriber = builder.connect()?;
            // Each holds frames of its own.
            for _ in 0..LEASES {
                publisher.acquire(SMALL)?.publish()?;
                while let Ok(frame) = subscriber.receive(Some(Duration::ZERO)) {
                    held.push(frame);
                }
            }
            subscribers.push(subscriber);
        }
        let id = BenchmarkId::from_parameter(format!("{} frames", held.len()));
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                let frame = publisher.acquire(SMALL).expect("a slot");
                frame.publish().expect("the frame is published")
            });
        });
    }
    group.finish();
    Ok(())
}
