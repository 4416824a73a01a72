//! Floor 3: the pool behind its lock, and everything that waits: growing, blocking, waking.
//!
//! The lock is held for bookkeeping only. No memory is made, no wait and no system call happens
//! under it.

use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use crate::callback::{self, Failure};
use crate::clients::ClientId;
use crate::error::{Error, Refusal, Result};
use crate::event::{EventKind, MAX_EVENT};
use crate::lease::{ClientWords, SlotIndex};
use crate::message::MAX_INLINE_EVENT;
use crate::meta::{BufferMeta, FLAG_EXTRA_SPILLED, FLAGS_RESERVED, FLAGS_ROLE};
use crate::pool::{Limits, Place, Pool};
use crate::segment::{LeasePage, MetadataSegment, PayloadSegment};
use crate::sys::clock::{self, Deadline};
use crate::sys::fork::Origin;
use crate::sys::futex::{self, WakeWord};
use crate::sys::memfd;
use crate::sys::poll::EventFd;
use crate::sys::seals;

mod acquiring;
pub(crate) mod admission;
mod clients;
mod extra;
mod importing;
pub(crate) mod making;
mod sizing;
mod watchers;

use watchers::Watchers;

/// Most clients of a channel: a blocked writer sleeps on a word of each, its own and a canceller's
/// at once.
pub(crate) const MAX_CLIENTS: u32 = (futex::MAX_WORDS - 2) as u32;

