//! What a producer has passed on that waits for work on a device.

use crate::event::EventKind;
use crate::lease::SlotIndex;
use crate::meta::BufferMeta;
use crate::pool::Place;

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
}
