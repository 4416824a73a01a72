//! The role of a client.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use xmem_core::{Canceller, Delivery, Error, Frame, Quota, Result, Subscriber};
use xmem_tests::client::{Receive, Request};
use xmem_tests::forked::in_child;
use xmem_tests::random::mix;
use xmem_tests::{ClientOrder, Line, pattern, until};

use crate::usage::{fork, page_faults};
use crate::{Role, channel_of, timed};

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
pub(crate) fn start(settings: &Line) -> Result<Role<ClientOrder>> {
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
    Ok(Role {
        worker: Box::new(move |order| client.obey(order)),
        herald: Box::new(move |order| herald.obey_at_once(order)),
    })
}

impl Shared {
    fn obey_at_once(&self, order: &ClientOrder) -> Option<Line> {
        let answer = Line::default();
        match *order {
            ClientOrder::Cancel => self.canceller.cancel(),
            ClientOrder::Reset => self.canceller.reset(),
            ClientOrder::Halt => {
                self.halt.store(true, Ordering::Relaxed);
                self.canceller.cancel();
            }
            ClientOrder::Release(count) => {
                let mut held = self.held();
                let count = held.len().min(count);
                let released: Vec<_> = held.drain(..count).collect();
                drop(held);
                drop(released);
            }
            // The frames have not changed since they were received.
            ClientOrder::CheckHeld => self.held().iter().for_each(check),
            ClientOrder::Progress => {
                return Some(
                    answer
                        .with("frames", self.frames.load(Ordering::Relaxed))
                        .with("next", self.next.load(Ordering::Relaxed))
                        .with("missed", self.missed.load(Ordering::Relaxed))
                        .with("connects", self.connects.load(Ordering::Relaxed)),
                );
            }
            ClientOrder::Fork => return Some(fork()),
            _ => return None,
        }
        Some(answer)
    }

    fn held(&self) -> MutexGuard<'_, Vec<Frame>> {
        self.held
            .lock()
            .expect("no thread panics while it holds the lock")
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
    fn obey(&mut self, order: &ClientOrder) -> Result<Line> {
        match order {
            ClientOrder::Connect => self.connect()?,
            ClientOrder::Disconnect => self.subscriber = None,
            ClientOrder::Receive(frames) => return self.receive(frames),
            ClientOrder::Look(count) => self.look(*count)?,
            ClientOrder::Time(frames) => return timed::receive(self.subscriber(), frames),
            ClientOrder::Hold(count) => self.hold(*count)?,
            ClientOrder::Request(wanted) => return self.request(wanted),
            ClientOrder::Run { linger_us } => self.run(*linger_us)?,
            ClientOrder::ForkAndDrop => {
                return Ok(Line::default().with("well", self.fork_and_drop()));
            }
            ClientOrder::Cycle(count) => {
                for _ in 0..*count {
                    self.connect()?;
                    let frame = self.subscriber().receive(None)?;
                    check(&frame);
                    drop(frame);
                    self.subscriber = None;
                }
            }
            order => unreachable!("{order:?} is obeyed at once"),
        }
        Ok(Line::default())
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

    fn receive(&mut self, frames: &Receive) -> Result<Line> {
        let timeout = frames.timeout_ms.map(Duration::from_millis);
        let work = Duration::from_micros(frames.work_us);
        let shared = self.shared.clone();
        println!("begun");
        let mut first = None;
        let mut missed = 0;
        let mut faults = page_faults();
        for done in 0..frames.count {
            if done == frames.warm_up {
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
        Ok(Line::default()
            .with("count", frames.count)
            .with("first", first.unwrap_or(0))
            .with("next", shared.next.load(Ordering::Relaxed))
            .with("missed", missed)
            .with("starved", self.subscriber().starved())
            .with("faults", faults))
    }

    fn look(&mut self, count: u64) -> Result<()> {
        let shared = self.shared.clone();
        println!("begun");
        for _ in 0..count {
            let frame = loop {
                match self.subscriber().receive(Some(Duration::ZERO)) {
                    Err(Error::TimedOut) => std::hint::spin_loop(),
                    other => break other?,
                }
            };
            shared.note(&frame);
        }
        Ok(())
    }

    fn hold(&mut self, count: u64) -> Result<()> {
        let shared = self.shared.clone();
        for _ in 0..count {
            let frame = self.subscriber().receive(None)?;
            shared.note(&frame);
            shared.held().push(frame);
        }
        Ok(())
    }

    fn request(&mut self, wanted: &Request) -> Result<Line> {
        let (least, most) = wanted.granted.unwrap_or((wanted.backlog, wanted.backlog));
        let wanted = Quota {
            leases: wanted.leases,
            backlog: wanted.backlog,
        };
        self.subscriber().upstream().request(wanted)?;
        until("the quota is granted", || {
            let has = self.subscriber().granted().quota;
            has.leases == wanted.leases && has.backlog >= least && has.backlog <= most
        });
        let grant = self.subscriber().granted();
        Ok(Line::default()
            .with("leases", grant.quota.leases)
            .with("backlog", grant.quota.backlog)
            .with("most", grant.most))
    }

    fn fork_and_drop(&mut self) -> bool {
        in_child(|| {
            let received = self.subscriber().receive(Some(Duration::ZERO));
            let held = std::mem::take(&mut *self.shared.held());
            drop(held);
            self.subscriber = None;
            matches!(received, Err(Error::Forked)) && self.connect().is_ok()
        })
    }

    fn run(&mut self, linger: u64) -> Result<()> {
        let shared = self.shared.clone();
        let use_up = |frame: Frame| {
            shared.note(&frame);
            let chance = mix(frame.seq() ^ u64::from(std::process::id()));
            if chance.is_multiple_of(256) && linger > 0 {
                std::thread::sleep(Duration::from_micros(chance / 256 % linger));
            }
            check(&frame);
        };
        shared.halt.store(false, Ordering::Relaxed);
        println!("begun");
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
                    return Ok(());
                }
                Err(error) if error.is_retryable() => self.subscriber = None,
                Err(error) => return Err(error),
            }
        }
    }
}
