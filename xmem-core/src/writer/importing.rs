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

/// How long a publisher that is closed lets clients come to frames in memory that ends with it. After that
/// imported memory goes back to its owner.
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
        let Range { start, end } = range.clone();
        if start > end || end > memory.size() {
            return Err(Error::InvalidShape(format!(
                "bytes {start} to {end} of {} of memory",
                memory.size()
            )));
        }
        let import = self.with_pool(|pool| {
            if pool.closed {
                pool.release(keep_alive);
                return Err(self.failure.error());
            }
            pool.import(memory, range, keep_alive)
        })?;
        if import.is_new {
            // Clients are told of the memory before, or wait until they are.
            self.event_fd.notify();
        }
        Ok((import.index, import.place))
    }

    /// Takes back frames in imported memory until `enough` says so: those that every client has
    /// passed, then, the oldest first, those that no client holds. False where that is not enough.
    pub(crate) fn reclaim(&self, enough: impl Fn() -> bool) -> bool {
        if self.check_origin().is_err() {
            return false;
        }
        self.collect();
        while !enough() {
            if !self.with_pool(Pool::give_up_oldest) {
                return false;
            }
        }
        true
    }

    /// Takes back the frames that all clients have passed and none holds.
    pub(crate) fn collect(&self) {
        self.with_pool(Pool::collect);
    }

    /// Whether there is a frame in imported memory.
    pub(crate) fn owes_memory(&self) -> bool {
        self.check_origin().is_ok() && self.with_pool(|pool| pool.owes_memory())
    }

    /// Takes back all frames in imported memory. Waits until clients have come to them, and have let
    /// them go.
    pub(crate) fn drain(&self, timeout: Duration) -> Result<()> {
        self.check_origin()?;
        let deadline = Deadline::after(Some(timeout));
        let received = self.await_pool(deadline, |pool| !pool.awaits_imported());
        self.with_pool(Pool::retire_imported);
        received?;
        self.await_pool(deadline, |pool| {
            pool.collect();
            !pool.owes_memory()
        })
    }

    /// Lets clients come to frames in memory that ends with this process, for a while: they can't be received later.
    pub(super) fn await_receipt(&self) {
        let is_over = |pool: &mut Pool| pool.closed || !pool.awaits_ending();
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
        self.with_pool(|pool| {
            let clients = pool.clients.iter();
            clients.map(|one| (one.id, one.page.clone())).collect()
        })
    }

    /// The frames in memory that ends with this process that clients of a closed channel hold.
    pub(crate) fn take_pinned_ending(&self) -> Vec<(FrameId, KeepAlive)> {
        let keep = |segment| KeepAlive::new(segment, self.failure.clone());
        self.with_pool(|pool| pool.take_pinned_ending(keep))
    }
}
