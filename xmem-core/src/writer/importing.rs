//! Frames in imported memory: published without a slot, and their memory given back.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::Writer;
use crate::clients::ClientId;
use crate::error::{Error, Result};
use crate::lease::{FrameId, SlotIndex};
use crate::pool::{KeepAlive, Place, Pool};
use crate::segment::{ImportedMemory, LeasePage};
use crate::sys::clock::Deadline;

/// How long a publisher that is closed lets clients come to frames in imported memory. After that the
/// memory goes back to its owner.
const LAST_CALL: Duration = Duration::from_millis(500);

impl Writer {
    /// Takes a number for a frame in `range` of imported memory, which `keep_alive` keeps as it is.
    pub(crate) fn import(
        &self,
        memory: &ImportedMemory,
        range: Range<usize>,
        keep_alive: KeepAlive,
    ) -> Result<(SlotIndex, Place)> {
        self.check_origin()?;
        let Range { start, end } = range;
        if start > end || end > memory.size() {
            return Err(Error::InvalidShape(format!(
                "bytes {start} to {end} of {} of memory",
                memory.size()
            )));
        }
        let (place, taken, is_new) = {
            let mut pool = self.pool();
            if pool.closed {
                return Err(self.failure.error());
            }
            pool.check_unsealed(memory.is_unsealed())?;
            let (segment, is_new) = pool.register(memory).ok_or_else(|| no_number(&pool))?;
            let place = Place {
                segment,
                offset: start,
                size: end - start,
            };
            (place.clone(), pool.take_number(place, keep_alive), is_new)
        };
        if is_new {
            // Clients are told of the memory before, or wait until they are.
            self.event_fd.notify();
        }
        match taken {
            Ok(index) => Ok((index, place)),
            // Not under the lock.
            Err(keep_alive) => {
                drop(keep_alive);
                self.see_to_failure();
                Err(no_number(&self.pool()))
            }
        }
    }

    /// Takes back frames in imported memory until `enough` says so: those that every client has
    /// passed, then, the oldest first, those that no client holds. False where that is not enough.
    pub(crate) fn reclaim(&self, enough: impl Fn() -> bool) -> bool {
        if self.check_origin().is_err() {
            return false;
        }
        self.collect();
        while !enough() {
            if !self.pool().give_up_oldest() {
                return false;
            }
            self.give_back();
        }
        true
    }

    /// Takes back the frames that all clients have passed and none holds.
    pub(crate) fn collect(&self) {
        self.pool().collect();
        self.give_back();
    }

    /// Gives back what was taken back.
    pub(super) fn give_back(&self) {
        let released = std::mem::take(&mut self.pool().released);
        self.drop_keep_alives(released);
    }

    /// Drops what has kept bytes that no client can read any more. Never under a lock: the drop may
    /// run the caller's code.
    pub(super) fn drop_keep_alives(&self, released: Vec<KeepAlive>) {
        if released.is_empty() {
            return;
        }
        drop(released);
        self.see_to_failure();
        if self.pool().forget_unused() {
            self.event_fd.notify();
        }
    }

    /// The same for all that was given up. Not under a lock, either.
    pub(super) fn drop_released(&self) {
        let released = std::mem::take(&mut self.pool().released);
        self.drop_keep_alives(released);
    }

    /// Ends the channel where giving memory back has failed.
    fn see_to_failure(&self) {
        if let Some(reason) = self.failure.reason() {
            self.fail(reason.into());
        }
    }

    /// Whether there is a frame in imported memory.
    pub(crate) fn owes_memory(&self) -> bool {
        self.check_origin().is_ok() && self.pool().owes_memory()
    }

    /// Takes back all frames in imported memory. Waits until clients have come to them, and have let
    /// them go.
    pub(crate) fn drain(&self, timeout: Duration) -> Result<()> {
        self.check_origin()?;
        let deadline = Deadline::after(Some(timeout));
        let received = self.await_pool(deadline, |pool| !pool.awaits_imported());
        self.pool().retire_imported();
        self.give_back();
        received?;
        self.await_pool(deadline, |pool| {
            pool.collect();
            !pool.owes_memory()
        })
    }

    /// Lets clients come to frames in imported memory, for a while: they can't be received later.
    pub(super) fn await_receipt(&self) {
        let is_over = |pool: &mut Pool| pool.closed || !pool.awaits_imported();
        // A frame that a client has not come to by then is lost to it.
        let _ = self.await_pool(Deadline::after(Some(LAST_CALL)), is_over);
    }

    /// Waits until clients have come as far as `is_done` wants.
    fn await_pool(&self, deadline: Deadline, is_done: impl Fn(&mut Pool) -> bool) -> Result<()> {
        loop {
            let signal = self.wake_word.since(self.wake_word.snapshot());
            let look = |pool: &mut Pool| is_done(pool).then_some(());
            if self.wait(&[signal], deadline, look)?.is_some() {
                return Ok(());
            }
        }
    }

    /// The lease pages of all clients.
    pub(crate) fn pages(&self) -> HashMap<ClientId, Arc<LeasePage>> {
        let pool = self.pool();
        let clients = pool.clients.iter();
        clients.map(|one| (one.id, one.page.clone())).collect()
    }

    /// The frames in imported memory that clients of a closed channel hold.
    pub(crate) fn take_pinned_imports(&self) -> Vec<(FrameId, KeepAlive)> {
        self.pool().take_pinned_imports()
    }
}

fn no_number(pool: &Pool) -> Error {
    Error::Exhausted {
        slots: pool.count(),
        max: pool.limit(),
    }
}
