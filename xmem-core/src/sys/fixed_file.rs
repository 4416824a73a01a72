//! Files whose size does not change any more.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{self, SealFlags, SeekFrom, Stat};
use rustix::io::Errno;

use super::seals::{check_seals, seal, size_seals};
use crate::error::{Error, Result};

/// `f_type` of the file system that dmabufs are in (`DMA_BUF_MAGIC` of the kernel).
const DMA_BUF_MAGIC: u64 = 0x444d_4142;

/// A file that has `len` bytes for as long as it exists, so that no access to a mapping of them
/// faults.
///
/// Invariant, checked by each constructor: the kernel keeps any process from changing the size.
#[derive(Debug)]
pub(crate) struct FixedFile<F> {
    fd: F,
    len: usize,
}

impl<F: AsFd> FixedFile<F> {
    /// Gives a new memfd its size, and seals it against a change of that.
    pub(crate) fn create(fd: F, len: usize) -> Result<FixedFile<F>> {
        fs::ftruncate(&fd, len as u64).map_err(Error::memory("ftruncate"))?;
        // Sealed before anything else has the descriptor.
        seal(&fd, size_seals())?;
        Ok(FixedFile { fd, len })
    }

    /// A memfd that has these seals, among them those of its size. Tells what else the kernel knows
    /// of it.
    ///
    /// # Errors
    /// [`Error::Protocol`] where it lacks one of them, or is no memfd.
    pub(crate) fn memfd(fd: F, seals: SealFlags) -> Result<(FixedFile<F>, Stat)> {
        check_seals(&fd, seals | size_seals())?;
        // After the seals: from here on the size does not change.
        let stat = fs::fstat(&fd).map_err(Error::memory("fstat"))?;
        let len = usize::try_from(stat.st_size).map_err(|_| too_large("fstat"))?;
        Ok((FixedFile { fd, len }, stat))
    }

    /// A dmabuf, which never changes its size; `None` of another file.
    pub(crate) fn dma_buf(fd: F) -> Result<Option<FixedFile<F>>> {
        if !is_dma_buf(&fd)? {
            return Ok(None);
        }
        let size = fs::seek(&fd, SeekFrom::End(0)).map_err(Error::memory("lseek"))?;
        let _ = fs::seek(&fd, SeekFrom::Start(0));
        let len = usize::try_from(size).map_err(|_| too_large("lseek"))?;
        Ok(Some(FixedFile { fd, len }))
    }

    /// Bytes of it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Its descriptor.
    pub(crate) fn into_inner(self) -> F {
        self.fd
    }
}

/// Whether the descriptor is a dmabuf.
pub(crate) fn is_dma_buf(fd: impl AsFd) -> Result<bool> {
    let stat = fs::fstatfs(fd).map_err(Error::memory("fstatfs"))?;
    Ok(stat.f_type as u64 == DMA_BUF_MAGIC)
}

fn too_large(call: &'static str) -> Error {
    Error::memory(call)(Errno::OVERFLOW)
}
