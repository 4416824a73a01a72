//! Floor 4: how a subscriber is set up and connected.

use std::sync::Arc;
use std::time::Duration;

use super::{Subscriber, control, handshake};
use crate::callback;
use crate::cancel::{Cancellation, Canceller};
use crate::channel::Channel;
use crate::error::{Error, Result, Setting};
use crate::event::StreamEvent;
use crate::link::Link;
use crate::message::{Delivery, Hello};
use crate::quota::Grant;
use crate::segment::{MAX_LEASES, MAX_SLOTS, Takes};
use crate::sys::clock::Deadline;
use crate::sys::pidfd;

/// Between two tries to connect where a producer refuses, or this process lacks something.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// The pause before the next try if a producer has closed the connection before it sent anything,
/// except after the first time: it may have ended just then, or close every connection.
const HUNG_UP_PAUSE: Duration = Duration::from_millis(20);

/// Whose memory a client takes that other processes may write or punch holes into: memfds without
/// `F_SEAL_WRITE` or `F_SEAL_FUTURE_WRITE`, and dmabufs.
///
/// A process that does that can make a client's read of a frame wait, or have the client killed for
/// the memory that it needs. One of the same user can do so in other ways, too. While a client
/// does not take such memory, a producer has to copy the frames that are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum UnsealedMemory {
    /// Taken from producers of the same user as this process.
    #[default]
    OwnUser,
    /// Taken from every producer.
    Always,
    /// Taken from none.
    Never,
}

impl UnsealedMemory {
    /// Whether it is taken from a producer of this user.
    fn is_taken_from(self, uid: u32) -> bool {
        match self {
            UnsealedMemory::OwnUser => pidfd::is_own_user(uid),
            UnsealedMemory::Always => true,
            UnsealedMemory::Never => false,
        }
    }
}

/// Is told why a connection is not made yet.
type OnRefused = Arc<dyn Fn(&Error) + Send + Sync>;

impl Subscriber {
    /// Settings for a subscriber to a channel.
    pub fn builder(channel: Channel) -> SubscriberBuilder {
        SubscriberBuilder::new(channel)
    }
}

/// The settings of a [`Subscriber`]: [`connect`](SubscriberBuilder::connect) makes it.
#[derive(Clone)]
#[must_use = "a builder does nothing until connect is called"]
pub struct SubscriberBuilder {
    channel: Channel,
    name: String,
    leases: u32,
    first_backlog: u32,
    delivery: Delivery,
    unsealed_memory: UnsealedMemory,
    device_memory: bool,
    timeout: Option<Duration>,
    retry_refused: bool,
    canceller: Option<Canceller>,
    on_starved: Option<Arc<dyn Fn() + Send + Sync>>,
    on_refused: Option<OnRefused>,
    observers: control::Observers,
}

impl SubscriberBuilder {
    /// The defaults.
    fn new(channel: Channel) -> SubscriberBuilder {
        SubscriberBuilder {
            channel,
            name: String::new(),
            leases: 4,
            first_backlog: 0,
            delivery: Delivery::default(),
            unsealed_memory: UnsealedMemory::default(),
            device_memory: cfg!(feature = "cuda"),
            timeout: Some(Duration::from_secs(5)),
            retry_refused: false,
            canceller: None,
            on_starved: None,
            on_refused: None,
            observers: control::Observers::default(),
        }
    }

    /// What the producer's stats call this client; at most 32 bytes.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Frames that can be held at once, 4 by default, at most 64. The producer keeps as many
    /// slots more for this client.
    pub fn leases(mut self, leases: u32) -> Self {
        self.leases = leases;
        self
    }

    /// How many frames the producer keeps for this client until that [asks](crate::UpstreamSender::request)
    /// for a quota, if they take no more than 2 MiB: a client that has yet to learn how fast and how
    /// large frames are misses none of a first burst. As many as `leases` by default.
    pub fn first_backlog(mut self, frames: u32) -> Self {
        self.first_backlog = frames.min(MAX_SLOTS);
        self
    }

    /// Which frames to receive.
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// Whose memory to take that other processes may write: of the same user's producers, by
    /// default.
    pub fn unsealed_memory(mut self, unsealed: UnsealedMemory) -> Self {
        self.unsealed_memory = unsealed;
        self
    }

    /// Whether to take frames in memory of CUDA devices; true by default, in a build with the feature `cuda`.
    /// A producer whose frames are in such memory refuses a client that takes none, with the name of the
    /// device ([`Refusal::CudaOnly`](crate::Refusal::CudaOnly)).
    pub fn device_memory(mut self, takes: bool) -> Self {
        self.device_memory = takes && cfg!(feature = "cuda");
        self
    }

    /// How long to wait for a producer, 5 s by default; `None` is without a limit.
    pub fn connect_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether to ask again, within the time-out of connecting, where the producer refuses for
    /// something that may change (it has its `max-clients`, or no memory left), or where this
    /// process has no memory or no descriptors left. False by default.
    pub fn retry_refused(mut self, retry: bool) -> Self {
        self.retry_refused = retry;
        self
    }

    /// Ends the waits of connecting and receiving.
    pub fn canceller(mut self, canceller: Canceller) -> Self {
        self.canceller = Some(canceller);
        self
    }

    /// Is told when `receive` has to wait because every lease is out, on its thread and before it
    /// waits. Should it panic, the connection ends with [`Error::Failed`].
    pub fn on_starved(mut self, observer: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_starved = Some(Arc::new(observer));
        self
    }

