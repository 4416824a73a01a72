//! Memory with a descriptor and no name: made, sealed and checked.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{self, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;

use super::limits;
use super::mapping::Mapping;
use crate::dtype::AccessMode;
use crate::error::{Error, Result};

/// Its size is fixed, so that no process that has it mapped is killed by a SIGBUS.
pub(crate) fn size_seals() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW
}

/// Besides, only mappings that are older can write it (Linux 5.1): no new mapping, no `write`, and
/// no hole is punched into it by any process.
pub(crate) fn producer_seals() -> SealFlags {
    size_seals() | SealFlags::FUTURE_WRITE | SealFlags::SEAL
}

/// Whether no process can write the memory, or punch a hole into it, but by a mapping that is
/// older than the seal.
pub(crate) fn is_write_sealed(seals: SealFlags) -> bool {
    seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE)
}

/// An error where [that](is_write_sealed) is not so.
pub(crate) fn check_write_sealed(fd: impl AsFd) -> Result<()> {
    let found = seals(fd)?.unwrap_or(SealFlags::empty());
    if !is_write_sealed(found) {
        return Err(Error::Protocol(format!(
            "a memfd has the seals {found:?}, one against writing is needed"
        )));
    }
    Ok(())
}

/// Adds seals.
pub(crate) fn seal(fd: impl AsFd, seals: SealFlags) -> Result<()> {
    fs::fcntl_add_seals(fd, seals).map_err(Error::memory("sealing (fcntl F_ADD_SEALS)"))
}

/// Bytes, for a person.
fn amount(len: usize) -> String {
    match len >> 20 {
        0 => format!("{len} bytes"),
        mebibytes => format!("{mebibytes} MiB"),
    }
}

/// Makes, maps, prefaults and seals `len` bytes of zeroed memory.
///
/// # Errors
/// [`Error::ResourceExhausted`] where there are no memory or no descriptors for it.
pub(crate) fn create(name: &str, len: usize, seals: SealFlags) -> Result<(OwnedFd, Mapping)> {
    let made = make(name, len, seals);
    made.map_err(|error| error.doing(|| format!("making {} of shared memory", amount(len))))
}

fn make(name: &str, len: usize, seals: SealFlags) -> Result<(OwnedFd, Mapping)> {
    limits::check_file_size(len)?;
    limits::check_memory(len)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = match fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3 the flag is unknown; a sandbox may know the others only.
        Err(Errno::INVAL | Errno::PERM | Errno::NOSYS) => fs::memfd_create(name, flags),
        other => other,
    }
    .map_err(Error::memory("memfd_create"))?;
    fs::ftruncate(&fd, len as u64).map_err(Error::memory("ftruncate"))?;
    // From here on it can't shrink, which `Mapping` relies on. The other seals come after the
    // writable mapping, which FUTURE_WRITE would refuse.
    seal(&fd, size_seals())?;
    let mapping = Mapping::new(&fd, len, AccessMode::ReadWrite)?;
    mapping.prefault(&fd)?;
    seal(&fd, seals)?;
    Ok((fd, mapping))
}

/// Opens the memory again, so that the new descriptor can only read.
pub(crate) fn reopen_read_only(fd: impl AsFd) -> Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
        let what = match errno {
            Errno::NOENT => "reopening a memfd read-only needs /proc: mount it",
            _ => "reopening a memfd read-only through /proc",
        };
        Error::memory(what)(errno)
    })
}

/// The seals of a memfd; `None` of what is none.
pub(crate) fn seals(fd: impl AsFd) -> Result<Option<SealFlags>> {
    match fs::fcntl_get_seals(fd) {
        Ok(seals) => Ok(Some(seals)),
        Err(Errno::INVAL) => Ok(None),
        Err(errno) => Err(Error::memory("looking at seals (fcntl F_GET_SEALS)")(errno)),
    }
}

/// Whether a file has memory for all of its bytes.
pub(crate) fn is_whole(stat: &fs::Stat) -> bool {
    let blocks = (stat.st_size as u64).div_ceil(512);
    u64::try_from(stat.st_blocks).unwrap_or(0) >= blocks
}

/// Maps memory that another process made, after checking its size and seals: a file that could
/// shrink would be a SIGBUS in waiting.
pub(crate) fn open(
    fd: impl AsFd,
    len: usize,
    seals: SealFlags,
    access: AccessMode,
) -> Result<Mapping> {
    let Some(found) = self::seals(&fd)? else {
        let what = "the peer passed something that is not a memfd";
        return Err(Error::Protocol(what.into()));
    };
    if !found.contains(seals) {
        return Err(Error::Protocol(format!(
            "a memfd has the seals {found:?}, {seals:?} are needed"
        )));
    }
    let stat = fs::fstat(&fd).map_err(Error::memory("fstat"))?;
    let size = stat.st_size;
    if u64::try_from(size) != Ok(len as u64) {
        return Err(Error::Protocol(format!(
            "a memfd has {size} bytes, {len} were announced"
        )));
    }
    // Else reading it would allocate it, at the reader's cost and in any size.
    if !is_whole(&stat) {
        return Err(Error::Protocol(format!(
            "a memfd of {len} bytes has memory for {} only",
            stat.st_blocks * 512
        )));
    }
    let mapped = Mapping::new(&fd, len, access).and_then(|mapping| {
        mapping.prefault(&fd)?;
        Ok(mapping)
    });
    let doing = || format!("mapping {} of the producer's memory", amount(len));
    mapped.map_err(|error| error.doing(doing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_can_neither_write_nor_shrink() {
        let (fd, mapping) = create("xmem-test", 8192, producer_seals()).unwrap();
        mapping.write(4000, b"frame");
        let reader = reopen_read_only(&fd).unwrap();
        let map = open(&reader, 8192, producer_seals(), AccessMode::ReadOnly).unwrap();
        let mut bytes = [0; 5];
        map.read(4000, &mut bytes);
        assert_eq!(&bytes, b"frame");
        assert!(Mapping::new(&reader, 8192, AccessMode::ReadWrite).is_err());
        // Not even who holds the first descriptor gets another writable mapping.
        assert!(Mapping::new(&fd, 8192, AccessMode::ReadWrite).is_err());
        assert_eq!(fs::ftruncate(&fd, 0), Err(Errno::PERM));
    }

    #[test]
    fn an_unsealed_or_short_file_is_refused() {
        let fd = fs::memfd_create("xmem-test", MemfdFlags::ALLOW_SEALING).unwrap();
        fs::ftruncate(&fd, 4096).unwrap();
        let open = |len, seals| open(&fd, len, seals, AccessMode::ReadOnly);
        assert!(matches!(
            open(4096, producer_seals()),
            Err(Error::Protocol(_))
        ));
        fs::fcntl_add_seals(&fd, producer_seals()).unwrap();
        // Sparse.
        assert!(matches!(
            open(4096, producer_seals()),
            Err(Error::Protocol(_))
        ));
        assert!(matches!(
            open(8192, producer_seals()),
            Err(Error::Protocol(_))
        ));
        let not_memory = fs::open("/dev/null", OFlags::RDONLY, Mode::empty()).unwrap();
        assert!(super::open(not_memory, 0, producer_seals(), AccessMode::ReadOnly).is_err());
    }
}
