//! What the kernel tells of a dmabuf's descriptor.

use std::os::fd::AsFd;

use rustix::fs::{self, SeekFrom};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// `f_type` of the file system that dmabufs are in (`DMA_BUF_MAGIC` of the kernel).
const DMA_BUF_MAGIC: u64 = 0x444d_4142;

/// Whether the descriptor is a dmabuf.
pub(crate) fn is_dma_buf(fd: impl AsFd) -> Result<bool> {
    let stat = fs::fstatfs(fd).map_err(Error::memory("fstatfs"))?;
    Ok(stat.f_type as u64 == DMA_BUF_MAGIC)
}

/// The size of a dmabuf, which never changes.
pub(crate) fn size(fd: impl AsFd) -> Result<usize> {
    let size = fs::seek(&fd, SeekFrom::End(0)).map_err(Error::memory("lseek"))?;
    let _ = fs::seek(&fd, SeekFrom::Start(0));
    usize::try_from(size).map_err(|_| Error::memory("lseek")(Errno::OVERFLOW))
}
