//! Memory of a device, perhaps: a dmabuf.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use crate::dtype::AccessMode;
use crate::error::{Error, Result};
use crate::sys::dma_buf;
use crate::sys::mapping::Mapping;

/// A dmabuf. It is mapped when a reader asks for that.
#[derive(Debug)]
pub(crate) struct DmaBuf {
    fd: OwnedFd,
    size: usize,
    mapping: OnceLock<Mapping>,
}

impl DmaBuf {
    /// Whether a descriptor is a dmabuf.
    pub(super) fn is_it(fd: impl AsFd) -> Result<bool> {
        dma_buf::is_dma_buf(fd)
    }

    /// Imports a dmabuf.
    pub(super) fn import(fd: BorrowedFd<'_>) -> Result<DmaBuf> {
        let size = dma_buf::size(fd)?;
        let copy = rustix::io::fcntl_dupfd_cloexec(fd, 0);
        let copy = copy.map_err(Error::memory("copying a descriptor"))?;
        Ok(DmaBuf::new(copy, size))
    }

    /// Opens a dmabuf that a producer has announced.
    pub(super) fn open(fd: OwnedFd, size: usize) -> Result<DmaBuf> {
        let broken = |what: String| Err(Error::Protocol(what));
        if !dma_buf::is_dma_buf(&fd)? {
            return broken("the peer passed something that is not a dmabuf as one".into());
        }
        let found = dma_buf::size(&fd)?;
        if found != size {
            return broken(format!("a dmabuf has {found} bytes, {size} were announced"));
        }
        Ok(DmaBuf::new(fd, size))
    }

    fn new(fd: OwnedFd, size: usize) -> DmaBuf {
        DmaBuf {
            fd,
            size,
            mapping: OnceLock::new(),
        }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The mapping, where there is one yet.
    pub(super) fn mapping(&self) -> Option<&Mapping> {
        self.mapping.get()
    }

    /// Maps it, once for all frames in it.
    pub(super) fn map_cpu(&self) -> Result<&Mapping> {
        if let Some(mapping) = self.mapping.get() {
            return Ok(mapping);
        }
        let mapping = Mapping::new(&self.fd, self.size, AccessMode::ReadOnly)?;
        // Another thread may have been faster, whose mapping is as good.
        Ok(self.mapping.get_or_init(|| mapping))
    }
}
