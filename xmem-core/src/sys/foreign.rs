//! Memory with a descriptor that somebody else has made: what it is, and made safe to map.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, FallocateFlags, SeekFrom};
use rustix::io::Errno;

use super::memfd;
use crate::error::{Error, Result};

/// `f_type` of the file system that dmabufs are in (`DMA_BUF_MAGIC` of the kernel).
const DMA_BUF_MAGIC: u64 = 0x444d_4142;

/// What somebody else's memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// A memfd that is sealed against writing, but by mappings that are older than the seal.
    Sealed,
    /// A memfd that keeps its size.
    Memfd,
    /// A dmabuf.
    DmaBuf,
}

/// Whether the descriptor is a dmabuf.
pub(crate) fn is_dma_buf(fd: impl AsFd) -> Result<bool> {
    let stat = fs::fstatfs(fd).map_err(Error::memory("fstatfs"))?;
    Ok(stat.f_type as u64 == DMA_BUF_MAGIC)
}

/// The size of a dmabuf, which never changes.
pub(crate) fn dma_buf_size(fd: impl AsFd) -> Result<usize> {
    let size = fs::seek(&fd, SeekFrom::End(0)).map_err(Error::memory("lseek"))?;
    let _ = fs::seek(&fd, SeekFrom::Start(0));
    usize::try_from(size).map_err(|_| Error::memory("lseek")(Errno::OVERFLOW))
}

/// Makes somebody else's memory fit to be passed on: what it is, its size, and a descriptor for
/// others, which can only read where it can be had.
///
/// # Errors
/// [`Error::InvalidSetting`] where it can't be passed on, and why; [`Error::ResourceExhausted`].
pub(crate) fn adopt(fd: BorrowedFd<'_>) -> Result<(Nature, usize, OwnedFd)> {
    // Where that is not told it is no dmabuf: then it has no seals, and is refused.
    if is_dma_buf(fd).unwrap_or(false) {
        let size = dma_buf_size(fd)?;
        let copy = rustix::io::fcntl_dupfd_cloexec(fd, 0);
        let copy = copy.map_err(Error::memory("copying a descriptor"))?;
        return Ok((Nature::DmaBuf, size, copy));
    }
    let refused = |why: &str| Error::InvalidSetting(format!("memory can't be passed on: {why}"));
    let seals = memfd::seals(fd)?
        .ok_or_else(|| refused("its descriptor is neither a memfd's nor a dmabuf's"))?;
    if !seals.contains(memfd::size_seals()) {
        memfd::seal(fd, memfd::size_seals())
            .map_err(|_| refused("the memfd may shrink, and can't be sealed against that"))?;
    }
    // From here on neither changes.
    let stat = fs::fstat(fd).map_err(Error::memory("fstat"))?;
    let size = usize::try_from(stat.st_size).unwrap_or(0);
    if size == 0 {
        return Err(refused("it is empty"));
    }
    if !memfd::is_whole(&stat) {
        // Who only reads would have to pay for what nobody has written yet.
        fs::fallocate(fd, FallocateFlags::empty(), 0, size as u64)
            .map_err(|_| refused("the memfd has holes, and they can't be filled"))?;
    }
    let nature = match memfd::is_write_sealed(seals) {
        true => Nature::Sealed,
        false => Nature::Memfd,
    };
    Ok((nature, size, memfd::reopen_read_only(fd)?))
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, Mode, OFlags};

    use super::*;

    fn memfd(flags: MemfdFlags, size: u64) -> OwnedFd {
        let fd = fs::memfd_create("xmem-test", flags).unwrap();
        fs::ftruncate(&fd, size).unwrap();
        fd
    }

    #[test]
    fn a_memfd_is_sealed_filled_and_opened_to_read() {
        let fd = memfd(MemfdFlags::ALLOW_SEALING, 10_000);
        rustix::io::pwrite(&fd, b"frame", 5000).unwrap();
        let (nature, size, reader) = adopt(fd.as_fd()).unwrap();
        assert_eq!((nature, size), (Nature::Memfd, 10_000));
        assert_eq!(fs::ftruncate(&fd, 0), Err(Errno::PERM));
        assert!(memfd::is_whole(&fs::fstat(&reader).unwrap()));
        let mut bytes = [0; 5];
        rustix::io::pread(&reader, &mut bytes, 5000).unwrap();
        assert_eq!(&bytes, b"frame");
        assert!(rustix::io::pwrite(&reader, b"other", 5000).is_err());
        // Its maker goes on writing it.
        rustix::io::pwrite(&fd, b"other", 5000).unwrap();
    }

    #[test]
    fn what_can_not_be_passed_on_is_refused_with_the_reason() {
        let unsealable = memfd(MemfdFlags::empty(), 4096);
        let reason = adopt(unsealable.as_fd()).unwrap_err().to_string();
        assert!(reason.contains("can't be sealed"), "{reason}");
        let file = fs::open("/proc/self/exe", OFlags::RDONLY, Mode::empty()).unwrap();
        let reason = adopt(file.as_fd()).unwrap_err().to_string();
        assert!(reason.contains("neither a memfd's"), "{reason}");
        let empty = memfd(MemfdFlags::ALLOW_SEALING, 0);
        let reason = adopt(empty.as_fd()).unwrap_err().to_string();
        assert!(reason.contains("empty"), "{reason}");
    }
}
