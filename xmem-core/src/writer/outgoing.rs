//! What a producer has passed on that waits for work on a device.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::event::EventKind;
use crate::lease::SlotIndex;
use crate::meta::BufferMeta;
use crate::pool::{KeepAlive, Place};

/// What waits for the device.
pub(crate) enum Outgoing {
    /// A slot that the work writes. It is the producer's until then.
    Frame(Written),
    /// What is said before the frames after it.
    Event { kind: EventKind, content: Box<[u8]> },
}

/// A slot in the producer's hands, which the pool does not give up, with all that is published with it.
pub(crate) struct Written {
    pub(crate) index: SlotIndex,
    pub(crate) spill: Option<Place>,
    pub(crate) meta: Box<BufferMeta>,
    /// The frame is not published: it was discarded, or a flush has come after it.
    pub(crate) is_void: bool,
    /// The device has done the work on it.
    pub(crate) is_done: bool,
    pub(crate) kept: Option<Box<Kept>>,
}

/// What a caller keeps for the work, and a slot for itself.
pub(crate) struct Kept {
    /// What the work reads. It is dropped when the work is done.
    #[expect(dead_code, reason = "held for its drop")]
    pub(crate) keep_alive: KeepAlive,
    /// The producer reads the slot for longer than the work takes.
    pub(crate) shared: SharedSlot,
}

/// A slot that has two owners. The second one to leave gives it back.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedSlot(Arc<AtomicBool>);

impl SharedSlot {
    /// One of the owners leaves. Says whether it gives the slot back.
    pub(crate) fn leave(&self) -> bool {
        self.0.swap(true, Ordering::AcqRel)
    }
}
