//! Floor 3: frames in hand. [`FrameMut`] is written and published, [`Frame`] was received; their
//! drop gives the slot or the lease back.

mod imported;
mod queued;
mod received;
mod written;

pub use imported::ImportedFrame;
pub use queued::QueuedSlot;
pub use received::Frame;
pub(crate) use received::Spilled;
pub use written::{FrameMut, PublishedSlot, Unpublished};
