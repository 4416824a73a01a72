//! Which slot is written next: a free one, or that of a frame that is taken back.

use super::slot::{Memory, Slot};
use super::{Place, Pool};
use crate::lease::SlotIndex;

/// What [`Pool::acquire`] found.
#[derive(Debug)]
pub(crate) enum Acquired {
    /// A slot, and its memory.
    Slot(SlotIndex, Place),
    /// Every slot that could be had is one that a client has yet to receive.
    Blocked,
    /// Every slot that could be had is one of the group that later clients begin with.
    Grouped,
    /// The producer and the clients hold every slot.
    Short,
    /// The channel is closed.
    Closed,
}

/// What is done with a published frame, and whether those after it are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    Take,
    /// Take it, and look at no further one.
    TakeLast,
    Keep,
    /// Keep it, and look at no further one.
    Stop,
}

impl Pick {
    pub(super) fn take_if(is_wanted: bool) -> Pick {
        if is_wanted { Pick::Take } else { Pick::Keep }
    }
}

impl Pool {
    /// Finds a slot to write: a free one, else that of the oldest published frame that neither a client
    /// nor the producer holds. If the writer blocks, a frame that a client has yet to receive is not
    /// taken.
    pub(crate) fn acquire(&mut self) -> Acquired {
        if self.closed {
            return Acquired::Closed;
        }
        let has_looked = self.take_back_passed();
        if self.free.is_empty() && !has_looked {
            self.look();
        }
        let mut blocked = false;
        while self.free.is_empty() {
            // From the oldest on each time: a look may have found one let go that was held before.
            let Some(at) = self.oldest_let_go() else {
                break;
            };
            let oldest = self.ready[at];
            if self.is_awaited(oldest) {
                // So are those after it, which came later.
                blocked = true;
                break;
            }
            let position = self.position(oldest);
            if position.is_some_and(|position| self.is_grouped(position)) {
                return Acquired::Grouped;
            }
            if !self.take_back_one(at) {
                // A client has leased it since the last look, and another may have been let go.
                // There is an end to that: a look finds at most as many frames held as there are
                // leases, and all others that were tried are free.
                self.look();
            }
        }
        match self.take_free() {
            Some((index, place)) => Acquired::Slot(index, place),
            None if blocked => Acquired::Blocked,
            None => Acquired::Short,
        }
    }

    /// Takes the free slot that was used last, to be written.
    fn take_free(&mut self) -> Option<(SlotIndex, Place)> {
        let index = self.free.pop()?;
        let slot = &mut self.entry_mut(index).slot;
        let taken = std::mem::take(slot);
        let Slot::Free(place) = taken else {
            *slot = taken;
            return None;
        };
        *slot = Slot::Writing(Memory::Own {
            place: place.clone(),
            is_outdated: false,
        });
        Some((index, place))
    }

    /// Which of the published frames is the oldest that a slot is gained by.
    pub(super) fn oldest_let_go(&self) -> Option<usize> {
        let is_it = |&index: &SlotIndex| self.is_let_go(index) && !self.slot(index).is_imported();
        self.ready.iter().position(is_it)
    }

    /// Takes back the frames that no client needs any more: every client that wants all frames has
    /// passed them. The newest stays, for later clients, and so does the group that it belongs to.
    /// Those that are held are free later.
    ///
    /// They come to lie on top of the free slots, the latest uppermost. So a stream whose clients
    /// keep up goes round in the two or three slots that are in the processors' caches, however
    /// many there are.
    /// Says whether there were some: then it has [looked](Pool::look).
    pub(super) fn take_back_passed(&mut self) -> bool {
        let passed = self.clients.passed(self.head);
        let passed = passed.min(self.group.first_kept());
        self.take_back_where(|pool, index| {
            let is_passed = pool
                .position(index)
                .is_some_and(|position| position < passed);
            if is_passed && pool.ready.len() > 1 {
                Pick::Take
            } else {
                Pick::Stop
            }
        })
    }

    /// Takes back the frame at this place among the published ones, which no client held at the last
    /// look. Says whether its slot is free.
    pub(super) fn take_back_one(&mut self, at: usize) -> bool {
        let index = self.ready[at];
        self.retire_where(at, |_, _| Pick::TakeLast);
        let frame = self.holders.frame(index);
        let is_leased = frame.is_some_and(|frame| self.clients.hold(frame));
        let is_free = !is_leased && !self.is_held(index);
        if is_free {
            // It was pinned last.
            self.pinned.pop();
            self.make_free(index);
        }
        is_free
    }

