//! A frame in memory that xmem did not make.

use super::written::FrameMut;
use crate::error::Result;
use crate::meta::BufferMeta;

/// A frame in imported memory, to be described and published.
///
/// Dropped without publishing, no client sees it.
#[derive(Debug)]
#[must_use = "a frame that is dropped is not published"]
pub struct ImportedFrame(FrameMut);

impl ImportedFrame {
    pub(crate) fn new(frame: FrameMut) -> ImportedFrame {
        ImportedFrame(frame)
    }

    /// What the frame is; see [`FrameMut::meta_mut`].
    pub fn meta_mut(&mut self) -> &mut BufferMeta {
        self.0.meta_mut()
    }

    /// Sets variable data that goes with the frame; see [`FrameMut::set_extra`].
    ///
    /// # Errors
    /// As there.
    pub fn set_extra(&mut self, extra: &[u8]) -> Result<()> {
        self.0.set_extra(extra)
    }

    /// Publishes it, and tells its place in the stream.
    ///
    /// # Errors
    /// As [`FrameMut::publish`]; [`Error::UnsealedMemory`](crate::Error::UnsealedMemory) where a client that
    /// does not take such memory has connected meanwhile.
    pub fn publish(self) -> Result<u64> {
        self.0.publish().map(|published| published.seq())
    }
}
