//! Frames in imported memory. They take a number and no memory of the pool. What keeps their bytes
//! is released when no client can read the frame any more.

use std::ops::Range;
use std::sync::Arc;

use super::keep_alive::KeepAlive;
use super::recycling::Pick;
use super::slot::{Memory, Published, Slot};
use super::{Place, Pool};
use crate::error::{Error, Result};
use crate::lease::{FrameId, SlotIndex};
use crate::segment::{ImportedMemory, MemoryKind, PayloadSegment};

/// Most pieces of imported memory that clients know at once: half of what may wait for one that does
/// not read.
const MAX_MEMORIES: usize = 128;

/// A number for a frame in imported memory.
pub(crate) struct Import {
    pub(crate) index: SlotIndex,
    pub(crate) place: Place,
    /// Clients have yet to be told of the memory.
    pub(crate) is_new: bool,
}

impl Pool {
    /// Takes a number for a frame in `range` of imported memory, which `keep_alive` keeps as it is. Without
    /// a number that is released.
    ///
    /// # Errors
    /// [`Error::UnsealedMemory`], [`Error::Exhausted`].
    pub(crate) fn import(
        &mut self,
        memory: &ImportedMemory,
        range: Range<usize>,
        keep_alive: KeepAlive,
    ) -> Result<Import> {
        let (index, segment, is_new) = match self.number_for(memory) {
            Ok(found) => found,
            Err(error) => {
                self.release(keep_alive);
                return Err(error);
            }
        };
        let place = Place {
            segment,
            offset: range.start,
            size: range.len(),
        };
        self.entry_mut(index).slot = Slot::Writing(Memory::Imported {
            place: place.clone(),
            keep_alive,
        });
        Ok(Import {
            index,
            place,
            is_new,
        })
    }

    /// What has kept imported memory is needed no longer: it is dropped without the lock.
    pub(crate) fn release(&mut self, keep_alive: KeepAlive) {
        self.released.push(keep_alive);
    }

    /// A number for a frame, what clients know its memory as, and whether they have yet to be told of it.
    fn number_for(
        &mut self,
        memory: &ImportedMemory,
    ) -> Result<(SlotIndex, Arc<PayloadSegment>, bool)> {
        self.check_kind(memory.kind())?;
        // A quarter of all numbers is left for slots.
        let reserve = self.metadata.layout().slots as usize / 4;
        if self.vacant.len() <= reserve {
            return Err(self.exhausted());
        }
        let registered = self.register(memory);
        let (segment, is_new) = registered.ok_or_else(|| self.exhausted())?;
        let index = self.take_vacant().ok_or_else(|| self.exhausted())?;
        Ok((index, segment, is_new))
    }

    /// What clients know a memory as, and whether they have yet to be told. `None` where they know
    /// as many as they may, and there are frames in all of them.
    fn register(&mut self, memory: &ImportedMemory) -> Option<(Arc<PayloadSegment>, bool)> {
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

    /// An error where a frame would be in memory that there are clients which do not take.
    fn check_kind(&self, kind: MemoryKind) -> Result<()> {
        match self.clients.refusing(kind).count() as u32 {
            0 => Ok(()),
            clients => Err(Error::UnsealedMemory { clients }),
        }
    }

    /// An error where the memory that this slot's frame is in will not do: a client may have joined since
    /// it was taken, or frames may be in other memory now.
    pub(crate) fn check_memory(&self, index: SlotIndex) -> Result<()> {
        match self.slot(index).memory() {
            Some(Memory::Imported { place, .. }) => self.check_kind(place.segment.kind()),
            Some(Memory::Own { place, is_outdated })
                if *is_outdated && !place.segment.is_made_of(&self.storage) =>
            {
                Err(Error::WrongStorage(place.segment.kind().storage()))
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
    /// lags no more than its backlog allows. Nor the newest, with which later clients begin.
    pub(crate) fn give_up_oldest(&mut self) -> bool {
        for at in 0..self.ready.len() {
            let index = self.ready[at];
            let position = self.position(index).unwrap_or(self.head);
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

    /// Whether a client has yet to receive a frame in imported memory that the writer would wait
    /// for.
    pub(crate) fn awaits_imported(&mut self) -> bool {
        self.awaits(Slot::is_imported)
    }

    /// The same for frames in memory that ends with this process.
    pub(crate) fn awaits_ending(&mut self) -> bool {
        self.awaits(Slot::ends_with_producer)
    }

    fn awaits(&mut self, is_it: impl Fn(&Slot) -> bool) -> bool {
        let mut ready = self.ready.iter().rev();
        let newest = ready.find(|&&index| is_it(self.slot(index)));
        let position = newest.and_then(|&index| self.position(index));
        position.is_some_and(|position| self.clients.await_frame(position, self.head))
    }

    /// Whether there is a frame in imported memory: one that can be received, or that a client holds.
    pub(crate) fn owes_memory(&self) -> bool {
        self.slots.iter().any(|entry| entry.slot.is_imported())
    }

    /// Takes back all frames in imported memory. Those that clients hold follow when they are let
    /// go.
    pub(crate) fn retire_imported(&mut self) {
        self.take_back_where(|pool, index| Pick::take_if(pool.slot(index).is_imported()));
    }

    /// The same for frames in memory that ends with this process.
    pub(crate) fn retire_ending(&mut self) {
        self.take_back_where(|pool, index| Pick::take_if(pool.slot(index).ends_with_producer()));
    }

    /// The frames in memory that ends with this process that clients hold, and what keeps their bytes;
    /// `keep` makes that of a segment. The channel is closed: their numbers are not used again.
    pub(crate) fn take_pinned_ending(
        &mut self,
        keep: impl Fn(Arc<PayloadSegment>) -> KeepAlive,
    ) -> Vec<(FrameId, KeepAlive)> {
        self.look();
        let pinned = std::mem::take(&mut self.pinned);
        let mut held = Vec::new();
        for index in pinned {
            let frame = self.holders.frame(index);
            match (frame, std::mem::take(&mut self.entry_mut(index).slot)) {
                (
                    Some(frame),
                    Slot::Pinned(Published {
                        memory: Memory::Imported { keep_alive, .. },
                        ..
                    }),
                ) => held.push((frame, keep_alive)),
                (Some(frame), slot) if slot.ends_with_producer() => {
                    let segment = slot.place().map(|place| place.segment.clone());
                    held.extend(segment.map(|segment| (frame, keep(segment))));
                }
                (_, slot) => {
                    self.entry_mut(index).slot = slot;
                    self.pinned.push(index);
                }
            }
        }
        held
    }

    /// Forgets imported memory that only this channel still has.
    pub(crate) fn forget_unused(&mut self) {
        let mut at = 0;
        while at < self.segments.len() {
            let segment = &self.segments[at];
            if segment.is_abandoned() && Arc::strong_count(segment) == 1 {
                self.gone.push(self.segments.remove(at));
            } else {
                at += 1;
            }
        }
    }
}
