//! Frames in imported memory. They take a number and no memory of the pool. What keeps their bytes
//! is released when no client can read the frame any more.

use std::sync::Arc;

use super::keep_alive::KeepAlive;
use super::{Place, Pool, Slot, Status};
use crate::error::{Error, Refusal, Result};
use crate::lease::{FrameId, SlotIndex};
use crate::segment::{ImportedMemory, PayloadSegment};

/// Most pieces of imported memory that clients know at once: half of what may wait for one that does
/// not read.
const MAX_MEMORIES: usize = 128;

impl Slot {
    /// Whether its frame is in imported memory.
    pub(super) fn is_imported(&self) -> bool {
        self.keep_alive.is_some()
    }
}

impl Pool {
    /// What clients know a memory as, and whether they have yet to be told. `None` where they know
    /// as many as they may, and there are frames in all of them.
    pub(crate) fn register(
        &mut self,
        memory: &ImportedMemory,
    ) -> Option<(Arc<PayloadSegment>, bool)> {
        let known = self.segments.iter().find(|segment| segment.is_of(memory));
        if let Some(known) = known {
            return Some((known.clone(), false));
        }
        let imported = self.segments.iter().filter(|one| one.is_imported());
        if imported.count() >= MAX_MEMORIES {
            let unused = |segment: &Arc<PayloadSegment>| {
                segment.is_imported() && Arc::strong_count(segment) == 1
            };
            let at = self.segments.iter().position(unused)?;
            self.gone.push(self.segments.remove(at));
        }
        let id = self.next_segment_id();
        let segment = Arc::new(PayloadSegment::import(id, memory));
        self.add_to_segments(segment.clone());
        Some((segment, true))
    }

    /// Takes a number for a frame in imported memory. Gives `keep_alive` back where there is none: a
    /// quarter of all numbers is left for slots.
    pub(crate) fn take_number(
        &mut self,
        place: Place,
        keep_alive: KeepAlive,
    ) -> std::result::Result<SlotIndex, KeepAlive> {
        let reserve = self.metadata.layout().slots as usize / 4;
        if self.vacant.len() <= reserve {
            return Err(keep_alive);
        }
        let Some(index) = self.vacant.pop() else {
            return Err(keep_alive);
        };
        self.make_entry(index);
        let slot = self.slot_mut(index);
        slot.place = Some(place);
        slot.outdated = true;
        slot.keep_alive = Some(keep_alive);
        slot.status = Status::Writing;
        slot.held = true;
        Ok(index)
    }

    /// An error where a frame would be in unsealed memory, and there are clients that take none.
    pub(crate) fn check_unsealed(&self, is_unsealed: bool) -> Result<()> {
        match self.clients.needing_sealed().count() as u32 {
            clients if clients > 0 && is_unsealed => Err(Error::UnsealedMemory { clients }),
            _ => Ok(()),
        }
    }

    /// Has a client not taken in, or evicted, where no frame is in memory that it takes.
    pub(crate) fn set_unsealed_only(&mut self, only: bool) {
        self.unsealed_only = only;
        if only {
            for id in self.clients.needing_sealed().collect::<Vec<_>>() {
                self.unwanted.push((id, Refusal::UnsealedOnly));
                self.clients.evict(id);
            }
        }
    }

    /// The same for the memory that this slot's frame is in: a client may have joined since it was
    /// taken.
    pub(crate) fn check_memory(&self, index: SlotIndex) -> Result<()> {
        match &self.slot(index).place {
            Some(place) if self.slot(index).is_imported() => {
                self.check_unsealed(place.segment.kind().is_unsealed())
            }
            _ => Ok(()),
        }
    }

    /// Takes back the frames that all clients have passed and none holds.
    pub(crate) fn collect(&mut self) {
        if !self.take_back_passed() {
            self.look();
        }
    }

    /// Gives up the oldest frame in imported memory that no client holds, though clients have yet to
    /// come to it. None that the writer has to wait for, and none that a client counts on which
    /// lags no more than its backlog allows. Nor the newest, which is for clients to come.
    pub(crate) fn give_up_oldest(&mut self) -> bool {
        for at in 0..self.ready.len() {
            let index = self.ready[at];
            let position = self.slot(index).position;
            let is_newest = position + 1 >= self.head;
            if is_newest || self.clients.count_on(position, self.head) || self.is_awaited(index) {
                return false;
            }
            if !self.slot(index).is_imported() || !self.is_let_go(index) {
                continue;
            }
            if !self.take_back_one(at) {
                self.look();
            }
            return true;
        }
        false
    }

    /// Whether a client has yet to come to a frame in imported memory that the writer would wait
    /// for.
    pub(crate) fn awaits_imported(&mut self) -> bool {
        let mut ready = self.ready.iter().rev();
        let newest = ready.find(|&&index| self.slot(index).is_imported());
        let Some(position) = newest.map(|&index| self.slot(index).position) else {
            return false;
        };
        self.clients.await_frame(position, self.head)
    }

    /// Whether there is a frame in imported memory: one that can be received, or that a client holds.
    pub(crate) fn owes_memory(&self) -> bool {
        self.slots.iter().any(Slot::is_imported)
    }

    /// Takes back all frames in imported memory. Those that clients hold follow when they are let
    /// go.
    pub(crate) fn retire_imported(&mut self) {
        self.take_back(|pool, index| pool.slot(index).is_imported());
    }

    /// The frames in imported memory that clients hold, and what keeps their bytes.
    pub(crate) fn take_pinned_imports(&mut self) -> Vec<(FrameId, KeepAlive)> {
        self.look();
        let pinned = std::mem::take(&mut self.pinned);
        let mut held = Vec::new();
        for index in pinned {
            let frame = self.holders.frame(index);
            match (frame, self.slot_mut(index).keep_alive.take()) {
                (Some(frame), Some(keep_alive)) => held.push((frame, keep_alive)),
                _ => self.pinned.push(index),
            }
        }
        held
    }

    /// Forgets imported memory that only this channel still has. Says whether there was some.
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
