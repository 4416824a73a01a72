//! Floor 4: a client's end of a channel.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::callback;
use crate::cancel::{Cancellation, Canceller};
use crate::error::kind::ErrorKind;
use crate::error::{Error, Result};
use crate::event::pending::MAX_EVENTS;
use crate::event::{EventKind, StreamEvent};
use crate::frame::Frame;
use crate::lease::Claim;
use crate::link::{End, Link};
use crate::message::Delivery;
use crate::meta::FLAG_EXTRA_SPILLED;
use crate::quota::Grant;
use crate::segment::{SPILL_SIZE, read_location};
use crate::sys::clock::Deadline;
use crate::sys::futex;

mod announced;
pub(crate) mod builder;
mod control;
pub(crate) mod pending;
mod preparing;
mod readiness;
mod upstream;

use pending::{Announcement, Pending, check};
use readiness::{Look, Readiness};
pub use upstream::UpstreamSender;

/// How often a client looks before it sleeps: a few microseconds, less than falling asleep and
/// waking up take.
const SPINS: u32 = 50;

/// A client's end of a channel: receives frames and what is said between them.
///
/// One thread at a time receives. Frames can go to other threads and outlive the subscriber.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use xmem_core::{Delivery, Error, Item};
/// # use xmem_core::{Channel, Publisher, Subscriber};
/// # fn main() -> xmem_core::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let channel = Channel::path(directory.path().join("cam0.sock"));
/// # let publisher = Publisher::builder(channel.clone()).open()?;
/// // Waits for a producer, 5 s by default.
/// let mut subscriber = Subscriber::builder(channel)
///     .name("viewer")
///     .leases(8)
///     .delivery(Delivery::InOrder)
///     .connect()?;
/// # publisher.set_format("text")?;
/// # publisher.acquire(5)?.publish()?;
/// # publisher.end_stream();
/// loop {
///     match subscriber.receive_item(Some(Duration::from_secs(1))) {
///         Ok(Item::Frame(frame)) => println!("frame {}: {:?}", frame.seq(), frame.meta()),
///         Ok(Item::Event(event)) => println!("{}", event.kind().name()),
///         Err(Error::EndOfStream) => break,
///         Err(error) => return Err(error),
///         Ok(_) => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Subscriber {
    link: Arc<Link>,
    delivery: Delivery,
    /// The position at which this client has joined.
    first: u64,
    /// The position of the next frame.
    cursor: u64,
    /// Frames missed so far, and how many of them a frame has told of.
    missed: u64,
    noted: u64,
    /// A leased frame that is not complete: something before it has to be received, or something of
    /// it was not announced yet.
    pending: Option<Pending>,
    /// The end of stream that was reported last.
    end_told: Option<u64>,
    /// The format that was received last.
    format: Option<Arc<[u8]>>,
    /// Flushes that were told when something was received last.
    flushes: u64,
    starved: u64,
    on_starved: Option<Arc<dyn Fn() + Send + Sync>>,
    canceller: Canceller,
    /// Where an event loop waits for this client.
    readiness: Option<Readiness>,
    thread: Option<JoinHandle<()>>,
}

const _: () = {
    const fn send<T: Send>() {}
    send::<Subscriber>();
};

/// What the producer said or published.
#[derive(Debug)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are frames, and a box would be an allocation for each"
)]
pub enum Item {
    /// A frame.
    Frame(Frame),
    /// Something between the frames.
    Event(StreamEvent),
}

/// Why there is no frame now.
enum Nothing {
    /// Nothing more was published.
    Empty,
    /// Every lease is out.
    Starved,
    /// The frame's segment, or an event before it, is not known yet.
    Unannounced,
    /// The frame was given up; the next may be there.
    Skipped,
}

