//! What the core costs without anything around it.
//!
//! - `one way`: from `acquire` in one process to `receive` in another, as half of a round trip:
//!   the other process answers each frame with a frame on a channel of its own. `asleep`: both
//!   sides sleep until they are woken, so a round trip holds two futex wake-ups. `busy`: both look
//!   again and again with a time-out of zero, which takes two cores. `6 MB, asleep`: the frames
//!   are large and nobody writes or reads them: what a frame costs does not depend on its size.
//! - `write 6 MB`: the same frame written whole by a copy, published, and received by nobody.
//!   For scale: this is what handing over a frame by copy would cost at least.
//! - `recycle`: `acquire` and `publish` where every slot has to be taken back from a frame, with
//!   so many clients connected, each of which holds a frame and never asks for the next.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use xmem_core::{Channel, Error, Frame, Publisher, Result, Subscriber};

const SMALL: usize = 64;
const LARGE: usize = 6_000_000;

/// Set for the other process: the directory of the channels.
const DIRECTORY: &str = "XMEM_BENCH_DIRECTORY";
/// Set for the other process where it must not sleep.
const BUSY: &str = "XMEM_BENCH_BUSY";

fn main() -> Result<()> {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return answer(&PathBuf::from(directory), std::env::var_os(BUSY).is_some());
    }
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .sample_size(50)
        .configure_from_args();
    one_way(&mut criterion)?;
    write(&mut criterion)?;
    recycle(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

fn ping(directory: &Path) -> Channel {
    Channel::path(directory.join("ping.sock"))
}

fn pong(directory: &Path) -> Channel {
    Channel::path(directory.join("pong.sock"))
}

/// The next frame, without sleeping where `busy`.
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

/// The other process: answers each frame with a small one, until there are no more.
fn answer(directory: &Path, busy: bool) -> Result<()> {
    let mut subscriber = Subscriber::builder(ping(directory)).connect()?;
    let publisher = Publisher::builder(pong(directory)).open()?;
    publisher.wait_for_clients(1, None)?;
    loop {
        match receive(&mut subscriber, busy) {
            Ok(frame) => drop(frame),
            Err(error) if error.is_retryable() => return Ok(()),
            Err(error) => return Err(error),
        }
        publisher.acquire(SMALL)?.publish()?;
    }
}

/// Both ends of a round trip that are in this process, and the process in which the others are.
struct Players {
    publisher: Publisher,
    subscriber: Subscriber,
    child: Child,
    busy: bool,
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
        let child = command.spawn().expect("this program starts again");
        Ok(Players {
            publisher,
            subscriber: Subscriber::builder(pong(directory)).connect()?,
            child,
            busy,
        })
    }

    fn round_trip(&mut self, size: usize) -> Result<()> {
        self.publisher.acquire(size)?.publish()?;
        receive(&mut self.subscriber, self.busy).map(drop)
    }
}

impl Drop for Players {
    fn drop(&mut self) {
        // Then the other process ends, too.
        self.publisher.close();
        let _ = self.child.wait();
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
                let start = Instant::now();
                for _ in 0..rounds {
                    players.round_trip(size).expect("a round trip");
                }
                start.elapsed() / 2
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
            frame.payload().write(0, &picture);
            frame.publish().expect("it is published")
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
            frame.publish().expect("it is published")
        });
    });
    Ok(())
}
