//! Memory that xmem did not make, for a publisher to share without a copy.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::memory::{MemoryKind, SegmentMemory};
use crate::error::Result;

/// Memory with a descriptor that xmem did not make: a memfd, a dmabuf, or what
/// [frames](crate::Frame::memory) of another channel are in. A publisher
/// [shares it](crate::Publisher::import_frame) without copying it.
///
/// # Examples
///
/// ```
/// use std::os::fd::AsFd;
/// use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
/// use xmem_core::ImportedMemory;
/// # use xmem_core::{Channel, Publisher, Subscriber};
/// # fn main() -> xmem_core::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let channel = Channel::path(directory.path().join("cam0.sock"));
/// # let publisher = Publisher::builder(channel).open()?;
/// let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
/// let memfd = memfd_create("pictures", flags).unwrap();
/// ftruncate(&memfd, 4096).unwrap();
///
/// let memory = ImportedMemory::new(memfd.as_fd())?;
/// // What is passed as `keep_alive` is dropped when no client reads the frame any more.
/// let keep_alive = memfd;
/// let frame = publisher.import_frame(&memory, 0..1024, keep_alive)?;
/// assert_eq!(frame.publish()?, 0);
/// # Ok(())
/// # }
/// ```
///
/// Clones are the same memory. Make one for each piece of memory and keep it as long as that
/// exists: clients are sent a descriptor for each.
#[derive(Clone, Debug)]
pub struct ImportedMemory {
    pub(super) memory: Arc<SegmentMemory>,
    /// Held by each clone, and by the segment that it was taken from: without a holder no frame in
    /// the memory comes any more.
    pub(super) holder: Arc<()>,
}

impl ImportedMemory {
    /// Imports the memory of a descriptor. A memfd is sealed against a change of its size, and
    /// holes in it are filled. Clients are given a read-only descriptor where there can be one.
    ///
    /// Clients can't write memory that xmem made. They may be able to write this memory: that is
    /// up to the process that made it.
    ///
    /// # Errors
    /// [`Error::BadMemory`](crate::Error::BadMemory) where the memory can't be imported:
    /// it is a file of another kind, or a memfd that can't be sealed.
    /// [`Error::ResourceExhausted`](crate::Error::ResourceExhausted).
    pub fn new(fd: BorrowedFd<'_>) -> Result<ImportedMemory> {
        Ok(ImportedMemory {
            memory: Arc::new(SegmentMemory::import(fd)?),
            holder: Arc::default(),
        })
    }

    /// Bytes of the memory.
    pub fn size(&self) -> usize {
        self.memory.size()
    }

    /// Whether it is a dmabuf: memory of a device.
    pub fn is_dma_buf(&self) -> bool {
        self.memory.kind().is_dma_buf()
    }

    /// The kind of the memory, to the clients of a producer that imports it.
    pub(crate) fn kind(&self) -> MemoryKind {
        self.memory.kind().imported()
    }
}
