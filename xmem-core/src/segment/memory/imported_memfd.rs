//! A memfd that xmem did not make, or that another producer made.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{self, FallocateFlags};

use super::descriptor::Descriptor;
use super::mapped::Mapped;
use crate::error::{Error, Result};
use crate::sys::memfd::{self, Maker};
use crate::sys::seals;

/// A memfd that keeps its size.
#[derive(Debug)]
pub(crate) struct ImportedMemfd {
    size: usize,
    /// No process can write it, but by mappings that are older than the seal.
    is_write_sealed: bool,
    /// `None` in the process that imported it, which does not read it.
    mapping: Option<Mapped>,
    descriptor: Option<Descriptor>,
}

impl ImportedMemfd {
    /// Seals a memfd against a change of its size, and fills its holes.
    pub(super) fn import(fd: BorrowedFd<'_>) -> Result<ImportedMemfd> {
        let refused = |why: &str| Error::BadMemory(format!("memory can't be imported: {why}"));
        let seals = seals::seals_of(fd)?
            .ok_or_else(|| refused("its descriptor is neither a memfd's nor a dmabuf's"))?;
        if !seals.contains(seals::size_seals()) {
            seals::seal(fd, seals::size_seals())
                .map_err(|_| refused("the memfd may shrink, and can't be sealed against that"))?;
        }
        // From here on neither changes.
        let stat = fs::fstat(fd).map_err(Error::memory("fstat"))?;
        let size = usize::try_from(stat.st_size).unwrap_or(0);
        if size == 0 {
            return Err(refused("it is empty"));
        }
        if !memfd::is_whole(&stat) {
            // Otherwise a reader would make the memory of the holes, at its own cost.
            fs::fallocate(fd, FallocateFlags::empty(), 0, size as u64)
                .map_err(|_| refused("the memfd has holes, and they can't be filled"))?;
        }
        Ok(ImportedMemfd {
            size,
            is_write_sealed: seals::is_write_sealed(seals),
            mapping: None,
            descriptor: Some(Descriptor::needed(memfd::reopen_read_only(fd)?)),
        })
    }

    /// Opens a memfd that a producer has announced as imported.
    pub(super) fn open(
        fd: OwnedFd,
        size: usize,
        is_write_sealed: bool,
        keep: bool,
    ) -> Result<ImportedMemfd> {
        if is_write_sealed {
            seals::check_write_sealed(&fd)?;
        }
        // Another process has made it, of any user.
        let mapping = Mapped::open(&fd, size, seals::size_seals(), Maker::Other)?;
        Ok(ImportedMemfd {
            size,
            is_write_sealed,
            mapping: Some(mapping),
            descriptor: keep.then(|| Descriptor::kept(fd)),
        })
    }

    pub(super) fn is_write_sealed(&self) -> bool {
        self.is_write_sealed
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn mapped(&self) -> Option<&Mapped> {
        self.mapping.as_ref()
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor.as_ref().map(Descriptor::fd)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::fs::{MemfdFlags, Mode, OFlags};
    use rustix::io::Errno;

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
        let memory = ImportedMemfd::import(fd.as_fd()).unwrap();
        assert_eq!((memory.is_write_sealed(), memory.size()), (false, 10_000));
        let reader = memory.fd().unwrap();
        assert_eq!(fs::ftruncate(&fd, 0), Err(Errno::PERM));
        assert!(memfd::is_whole(&fs::fstat(reader).unwrap()));
        let mut bytes = [0; 5];
        rustix::io::pread(reader, &mut bytes, 5000).unwrap();
        assert_eq!(&bytes, b"frame");
        assert!(rustix::io::pwrite(reader, b"other", 5000).is_err());
        // Its maker goes on writing it.
        rustix::io::pwrite(&fd, b"other", 5000).unwrap();
    }

    #[test]
    fn what_can_not_be_imported_is_refused_with_the_reason() {
        let refusal = |fd: BorrowedFd<'_>| ImportedMemfd::import(fd).unwrap_err().to_string();
        let unsealable = memfd(MemfdFlags::empty(), 4096);
        let reason = refusal(unsealable.as_fd());
        assert!(reason.contains("can't be sealed"), "{reason}");
        let file = fs::open("/proc/self/exe", OFlags::RDONLY, Mode::empty()).unwrap();
        let reason = refusal(file.as_fd());
        assert!(reason.contains("neither a memfd's"), "{reason}");
        let empty = memfd(MemfdFlags::ALLOW_SEALING, 0);
        let reason = refusal(empty.as_fd());
        assert!(reason.contains("empty"), "{reason}");
    }
}
