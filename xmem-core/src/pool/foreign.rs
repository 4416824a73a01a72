//! Frames in memory that is not the pool's. They take a number and no memory; what keeps their
//! bytes as they are (a *hold*) goes when nobody can read the frame any more.

use std::sync::Arc;

use super::{Place, Pool, Slot, Status};
use crate::error::{Error, Result};
use crate::foreign::Hold;
use crate::lease::{FrameId, SlotIndex};
use crate::segment::{PayloadSegment, SegmentKind};

/// Most pieces of somebody else's memory that clients know at once: half of what may wait for one
/// that does not read.
const MAX_MEMORIES: usize = 128;

/// What a client is told that takes no memory of the only kind there is.
pub(crate) const UNSEALED_ONLY: &str = "its frames are in memory that other processes may write \
    (dmabufs), and can't be copied: allow such memory in the client (unsealed-memory=always)";

impl Slot {
    /// Whether its frame is in somebody else's memory.
    pub(super) fn is_foreign(&self) -> bool {
        self.hold.is_some()
    }
}

impl Pool {
    /// What clients know a memory as, and whether they have yet to be told. `None` where they know
    /// as many as they may, and there are frames in all of them.
    pub(crate) fn register(
        &mut self,
        memory: &Arc<PayloadSegment>,
    ) -> Option<(Arc<PayloadSegment>, bool)> {
        let known = self.segments.iter().find(|segment| segment.is_of(memory));
        if let Some(known) = known {
            return Some((known.clone(), false));
        }
        let foreign = self.segments.iter().filter(|one| one.is_passed_on());
        if foreign.count() >= MAX_MEMORIES {
            let unused = |segment: &Arc<PayloadSegment>| {
                segment.is_passed_on() && Arc::strong_count(segment) == 1
            };
            let at = self.segments.iter().position(unused)?;
            self.gone.push(self.segments.remove(at));
        }
        let id = self.next_segment_id();
        let segment = Arc::new(PayloadSegment::passing(id, memory.clone()));
        self.add_to_segments(segment.clone());
        Some((segment, true))
    }

    /// Takes a number for a frame in somebody else's memory. Gives the hold back where there is
    /// none: a quarter of all numbers is left for slots.
    pub(crate) fn take_number(
        &mut self,
        place: Place,
        hold: Hold,
    ) -> std::result::Result<SlotIndex, Hold> {
        let reserve = self.metadata.layout().slots as usize / 4;
        if self.vacant.len() <= reserve {
            return Err(hold);
        }
        let Some(index) = self.vacant.pop() else {
            return Err(hold);
        };
        self.make_entry(index);
        let slot = self.slot_mut(index);
        slot.place = Some(place);
        slot.outdated = true;
        slot.hold = Some(hold);
        slot.status = Status::Writing;
        slot.held = true;
        Ok(index)
    }

    /// An error where there are clients that don't take frames in memory of this kind.
    pub(crate) fn check_kind(&self, kind: SegmentKind) -> Result<()> {
        match self.clients.needing_sealed().count() as u32 {
            clients if clients > 0 && kind.is_unsealed() => Err(Error::UnsealedMemory { clients }),
            _ => Ok(()),
        }
    }

    /// Has a client not taken in, or thrown out, where no frame is in memory that it takes.
    pub(crate) fn set_unsealed_only(&mut self, only: bool) {
        self.unsealed_only = only;
        if only {
            for id in self.clients.needing_sealed().collect::<Vec<_>>() {
                self.unwanted.push((id, UNSEALED_ONLY));
                self.clients.expel(id);
            }
        }
    }

    /// The same for the memory that this slot's frame is in: a client may have come since it was
    /// taken.
    pub(crate) fn check_memory(&self, index: SlotIndex) -> Result<()> {
        match &self.slot(index).place {
            Some(place) if self.slot(index).is_foreign() => self.check_kind(place.segment.kind),
            _ => Ok(()),
        }
    }

    /// Takes back the frames that everybody has passed and nobody holds.
    pub(crate) fn collect(&mut self) {
        if !self.take_back_passed() {
            self.look();
        }
    }

    /// Gives up the oldest frame in somebody else's memory that nobody holds, though clients have
    /// yet to come to it. None that the writer has to wait for, and none that a client counts on which
    /// lags no more than its backlog allows. Nor the newest, which is for clients to come.
    pub(crate) fn give_up_oldest(&mut self) -> bool {
        for at in 0..self.ready.len() {
            let index = self.ready[at];
            let position = self.slot(index).position;
            let is_newest = position + 1 >= self.head;
            if is_newest || self.clients.count_on(position, self.head) || self.is_awaited(index) {
                return false;
            }
            if !self.slot(index).is_foreign() || !self.is_let_go(index) {
                continue;
            }
            if !self.take_back_one(at) {
                self.look();
            }
            return true;
        }
        false
    }

    /// Whether a client has yet to come to a frame in somebody else's memory that the writer would
    /// wait for.
    pub(crate) fn awaits_foreign(&mut self) -> bool {
        let mut ready = self.ready.iter().rev();
        let newest = ready.find(|&&index| self.slot(index).is_foreign());
        let Some(position) = newest.map(|&index| self.slot(index).position) else {
            return false;
        };
        self.clients.await_frame(position, self.head)
    }

    /// Whether there is a frame in somebody else's memory: one that is received, or was and is held.
    pub(crate) fn owes_memory(&self) -> bool {
        self.slots.iter().any(Slot::is_foreign)
    }

    /// Takes back all frames in somebody else's memory. Those that clients hold follow when they
    /// are let go.
    pub(crate) fn retire_foreign(&mut self) {
        self.take_back(|pool, index| pool.slot(index).is_foreign());
    }

    /// The frames that clients hold, and what keeps their bytes.
    pub(crate) fn take_held(&mut self) -> Vec<(FrameId, Hold)> {
        self.look();
        let parked = std::mem::take(&mut self.parked);
        let mut held = Vec::new();
        for index in parked {
            let frame = self.holders.frame(index);
            match (frame, self.slot_mut(index).hold.take()) {
                (Some(frame), Some(hold)) => held.push((frame, hold)),
                _ => self.parked.push(index),
            }
        }
        held
    }

    /// Forgets memory that nobody has any more but who passes it on. Says whether there was some.
    pub(crate) fn forget_unused(&mut self) -> bool {
        let before = self.gone.len();
        let mut at = 0;
        while at < self.segments.len() {
            let segment = &self.segments[at];
            if segment.is_abandoned() && Arc::strong_count(segment) == 1 {
                self.gone.push(self.segments.remove(at));
            } else {
                at += 1;
            }
        }
        self.gone.len() > before
    }
}
