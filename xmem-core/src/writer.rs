//! Floor 3: the pool behind its lock, and everything that waits: growing, blocking, waking.
//!
//! The lock is held for bookkeeping only. No memory is made, no wait and no system call happens
//! under it.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::callback::{self, Failure};
use crate::clients::ClientId;
use crate::cuda::completion::Completions;
use crate::error::{Error, Refusal, Result};
use crate::event::{EventKind, MAX_EVENT};
use crate::message::MAX_INLINE_EVENT;
use crate::pool::{KeepAlive, Limits, Pool};
use crate::segment::{MetadataSegment, Storage};
use crate::sys::clock::Deadline;
use crate::sys::fork::Origin;
use crate::sys::futex::{self, WakeWord};
use crate::sys::memfd;
use crate::sys::poll::EventFd;
use crate::sys::seals;

mod acquiring;
pub(crate) mod admission;
mod clients;
mod extra;
mod growing;
mod importing;
pub(crate) mod making;
mod outbox;
pub(crate) mod outgoing;
mod publishing;
mod sizing;
mod watchers;

use outgoing::Outgoing;
use watchers::Watchers;

/// Most clients of a channel: a blocked writer sleeps on a word of each, its own and a canceller's
/// at once.
pub(crate) const MAX_CLIENTS: u32 = (futex::MAX_WORDS - 2) as u32;

/// What the writer does when every slot holds a frame that some client has yet to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// Takes the oldest frame's slot. The writer never waits; slow clients miss frames, and know.
    #[default]
    DropOldest,
    /// Waits until every in-order client has received that frame, for as long as each of them makes
    /// progress: it receives a frame, or gives one back. A client that makes none for `timeout` is
    /// treated as with [`Overflow::DropOldest`] until it has caught up.
    Block {
        /// Longest wait for a client without progress.
        timeout: Duration,
    },
}

/// What happens on a channel, told to [`PublisherBuilder::on_event`](crate::PublisherBuilder::on_event).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublisherEvent {
    /// A client can receive frames from now on.
    ClientConnected(ClientId),
    /// A client is gone: left, crashed or killed.
    ClientDisconnected(ClientId),
    /// A peer was not taken as a client.
    ClientRefused {
        /// Its process, `None` where it can't be seen from here.
        pid: Option<u32>,
        /// What it was told.
        reason: Refusal,
    },
    /// With [`Overflow::Block`]: a client made no progress for too long, and the writer goes on
    /// without it.
    ClientLagging {
        /// Which one.
        client: ClientId,
        /// How long the writer saw no progress of it.
        stalled: Duration,
        /// Frames that it holds.
        held: u32,
        /// Frames that it has yet to receive.
        behind: u64,
    },
    /// A lagging client has received everything and is waited for again.
    ClientCaughtUp(ClientId),
    /// A client says something to the producer: bytes of another process, at most 32 KiB. Of one
    /// client there are at most 100 a second, and 64 at once.
    Upstream {
        /// Which client says it.
        client: ClientId,
        /// The user that it runs as.
        uid: u32,
        /// What it says.
        content: Vec<u8>,
    },
}

pub(crate) type Observer = Box<dyn Fn(PublisherEvent) + Send + Sync>;

/// The producer's end of a channel, but for its control thread.
pub(crate) struct Writer {
    pub(crate) metadata: Arc<MetadataSegment>,
    pool: Mutex<Pool>,
    /// What is published or said when the device has done the work before it.
    outbox: Completions<Outgoing>,
    /// Frames that were given up there.
    pub(crate) unpublished: AtomicU64,
    /// Held while slots are made, so that two threads don't both make what is missing once.
    growing: Mutex<()>,
    /// Slots that the control thread is making.
    coming: Arc<AtomicU32>,
    /// Signalled when a slot came back, a client came or went, or the channel was closed.
    wake_word: Arc<WakeWord>,
    watchers: Watchers,
    /// Rings when the control thread has something to tell clients or to drop.
    pub(crate) event_fd: EventFd,
    overflow: Overflow,
    name: String,
    observer: Option<Observer>,
    /// Why the channel was closed, where it has failed.
    pub(crate) failure: Arc<Failure>,
    origin: Origin,
}

impl Writer {
    pub(crate) fn new(
        metadata: MetadataSegment,
        storage: Storage,
        limits: Limits,
        overflow: Overflow,
        name: String,
        observer: Option<Observer>,
    ) -> Result<Arc<Writer>> {
        let metadata = Arc::new(metadata);
        let blocking = overflow != Overflow::DropOldest;
        Ok(Arc::new(Writer {
            pool: Mutex::new(Pool::new(metadata.clone(), limits, blocking, storage)),
            outbox: Completions::default(),
            unpublished: AtomicU64::new(0),
            metadata,
            growing: Mutex::new(()),
            coming: Arc::default(),
            wake_word: Arc::default(),
            watchers: Watchers::default(),
            event_fd: EventFd::new()?,
            overflow,
            name,
            observer,
            failure: Arc::default(),
            origin: Origin::here(),
        }))
    }

