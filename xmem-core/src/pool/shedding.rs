//! Slots that are needed no more: their memory goes, a segment at a time.

use std::collections::HashMap;

use super::Pool;
use super::recycling::Pick;
use super::slot::Slot;
use crate::segment::SegmentId;

impl Pool {
    /// Slots that neither the producer nor the clients need.
    pub(crate) fn excess(&self) -> u32 {
        // Where slots become larger, those that are too small go anyway.
        self.count().saturating_sub(self.needed(0, 0))
    }

    /// Has the memory of slots go that are not needed: of the segments that have no more slots than
    /// are too many, the largest first. Slots that are in use go when they become free.
    /// Says whether some have gone.
    pub(crate) fn shed(&mut self) -> bool {
        let mut counts: HashMap<SegmentId, u32> = HashMap::new();
        let slots = self.slots.iter().map(|entry| &entry.slot);
        for place in slots.filter_map(Slot::usable_place) {
            *counts.entry(place.segment.id).or_default() += 1;
        }
        let mut counts: Vec<(u32, SegmentId)> =
            counts.into_iter().map(|(id, count)| (count, id)).collect();
        counts.sort_unstable();
        let before = self.excess();
        let mut excess = before;
        let mut shed = Vec::new();
        for (count, id) in counts.into_iter().rev() {
            if count <= excess {
                excess -= count;
                shed.push(id);
            }
        }
        self.outdate(|place, was_outdated| was_outdated || shed.contains(&place.segment.id));
        // Of the frames in such slots those go that no client counts on: without a next frame nothing else
        // would take them back.
        let kept = u64::from(self.needed(0, 0));
        self.take_back_where(|pool, index| {
            let position = pool.position(index);
            let is_kept = position.is_none_or(|position| position + kept >= pool.head);
            let is_outdated = pool.slot(index).is_outdated();
            let can_go = is_outdated && !is_kept && pool.is_let_go(index);
            Pick::take_if(can_go && !pool.is_awaited(index))
        });
        excess < before
    }

    /// Bytes of segments that are about to be dropped, or that clients have kept.
    pub(crate) fn note_departed(&mut self, bytes: u64) {
        if std::mem::replace(&mut self.departed_bytes, bytes) != bytes {
            self.assign();
        }
    }

    /// Whether so many bytes are kept by clients of what is no slot's memory any more that no more
    /// should go: it would not come back to the system.
    pub(crate) fn may_shed(&self) -> bool {
        self.departed_bytes <= self.bytes() / 4
    }
}