impl Subscriber {
    /// The next frame. Waits for it at most `timeout`, without a limit with `None`; while every lease is
    /// out, it waits for a [`Frame`] to be dropped. Events are passed over, but for the format, which
    /// each [`Frame`] has.
    ///
    /// What was published before an end of stream, a stop or a crash is received first.
    ///
    /// # Errors
    /// [`Error::TimedOut`]; [`Error::Starved`] where every lease was out meanwhile;
    /// [`Error::Cancelled`]; [`Error::Forked`]; [`Error::EndOfStream`] once, then what comes
    /// after it, if anything; [`Error::Stopped`] or [`Error::Disconnected`] when the producer is
    /// gone: connect again; [`Error::Protocol`] when it lies.
    pub fn receive(&mut self, timeout: Option<Duration>) -> Result<Frame> {
        let deadline = Deadline::after(timeout);
        let mut passed_over = 0;
        let canceller = self.canceller.clone();
        loop {
            let cancel = canceller.begin()?;
            if let Item::Frame(frame) = self.receive_until(deadline, &cancel)? {
                return Ok(frame);
            }
            passed_over += 1;
            // A frame that is there by the deadline is received, whatever comes before it. But a
            // producer that goes on and on with events does not put the deadline off.
            if passed_over >= MAX_EVENTS && deadline.has_passed() {
                return Err(Error::TimedOut);
            }
        }
    }

    /// The next frame or event, in the order of the stream; else as [`receive`](Subscriber::receive).
    ///
    /// # Errors
    /// As `receive`.
    pub fn receive_item(&mut self, timeout: Option<Duration>) -> Result<Item> {
        let canceller = self.canceller.clone();
        self.receive_until(Deadline::after(timeout), &canceller.begin()?)
    }

