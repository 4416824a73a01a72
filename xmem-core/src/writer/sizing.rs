//! Making slots: the memory first, then the pool is changed.

use std::sync::atomic::Ordering;

use super::Writer;
use super::growing::Growing;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::pool::filling::{Filling, early};
use crate::segment::{MAX_SLOTS, PayloadSegment, SegmentId, Storage};

impl Writer {
    /// Slots have at least `slot_size` bytes from now on, and there are as many as the producer needs
    /// (`need`), and some for the clients where that is soon done. The control thread makes the others.
    /// Where there is no memory for those that the producer needs, all stays as it was.
    pub(crate) fn configure(&self, slot_size: usize, need: u32) -> Result<()> {
        self.check_origin()?;
        let need = need.min(MAX_SLOTS);
        let growing = self.lock_growing();
        let (is_first, least, count, size) = growing.with_pool(|pool| {
            let is_first = pool.slot_size() == 0;
            if is_first {
                // Clients that are there already have wanted frames of a size that was not known. What is
                // made now is there for the first frames, however many come at once.
                pool.resize(slot_size);
            }
            let size = slot_size.max(pool.slot_size());
            let there = pool.count_with_room(size);
            let missing = |slots: u32| slots.min(pool.limit()).saturating_sub(there);
            // The clients there are were admitted when the producer needed less, perhaps.
            let needed = pool.needed(need, 0);
            let least = missing(pool.own_need(need));
            let count = missing(needed).min(least.max(early(size)));
            (is_first, least, count, size)
        });
        let made = self.make_slots(&growing, size, (least, count));
        if is_first && made.is_err() {
            growing.with_pool(Pool::forget_size);
        }
        if made? == 0 && least > 0 {
            // Frames that clients have yet to receive have all the numbers, and the free slots, which
            // are too small: they give theirs back. Where there are none, a writer waits for clients.
            let id = growing.with_pool(Pool::next_segment_id);
            let (segment, stride) =
                PayloadSegment::create(&self.storage(), id, size, least as usize)?;
            growing.with_pool(|pool| {
                pool.resize(size);
                pool.add_segment(&segment, stride);
            });
        }
        growing.with_pool(|pool| {
            pool.raise_need(need);
            pool.filling = Filling::Due;
            if least == 0 {
                // Those there are have room for more than they were made for.
                pool.resize(size);
            }
        });
        drop(growing);
        // There may be segments to announce, and others to drop.
        self.event_fd.notify();
        Ok(())
    }

    /// The memory that slots are made of.
    pub(super) fn storage(&self) -> Storage {
        self.with_pool(|pool| pool.storage().clone())
    }

    /// From now on slots are made of other memory, as they are needed. Waits for the frames that a device
    /// has yet to write.
    pub(crate) fn set_storage(&self, storage: Storage) -> Result<()> {
        self.check_open()?;
        if self.storage() == storage {
            return Ok(());
        }
        self.await_outbox()?;
        self.forget_work();
        let growing = self.lock_growing();
        growing.with_pool(|pool| pool.set_storage(storage));
        drop(growing);
        // There may be clients to evict, and segments to drop.
        self.event_fd.notify();
        Ok(())
    }

    /// Makes slots because there is none left. False when there can be no more.
    pub(super) fn grow(&self) -> Result<bool> {
        let growing = self.lock_growing();
        let ((_, most), size, missing, own) = growing.with_pool(|pool| {
            let missing = pool.missing();
            (pool.growth(1), pool.slot_size(), missing, pool.own())
        });
        if missing > 0 {
            // It is clients that hold the others.
            self.storage().check_for_others(size)?;
        }
        let made = self.make_slots(&growing, size, (most.min(1), most));
        drop(growing);
        let made = made?;
        if made == 0 {
            return Ok(false);
        }
        if missing == 0 {
            // The producer holds more than it said: from now on that counts as what it needs.
            self.with_pool(|pool| pool.raise_need(own + made));
        }
        self.event_fd.notify();
        Ok(true)
    }

    /// Makes slots because clients that join have use for all frames that could be taken back. Says how
    /// many: none where the limits allow no more beside those that are coming.
    pub(super) fn grow_for_group(&self) -> Result<u32> {
        let growing = self.lock_growing();
        let coming = self.coming.load(Ordering::Relaxed);
        let (count, size) = growing.with_pool(|pool| (pool.group_growth(coming), pool.slot_size()));
        self.storage().check_for_others(size)?;
        let made = self.make_slots(&growing, size, (0, count));
        drop(growing);
        let made = made?;
        self.event_fd.notify();
        Ok(made)
    }

    /// Makes `most` slots of `size` bytes; fewer, but `least`, where there is not memory for so many, with
    /// some left for others; fewer where there are no numbers for them. The memory is made first and
    /// the pool changed afterwards, so a failure changes nothing.
    pub(super) fn make_slots(
        &self,
        growing: &Growing<'_>,
        size: usize,
        (least, most): (u32, u32),
    ) -> Result<u32> {
        let (id, count) = make_room(growing, size, most);
        if count == 0 {
            return Ok(0);
        }
        let storage = &self.storage();
        let make = |count: u32| {
            let count = count as usize;
            if count > least as usize {
                storage.check_for_others(size.saturating_mul(count))?;
            }
            PayloadSegment::create(storage, id, size, count)
        };
        let mut count = count;
        let (segment, stride) = loop {
            match make(count) {
                Err(Error::ResourceExhausted { .. }) if count > least => {
                    count = least.max(count / 2);
                    if count == 0 {
                        return Ok(0);
                    }
                }
                made => break made?,
            }
        };
        let added = growing.with_pool(|pool| {
            pool.resize(size);
            pool.add_segment(&segment, stride)
        });
        self.wake_word.signal();
        Ok(added)
    }
}

/// The number of a segment to make, and how many of `count` slots of `size` bytes there are numbers
/// for.
pub(super) fn make_room(growing: &Growing<'_>, size: usize, count: u32) -> (SegmentId, u32) {
    growing.with_pool(|pool| {
        let count = match size {
            0 => 0,
            _ => pool.make_room(count),
        };
        (pool.next_segment_id(), count)
    })
}
