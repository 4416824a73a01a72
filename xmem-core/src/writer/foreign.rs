//! Frames in somebody else's memory: published without a slot, and their memory given back.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Writer;
use crate::clients::ClientId;
use crate::error::{Error, Result};
use crate::foreign::{ForeignFrame, ForeignMemory, Hold};
use crate::frame::FrameMut;
use crate::lease::FrameId;
use crate::pool::Place;
use crate::segment::LeasePage;
use crate::sys::clock::Deadline;
use crate::sys::futex;

/// How long a publisher that is closed lets clients come to what it has passed on: then that goes
/// back to its owner.
const DRAINING: Duration = Duration::from_millis(500);

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
                return Err(Error::Stopped);
            }
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
        let released = {
            let mut pool = self.pool();
            pool.collect();
            std::mem::take(&mut pool.released)
        };
        self.drop_holds(released);
        while !enough() {
            let released = {
                let mut pool = self.pool();
                if !pool.give_up_oldest() {
                    return false;
                }
                std::mem::take(&mut pool.released)
            };
            self.drop_holds(released);
        }
        true
    }

    /// Drops what has kept bytes that nobody can read any more. Never under a lock: it may be
    /// anybody's code.
    pub(super) fn drop_holds(&self, released: Vec<Hold>) {
        if released.is_empty() {
            return;
        }
        drop(released);
        if self.pool().forget_unused() {
            self.bell.ring();
        }
    }

    /// Lets clients come to what was passed on, for a while: it can't be received later.
    pub(super) fn drain(&self) {
        let deadline = Deadline::after(Some(DRAINING));
        let pages: Vec<Arc<LeasePage>> = {
            let mut pool = self.pool();
            if pool.closed || !pool.awaits_foreign() {
                return;
            }
            pool.waiting_writers += 1;
            let pages = pool.clients.iter().map(|client| client.page.clone());
            pages.collect()
        };
        loop {
            let event = self.event.since(self.event.snapshot());
            let progress = pages.iter().map(|page| {
                let progress = page.page().progress;
                futex::shared(progress, progress.load(Ordering::Acquire))
            });
            let words: Vec<_> = progress.chain([event]).collect();
            self.metadata.board().prepare_block();
            if !self.pool().awaits_foreign() || futex::wait_any(&words, deadline).is_err() {
                break;
            }
        }
        let mut pool = self.pool();
        pool.waiting_writers -= 1;
        if pool.waiting_writers == 0 {
            self.metadata.board().finish_block();
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

fn no_number(pool: &crate::pool::Pool) -> Error {
    Error::Exhausted {
        slots: pool.count(),
        max: pool.limit(),
    }
}