    /// Takes back the published frames that `which` picks, the oldest first. Clients may have leases on
    /// them, and the producer may read them; the others are free.
    /// Says whether there were some: then it has [looked](Pool::look).
    pub(super) fn take_back_where(
        &mut self,
        which: impl FnMut(&mut Pool, SlotIndex) -> Pick,
    ) -> bool {
        let has_some = self.retire_where(0, which);
        if has_some {
            self.look();
        }
        has_some
    }

    /// Takes the READY mark from the published frames that `which` picks, from this place on, and pins
    /// them.
    fn retire_where(
        &mut self,
        mut at: usize,
        mut which: impl FnMut(&mut Pool, SlotIndex) -> Pick,
    ) -> bool {
        let first = self.pinned.len();
        while let Some(&index) = self.ready.get(at) {
            let pick = which(self, index);
            match pick {
                Pick::Keep => at += 1,
                Pick::Stop => break,
                Pick::Take | Pick::TakeLast => {
                    self.ready.remove(at);
                    self.pinned.push(index);
                    if pick == Pick::TakeLast {
                        break;
                    }
                }
            }
        }
        if first == self.pinned.len() {
            return false;
        }
        let frames = self.pinned[first..].iter();
        let frames = frames.filter_map(|&index| self.holders.frame(index));
        self.metadata.words().retire(frames);
        for &index in &self.pinned[first..] {
            let entry = &mut self.slots[usize::from(index.0)];
            entry.generation = entry.generation.next();
            entry.slot = match std::mem::take(&mut entry.slot) {
                Slot::Ready(frame) => {
                    self.group.lose(frame.position);
                    Slot::Pinned(frame)
                }
                other => other,
            };
        }
        true
    }

    /// Looks at all leases, and frees the pinned slots that neither a client nor the producer
    /// holds, in the order in which they were retired.
    pub(super) fn look(&mut self) {
        self.clients.scan(&mut self.holders);
        for (index, count) in self.holders.take_changes() {
            self.metadata.set_ref_count(index, i32::from(count));
        }
        let mut kept = 0;
        for at in 0..self.pinned.len() {
            let index = self.pinned[at];
            if self.is_let_go(index) {
                self.make_free(index);
            } else {
                self.pinned[kept] = index;
                kept += 1;
            }
        }
        self.pinned.truncate(kept);
    }

    /// Whether neither the producer nor, at the last look, a client holds the slot's frame.
    pub(super) fn is_let_go(&self, index: SlotIndex) -> bool {
        self.holders.count(index) == 0 && !self.is_held(index)
    }

    /// Whether the producer still reads the slot's frame.
    fn is_held(&self, index: SlotIndex) -> bool {
        let frame = self.slot(index).published();
        frame.is_none_or(|frame| frame.is_held)
    }

    /// Whether the writer has to wait until a client has received the slot's frame.
    pub(super) fn is_awaited(&mut self, index: SlotIndex) -> bool {
        let position = self.position(index).filter(|_| self.blocking);
        position.is_some_and(|position| self.clients.await_frame(position, self.head))
    }

    /// Ends the frame in a slot, which no process holds.
    pub(super) fn make_free(&mut self, index: SlotIndex) {
        self.holders.set_frame(index, None);
        match std::mem::take(&mut self.entry_mut(index).slot) {
            Slot::Vacant => {}
            Slot::Free(place) => self.entry_mut(index).slot = Slot::Free(place),
            Slot::Writing(memory) => self.return_memory(index, memory),
            Slot::Ready(frame) | Slot::Pinned(frame) => {
                self.spares.extend(frame.spill);
                self.return_memory(index, frame.memory);
            }
        }
    }

    /// Takes in the memory of a slot that has no frame.
    pub(super) fn return_memory(&mut self, index: SlotIndex, memory: Memory) {
        match memory {
            Memory::Own {
                place,
                is_outdated: false,
            } => {
                self.entry_mut(index).slot = Slot::Free(place);
                self.free.push(index);
            }
            Memory::Own { place, .. } => {
                self.vacant.push(index);
                self.give_up(place);
            }
            Memory::Imported { keep_alive, .. } => {
                self.vacant.push(index);
                self.released.push(keep_alive);
            }
        }
    }

    /// Decides which memory of the pool is given up as soon as it is free, from where it is and whether
    /// that was decided before.
    pub(super) fn outdate(&mut self, is_outdated: impl Fn(&Place, bool) -> bool) {
        for entry in &mut self.slots {
            if let Some(Memory::Own {
                place,
                is_outdated: outdated,
            }) = entry.slot.memory_mut()
            {
                *outdated = is_outdated(place, *outdated);
            }
        }
        for index in std::mem::take(&mut self.free) {
            if let Slot::Free(place) = std::mem::take(&mut self.entry_mut(index).slot) {
                let is_outdated = is_outdated(&place, false);
                self.return_memory(index, Memory::Own { place, is_outdated });
            }
        }
        self.recount();
    }
}
