//! The role of a client.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use xmem_core::{Canceller, Delivery, Error, Frame, Quota, Result, Subscriber};
use xmem_tests::random::mix;
use xmem_tests::{Line, pattern, until};

use crate::usage::{fork, in_child, page_faults};
use crate::{Herald, Worker, channel_of, timed};

/// State of both threads.
struct Shared {
    canceller: Canceller,
    halt: AtomicBool,
    /// Frames that `hold` has received and `release` drops.
    held: Mutex<Vec<Frame>>,
    frames: AtomicU64,
    next: AtomicU64,
    missed: AtomicU64,
    connects: AtomicU64,
}

/// State of the worker thread.
struct Client {
    settings: Line,
    shared: Arc<Shared>,
    subscriber: Option<Subscriber>,
}

/// Settings: `leases`, `backlog` (the first), `delivery=latest`, `name`, `timeout-ms` (of
/// connecting; without it there is no limit).
pub(crate) fn start(settings: &Line) -> Result<(Worker, Herald)> {
    let shared = Arc::new(Shared {
        canceller: Canceller::new(),
        halt: AtomicBool::new(false),
        held: Mutex::default(),
        frames: AtomicU64::new(0),
        next: AtomicU64::new(0),
        missed: AtomicU64::new(0),
        connects: AtomicU64::new(0),
    });
    println!("ready");
    let herald = shared.clone();
    let mut client = Client {
        settings: settings.clone(),
        shared,
        subscriber: None,
    };
    Ok((
        Box::new(move |order| client.obey(order)),
        Box::new(move |order| herald.obey_at_once(order)),
    ))
}

impl Shared {
    fn obey_at_once(&self, order: &Line) -> Option<Line> {
        match order.word.as_str() {
            "cancel" => self.canceller.cancel(),
            "reset" => self.canceller.reset(),
            "halt" => {
                self.halt.store(true, Ordering::Relaxed);
                self.canceller.cancel();
            }
            "release" => {
                let mut held = self
                    .held
                    .lock()
                    .expect("no thread panics while it holds the lock");
                let count = held.len().min(order.number("count") as usize);
                let released: Vec<_> = held.drain(..count).collect();
                drop(held);
                drop(released);
            }
            "check-held" => {
                // The frames have not changed since they were received.
                let held = self
                    .held
                    .lock()
                    .expect("no thread panics while it holds the lock");
                held.iter().for_each(check);
            }
            "progress" => {
                return Some(
                    Line::new("progress")
                        .with("frames", self.frames.load(Ordering::Relaxed))
                        .with("next", self.next.load(Ordering::Relaxed))
                        .with("missed", self.missed.load(Ordering::Relaxed))
                        .with("connects", self.connects.load(Ordering::Relaxed)),
                );
            }
            "fork" => return Some(fork()),
            _ => return None,
        }
        Some(Line::new("heard"))
    }

    fn note(&self, frame: &Frame) {
        check(frame);
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.next.store(frame.seq() + 1, Ordering::Relaxed);
        self.missed.fetch_add(frame.missed(), Ordering::Relaxed);
    }
}

/// Checks the content of a frame. Wrong content ends the process, and so fails the test.
fn check(frame: &Frame) {
    if let Err(problem) = pattern::check(frame) {
        panic!("{problem}");
    }
}

impl Client {
    fn obey(&mut self, order: &Line) -> Result<Line> {
        match order.word.as_str() {
            "connect" => {
                self.connect()?;
                Ok(Line::new("connected"))
            }
            "disconnect" => {
                self.subscriber = None;
                Ok(Line::new("disconnected"))
            }
            "receive" => self.receive(order),
            "look" => self.look(order),
            "time" => timed::receive(self.subscriber(), order),
            "hold" => self.hold(order),
            "request" => self.request(order),
            "run" => self.run(order),
            "fork-and-drop" => Ok(Line::new("forked").with("well", self.fork_and_drop())),
            "cycle" => {
                for _ in 0..order.number("count") {
                    self.connect()?;
                    let frame = self.subscriber().receive(None)?;
                    check(&frame);
                    drop(frame);
                    self.subscriber = None;
                }
                Ok(Line::new("cycled"))
            }
            other => panic!("{other:?} is not an order for a client"),
        }
    }

