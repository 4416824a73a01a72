//! Taking a slot to write: at once, or when there is one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Overflow, PublisherEvent, Writer};
use crate::cancel::Cancellation;
use crate::clients::ClientId;
use crate::error::{Error, Result};
use crate::lease::SlotIndex;
use crate::pool::filling::Filling;
use crate::pool::recycling::Acquired;
use crate::pool::{Place, Pool};
use crate::segment::LeasePage;
use crate::sys::clock::Deadline;
use crate::sys::futex::{self, Wait};

impl Writer {
    /// A slot of at least `len` bytes. Waits as `overflow` says for clients, and at most
    /// `timeout` for the producer's own slots to come back.
    pub(crate) fn acquire(
        &self,
        len: usize,
        timeout: Option<Duration>,
        cancel: &Cancellation<'_>,
    ) -> Result<(SlotIndex, Place)> {
        self.check_origin()?;
        // Also for a frame without bytes: a slot needs memory to exist.
        let least = len.max(1);
        if least > self.with_pool(|pool| pool.slot_size()) {
            // A stream whose frames vary: leave room, so that not every frame is the largest yet.
            let size = least.checked_next_power_of_two().unwrap_or(least);
            self.configure(size, 0)?;
        }
        loop {
            let (index, place) = self.acquire_slot(timeout, cancel)?;
            if place.size >= len {
                return Ok((index, place));
            }
            // Another thread has asked for smaller slots meanwhile, or this one lost a race.
            self.let_go(index);
            self.configure(len, 0)?;
        }
    }

    fn acquire_slot(
        &self,
        timeout: Option<Duration>,
        cancel: &Cancellation<'_>,
    ) -> Result<(SlotIndex, Place)> {
        let own_deadline = Deadline::after(timeout);
        let mut clients_deadline = None;
        loop {
            let cancelled = cancel.wait()?;
            let signal = self.wake_word.since(self.wake_word.snapshot());
            let (acquired, readmitted) = self.with_pool(|pool| {
                let head = pool.head();
                let readmitted = pool.clients.readmit(head);
                (pool.acquire(), readmitted)
            });
            for id in readmitted {
                self.tell(PublisherEvent::ClientCaughtUp(id));
            }
            let words = [signal, cancelled];
            let found = match acquired {
                Acquired::Slot(index, place) => return Ok((index, place)),
                Acquired::Closed => return Err(self.failure.error()),
                Acquired::Short => self.await_slot(&words, own_deadline, &mut clients_deadline)?,
                Acquired::Blocked => self.await_clients(&words)?,
                Acquired::Grouped => {
                    self.make_group_room();
                    None
                }
            };
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }

    /// Makes slots where the writer is faster than the control thread, and all frames that could be taken
    /// back are kept for clients that join. Where there can be no more, those clients do without.
    #[cold]
    fn make_group_room(&self) {
        if !matches!(self.grow_for_group(), Ok(1..)) {
            self.with_pool(Pool::give_up_group);
        }
    }

    /// Makes slots where the producer and the clients hold all there are. Where there can be no more,
    /// waits for one. `None` where it is worth another look.
    #[cold]
    fn await_slot(
        &self,
        words: &[Wait<'_>],
        own_deadline: Deadline,
        clients_deadline: &mut Option<Deadline>,
    ) -> Result<Option<(SlotIndex, Place)>> {
        let (deadline, error) = match self.grow() {
            Ok(true) => return Ok(None),
            Ok(false) => (own_deadline, None),
            Err(error @ Error::ResourceExhausted { .. }) => {
                let deadline = match self.with_pool(|pool| pool.missing()) {
                    0 => own_deadline,
                    // There are fewer slots than clients have leases.
                    _ => *clients_deadline.get_or_insert_with(|| self.deadline_for_clients()),
                };
                (deadline, Some(error))
            }
            Err(other) => return Err(other),
        };
        let look = |pool: &mut Pool| match pool.acquire() {
            Acquired::Slot(index, place) => Some(Some((index, place))),
            Acquired::Short => None,
            Acquired::Blocked | Acquired::Grouped | Acquired::Closed => Some(None),
        };
        match self.wait(words, deadline, look) {
            Err(Error::TimedOut) => {
                Err(error.unwrap_or_else(|| self.with_pool(|pool| pool.exhausted())))
            }
            found => found.map(Option::flatten),
        }
    }

    /// Waits until a client has received the frame that is in the way, or lags for too long. `None`
    /// where it is worth another look.
    #[cold]
    fn await_clients(&self, words: &[Wait<'_>]) -> Result<Option<(SlotIndex, Place)>> {
        // That frame may be in a slot that is too small by now: others can be made, as soon as there are
        // numbers for them.
        let mut lacks_numbers = false;
        if self.is_filling_due() {
            match self.grow() {
                Ok(true) => return Ok(None),
                Ok(false) => lacks_numbers = true,
                // The control thread tries again later, and clients may be faster.
                Err(_) => self.with_pool(|pool| pool.filling = Filling::later()),
            }
        }
        let Some(deadline) = self.mark_lagging() else {
            return Ok(None);
        };
        let look = |pool: &mut Pool| match pool.acquire() {
            Acquired::Slot(index, place) => Some(Some((index, place))),
            Acquired::Blocked if !(lacks_numbers && pool.has_numbers()) => None,
            Acquired::Blocked | Acquired::Grouped | Acquired::Short | Acquired::Closed => {
                Some(None)
            }
        };
        match self.wait(words, deadline, look) {
            Err(Error::TimedOut) => Ok(None),
            found => found.map(Option::flatten),
        }
    }

    /// Until when to wait for slots that clients hold.
    fn deadline_for_clients(&self) -> Deadline {
        Deadline::after(Some(match self.overflow {
            Overflow::DropOldest => Duration::ZERO,
            Overflow::Block { timeout } => timeout,
        }))
    }

    /// Whether slots are missing, and worth a try.
    fn is_filling_due(&self) -> bool {
        self.with_pool(|pool| pool.filling.is_due() && pool.missing() > 0)
    }

    /// Sleeps until a slot came back: one of the producer's own, or one that a client has passed
    /// or released. Looks once more before, and may find what is waited for.
    pub(super) fn wait<T>(
        &self,
        others: &[Wait<'_>],
        deadline: Deadline,
        look: impl FnOnce(&mut Pool) -> Option<T>,
    ) -> Result<Option<T>> {
        let pages: Vec<(ClientId, Arc<LeasePage>)> = self.with_pool(|pool| {
            pool.waiting_writers += 1;
            let clients = pool.clients.iter();
            clients.map(|one| (one.id, one.page.clone())).collect()
        });
        let mut words = others.to_vec();
        let mut deadline = deadline;
        if futex::takes_many() {
            for (_, page) in &pages {
                let progress = page.words().progress;
                words.push(futex::shared(progress, progress.load(Ordering::Acquire)));
            }
        } else {
            deadline = deadline.min(self.watchers.watch(&pages, &self.wake_word));
        }
        self.metadata.words().prepare_block();
        let found = self.with_pool(look);
        let result = match found {
            Some(found) => Ok(Some(found)),
            None => futex::wait_any(&words, deadline).map(|()| None),
        };
        self.with_pool(|pool| {
            pool.waiting_writers -= 1;
            if pool.waiting_writers == 0 {
                self.metadata.words().finish_block();
            }
        });
        result
    }
}
