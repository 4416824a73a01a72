//! The segments that slots and extra bytes are in: taken in, told to clients, given up.

use std::sync::Arc;

use super::slot::{Entry, Memory};
use super::{Place, Pool};
use crate::lease::SlotIndex;
use crate::segment::{PayloadSegment, SegmentId};

impl Pool {
    pub(crate) fn next_segment_id(&mut self) -> SegmentId {
        self.next_segment += 1;
        SegmentId(self.next_segment)
    }

    /// Takes a new segment's slots in, as far as there are numbers for them, and no more than there
    /// can be: others may have been made meanwhile. Tells how many are of use.
    pub(crate) fn add_segment(&mut self, segment: &Arc<PayloadSegment>, stride: usize) -> u32 {
        let before = self.count();
        let left = self.limit().saturating_sub(before) as usize;
        let count = left.min(segment.size() / stride).min(self.vacant.len());
        if count == 0 {
            return 0;
        }
        self.add_to_segments(segment.clone());
        let free = self.free.len();
        // Another thread may have made the slots larger, or of other memory, while this segment was made.
        let is_outdated = stride < self.slot_size || !segment.is_made_of(&self.storage);
        for number in 0..count {
            let Some(index) = self.take_vacant() else {
                break;
            };
            let place = Place {
                segment: segment.clone(),
                offset: number * stride,
                size: stride,
            };
            self.return_memory(index, Memory::Own { place, is_outdated });
        }
        // They are taken last: clients have yet to be told of them, and to map them.
        self.free.rotate_left(free);
        self.recount();
        self.grant();
        self.count() - before
    }

    /// A number without memory.
    pub(super) fn take_vacant(&mut self) -> Option<SlotIndex> {
        let index = self.vacant.pop()?;
        let least = usize::from(index.0) + 1;
        if self.slots.len() < least {
            self.slots.resize_with(least, || Entry::VACANT);
        }
        Some(index)
    }

    /// A segment is in use, that clients have to be told of.
    pub(crate) fn add_to_segments(&mut self, segment: Arc<PayloadSegment>) {
        if !segment.is_imported() {
            self.untold.push(segment.id);
        }
        self.segments.push(segment);
        self.segments.sort_by_key(|segment| segment.id);
    }

    /// The clients that there are were told of these segments, as far as they listen.
    pub(crate) fn note_told(&mut self, segments: &[Arc<PayloadSegment>]) {
        let is_among = |segments: &[Arc<PayloadSegment>], id: &SegmentId| {
            segments.binary_search_by_key(id, |one| one.id).is_ok()
        };
        // Some are gone again.
        let there = &self.segments;
        self.untold
            .retain(|id| is_among(there, id) && !is_among(segments, id));
    }

    /// Clients are told of what there is later than frames can wait for it.
    pub(crate) fn give_up_telling(&mut self) {
        self.untold.clear();
    }

    /// Whether clients were not told yet of memory that is in use.
    pub(crate) fn has_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// Whether a frame in this slot, and with these extra bytes, is in memory that clients were not told
    /// of yet.
    pub(crate) fn is_untold(&self, index: SlotIndex, spill: Option<&Place>) -> bool {
        // A frame costs a comparison: as a rule there is none.
        if !self.has_untold() || self.clients.len() == 0 {
            return false;
        }
        let places = [self.slot(index).place(), spill];
        let is_untold = |place: &Place| self.untold.contains(&place.segment.id);
        places.into_iter().flatten().any(is_untold)
    }

    /// Lets go of a place, and of its segment, where nothing else is in it.
    pub(super) fn give_up(&mut self, place: Place) {
        let id = place.segment.id;
        let is_in_it = |place: &Place| place.segment.id == id;
        let slots = self.slots.iter().map(|entry| &entry.slot);
        let places = slots.flat_map(|slot| [slot.place(), slot.spill()]);
        let mut places = places.flatten().chain(&self.spares);
        if places.any(is_in_it) || self.in_hand.contains(&id) {
            return;
        }
        self.segments.retain(|segment| segment.id != id);
        self.gone.push(place.segment);
    }
}