    fn connect(&mut self) -> Result<()> {
        let number = |key| self.settings.get_number(key);
        let timeout = number("timeout-ms").map(Duration::from_millis);
        let mut builder = Subscriber::builder(channel_of(&self.settings))
            .canceller(self.shared.canceller.clone())
            .connect_timeout(timeout);
        if let Some(leases) = number("leases") {
            builder = builder.leases(leases as u32);
        }
        if let Some(frames) = number("backlog") {
            builder = builder.first_backlog(frames as u32);
        }
        if self.settings.get("delivery") == Some("latest") {
            builder = builder.delivery(Delivery::Latest);
        }
        if let Some(name) = self.settings.get("name") {
            builder = builder.name(name);
        }
        self.subscriber = None;
        self.subscriber = Some(builder.connect()?);
        self.shared.connects.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn subscriber(&mut self) -> &mut Subscriber {
        self.subscriber.as_mut().expect("connect comes first")
    }

    /// Receives `count` frames and checks each, for another `work-us`.
    fn receive(&mut self, order: &Line) -> Result<Line> {
        let timeout = order.get_number("timeout-ms").map(Duration::from_millis);
        let work = Duration::from_micros(order.get_number("work-us").unwrap_or(0));
        let warm_up = order.get_number("warm-up").unwrap_or(0);
        let shared = self.shared.clone();
        println!("receiving");
        let mut first = None;
        let mut missed = 0;
        let mut faults = page_faults();
        let count = order.number("count");
        for done in 0..count {
            if done == warm_up {
                faults = page_faults();
            }
            let frame = self.subscriber().receive(timeout)?;
            first.get_or_insert(frame.seq());
            missed += frame.missed();
            shared.note(&frame);
            if !work.is_zero() {
                std::thread::sleep(work);
            }
        }
        let faults = page_faults() - faults;
        Ok(Line::new("received")
            .with("count", count)
            .with("first", first.unwrap_or(0))
            .with("next", shared.next.load(Ordering::Relaxed))
            .with("missed", missed)
            .with("starved", self.subscriber().starved())
            .with("faults", faults))
    }

    /// Receives `count` frames without waiting for any of them.
    fn look(&mut self, order: &Line) -> Result<Line> {
        let shared = self.shared.clone();
        println!("looking");
        for _ in 0..order.number("count") {
            let frame = loop {
                match self.subscriber().receive(Some(Duration::ZERO)) {
                    Err(Error::TimedOut) => std::hint::spin_loop(),
                    other => break other?,
                }
            };
            shared.note(&frame);
        }
        Ok(Line::new("received"))
    }

    /// Receives `count` frames and keeps them.
    fn hold(&mut self, order: &Line) -> Result<Line> {
        let shared = self.shared.clone();
        for _ in 0..order.number("count") {
            let frame = self.subscriber().receive(None)?;
            shared.note(&frame);
            shared
                .held
                .lock()
                .expect("no thread panics while it holds the lock")
                .push(frame);
        }
        Ok(Line::new("holding"))
    }

    /// Requests a quota of `leases` and `backlog`, and waits until it is granted. With `least` and
    /// `most`, waits until the granted number of frames lies between them.
    fn request(&mut self, order: &Line) -> Result<Line> {
        let wanted = Quota {
            leases: order.number("leases") as u32,
            backlog: order.number("backlog") as u32,
        };
        let most = order
            .get_number("most")
            .map_or(wanted.backlog, |most| most as u32);
        let least = order
            .get_number("least")
            .map_or(wanted.backlog, |least| least as u32);
        self.subscriber().upstream().request(wanted)?;
        until("the quota is granted", || {
            let has = self.subscriber().granted().quota;
            has.leases == wanted.leases && has.backlog >= least && has.backlog <= most
        });
        let grant = self.subscriber().granted();
        Ok(Line::new("granted")
            .with("leases", grant.quota.leases)
            .with("backlog", grant.quota.backlog)
            .with("most", grant.most))
    }

    /// Forks a child that drops everything.
    fn fork_and_drop(&mut self) -> bool {
        in_child(|| {
            let received = self.subscriber().receive(Some(Duration::ZERO));
            let held = std::mem::take(
                &mut *self
                    .shared
                    .held
                    .lock()
                    .expect("no thread panics while it holds the lock"),
            );
            drop(held);
            self.subscriber = None;
            matches!(received, Err(Error::Forked)) && self.connect().is_ok()
        })
    }

    /// Receives until `halt`, and reconnects after each error that a retry can help against. Checks
    /// each frame a second time before it is dropped: one frame in 256 up to `linger-us` later.
    fn run(&mut self, order: &Line) -> Result<Line> {
        let shared = self.shared.clone();
        let linger = order.get_number("linger-us").unwrap_or(0);
        let use_up = |frame: Frame| {
            shared.note(&frame);
            let chance = mix(frame.seq() ^ u64::from(std::process::id()));
            if chance.is_multiple_of(256) && linger > 0 {
                std::thread::sleep(Duration::from_micros(chance / 256 % linger));
            }
            check(&frame);
        };
        shared.halt.store(false, Ordering::Relaxed);
        println!("running");
        loop {
            let result = match &mut self.subscriber {
                Some(subscriber) => subscriber.receive(None).map(&use_up),
                None => self.connect(),
            };
            match result {
                Ok(()) => {}
                Err(Error::Cancelled) if shared.halt.load(Ordering::Relaxed) => {
                    self.subscriber = None;
                    shared.canceller.reset();
                    return Ok(Line::new("halted"));
                }
                Err(error) if error.is_retryable() => self.subscriber = None,
                Err(error) => return Err(error),
            }
        }
    }
}
