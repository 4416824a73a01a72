//! Floor 4: a client's end of a channel.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cancel::{Cancellation, Canceller};
use crate::error::kind::ErrorKind;
use crate::error::{Error, Result};
use crate::event::StreamEvent;
use crate::event::pending::MAX_EVENTS;
use crate::frame::Frame;
use crate::link::Link;
use crate::message::Delivery;
use crate::quota::Grant;
use crate::sys::clock::Deadline;

mod announced;
pub(crate) mod builder;
mod control;
mod handshake;
pub(crate) mod pending;
mod preparing;
mod readiness;
mod receiving;
mod step;
mod upstream;

use pending::Pending;
use readiness::{Look, Readiness};
pub use upstream::UpstreamSender;

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
