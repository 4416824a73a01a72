//! Frames in somebody else's memory: published without a slot, and their memory given back.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::Writer;
use crate::clients::ClientId;
use crate::error::{Error, Result};
use crate::foreign::{ForeignFrame, ForeignMemory, Hold};
use crate::frame::FrameMut;
use crate::lease::FrameId;
use crate::pool::{Place, Pool};
use crate::segment::LeasePage;
use crate::sys::clock::Deadline;

/// How long a publisher that is closed lets clients come to what it has passed on: then that goes
/// back to its owner.
const LAST_CALL: Duration = Duration::from_millis(500);

impl Writer {
    /// A frame in `range` of somebody else's memory, which `hold` keeps as it is.
    pub(crate) fn pass_on(
        self: &Arc<Self>,
        memory: &ForeignMemory,
        range: Range<usize>,
        hold: Hold,
    ) -> Result<ForeignFrame> {
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
            pool.check_kind(memory.0.kind)?;
            let (segment, is_new) = pool.register(&memory.0).ok_or_else(|| no_number(&pool))?;
            let place = Place {
                segment,
                offset: start,
                size: end - start,
            };
            (place.clone(), pool.take_number(place, hold), is_new)
        };
        if is_new {
            // Clients are told of the memory before, or wait until they are.
            self.bell.ring();
        }
        match taken {
            Ok(index) => {
                let frame = FrameMut::new(self.clone(), index, place, end - start);
                Ok(ForeignFrame(frame))
            }
            // Not under the lock.
            Err(hold) => {
                drop(hold);
                self.see_to_failure();
                Err(no_number(&self.pool()))
            }
        }
    }

    /// Takes back frames in somebody else's memory until `enough` says so: those that every client
    /// has passed, then, the oldest first, those that nobody holds. False where that is not enough.
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

    /// Takes back the frames that everybody has passed and nobody holds.
    pub(crate) fn collect(&self) {
        self.pool().collect();
        self.give_back();
    }

    /// Gives back what was taken back.
    pub(super) fn give_back(&self) {
        let released = std::mem::take(&mut self.pool().released);
        self.drop_holds(released);
    }

    /// Drops what has kept bytes that nobody can read any more. Never under a lock: it may be
    /// anybody's code.
    pub(super) fn drop_holds(&self, released: Vec<Hold>) {
        if released.is_empty() {
            return;
        }
        drop(released);
        self.see_to_failure();
        if self.pool().forget_unused() {
            self.bell.ring();
        }
    }

    /// The same for all that was given up. Not under a lock: it may be anybody's code.
    pub(super) fn drop_released(&self) {
        let released = std::mem::take(&mut self.pool().released);
        self.drop_holds(released);
    }

    /// Ends the channel where giving memory back has failed.
    fn see_to_failure(&self) {
        if let Some(reason) = self.failure.reason() {
            self.fail(reason.into());
        }
    }

    /// Whether there is a frame in somebody else's memory.
    pub(crate) fn owes_memory(&self) -> bool {
        self.check_origin().is_ok() && self.pool().owes_memory()
    }

    /// Takes back all frames in somebody else's memory. Waits until clients have come to them, and
    /// have let them go.
    pub(crate) fn drain(&self, timeout: Duration) -> Result<()> {
        self.check_origin()?;
        let deadline = Deadline::after(Some(timeout));
        let received = self.await_pool(deadline, |pool| !pool.awaits_foreign());
        self.pool().retire_foreign();
        self.give_back();
        received?;
        self.await_pool(deadline, |pool| {
            pool.collect();
            !pool.owes_memory()
        })
    }

    /// Lets clients come to what was passed on, for a while: it can't be received later.
    pub(super) fn await_receipt(&self) {
        let is_over = |pool: &mut Pool| pool.closed || !pool.awaits_foreign();
        // What nobody has come to by then is lost.
        let _ = self.await_pool(Deadline::after(Some(LAST_CALL)), is_over);
    }

    /// Waits until clients have come as far as `is_done` wants.
    fn await_pool(&self, deadline: Deadline, is_done: impl Fn(&mut Pool) -> bool) -> Result<()> {
        loop {
            let event = self.event.since(self.event.snapshot());
            let look = |pool: &mut Pool| is_done(pool).then_some(());
            if self.wait(&[event], deadline, look)?.is_some() {
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

    /// What was passed on and is held by clients of a channel that is closed.
    pub(crate) fn take_held(&self) -> Vec<(FrameId, Hold)> {
        self.pool().take_held()
    }
}

fn no_number(pool: &Pool) -> Error {
    Error::Exhausted {
        slots: pool.count(),
        max: pool.limit(),
    }
}
