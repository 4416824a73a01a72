//! Floor 3: the pool behind its lock, and everything that waits: growing, blocking, waking.
//!
//! The lock is held for bookkeeping only. No memory is made, no wait and no system call happens
//! under it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cancel::Canceller;
use crate::error::{Error, Result};
use crate::frame::FrameMut;
use crate::lease::SlotIndex;
use crate::message::MAX_FORMAT;
use crate::meta::{BufferMeta, FLAG_EXTRA_SPILLED, FLAGS_RESERVED};
use crate::pool::{Acquired, Client, ClientId, Pool};
use crate::segment::{INLINE_EXTRA, LeasePage, MAX_EXTRA, MetadataSegment, PayloadSegment};
use crate::sys::clock::{self, Deadline};
use crate::sys::futex::{self, Event, Wait};
use crate::sys::poll::Bell;

/// Most clients of a channel: a blocked writer sleeps on a word of each, its own event and a
/// canceller at once.
pub(crate) const MAX_CLIENTS: u32 = (futex::MAX_WORDS - 2) as u32;

/// What the writer does when every slot holds a frame that some client has yet to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Overflow {
    /// Takes the oldest frame's slot. The writer never waits; slow clients miss frames, and know.
    #[default]
    DropOldest,
    /// Waits until every in-order client has received that frame, at most so long. Then who has
    /// not is treated as with [`Overflow::DropOldest`] until it has caught up.
    Block {
        /// Longest wait.
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
        /// Its process, 0 where unknown.
        pid: u32,
        /// What it was told.
        reason: String,
    },
    /// With [`Overflow::Block`]: the writer waited too long for this client and goes on without.
    ClientLapsed(ClientId),
    /// A lapsed client has received everything and is waited for again.
    ClientCaughtUp(ClientId),
}

pub(crate) type Observer = Box<dyn Fn(PublisherEvent) + Send + Sync>;

/// The producer's end of a channel, but for its control thread.
pub(crate) struct Writer {
    pub(crate) metadata: Arc<MetadataSegment>,
    pool: Mutex<Pool>,
    /// Held while slots are made, so that two threads don't both make what is missing once.
    growing: Mutex<()>,
    /// Signalled when a slot came back, a client came or went, or the channel was closed.
    event: Event,
    /// Rings when the control thread has something to tell clients or to drop.
    pub(crate) bell: Bell,
    closed: AtomicBool,
    overflow: Overflow,
    name: String,
    observer: Option<Observer>,
}

impl Writer {
    pub(crate) fn new(
        metadata: MetadataSegment,
        (need, max): (u32, u32),
        overflow: Overflow,
        name: String,
        observer: Option<Observer>,
    ) -> Result<Arc<Writer>> {
        let metadata = Arc::new(metadata);
        Ok(Arc::new(Writer {
            pool: Mutex::new(Pool::new(metadata.clone(), need, max)),
            metadata,
            growing: Mutex::new(()),
            event: Event::default(),
            bell: Bell::new()?,
            closed: AtomicBool::new(false),
            overflow,
            name,
            observer,
        }))
    }

    /// Nothing that runs under the lock leaves the pool half changed when it panics.
    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never called under a lock.
    pub(crate) fn tell(&self, event: PublisherEvent) {
        if let Some(observer) = &self.observer {
            observer(event);
        }
    }