/// Longest wait until clients are told of new memory. The control thread never waits for one of them.
const TELLING: Duration = Duration::from_millis(50);

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
        limits: Limits,
        overflow: Overflow,
        name: String,
        observer: Option<Observer>,
    ) -> Result<Arc<Writer>> {
        let metadata = Arc::new(metadata);
        let blocking = overflow != Overflow::DropOldest;
        Ok(Arc::new(Writer {
            pool: Mutex::new(Pool::new(metadata.clone(), limits, blocking)),
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

    /// Nothing that runs under the lock leaves the pool half changed when it panics.
    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
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
        {
            let mut pool = self.pool();
            if std::mem::replace(&mut pool.closed, true) {
                return;
            }
            pool.retire_imported();
        }
        self.give_back();
        self.wake_word.signal();
        self.event_fd.notify();
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
        self.await_receipt();
        {
            let mut pool = self.pool();
            pool.closed = true;
            pool.retire_imported();
        }
        self.give_back();
        self.wake_word.signal();
        self.event_fd.notify();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.pool().closed
    }

    /// Waits until something happens here, at most so long.
    pub(crate) fn wait_for_event(&self, time: Duration) {
        let signal = self.wake_word.since(self.wake_word.snapshot());
        if !self.is_closed() {
            let _ = futex::wait_any(&[signal], Deadline::after(Some(time)));
        }
    }

    // ---- frames

    /// Publishes a slot whose payload and extra are written. Returns the frame's position.
    pub(crate) fn publish(
        &self,
        index: SlotIndex,
        spill: &mut Option<Place>,
        meta: &mut BufferMeta,
    ) -> Result<u64> {
        self.check_origin()?;
        meta.flags &= !FLAGS_RESERVED | FLAGS_ROLE;
        if spill.is_some() {
            meta.flags |= FLAG_EXTRA_SPILLED;
        }
        meta.timestamp = clock::unix_milliseconds();
        if meta.producer[0] == 0 {
            meta.set_producer(&self.name);
        }
        let (position, is_other_need, sleepers) = {
            let mut pool = self.pool();
            if pool.is_untold(index, spill.as_ref()) {
                drop(pool);
                self.await_telling(index, spill.as_ref());
                pool = self.pool();
            }
            if pool.closed {
                return Err(self.failure.error());
            }
            pool.check_memory(index)?;
            let mut sleepers = std::mem::take(&mut pool.sleepers);
            let (position, is_other_need) = pool.publish(index, spill.take(), meta, &mut sleepers);
            if sleepers.is_empty() {
                pool.sleepers = std::mem::take(&mut sleepers);
            }
            (position, is_other_need, sleepers)
        };
        if !sleepers.is_empty() {
            self.wake(sleepers);
        }
        if is_other_need {
            // The control thread makes the slots.
            self.event_fd.notify();
        }
        Ok(position)
    }

    /// Waits until the control thread has told clients of the memory that a frame is in: where this
    /// process is killed before, the frame is lost. It is told of new memory as soon as that is made, so
    /// as a rule that is over when the frame is written.
    #[cold]
    fn await_telling(&self, index: SlotIndex, spill: Option<&Place>) {
        let deadline = Deadline::after(Some(TELLING));
        loop {
            let signal = self.wake_word.since(self.wake_word.snapshot());
            {
                let pool = self.pool();
                if pool.closed || !pool.is_untold(index, spill) {
                    return;
                }
            }
            if futex::wait_any(&[signal], deadline).is_err() {
                self.pool().give_up_telling();
                return;
            }
        }
    }

    /// The control thread has told clients of these segments.
    pub(crate) fn note_told(&self, segments: &[Arc<PayloadSegment>]) {
        let had_untold = {
            let mut pool = self.pool();
            let had_untold = pool.has_untold();
            pool.note_told(segments);
            had_untold
        };
        if had_untold {
            self.wake_word.signal();
        }
    }

    /// Wakes clients, each by a word that it shares with this process alone, two in a call.
    fn wake(&self, mut sleepers: Vec<(ClientId, Arc<LeasePage>)>) {
        const MISUSED: &str = "it uses the word that it is woken by for another kind of futex";
        let mut misused = Vec::new();
        for some in sleepers.chunks(2) {
            if let [(_, one), (_, other)] = some
                && wake_both(&one.words(), &other.words()).is_ok()
            {
                continue;
            }
            // The last one; or the kernel has refused to wake one of two, and may have woken neither.
            for (id, page) in some {
                let page = page.words();
                page.end_sleep();
                if futex::wake_one(page.wake).is_err() {
                    misused.push((*id, Refusal::violation(MISUSED)));
                }
            }
        }
        sleepers.clear();
        let is_misused = !misused.is_empty();
        {
            let mut pool = self.pool();
            pool.sleepers = sleepers;
            pool.unwanted.append(&mut misused);
        }
        if is_misused {
            // The control thread evicts them.
            self.event_fd.notify();
        }
    }

    pub(crate) fn let_go(&self, index: SlotIndex) {
        if self.check_origin().is_err() {
            return;
        }
        let (dropped, awaited, released) = {
            let mut pool = self.pool();
            pool.let_go(index);
            let released = std::mem::take(&mut pool.released);
            (!pool.gone.is_empty(), pool.waiting_writers > 0, released)
        };
        self.drop_keep_alives(released);
        if dropped {
            self.event_fd.notify();
        }
        if awaited {
            self.wake_word.signal();
        }
    }

    // ---- the stream

    /// Says something before the next frame. What is true already is not said again.
    pub(crate) fn say(&self, kind: EventKind, content: &[u8]) -> Result<()> {
        self.check_origin()?;
        if self.failure.reason().is_some() {
            return Err(self.failure.error());
        }
        Error::check_length("an event", content.len(), MAX_EVENT)?;
        if self.pool().is_said(kind, content) {
            return Ok(());
        }
        let memory = if content.len() > MAX_INLINE_EVENT {
            Some(event_memory(content)?)
        } else {
            None
        };
        {
            let mut pool = self.pool();
            pool.say(kind, content.into(), memory);
            if kind == EventKind::EndOfStream {
                self.metadata.words().end_stream(pool.head());
            }
        }
        self.event_fd.notify();
        Ok(())
    }
}

/// Wakes two clients at once.
fn wake_both(one: &ClientWords<'_>, other: &ClientWords<'_>) -> std::result::Result<(), Errno> {
    one.end_sleep();
    let value = other.end_sleep();
    futex::wake_both(one.wake, (other.wake, value))
}

/// What clients read an event from. Made once, when it is said: want of memory is the producer's
/// to know, and no reason to evict a client.
fn event_memory(content: &[u8]) -> Result<OwnedFd> {
    let (fd, mapping) = memfd::create("xmem-event", content.len(), seals::producer_seals())?;
    mapping.write(0, content);
    memfd::reopen_read_only(fd)
}