    /// Is told why a connection is not made yet, before it is tried again
    /// ([`retry_refused`](SubscriberBuilder::retry_refused)), on the thread that connects, some ten times a
    /// second. Should it panic, connecting ends with [`Error::Failed`].
    pub fn on_refused(mut self, observer: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        self.on_refused = Some(Arc::new(observer));
        self
    }

    /// Is told of urgent events ([`EventKind::Urgent`](crate::EventKind::Urgent) and `Flush`), on a
    /// thread of the connection's own and with no lock held, before any frame that follows can be
    /// received. It must not block. Should it panic, the connection ends with [`Error::Failed`].
    pub fn on_urgent(mut self, observer: impl Fn(StreamEvent) + Send + Sync + 'static) -> Self {
        self.observers.on_urgent = Some(Arc::new(observer));
        self
    }

    /// Is told what the producer grants of what was [asked for](crate::UpstreamSender::request), and when that
    /// changes; as `on_urgent` is.
    pub fn on_granted(mut self, observer: impl Fn(Grant) + Send + Sync + 'static) -> Self {
        self.observers.on_granted = Some(Arc::new(observer));
        self
    }

    /// Connects to the channel's producer; waits for one to appear.
    ///
    /// # Errors
    /// [`Error::NoProducer`] when none did in time, [`Error::NoAnswer`] when it did not answer,
    /// [`Error::Refused`] with its reason,
    /// [`Error::BadPath`] where there can't be one, [`Error::ResourceExhausted`] without memory or
    /// descriptors, [`Error::Cancelled`], [`Error::Protocol`] when it is not an xmem of this
    /// version.
    pub fn connect(self) -> Result<Subscriber> {
        let canceller = match &self.canceller {
            Some(canceller) => canceller.clone(),
            None => Canceller::new(),
        };
        self.connect_with(canceller.clone(), &canceller.begin()?)
    }

    /// As [`connect`](SubscriberBuilder::connect); `cancel` ends the wait.
    ///
    /// # Errors
    /// As `connect`.
    pub fn connect_cancellable(self, cancel: &Cancellation<'_>) -> Result<Subscriber> {
        let canceller = self.canceller.clone().unwrap_or_default();
        self.connect_with(canceller, cancel)
    }

    fn connect_with(self, canceller: Canceller, cancel: &Cancellation<'_>) -> Result<Subscriber> {
        Error::check_setting(Setting::Leases, self.leases.into(), 1..=MAX_LEASES.into())?;
        let (link, position, control) = self.shake_hands(cancel)?;
        let link = Arc::new(link);
        let thread = std::thread::Builder::new()
            .name("xmem-control".into())
            .spawn({
                let link = link.clone();
                move || control.run(&link)
            })
            .map_err(Error::thread)?;
        // An end of stream from before our first frame is none of ours.
        let channel_words = link.metadata.words();
        let end_told = channel_words
            .end()
            .filter(|&end| end <= position && end < channel_words.head());
        Ok(Subscriber {
            link,
            delivery: self.delivery,
            first: position,
            cursor: position,
            missed: 0,
            noted: 0,
            pending: None,
            end_told,
            format: None,
            flushes: 0,
            starved: 0,
            on_starved: self.on_starved,
            canceller,
            readiness: None,
            thread: Some(thread),
        })
    }

    /// Connects; once more, within the time there is, where the producer went away meanwhile.
    fn shake_hands(&self, cancel: &Cancellation<'_>) -> Result<(Link, u64, control::Control)> {
        let deadline = Deadline::after(self.timeout);
        let mut reason = None;
        let mut hung_up = false;
        loop {
            let hello = |uid| Hello {
                leases: self.leases,
                backlog: self.first_backlog,
                delivery: self.delivery,
                takes: Takes {
                    unsealed: self.unsealed_memory.is_taken_from(uid),
                    cuda: self.device_memory,
                },
                name: self.name.clone(),
            };
            let observers = self.observers.clone();
            match handshake::connect(&self.channel, hello, deadline, cancel, observers) {
                Err(Error::Disconnected(_) | Error::Stopped) if !deadline.has_passed() => {
                    if std::mem::replace(&mut hung_up, true) {
                        let left = deadline.left().unwrap_or(HUNG_UP_PAUSE);
                        cancel.pause(HUNG_UP_PAUSE.min(left))?;
                    }
                }
                Err(error @ (Error::Refused(_) | Error::ResourceExhausted { .. }))
                    if self.retry_refused && error.is_retryable() && !deadline.has_passed() =>
                {
                    if let Some(observer) = &self.on_refused {
                        callback::call("on_refused", || observer(&error)).map_err(Error::Failed)?;
                    }
                    reason = Some(error);
                    // Nothing tells when there is room.
                    let left = deadline.left().unwrap_or(REFUSED_PAUSE);
                    cancel.pause(REFUSED_PAUSE.min(left))?;
                }
                Err(Error::NoProducer { path, .. }) => {
                    let waited = self.timeout.unwrap_or(Duration::MAX);
                    return Err(Error::NoProducer { path, waited });
                }
                Err(Error::NoAnswer { path, .. }) => {
                    let waited = self.timeout.unwrap_or(Duration::MAX);
                    // The last try came at the end of the time: what the others came to says more.
                    return Err(reason.unwrap_or(Error::NoAnswer { path, waited }));
                }
                other => return other,
            }
        }
    }
}
