//! Floor 3: frames in hand. [`FrameMut`] is written and published, [`Frame`] was received; their
//! drop gives the slot or the lease back.

mod received;
mod written;

pub use received::Frame;
pub(crate) use received::Spilled;
pub use written::{FrameMut, ImportedFrame, PublishedSlot, QueuedSlot, Unpublished};
