//! Slots that are missing: when the control thread makes them, and how many before they are needed.

use std::time::Duration;

use crate::sys::clock::Deadline;

/// Most bytes of slots that are made before they are needed: what needs the others waits for them.
const MOST_EARLY: usize = 64 << 20;

/// How many slots of `size` bytes these are.
pub(crate) fn early(size: usize) -> u32 {
    (MOST_EARLY / size.max(1)) as u32
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
