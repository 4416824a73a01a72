//! How many slots, and how large.

use super::Pool;
use super::filling::{early, piece};
use super::recycling::Pick;
use super::slot::Slot;
use crate::error::Error;
use crate::segment::PAGE;

impl Pool {
    /// Slots with memory that later frames can use.
    pub(crate) fn count(&self) -> u32 {
        self.usable
    }

    /// Counts them, after a change of which memory can be used.
    pub(super) fn recount(&mut self) {
        self.usable = self.count_with_room(0);
    }

    /// Of these, slots with room for `size` bytes: they start at pages, so that is often more than
    /// was asked for.
    pub(crate) fn count_with_room(&self, size: usize) -> u32 {
        let slots = self.slots.iter().map(|entry| &entry.slot);
        let places = slots.filter_map(Slot::usable_place);
        places.filter(|place| place.size >= size).count() as u32
    }

    /// The error where the producer and clients hold every slot that there may be.
    pub(crate) fn exhausted(&self) -> Error {
        Error::Exhausted {
            slots: self.count(),
            max: self.limit(),
        }
    }

    /// Bytes of all segments of our own.
    pub(crate) fn bytes(&self) -> u64 {
        let own = self.segments.iter().filter(|one| !one.is_imported());
        own.map(|segment| segment.size() as u64).sum()
    }

    /// Most slots there can be.
    pub(crate) fn limit(&self) -> u32 {
        match self.max {
            0 => self.metadata.layout().slots / 2,
            max => max,
        }
    }

    /// Slots that the producer, which needs `need`, can't do without.
    pub(crate) fn own_need(&self, need: u32) -> u32 {
        need.max(self.need)
    }

    /// Slots there have to be so that the producer, which needs `need`, all clients and one more
    /// with `leases` leases never run out.
    pub(crate) fn needed(&self, need: u32, leases: u32) -> u32 {
        self.own_need(need) + self.clients_need() + leases
    }

    /// Slots that are missing for the producer and the clients there are.
    pub(crate) fn missing(&self) -> u32 {
        if self.slot_size == 0 {
            return 0;
        }
        let needed = self.needed(0, 0).min(self.slots_allowed(0));
        needed.saturating_sub(self.count())
    }

    /// How many of these are made at once, where others are `coming`.
    pub(crate) fn missing_at_once(&self, coming: u32) -> u32 {
        let count = self.count();
        let left = self.limit().saturating_sub(count + coming);
        self.missing().min(left).min(piece(self.slot_size, count))
    }

    /// Slots that are missing so that one more client with `leases` leases can join, for which `made`
    /// were made. Those that are missing for others do not keep it waiting.
    pub(crate) fn missing_for(&self, leases: u32, made: u32) -> u32 {
        let least = self.needed_at_least(leases);
        let needed = self.needed(0, leases).min(self.slots_allowed(leases));
        let missing = needed.max(least).saturating_sub(self.count());
        missing.min(leases.saturating_sub(made))
    }

    /// Slots to add where `missing` are: the fewest, and the most that make sense. Both are 0 when there
    /// can be no more.
    ///
    /// A quarter more than there are, or 64 MiB, so that clients which join one after the other don't
    /// make a segment each: the producer keeps a descriptor for each.
    pub(crate) fn growth(&self, missing: u32) -> (u32, u32) {
        let count = self.count();
        let left = self.limit().saturating_sub(count);
        let left = left.min(missing.max(self.slots_allowed(0).saturating_sub(count)));
        let early = early(self.slot_size).min(self.missing().max(count / 4));
        (missing.min(left), missing.max(early).min(left))
    }

    /// How many of `count` slots more there are numbers for.
    ///
    /// Slots that are outdated keep theirs for as long as their frame can be received. Where
    /// numbers run short, those frames are given up.
    pub(crate) fn make_room(&mut self, count: u32) -> u32 {
        if self.vacant.len() < count as usize {
            self.look();
            self.take_back_where(|pool, index| {
                let can_go = pool.slot(index).is_outdated() && pool.is_let_go(index);
                Pick::take_if(can_go && !pool.is_awaited(index))
            });
        }
        count.min(self.vacant.len() as u32)
    }

    /// The producer needs at least this many slots for itself.
    pub(crate) fn raise_need(&mut self, need: u32) {
        if need > self.need {
            self.need = need;
            self.assign();
        }
    }

    /// Slots that are not the clients'.
    pub(crate) fn own(&self) -> u32 {
        self.count().saturating_sub(self.clients_need())
    }

    /// Whether there are numbers for slots.
    pub(crate) fn has_numbers(&self) -> bool {
        !self.vacant.is_empty()
    }

    /// From now on slots have `size` bytes. Where that is more than before, the slots there are
    /// go as they become free.
    pub(crate) fn resize(&mut self, size: usize) {
        if size <= self.slot_size {
            return;
        }
        self.slot_size = size;
        let storage = self.storage.clone();
        self.outdate(|place, _| place.size < size || !place.segment.is_made_of(&storage));
        self.assign();
        // Those that a group keeps beside the new ones may be more than the budget allows.
        let size = size.next_multiple_of(PAGE) as u64;
        let new = u64::from(self.needed(0, 0).min(self.slots_allowed(0))) * size;
        if self.bytes() + self.departed_bytes + new > self.budget() {
            self.give_up_group();
        }
    }

    /// There was no memory for the first slots: frames of another size may come.
    pub(crate) fn forget_size(&mut self) {
        self.slot_size = 0;
        self.assign();
    }
}