    /// Runs `work` with the pool, under its lock. It must not call this again, nor wait.
    ///
    /// What the pool has released meanwhile is dropped here, after the lock: that may run code of the
    /// application. The control thread is told of segments that have gone.
    pub(crate) fn with_pool<T>(&self, work: impl FnOnce(&mut Pool) -> T) -> T {
        let (result, released) = self.locked(work);
        self.drop_released(released);
        result
    }

    /// The same, but what was released is returned.
    fn locked<T>(&self, work: impl FnOnce(&mut Pool) -> T) -> (T, Vec<KeepAlive>) {
        let (result, released, has_gone) = {
            // Nothing that runs under the lock leaves the pool half changed when it panics.
            let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
            let gone = pool.gone.len();
            let result = work(&mut pool);
            (result, pool.take_released(), pool.gone.len() > gone)
        };
        if has_gone {
            self.event_fd.notify();
        }
        (result, released)
    }

    /// Drops what has kept bytes that no client can read any more.
    fn drop_released(&self, released: Vec<KeepAlive>) {
        if released.is_empty() {
            return;
        }
        drop(released);
        if let Some(reason) = self.failure.reason() {
            // Giving memory back has failed.
            self.fail(reason.into());
        }
        self.with_pool(Pool::forget_unused);
    }

    /// Never called under a lock.
    pub(crate) fn tell(&self, event: PublisherEvent) {
        let Some(observer) = self
            .observer
            .as_ref()
            .filter(|_| self.failure.reason().is_none())
        else {
            return;
        };
        if let Err(reason) = callback::call("on_event", || observer(event)) {
            self.fail(reason);
        }
    }

    /// Closes the channel, which can't go on.
    pub(crate) fn fail(&self, reason: String) {
        self.failure.note(reason);
        let was_closed = self.with_pool(|pool| {
            let was_closed = std::mem::replace(&mut pool.closed, true);
            if !was_closed {
                pool.retire_ending();
            }
            was_closed
        });
        if !was_closed {
            self.wake_word.signal();
            self.event_fd.notify();
        }
    }

    /// An error in a child that was forked off the process that opened the channel. Its lock may
    /// never be free, and the memory behind it is its parent's to write.
    pub(crate) fn check_origin(&self) -> Result<()> {
        if self.origin.is_here() {
            Ok(())
        } else {
            Err(Error::Forked)
        }
    }

    /// From now on nothing is acquired or published, and the control thread says goodbye.
    pub(crate) fn close(&self) {
        self.close_outbox();
        self.await_receipt();
        self.with_pool(|pool| {
            pool.closed = true;
            pool.retire_ending();
        });
        self.wake_word.signal();
        self.event_fd.notify();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.with_pool(|pool| pool.closed)
    }

    /// Waits until something happens here, at most so long.
    pub(crate) fn wait_for_event(&self, time: Duration) {
        let signal = self.wake_word.since(self.wake_word.snapshot());
        if !self.is_closed() {
            let _ = futex::wait_any(&[signal], Deadline::after(Some(time)));
        }
    }

    /// Says something before the next frame. What is true already is not said again.
    pub(crate) fn say(self: &Arc<Self>, kind: EventKind, content: &[u8]) -> Result<()> {
        self.check_origin()?;
        if self.failure.reason().is_some() {
            return Err(self.failure.error());
        }
        Error::check_length("an event", content.len(), MAX_EVENT)?;
        if self.is_queued(kind, content)? {
            return Ok(());
        }
        self.say_now(kind, content)
    }

    /// Says something before the frame that is published next.
    fn say_now(&self, kind: EventKind, content: &[u8]) -> Result<()> {
        if self.with_pool(|pool| pool.is_said(kind, content)) {
            return Ok(());
        }
        let memory = if content.len() > MAX_INLINE_EVENT {
            Some(event_memory(content)?)
        } else {
            None
        };
        let content: Arc<[u8]> = content.into();
        self.with_pool(|pool| {
            pool.say(kind, content, memory);
            if kind == EventKind::EndOfStream {
                self.metadata.words().end_stream(pool.head());
            }
        });
        self.event_fd.notify();
        Ok(())
    }
}

/// What clients read an event from. Made once, when it is said: want of memory is the producer's
/// to know, and no reason to evict a client.
fn event_memory(content: &[u8]) -> Result<OwnedFd> {
    let (fd, mapping) = memfd::create("xmem-event", content.len(), seals::producer_seals())?;
    mapping.write(0, content);
    memfd::reopen_read_only(fd)
}
