//! Slots that are needed no more: their memory goes after a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::departed::Departed;
use crate::pool::Pool;
use crate::segment::PayloadSegment;
use crate::sys::clock::Deadline;
use crate::writer::Writer;

/// How long slots stay that are not needed: a client that comes back soon needs them again.
const KEPT_FOR: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Shedding {
    departed: Departed,
    /// Since when there are more slots than are needed.
    excess_since: Option<Instant>,
}

impl Shedding {
    /// When there is something to do.
    pub(super) fn next(&self) -> Deadline {
        let shed = self.excess_since.map(|since| since + KEPT_FOR);
        let look = self.departed.next_look();
        match [shed, look].into_iter().flatten().min() {
            Some(time) => Deadline::after(Some(time.saturating_duration_since(Instant::now()))),
            None => Deadline::after(None),
        }
    }

    /// Takes over the segments that are `gone`, and has slots go that were too many for a while. Their
    /// memory counts until no client has it.
    pub(super) fn shed(&mut self, writer: &Writer, gone: Vec<Arc<PayloadSegment>>) {
        self.departed.add(gone);
        self.departed.look();
        writer.with_pool(|pool| self.shed_excess(pool));
    }

    fn shed_excess(&mut self, pool: &mut Pool) {
        pool.note_departed(self.departed.bytes());
        if pool.excess() == 0 {
            self.excess_since = None;
            return;
        }
        let now = Instant::now();
        let since = *self.excess_since.get_or_insert(now);
        if now < since + KEPT_FOR {
            return;
        }
        self.excess_since = None;
        if pool.may_shed() && pool.shed() {
            // There is more to do, perhaps.
            self.excess_since = Some(now);
        }
    }
}
