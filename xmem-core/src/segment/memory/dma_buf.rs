//! Memory of a device, perhaps: a dmabuf.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use once_cell::sync::OnceCell;

use crate::dtype::AccessMode;
use crate::error::{Error, Result};
use crate::sys::fixed_file::{FixedFile, is_dma_buf};
use crate::sys::mapping::Mapping;

/// A dmabuf. It is mapped when a reader asks for that.
#[derive(Debug)]
pub(crate) struct DmaBuf {
    file: FixedFile<OwnedFd>,
    mapping: OnceCell<Mapping>,
}

impl DmaBuf {
    /// Whether a descriptor is a dmabuf.
    pub(super) fn is_it(fd: impl AsFd) -> Result<bool> {
        is_dma_buf(fd)
    }

    /// Imports a dmabuf.
    pub(super) fn import(fd: BorrowedFd<'_>) -> Result<DmaBuf> {
        let copy = rustix::io::fcntl_dupfd_cloexec(fd, 0);
        let copy = copy.map_err(Error::memory("copying a descriptor"))?;
        let refused = || Error::BadMemory("memory can't be imported: it is no dmabuf".into());
        let file = FixedFile::dma_buf(copy)?.ok_or_else(refused)?;
        Ok(DmaBuf::new(file))
    }

    /// Opens a dmabuf that a producer has announced.
    pub(super) fn open(fd: OwnedFd, size: usize) -> Result<DmaBuf> {
        let broken = |what: String| Err(Error::Protocol(what));
        let Some(file) = FixedFile::dma_buf(fd)? else {
            return broken("the peer passed something that is not a dmabuf as one".into());
        };
        if file.len() != size {
            let found = file.len();
            return broken(format!("a dmabuf has {found} bytes, {size} were announced"));
        }
        Ok(DmaBuf::new(file))
    }

    fn new(file: FixedFile<OwnedFd>) -> DmaBuf {
        DmaBuf {
            file,
            mapping: OnceCell::new(),
        }
    }

    pub(super) fn size(&self) -> usize {
        self.file.len()
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.file.fd()
    }

    /// The mapping, where there is one yet.
    pub(super) fn mapping(&self) -> Option<&Mapping> {
        self.mapping.get()
    }

    /// Maps the dmabuf, once for all frames in it. After a failure, the next call tries again.
    pub(super) fn map_cpu(&self) -> Result<&Mapping> {
        let map = || Mapping::new(&self.file, AccessMode::ReadOnly);
        self.mapping.get_or_try_init(map)
    }
}
