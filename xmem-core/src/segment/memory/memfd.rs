//! Memory of the producer's own: a memfd, sealed by the producer.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::descriptor::Descriptor;
use super::mapped::Mapped;
use crate::error::Result;
use crate::sys::memfd::{self, Maker};
use crate::sys::seals;

/// A memfd that no process can write, or punch a hole into, but through the producer's mapping.
#[derive(Debug)]
pub(crate) struct Memfd {
    mapping: Mapped,
    descriptor: Option<Descriptor>,
}

impl Memfd {
    /// Opens such memory of a producer, and keeps its descriptor where `keep` says so.
    pub(super) fn open(fd: OwnedFd, size: usize, maker: Maker, keep: bool) -> Result<Memfd> {
        Ok(Memfd {
            mapping: Mapped::open(&fd, size, seals::producer_seals(), maker)?,
            descriptor: keep.then(|| Descriptor::kept(fd)),
        })
    }

    /// Whether a descriptor may be a memfd. Where the kernel refuses to tell, the check of the seals
    /// fails later, with the reason.
    pub(super) fn may_be(fd: &OwnedFd) -> bool {
        rustix::fs::fcntl_get_seals(fd) != Err(Errno::INVAL)
    }

    pub(super) fn size(&self) -> usize {
        self.mapping.mapping().len()
    }

    pub(super) fn mapped(&self) -> &Mapped {
        &self.mapping
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor.as_ref().map(Descriptor::fd)
    }
}

/// Such memory, while it is made.
pub(crate) struct UnfinishedMemfd(memfd::Unfinished);

impl UnfinishedMemfd {
    /// Makes a file of `size` bytes, without memory.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`](crate::Error::ResourceExhausted) where there can't be enough
    /// memory.
    pub(crate) fn start(size: usize) -> Result<UnfinishedMemfd> {
        memfd::Unfinished::start("xmem-payload", size).map(UnfinishedMemfd)
    }

    /// Makes `len` bytes more of it, at most.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`](crate::Error::ResourceExhausted) where there is no memory for
    /// them.
    pub(crate) fn make(&mut self, len: usize) -> Result<()> {
        self.0.make(len)
    }

    /// Bytes that are still to be made.
    pub(crate) fn left(&self) -> usize {
        self.0.left()
    }

    /// Makes the rest, and seals it.
    ///
    /// # Errors
    /// As [`make`](UnfinishedMemfd::make).
    pub(super) fn finish(self) -> Result<Memfd> {
        let (fd, mapping) = self.0.finish(seals::producer_seals())?;
        Ok(Memfd {
            descriptor: Some(Descriptor::needed(memfd::reopen_read_only(fd)?)),
            mapping: Mapped::own(mapping),
        })
    }
}
