//! One numbered place of the pool, and what is in it.

use std::sync::Arc;

use super::keep_alive::KeepAlive;
use crate::lease::Generation;
use crate::segment::PayloadSegment;

/// A range of a segment.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) segment: Arc<PayloadSegment>,
    pub(crate) offset: usize,
    pub(crate) size: usize,
}

/// Where the bytes of a frame are.
#[derive(Debug)]
pub(super) enum Memory {
    /// In memory of the pool.
    Own {
        place: Place,
        /// It is given up when the slot is free: slots are larger now, or there are too many.
        is_outdated: bool,
    },
    /// In imported memory, which the value keeps as it is.
    Imported { place: Place, keep_alive: KeepAlive },
}

impl Memory {
    pub(super) fn place(&self) -> &Place {
        match self {
            Memory::Own { place, .. } | Memory::Imported { place, .. } => place,
        }
    }
}

/// A published frame.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) memory: Memory,
    /// Where its extra bytes are, when they are many.
    pub(super) spill: Option<Place>,
    /// Its place in the stream, and the last event before it.
    pub(super) position: u64,
    pub(super) event: u64,
    /// The producer still reads it.
    pub(super) is_held: bool,
}

/// What is in a numbered place of the pool.
#[derive(Debug, Default)]
pub(super) enum Slot {
    /// A number without memory.
    #[default]
    Vacant,
    /// Memory without a frame. It is never outdated.
    Free(Place),
    /// In the producer's hands, not published.
    Writing(Memory),
    /// Published.
    Ready(Published),
    /// Retired while a client or the producer held it.
    Pinned(Published),
}

/// A number of the pool: a slot and its generation, which outlives what is in the slot.
#[derive(Debug)]
pub(super) struct Entry {
    /// As in the shared state word: even while READY, odd otherwise.
    pub(super) generation: Generation,
    pub(super) slot: Slot,
}

impl Entry {
    pub(super) const VACANT: Entry = Entry {
        generation: Generation::UNUSED,
        slot: Slot::Vacant,
    };
}

impl Slot {
    /// The frame, where one was published.
    pub(super) fn published(&self) -> Option<&Published> {
        match self {
            Slot::Ready(frame) | Slot::Pinned(frame) => Some(frame),
            Slot::Vacant | Slot::Free(_) | Slot::Writing(_) => None,
        }
    }

    /// The memory that the producer or a frame has.
    pub(super) fn memory(&self) -> Option<&Memory> {
        match self {
            Slot::Writing(memory) => Some(memory),
            Slot::Ready(frame) | Slot::Pinned(frame) => Some(&frame.memory),
            Slot::Vacant | Slot::Free(_) => None,
        }
    }

    pub(super) fn memory_mut(&mut self) -> Option<&mut Memory> {
        match self {
            Slot::Writing(memory) => Some(memory),
            Slot::Ready(frame) | Slot::Pinned(frame) => Some(&mut frame.memory),
            Slot::Vacant | Slot::Free(_) => None,
        }
    }

    /// Where its memory is.
    pub(super) fn place(&self) -> Option<&Place> {
        match self {
            Slot::Free(place) => Some(place),
            other => other.memory().map(Memory::place),
        }
    }

    /// Where its memory is, if that is the pool's and later frames can use it.
    pub(super) fn usable_place(&self) -> Option<&Place> {
        match self {
            Slot::Free(place) => Some(place),
            other => match other.memory()? {
                Memory::Own { place, is_outdated } if !is_outdated => Some(place),
                Memory::Own { .. } | Memory::Imported { .. } => None,
            },
        }
    }

    /// Where the extra bytes of its frame are, when they are many.
    pub(super) fn spill(&self) -> Option<&Place> {
        self.published()?.spill.as_ref()
    }

    /// Whether its frame is in imported memory.
    pub(super) fn is_imported(&self) -> bool {
        matches!(self.memory(), Some(Memory::Imported { .. }))
    }

    /// Whether its frame is in memory that ends with this process, or is another's by then.
    pub(super) fn ends_with_producer(&self) -> bool {
        let kind = self.memory().map(|memory| memory.place().segment.kind());
        kind.is_some_and(|kind| !kind.outlives_producer())
    }

    /// Whether its memory is given up when it is free.
    pub(super) fn is_outdated(&self) -> bool {
        self.memory().is_some() && self.usable_place().is_none()
    }
}
