//! The role of a producer.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::process::{Signal, getpid, kill_process};
use xmem_core::{Canceller, Error, ImportedMemory, Overflow, Publisher, PublisherEvent, Result};
use xmem_tests::{Line, pattern};

use crate::usage::{fork, in_child, page_faults};
use crate::{Herald, Worker, channel_of, perms_of, timed};

/// State of both threads.
struct Shared {
    publisher: Publisher,
    canceller: Canceller,
    halt: AtomicBool,
    told: Arc<Told>,
}

/// What the publisher has reported about clients.
#[derive(Default)]
struct Told {
    refused: AtomicU64,
    lapsed: AtomicU64,
}

/// Opens the channel. Settings: `slots`, `slot-size`, `max-slots`, `max-bytes`, `max-clients`,
/// `block` (ms), `name`, `perms`.
pub(crate) fn start(settings: &Line) -> Result<(Worker, Herald)> {
    let canceller = Canceller::new();
    let mut builder = Publisher::builder(channel_of(settings))
        .canceller(canceller.clone())
        .perms(perms_of(settings));
    if let Some(slots) = settings.get_number("slots") {
        builder = builder.slots(slots as u32);
    }
    if let Some(bytes) = settings.get_number("slot-size") {
        builder = builder.slot_size(bytes as usize);
    }
    if let Some(slots) = settings.get_number("max-slots") {
        builder = builder.max_slots(slots as u32);
    }
    if let Some(bytes) = settings.get_number("max-bytes") {
        builder = builder.max_bytes(bytes);
    }
    if let Some(clients) = settings.get_number("max-clients") {
        builder = builder.max_clients(clients as u32);
    }
    if let Some(timeout) = settings.get_number("block") {
        let timeout = Duration::from_millis(timeout);
        builder = builder.overflow(Overflow::Block { timeout });
    }
    if let Some(name) = settings.get("name") {
        builder = builder.producer_name(name);
    }
    let told: Arc<Told> = Arc::default();
    let listener = told.clone();
    let observer = move |event| {
        let count = match event {
            PublisherEvent::ClientRefused { .. } => &listener.refused,
            PublisherEvent::ClientLagging { .. } => &listener.lapsed,
            _ => return,
        };
        count.fetch_add(1, Ordering::Relaxed);
    };
    let publisher = builder.on_event(observer).open()?;
    println!(
        "{}",
        Line::new("opened").with("text", publisher.socket_path().display())
    );
    let shared = Arc::new(Shared {
        publisher,
        canceller,
        halt: AtomicBool::new(false),
        told,
    });
    let herald = shared.clone();
    let mut next = 0;
    Ok((
        Box::new(move |order| shared.obey(order, &mut next)),
        Box::new(move |order| herald.obey_at_once(order)),
    ))
}

impl Shared {
    fn obey_at_once(&self, order: &Line) -> Option<Line> {
        match order.word.as_str() {
            "cancel" => self.canceller.cancel(),
            "halt" => self.halt.store(true, Ordering::Relaxed),
            "fork" => return Some(fork()),
            "stats" => {
                let stats = self.publisher.stats();
                let sum = |of: fn(&xmem_core::ClientStats) -> u64| {
                    stats.clients.iter().map(of).sum::<u64>()
                };
                return Some(
                    Line::new("stats")
                        .with("published", stats.published)
                        .with("slots", stats.slots)
                        .with("segments", stats.segments)
                        .with("bytes", stats.bytes)
                        .with("departed", stats.departed_bytes)
                        .with("clients", stats.clients.len())
                        .with("held", sum(|client| u64::from(client.held)))
                        .with("missed", sum(|client| client.missed))
                        .with("refused", self.told.refused.load(Ordering::Relaxed))
                        .with("lapsed", self.told.lapsed.load(Ordering::Relaxed)),
                );
            }
            _ => return None,
        }
        Some(Line::new("heard"))
    }

    /// Orders: `publish`, `publish-and-die` (killed at the end of the last publish) and `run`
    /// (until `halt`), with `count`, `size`, `grow` (bytes per frame), `extra`, `period-us`, `hold`
    /// (number of published frames that are kept).
    fn obey(&self, order: &Line, next: &mut u64) -> Result<Line> {
        match order.word.as_str() {
            "publish" => self.publish(order, next, order.number("count")),
            "publish-and-die" => {
                self.publish(order, next, order.number("count"))?;
                kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
                unreachable!("no process survives SIGKILL");
            }
            "time" => timed::publish(&self.publisher, order, next),
            "run" => {
                println!("running");
                self.publish(order, next, u64::MAX)
            }
            "format" => {
                self.publisher.set_format(order.text("text"))?;
                Ok(Line::new("formatted"))
            }
            "pass-on" => {
                self.pass_on()?;
                *next += 1;
                Ok(Line::new("passed"))
            }
            "wait-for-clients" => {
                let count = order.number("count") as usize;
                self.publisher.wait_for_clients(count, None)?;
                Ok(Line::new("clients"))
            }
            "fork-and-close" => Ok(Line::new("forked").with("well", self.fork_and_close()?)),
            "eos" => {
                self.publisher.end_stream();
                Ok(Line::new("ended"))
            }
            "close" => {
                self.publisher.close();
                Ok(Line::new("closed"))
            }
            other => panic!("{other:?} is not an order for a producer"),
        }
    }

    /// Publishes a frame in imported memory, into which this process can punch holes.
    fn pass_on(&self) -> Result<()> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = memfd_create("imported", flags).expect("a memfd");
        ftruncate(&memory, 4096).expect("a memfd grows");
        let memory = ImportedMemory::new(memory.as_fd())?;
        self.publisher
            .import_frame(&memory, 0..4096, ())?
            .publish()?;
        Ok(())
    }

    /// Forks a child that publishes, ends the stream, and closes the channel, as far as it can.
    fn fork_and_close(&self) -> Result<bool> {
        let frame = self.publisher.acquire(1)?;
        Ok(in_child(|| {
            let published = frame.publish();
            let acquired = self.publisher.acquire(1);
            self.publisher.end_stream();
            self.publisher.close();
            matches!(published, Err(Error::Forked)) && matches!(acquired, Err(Error::Forked))
        }))
    }

    fn publish(&self, order: &Line, next: &mut u64, count: u64) -> Result<Line> {
        let number = |key| order.get_number(key).unwrap_or(0);
        let (mut size, grow) = (number("size") as usize, number("grow") as usize);
        let extra = number("extra") as usize;
        let period = Duration::from_micros(number("period-us"));
        let warm_up = number("warm-up");
        self.halt.store(false, Ordering::Relaxed);
        let start = Instant::now();
        let mut due = start;
        let mut faults = page_faults();
        let mut done = 0;
        while done < count && !self.halt.load(Ordering::Relaxed) {
            if done == warm_up {
                faults = page_faults();
            }
            let mut frame = self.publisher.acquire(size)?;
            pattern::fill(&mut frame, *next, extra)?;
            frame.publish()?;
            *next += 1;
            done += 1;
            size += grow;
            if !period.is_zero() {
                due += period;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
        Ok(Line::new("published")
            .with("count", done)
            .with("next", *next)
            .with("us", start.elapsed().as_micros())
            .with("faults", page_faults() - faults))
    }
}
