//! The role of a producer.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::process::{Signal, getpid, kill_process};
use xmem_core::{Canceller, Error, ImportedMemory, Overflow, Publisher, PublisherEvent, Result};
use xmem_tests::forked::in_child;
use xmem_tests::producer::Publish;
use xmem_tests::{Line, ProducerOrder, pattern};

use crate::usage::{fork, page_faults};
use crate::{Role, channel_of, perms_of, timed};

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
    lagging: AtomicU64,
}

/// Opens the channel. Settings: `slots`, `slot-size`, `max-slots`, `max-bytes`, `max-clients`,
/// `block` (ms), `name`, `perms`.
pub(crate) fn start(settings: &Line) -> Result<Role<ProducerOrder>> {
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
            PublisherEvent::ClientLagging { .. } => &listener.lagging,
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
    Ok(Role {
        worker: Box::new(move |order| shared.obey(order, &mut next)),
        herald: Box::new(move |order| herald.obey_at_once(order)),
    })
}

impl Shared {
    fn obey_at_once(&self, order: &ProducerOrder) -> Option<Line> {
        let answer = Line::default();
        match order {
            ProducerOrder::Cancel => self.canceller.cancel(),
            ProducerOrder::Halt => self.halt.store(true, Ordering::Relaxed),
            ProducerOrder::Fork => return Some(fork()),
            ProducerOrder::Stats => {
                let stats = self.publisher.stats();
                let sum = |of: fn(&xmem_core::ClientStats) -> u64| {
                    stats.clients.iter().map(of).sum::<u64>()
                };
                return Some(
                    answer
                        .with("published", stats.published)
                        .with("slots", stats.slots)
                        .with("segments", stats.segments)
                        .with("bytes", stats.bytes)
                        .with("departed", stats.departed_bytes)
                        .with("clients", stats.clients.len())
                        .with("held", sum(|client| u64::from(client.held)))
                        .with("missed", sum(|client| client.missed))
                        .with("refused", self.told.refused.load(Ordering::Relaxed))
                        .with("lagging", self.told.lagging.load(Ordering::Relaxed)),
                );
            }
            _ => return None,
        }
        Some(answer)
    }

    fn obey(&self, order: &ProducerOrder, next: &mut u64) -> Result<Line> {
        match order {
            ProducerOrder::Publish(frames) => return self.publish(frames, frames.count, next),
            ProducerOrder::PublishAndDie(frames) => {
                self.publish(frames, frames.count, next)?;
                kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
                unreachable!("no process survives SIGKILL");
            }
            ProducerOrder::Time(frames) => return timed::publish(&self.publisher, frames, next),
            ProducerOrder::Run(frames) => {
                println!("begun");
                return self.publish(frames, u64::MAX, next);
            }
            ProducerOrder::Format(format) => self.publisher.set_format(format.as_str())?,
            ProducerOrder::PassOn => {
                self.pass_on()?;
                *next += 1;
            }
            ProducerOrder::WaitForClients(count) => {
                self.publisher.wait_for_clients(*count, None)?
            }
            ProducerOrder::ForkAndClose => {
                return Ok(Line::default().with("well", self.fork_and_close()?));
            }
            ProducerOrder::Eos => self.publisher.end_stream(),
            ProducerOrder::Close => self.publisher.close(),
            order => unreachable!("{order:?} is obeyed at once"),
        }
        Ok(Line::default())
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

    fn publish(&self, frames: &Publish, count: u64, next: &mut u64) -> Result<Line> {
        let mut size = frames.size;
        let period = Duration::from_micros(frames.period_us);
        self.halt.store(false, Ordering::Relaxed);
        let start = Instant::now();
        let mut due = start;
        let mut faults = page_faults();
        let mut done = 0;
        while done < count && !self.halt.load(Ordering::Relaxed) {
            if done == frames.warm_up {
                faults = page_faults();
            }
            let mut frame = self.publisher.acquire(size)?;
            pattern::fill(&mut frame, *next, frames.extra)?;
            frame.publish()?;
            *next += 1;
            done += 1;
            size += frames.grow;
            if !period.is_zero() {
                due += period;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
        Ok(Line::default()
            .with("count", done)
            .with("next", *next)
            .with("us", start.elapsed().as_micros())
            .with("faults", page_faults() - faults))
    }
}
