//! Memory for the extra bytes of frames: pieces that frames have, and spare ones.

use std::sync::Arc;

use super::{Place, Pool};
use crate::segment::{PayloadSegment, SegmentId};

impl Pool {
    /// Memory for `len` extra bytes, where there is a spare piece; smaller ones go.
    pub(crate) fn take_spare(&mut self, len: usize) -> Option<Place> {
        while let Some(spare) = self.spares.pop() {
            if spare.size >= len {
                self.in_hand.push(spare.segment.id);
                return Some(spare);
            }
            self.give_up(spare);
        }
        None
    }

    /// Takes in a new segment of pieces for extra bytes, `size` bytes each. The first is for the caller.
    pub(crate) fn add_spares(&mut self, segment: &Arc<PayloadSegment>, size: usize) -> Place {
        self.add_to_segments(segment.clone());
        let place = |number| Place {
            segment: segment.clone(),
            offset: number * size,
            size,
        };
        self.spares.extend((1..segment.size() / size).map(place));
        self.in_hand.push(segment.id);
        place(0)
    }

    /// Gives back memory for extra bytes that no frame was published with.
    pub(crate) fn return_spare(&mut self, spare: Place) {
        self.leave_hand(spare.segment.id);
        self.spares.push(spare);
    }

    pub(super) fn leave_hand(&mut self, id: SegmentId) {
        if let Some(at) = self.in_hand.iter().position(|of| *of == id) {
            self.in_hand.swap_remove(at);
        }
    }

    /// How many pieces for extra bytes of this size there are.
    pub(crate) fn pieces(&self, size: usize) -> usize {
        let spills = self.slots.iter().filter_map(|entry| entry.slot.spill());
        let pieces = spills.chain(&self.spares);
        pieces.filter(|piece| piece.size == size).count()
    }
}
