//! Slots that are missing: when the control thread makes them, and how many before they are needed.

use std::time::Duration;

use crate::sys::clock::Deadline;

/// Most bytes of slots that are made before they are needed: what needs the others waits for them.
const MOST_EARLY: usize = 64 << 20;

/// How many slots of `size` bytes these are.
pub(crate) fn early(size: usize) -> u32 {
    (MOST_EARLY / size.max(1)) as u32
}

/// Bytes of slots that are made at once at the least. The first of them come after a few milliseconds.
const PIECE: usize = 16 << 20;

/// How many slots of `size` bytes are made at once where there are `count`: as many again, so that the
/// new ones are there before the frames of a live stream have filled the others, and so that a pool has
/// few segments in the end.
pub(super) fn piece(size: usize, count: u32) -> u32 {
    ((PIECE / size.max(1)) as u32).max(count).max(1)
}

/// Slots that are missing, and made by the control thread.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Filling {
    /// There are none, as far as is known.
    Done,
    /// There may be some.
    Due,
    /// There was no memory for them: not to be tried before.
    After(Deadline),
}

/// Until slots are tried for again.
const OUT_OF_MEMORY: Duration = Duration::from_secs(1);

impl Filling {
    /// After there was no memory.
    pub(crate) fn later() -> Filling {
        Filling::After(Deadline::after(Some(OUT_OF_MEMORY)))
    }

    /// Whether it is worth a try now.
    pub(crate) fn is_due(self) -> bool {
        match self {
            Filling::Done => false,
            Filling::Due => true,
            Filling::After(time) => time.has_passed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_slots_doubles_at_most_beyond_the_first() {
        const FULL_HD: usize = 3_110_400;
        assert_eq!(piece(FULL_HD, 2), 5);
        assert_eq!(piece(FULL_HD, 9), 9);
        assert_eq!(piece(FULL_HD, 36), 36);
        assert_eq!(piece(4096, 9), 4096);
        assert_eq!((piece(1 << 30, 0), piece(0, 0)), (1, 16 << 20));
    }
}