    /// The next frame or event if it is there; `None` where there is nothing, or every lease is out. It
    /// never waits.
    ///
    /// # Errors
    /// As [`receive`](Subscriber::receive), but for the time-out.
    pub fn try_receive(&mut self) -> Result<Option<Item>> {
        // Before the look: what comes from here on makes the descriptor readable.
        let look = Look::new(&self.link);
        match self.receive_item(Some(Duration::ZERO)) {
            Ok(item) => Ok(Some(item)),
            Err(error @ (Error::TimedOut | Error::Starved { .. })) => {
                if let Some(readiness) = &self.readiness {
                    // A frame that is there waits for a lease, or for what was said before it.
                    let lacks_frame = error.kind() == ErrorKind::TimedOut && self.pending.is_none();
                    readiness.sleep(look, lacks_frame.then_some(self.cursor));
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// A descriptor for `poll`, `epoll` and event loops (tokio, asyncio, GLib): readable while
    /// [`try_receive`](Subscriber::try_receive) may return something, an error included. When it is
    /// readable, call that until it returns `None`, which makes it unreadable. Don't read from it.
    ///
    /// The first call starts a thread, which sleeps in the place of the receiving one and costs a frame
    /// three system calls and a switch of threads. Without a call it costs nothing. The descriptor is a
    /// duplicate that belongs to the caller.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] without a descriptor or a thread.
    ///
    /// # Examples
    ///
    /// ```
    /// # use xmem_core::{Channel, Item, Publisher, Subscriber};
    /// # use rustix::event::{PollFd, PollFlags, poll};
    /// # fn main() -> xmem_core::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let channel = Channel::path(directory.path().join("loop.sock"));
    /// # let publisher = Publisher::builder(channel.clone()).open()?;
    /// # let mut subscriber = Subscriber::builder(channel).connect()?;
    /// # publisher.acquire(1)?.publish()?;
    /// let fd = subscriber.poll_fd()?;
    /// let frame = 'received: loop {
    ///     poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
    ///     while let Some(item) = subscriber.try_receive()? {
    ///         if let Item::Frame(frame) = item {
    ///             break 'received frame;
    ///         }
    ///     }
    /// };
    /// assert_eq!(frame.seq(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn poll_fd(&mut self) -> Result<OwnedFd> {
        let readiness = match self.readiness.take() {
            Some(readiness) => readiness,
            None => Readiness::new(&self.link)?,
        };
        self.readiness.insert(readiness).fd()
    }

    /// As [`receive_item`](Subscriber::receive_item); `cancel` ends the wait.
    ///
    /// # Errors
    /// As `receive`.
    pub fn receive_item_cancellable(
        &mut self,
        timeout: Option<Duration>,
        cancel: &Cancellation<'_>,
    ) -> Result<Item> {
        self.receive_until(Deadline::after(timeout), cancel)
    }

    fn receive_until(&mut self, deadline: Deadline, cancel: &Cancellation<'_>) -> Result<Item> {
        if let Some(readiness) = &self.readiness {
            readiness.rest();
        }
        let (mut again, mut starving) = (false, false);
        loop {
            let cancelled = cancel.wait()?;
            if std::mem::replace(&mut again, true) && deadline.has_passed() {
                return Err(if starving && self.free_leases() == 0 {
                    self.starved_error()
                } else {
                    Error::TimedOut
                });
            }
            // Before every look: what comes from here on ends the sleep.
            let seen = self.link.wake_word.snapshot();
            let wake = self.link.page.words().wake_value();
            self.link.check()?;
            let nothing = match self.attempt()? {
                Ok(item) => return Ok(item),
                Err(nothing) => nothing,
            };
            match nothing {
                Nothing::Empty => {
                    let end = {
                        let session = self.link.session();
                        let end = session.end.as_ref();
                        end.map(|end| (end.error(), *end == End::Stopped))
                    };
                    if let Some((error, has_told_all)) = end {
                        // Told after the last frame: look once more, in that order.
                        if self.cursor < self.link.metadata.words().head() {
                            continue;
                        }
                        // A producer that was killed may not have told all.
                        let end = self.link.metadata.words().end();
                        let is_due = end.is_some_and(|end| end <= self.cursor);
                        if !has_told_all && is_due && end != self.end_told {
                            self.end_told = end;
                            return Err(Error::EndOfStream);
                        }
                        return Err(error);
                    }
                    if self.spin() {
                        continue;
                    }
                    if deadline.has_passed() {
                        // Nor does the producer have to wake a client that only looks.
                        return Err(Error::TimedOut);
                    }
                    let page = self.link.page.words();
                    let channel_words = self.link.metadata.words();
                    if channel_words.prepare_sleep(&page, self.cursor) {
                        let published = futex::shared(page.wake, wake);
                        let signal = self.link.wake_word.since(seen);
                        let waited = futex::wait_any(&[published, signal, cancelled], deadline);
                        page.finish_sleep();
                        waited?;
                    }
                }
                Nothing::Starved => {
                    if !std::mem::replace(&mut starving, true) {
                        self.starved += 1;
                        if let Some(observer) = &self.on_starved {
                            callback::call("on_starved", || observer()).map_err(|reason| {
                                self.link.finish(End::Failed(reason.clone()));
                                Error::Failed(reason)
                            })?;
                        }
                    }
                    let signal = self.link.wake_word.since(seen);
                    futex::wait_any(&[signal, cancelled], deadline).map_err(
                        |error| match error {
                            Error::TimedOut => self.starved_error(),
                            other => other,
                        },
                    )?;
                }
                Nothing::Unannounced => {
                    let ended = self.link.session().end.is_some();
                    if ended {
                        // What is not announced by now never will be; look once more, in that order.
                        match self.attempt()? {
                            Ok(item) => return Ok(item),
                            Err(Nothing::Unannounced) => self.give_up_pending(),
                            Err(_) => {}
                        }
                        continue;
                    }
                    futex::wait_any(&[self.link.wake_word.since(seen), cancelled], deadline)?;
                }
                Nothing::Skipped => {}
            }
        }
    }

    /// The position of the first frame that this client could receive.
    pub fn first_position(&self) -> u64 {
        self.first
    }

    /// Passes over all frames that were published so far. They do not count as missed; what was said
    /// between them is still received.
    pub fn skip(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.link.release(pending.lease);
        }
        self.cursor = self.cursor.max(self.link.metadata.words().head());
        self.moved();
    }

    /// The format of the frame that was received last, or of the next ones where it was received since.
    pub fn format(&self) -> Option<&Arc<[u8]>> {
        self.format.as_ref()
    }

    /// Frames missed so far: they were gone before they could be received.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Whether a frame was published after the one that was received last.
    pub fn has_next(&self) -> bool {
        self.pending.is_some() || self.link.metadata.words().head() > self.cursor
    }

    /// How often `receive` had to wait because every lease was out.
    pub fn starved(&self) -> u64 {
        self.starved
    }

    /// Whether a flush was told since something was received last: then that is void, too.
    pub fn is_flushed(&self) -> bool {
        self.link.session().events.flushes() != self.flushes
    }

    fn starved_error(&self) -> Error {
        let leases = self.granted().quota.leases;
        Error::Starved { leases }
    }

    fn spin(&self) -> bool {
        let channel_words = self.link.metadata.words();
        (0..SPINS).any(|_| {
            std::hint::spin_loop();
            channel_words.head() > self.cursor
        })
    }

    /// Takes the next frame or event if it is there.
    fn attempt(&mut self) -> Result<std::result::Result<Item, Nothing>> {
        self.skip_void();
        if self.pending.is_none()
            && let Err(nothing) = self.claim()?
        {
            let next = match nothing {
                Nothing::Empty => {
                    let mut session = self.link.session();
                    self.flushes = session.events.flushes();
                    session.events.next(self.cursor)
                }
                _ => None,
            };
            return match next {
                Some((event, position)) => self.take_event(event, position).map(Ok),
                None => Ok(Err(nothing)),
            };
        }
        let announced = match self.announced() {
            Ok(Announcement::Complete(announced)) => announced,
            Ok(Announcement::Event(event, position)) => {
                return self.take_event(event, position).map(Ok);
            }
            Ok(Announcement::ToCome) => return Ok(Err(Nothing::Unannounced)),
            Ok(Announcement::Forgotten) => {
                self.give_up_pending();
                return Ok(Err(Nothing::Skipped));
            }
            Ok(Announcement::Void) => {
                self.skip_void();
                return Ok(Err(Nothing::Skipped));
            }
            Err(error) => {
                self.give_up_pending();
                return Err(error);
            }
        };
        let pending = self.pending.take().expect("looked at above");
        if let Err(error) = announced.prepare(&pending.meta) {
            self.link.release(pending.lease);
            self.missed += 1;
            self.link.finish(End::of(error));
            self.link.check()?;
            return Ok(Err(Nothing::Skipped));
        }
        let missed = self.missed - self.noted;
        self.noted = self.missed;
        Ok(Ok(Item::Frame(Frame::new(
            self.link.clone(),
            (pending.lease, pending.id),
            (announced.segment, announced.spilled),
            pending.meta,
            self.format.clone(),
            missed,
        ))))
    }

    /// Passes over what a flush has made void. None of that counts as missed.
    fn skip_void(&mut self) {
        let void = self.link.void();
        if self
            .pending
            .as_ref()
            .is_some_and(|pending| pending.meta.seq < void)
            && let Some(pending) = self.pending.take()
        {
            self.link.release(pending.lease);
        }
        if self.cursor < void {
            self.cursor = void;
            self.moved();
        }
    }

    /// Takes an event in, whose turn has come.
    fn take_event(&mut self, event: StreamEvent, position: u64) -> Result<Item> {
        match event.kind() {
            EventKind::EndOfStream => {
                self.end_told = Some(position);
                return Err(Error::EndOfStream);
            }
            // An equal format stays the same allocation, so that callers can compare addresses.
            EventKind::Format if self.format.as_deref() != Some(event.content()) => {
                self.format = Some(event.content().into());
            }
            _ => {}
        }
        Ok(Item::Event(event))
    }

    /// Leases the next frame there is, as `self.pending`.
    fn claim(&mut self) -> Result<std::result::Result<(), Nothing>> {
        let channel_words = self.link.metadata.words();
        if channel_words.head() <= self.cursor {
            return Ok(Err(Nothing::Empty));
        }
        let Some(lease) = self.link.take_lease() else {
            return Ok(Err(Nothing::Starved));
        };
        let page = self.link.page.words();
        let started_at = self.cursor;
        let mut claimed = None;
        // Bounded, so that a producer that lies does not keep us here.
        for _ in 0..channel_words.ring.len() {
            let head = channel_words.head();
            let first = match self.delivery {
                Delivery::InOrder => head.saturating_sub(channel_words.ring.len() as u64),
                Delivery::Latest => head.saturating_sub(1),
            };
            if self.cursor < first {
                self.missed += first - self.cursor;
                self.cursor = first;
            }
            match channel_words.try_claim(&page, usize::from(lease), self.cursor) {
                Claim::Leased(id) => {
                    claimed = Some(id);
                    break;
                }
                Claim::Empty => break,
                Claim::Lost => {
                    self.missed += 1;
                    self.cursor += 1;
                }
            }
        }
        let Some(id) = claimed else {
            self.link.return_lease(lease);
            if self.cursor != started_at {
                self.moved();
            }
            return Ok(Err(Nothing::Empty));
        };
        let mut meta = self.link.metadata.read_meta(id.slot());
        meta.shift_times(self.link.clock_offset);
        if let Err(error) = check(&meta, self.cursor) {
            self.link.release(lease);
            return Err(error);
        }
        self.missed += meta.seq - self.cursor;
        self.cursor = meta.seq + 1;
        let spilled = (meta.flags & FLAG_EXTRA_SPILLED != 0).then(|| {
            let mut location = [0; SPILL_SIZE];
            self.link.metadata.read_extra(id.slot(), &mut location);
            read_location(&location)
        });
        self.pending = Some(Pending {
            lease,
            id,
            meta,
            spilled,
        });
        self.moved();
        Ok(Ok(()))
    }

    /// Makes the cursor and the count of missed frames known to the producer.
    fn moved(&self) {
        self.link
            .page
            .words()
            .missed
            .store(self.missed, std::sync::atomic::Ordering::Relaxed);
        self.link.pass(self.cursor);
    }

    /// How many times the producer had flushed when something was received last: two items with the
    /// same number have no flush between them.
    pub fn flushes(&self) -> u64 {
        self.flushes
    }

    /// Nanoseconds that this process's `CLOCK_MONOTONIC` is ahead of the producer's: 0, unless they
    /// are in different time namespaces. The records of frames are corrected for it; what is said
    /// in events is for the application to correct.
    pub fn clock_offset(&self) -> i64 {
        self.link.clock_offset
    }

    /// The user that the producer runs as. Trust the producer as far as that user, and no further.
    pub fn producer_uid(&self) -> u32 {
        self.link.producer_uid
    }

    /// What the producer has granted of what was [asked for](UpstreamSender::request).
    pub fn granted(&self) -> Grant {
        self.link.granted()
    }

    /// Leases that are not out: so many frames more can be held.
    pub fn free_leases(&self) -> u32 {
        self.link.free_leases()
    }

    /// Frames published that were not received yet.
    pub fn lag(&self) -> u64 {
        let head = self.link.metadata.words().head();
        head.saturating_sub(self.cursor)
    }

    /// What speaks to the producer, from any thread.
    pub fn upstream(&self) -> UpstreamSender {
        UpstreamSender::new(&self.link)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // It sleeps on the words of this client.
        self.readiness = None;
        self.give_up_pending();
        // No writer waits for a client that receives no more, though frames of ours may still be held.
        self.link.pass(u64::MAX);
        let is_over = self.link.abandon();
        if let Some(thread) = self.thread.take()
            && is_over
        {
            // It never waits for the peer, so this is short.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscriber")
            .field("cursor", &self.cursor)
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}
