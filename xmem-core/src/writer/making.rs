//! Slots that the control thread makes a step at a time, while frames go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Writer;
use super::growing::Growing;
use super::sizing::make_room;
use crate::error::{Error, Result};
use crate::pool::filling::Filling;
use crate::segment::UnfinishedSegment;

/// Bytes of memory that are made at once: a millisecond's work, for which the writer waits where it makes
/// slots itself, and messages to and from clients.
const STEP: usize = 2 << 20;
/// What is made so soon that it is better waited for than made twice.
const SOON: usize = 16 << 20;

/// Slots that are being made.
pub(crate) struct Making {
    segment: UnfinishedSegment,
    count: Counted,
}

/// Slots that others know to be under way.
struct Counted {
    among: Arc<AtomicU32>,
    count: u32,
}

impl Counted {
    fn new(count: u32, among: &Arc<AtomicU32>) -> Counted {
        // Relaxed, as below: a thread that depends on it has the lock `growing`.
        among.fetch_add(count, Ordering::Relaxed);
        Counted {
            among: among.clone(),
            count,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.among.fetch_sub(self.count, Ordering::Relaxed);
    }
}

/// What a step in making them has come to.
pub(super) enum Made {
    /// There is more to do.
    Part(Making),
    /// They are in the pool, which can use so many of them.
    All(u32),
}

impl Making {
    pub(super) fn count(&self) -> u32 {
        self.count.count
    }

    /// Bytes that are still to be made.
    pub(super) fn left(&self) -> usize {
        self.segment.left()
    }

    /// Whether all of them are there soon.
    pub(super) fn is_soon(&self) -> bool {
        self.left() <= SOON
    }
}

/// Slots that are being made for others.
#[derive(Default)]
pub(crate) struct Coming {
    slots: u32,
    /// Some of them are there soon.
    is_soon: bool,
}

impl Coming {
    pub(crate) fn of<'a>(others: impl Iterator<Item = &'a Making>) -> Coming {
        let mut coming = Coming::default();
        for making in others {
            coming.slots += making.count();
            coming.is_soon |= making.is_soon();
        }
        coming
    }

    pub(super) fn slots(&self) -> u32 {
        self.slots
    }

    /// Whether some of them are there soon.
    pub(super) fn is_soon(&self) -> bool {
        self.is_soon
    }
}

impl Writer {
    /// Begins to make `most` slots of `size` bytes; fewer, but `least`, where there is not memory for so
    /// many, with some left for others; fewer where there are no numbers for them. `None` where there
    /// are none.
    pub(super) fn start_making(
        &self,
        growing: &Growing<'_>,
        size: usize,
        (least, most): (u32, u32),
    ) -> Result<Option<Making>> {
        let (id, mut count) = make_room(growing, size, most);
        if count == 0 {
            return Ok(None);
        }
        let storage = &self.storage();
        let start = |count: u32| {
            storage.check_for_others(size.saturating_mul(count as usize))?;
            UnfinishedSegment::start(storage, id, size, count as usize)
        };
        loop {
            match start(count) {
                Err(Error::ResourceExhausted { .. }) if count > least => {
                    count = least.max(count / 2);
                }
                started => {
                    let segment = started?;
                    let count = Counted::new(count, &self.coming);
                    return Ok(Some(Making { segment, count }));
                }
            }
        }
    }

    /// Makes some more of them. They come into the pool when all are there.
    pub(super) fn go_on_making(&self, mut making: Making) -> Result<Made> {
        {
            // Otherwise the writer could take the memory that was just found, and the process would be
            // killed.
            let _growing = self.lock_growing();
            self.storage().check_for_others(STEP.min(making.left()))?;
            making.segment.make(STEP)?;
        }
        if making.left() > 0 {
            return Ok(Made::Part(making));
        }
        let (segment, stride) = making.segment.finish()?;
        let count = self.with_pool(|pool| pool.add_segment(&segment, stride));
        self.wake_word.signal();
        Ok(Made::All(count))
    }

    /// Takes a step in making the slots for clients that [`configure`](Writer::configure) has left to be
    /// made, beside those that are `coming`. `None` where there are enough, or no memory for more now:
    /// then it is worth another try later.
    pub(crate) fn fill(&self, making: Option<Making>, coming: &Coming) -> Option<Making> {
        if making.is_none() && !self.with_pool(|pool| pool.filling.is_due()) {
            return None;
        }
        let making = self.try_to_fill(making, coming).unwrap_or(None);
        if making.is_none() {
            self.with_pool(|pool| {
                pool.filling = match pool.missing() {
                    0 => Filling::Done,
                    _ => Filling::later(),
                };
            });
        }
        making
    }

    fn try_to_fill(&self, making: Option<Making>, coming: &Coming) -> Result<Option<Making>> {
        let is_wanted = |making: &Making| {
            let stride = making.segment.stride();
            self.with_pool(|pool| pool.missing() > 0 && stride >= pool.slot_size())
        };
        if let Some(making) = making.filter(is_wanted)
            && let Made::Part(unfinished) = self.go_on_making(making)?
        {
            return Ok(Some(unfinished));
        }
        // The writer counts on what is coming.
        let growing = self.lock_growing();
        let (count, size) =
            growing.with_pool(|pool| (pool.missing_at_once(coming.slots()), pool.slot_size()));
        // There may be enough, or room only for what is coming.
        self.start_making(&growing, size, (count.min(1), count))
    }
}
