//! Floor 3: frames in memory that the publisher did not make, and passes on as it is.

use std::any::Any;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crate::callback::{self, Failure};
use crate::error::Result;
use crate::frame::FrameMut;
use crate::meta::BufferMeta;
use crate::segment::{PayloadSegment, SegmentKind};

/// Memory with a descriptor that somebody else has made: a memfd, a dmabuf, or what
/// [frames](crate::Frame::memory) of another channel are in. A publisher
/// [passes it on](crate::Publisher::pass_on) without copying it.
///
/// Clones are the same memory. Make one for each piece of memory and keep it as long as that is
/// there: clients are sent a descriptor for each.
#[derive(Clone, Debug)]
pub struct ForeignMemory(pub(crate) Arc<PayloadSegment>);

impl ForeignMemory {
    /// Looks at what a descriptor is, and makes it fit to be passed on: a memfd is sealed against a
    /// change of its size, and holes in it are filled. Where that can be, clients are given a
    /// descriptor that can only read.
    ///
    /// What xmem promises of its own memory, that no client can write it, it can't promise of
    /// this: that is for who has made it.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`](crate::Error::InvalidSetting) where the memory can't be passed on:
    /// it is a file of another kind, or a memfd that can't be sealed.
    /// [`Error::ResourceExhausted`](crate::Error::ResourceExhausted).
    pub fn new(fd: BorrowedFd<'_>) -> Result<ForeignMemory> {
        PayloadSegment::adopt(fd).map(ForeignMemory)
    }

    /// Bytes of the memory.
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// Whether it is a dmabuf: memory of a device.
    pub fn is_dma_buf(&self) -> bool {
        self.0.kind == SegmentKind::DmaBuf
    }
}

/// What keeps somebody else's memory as it is for as long as clients may read it.
pub(crate) struct Hold {
    what: Option<Box<dyn Any + Send>>,
    failure: Arc<Failure>,
}

impl Hold {
    /// Drops `what` in the end. Should that panic, it is noted.
    pub(crate) fn new(what: impl Any + Send, failure: Arc<Failure>) -> Hold {
        let what: Box<dyn Any + Send> = Box::new(what);
        Hold {
            what: Some(what),
            failure,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let what = self.what.take();
        if let Err(reason) = callback::call("giving memory back", || drop(what)) {
            self.failure.note(reason);
        }
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hold")
    }
}

/// A frame in somebody else's memory, to be described and published.
///
/// Dropped without publishing, nobody knows of it.
#[derive(Debug)]
pub struct ForeignFrame(pub(crate) FrameMut);

impl ForeignFrame {
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
    /// As [`FrameMut::publish`]; [`Error::UnsealedMemory`](crate::Error::UnsealedMemory) where a
    /// client that does not take such memory has connected meanwhile.
    pub fn publish(self) -> Result<u64> {
        self.0.publish().map(|published| published.seq())
    }
}
