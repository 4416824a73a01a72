//! What the thread uses that publishes, behind one lock.

use std::sync::MutexGuard;

use super::current::Current;
use super::reporter::Outbox;
use super::timing::Timing;
use crate::memory::import::Importer;

/// The maximum size in bytes of a buffer for metas that is reused for the next frame.
const MAX_KEPT: usize = 1 << 26;

/// Used by the streaming thread, and by a thread that publishes the frame of PAUSED in its place.
pub(in crate::xmemsink) struct Streaming {
    pub(in crate::xmemsink) current: Current,
    pub(in crate::xmemsink) timing: Timing,
    /// The imports of upstream's memory; `None` if that is always copied.
    pub(super) importer: Option<Importer>,
    /// The buffer for the encoded metas of a frame, reused for every frame.
    pub(super) extra: Vec<u8>,
}

/// The locked [`Streaming`], and the messages that are posted after it was unlocked: the fields
/// are dropped in this order.
pub(in crate::xmemsink) struct Locked<'a> {
    pub(in crate::xmemsink) streaming: MutexGuard<'a, Streaming>,
    pub(super) outbox: Outbox<'a>,
}

impl Streaming {
    pub(super) fn new(imports: bool) -> Streaming {
        Streaming {
            current: Current::default(),
            timing: Timing::default(),
            importer: imports.then(Importer::default),
            extra: Vec::new(),
        }
    }

    /// Frees the buffer for metas if it has become large.
    pub(super) fn shrink(&mut self) {
        if self.extra.capacity() > MAX_KEPT {
            self.extra = Vec::new();
        }
    }
}