    pub(crate) fn close(&self) -> bool {
        let was_open = !self.closed.swap(true, Ordering::AcqRel);
        self.event.signal();
        self.bell.ring();
        was_open
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn check_open(&self) -> Result<()> {
        match self.is_closed() {
            true => Err(Error::Stopped),
            false => Ok(()),
        }
    }

    // ---- size

    /// Slots have at least `slot_size` bytes from now on, and there are as many as the producer
    /// (`need`) and the clients need.
    pub(crate) fn configure(&self, slot_size: usize, need: u32) -> Result<()> {
        {
            let mut pool = self.pool();
            pool.raise_need(need);
            pool.resize(slot_size);
        }
        let result = self.fill(0);
        // There may be segments to announce, and others to drop.
        self.bell.ring();
        result
    }

    /// Makes the slots that are missing, with a client of `leases` leases to come.
    pub(crate) fn fill(&self, leases: u32) -> Result<()> {
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = {
            let pool = self.pool();
            match pool.missing(leases) {
                Ok(missing) => missing,
                // The clients there are were admitted with larger limits in mind: take what can be.
                Err(_) if leases == 0 => pool.limit().saturating_sub(pool.count()),
                Err(needed) => {
                    return Err(Error::Refused {
                        reason: format!(
                            "{leases} leases more need {needed} slots and max-buffers allows {}: \
                             raise max-buffers of the producer, or lower max-leases of the client",
                            pool.limit()
                        ),
                        retryable: true,
                    });
                }
            }
        };
        self.make_slots(missing)
    }

    /// Makes slots because the producer holds more than it said. False when there can be no more.
    fn grow(&self) -> Result<bool> {
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let growth = self.pool().growth();
        if growth == 0 {
            return Ok(false);
        }
        self.make_slots(growth)?;
        self.bell.ring();
        Ok(true)
    }

    fn make_slots(&self, count: u32) -> Result<()> {
        let (id, slot_size) = {
            let mut pool = self.pool();
            if count == 0 || pool.slot_size() == 0 {
                return Ok(());
            }
            (pool.next_segment_id(), pool.slot_size())
        };
        let (segment, stride) = PayloadSegment::create(id, slot_size, count as usize)?;
        self.pool().add_segment(segment, stride)?;
        self.event.signal();
        Ok(())
    }

    // ---- frames

    /// A slot of at least `len` bytes. Waits as `overflow` says for clients, and at most
    /// `patience` for the producer's own slots to come back.
    pub(crate) fn acquire(
        self: &Arc<Self>,
        len: usize,
        patience: Option<Duration>,
        cancel: &Canceller,
    ) -> Result<FrameMut> {
        // Also for a frame without bytes: a slot needs memory to exist.
        let least = len.max(1);
        if least > self.pool().slot_size() {
            // A stream whose frames vary: leave room, so that not every frame is the largest yet.
            let size = least.checked_next_power_of_two().unwrap_or(least);
            self.configure(size, 0)?;
        }
        let index = self.acquire_slot(patience, cancel)?;
        let place = self.pool().place(index);
        Ok(FrameMut::new(self.clone(), index, place, len))
    }

    fn acquire_slot(&self, patience: Option<Duration>, cancel: &Canceller) -> Result<SlotIndex> {
        let blocking = self.overflow != Overflow::DropOldest;
        let own_deadline = Deadline::after(patience);
        let mut client_deadline = None;
        loop {
            let cancelled = cancel.wait()?;
            let event = self.event.since(self.event.snapshot());
            self.check_open()?;
            let (acquired, forgiven) = {
                let mut pool = self.pool();
                let forgiven = match pool.has_lapsed() {
                    true => pool.forgive(),
                    false => Vec::new(),
                };
                (pool.acquire(blocking), forgiven)
            };
            for id in forgiven {
                self.tell(PublisherEvent::ClientCaughtUp(id));
            }
            match acquired {
                Acquired::Slot(index) => return Ok(index),
                Acquired::Short => {
                    if self.grow()? {
                        continue;
                    }
                    match self.wait(&[event, cancelled], own_deadline) {
                        Ok(Some(index)) => return Ok(index),
                        Ok(None) => {}
                        Err(Error::TimedOut) => return Err(self.exhausted()),
                        Err(other) => return Err(other),
                    }
                }
                Acquired::Blocked => {
                    let Overflow::Block { timeout } = self.overflow else {
                        unreachable!("only a blocking acquire is blocked");
                    };
                    let deadline =
                        *client_deadline.get_or_insert_with(|| Deadline::after(Some(timeout)));
                    match self.wait(&[event, cancelled], deadline) {
                        Ok(Some(index)) => return Ok(index),
                        Ok(None) => {}
                        Err(Error::TimedOut) => {
                            client_deadline = None;
                            let lapsed = self.pool().lapse();
                            for id in lapsed {
                                self.tell(PublisherEvent::ClientLapsed(id));
                            }
                        }
                        Err(other) => return Err(other),
                    }
                }
            }
        }
    }

    /// Sleeps until a slot came back: one of the producer's own, or, where clients tell (with
    /// `Overflow::Block`), one that a client has passed or released. Looks once more before, and
    /// may find a slot.
    fn wait(&self, others: &[Wait], deadline: Deadline) -> Result<Option<SlotIndex>> {
        let blocking = self.metadata.blocking;
        let pages: Vec<Arc<LeasePage>> = {
            let mut pool = self.pool();
            pool.waiting_writers += 1;
            let pages = pool.clients.iter().map(|client| client.page.clone());
            if blocking {
                pages.collect()
            } else {
                Vec::new()
            }
        };
        let mut words = others.to_vec();
        for page in &pages {
            let progress = page.page().progress;
            words.push(futex::shared(progress, progress.load(Ordering::Acquire)));
        }
        self.metadata.board().prepare_block();
        let acquired = self.pool().acquire(blocking);
        let result = match acquired {
            Acquired::Slot(index) => Ok(Some(index)),
            _ => futex::wait_any(&words, deadline).map(|()| None),
        };
        let mut pool = self.pool();
        pool.waiting_writers -= 1;
        if pool.waiting_writers == 0 {
            self.metadata.board().finish_block();
        }
        result
    }

    fn exhausted(&self) -> Error {
        let pool = self.pool();
        Error::Exhausted {
            slots: pool.count(),
            max: pool.limit(),
        }
    }

    /// Writes `extra` where clients will find it: beside the record, or in a slot of its own,
    /// which goes with the frame.
    pub(crate) fn write_extra(
        self: &Arc<Self>,
        index: SlotIndex,
        extra: &[u8],
        cancel: &Canceller,
    ) -> Result<Option<FrameMut>> {
        if extra.len() <= INLINE_EXTRA as usize {
            self.metadata.write_extra(index, extra);
            return Ok(None);
        }
        if extra.len() > MAX_EXTRA as usize {
            return Err(Error::InvalidSetting(format!(
                "{} bytes of metas, at most {MAX_EXTRA} can be sent with a frame",
                extra.len()
            )));
        }
        let spill = self.acquire(extra.len(), Some(Duration::ZERO), cancel)?;
        spill.payload().write(0, extra);
        let mut location = [0; SPILL_SIZE];
        let place = spill.place();
        location[..8].copy_from_slice(&(place.offset as u64).to_le_bytes());
        location[8..12].copy_from_slice(&place.segment.id.0.to_le_bytes());
        self.metadata.write_extra(index, &location);
        Ok(Some(spill))
    }

    /// Publishes a slot whose payload and extra are written. Returns the frame's position.
    pub(crate) fn publish(
        &self,
        index: SlotIndex,
        spill: Option<SlotIndex>,
        meta: &mut BufferMeta,
    ) -> Result<u64> {
        self.check_open()?;
        meta.flags &= !FLAGS_RESERVED;
        if spill.is_some() {
            meta.flags |= FLAG_EXTRA_SPILLED;
        }
        meta.timestamp = clock::unix_milliseconds();
        if meta.producer[0] == 0 {
            meta.set_producer(&self.name);
        }
        let (position, wake) = {
            let mut pool = self.pool();
            meta.format = pool.format();
            pool.publish(index, spill, meta)
        };
        if wake {
            futex::wake_all(self.metadata.board().sequence);
        }
        Ok(position)
    }

    pub(crate) fn let_go(&self, index: SlotIndex) {
        let (dropped, awaited) = {
            let mut pool = self.pool();
            pool.let_go(index);
            (!pool.gone.is_empty(), pool.waiting_writers > 0)
        };
        if dropped {
            self.bell.ring();
        }
        if awaited {
            self.event.signal();
        }
    }

    // ---- the stream

    pub(crate) fn set_format(&self, text: &str) -> Result<()> {
        if text.len() > MAX_FORMAT {
            return Err(Error::InvalidSetting(format!(
                "a format of {} bytes, at most {MAX_FORMAT} can be sent",
                text.len()
            )));
        }
        self.pool().set_format(text);
        self.bell.ring();
        Ok(())
    }

    pub(crate) fn eos(&self) {
        let mut pool = self.pool();
        pool.eos = Some(pool.head());
        drop(pool);
        self.bell.ring();
    }

    // ---- clients

    pub(crate) fn add_client(&self, client: Client) -> u64 {
        let position = self.pool().add_client(client);
        self.event.signal();
        position
    }

    pub(crate) fn remove_client(&self, id: ClientId) {
        self.pool().remove_client(id);
        self.event.signal();
    }

    /// Waits until there are `count` clients.
    pub(crate) fn wait_for_clients(
        &self,
        count: usize,
        timeout: Option<Duration>,
        cancel: &Canceller,
    ) -> Result<()> {
        let deadline = Deadline::after(timeout);
        loop {
            let cancelled = cancel.wait()?;
            let event = self.event.since(self.event.snapshot());
            self.check_open()?;
            if self.pool().clients.len() >= count {
                return Ok(());
            }
            futex::wait_any(&[event, cancelled], deadline)?;
        }
    }
}

/// Bytes of the location that stands in a slot's extra space when the extra is elsewhere:
/// offset `u64`, segment `u32`, zero `u32`.
pub(crate) const SPILL_SIZE: usize = 16;
