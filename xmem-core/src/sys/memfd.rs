//! Memory with a descriptor and no name: made, opened and checked.

use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{self, MemfdFlags, Mode, OFlags, SealFlags, SeekFrom};
use rustix::io::Errno;

use super::fixed_file::FixedFile;
use super::limits;
use super::mapping::Mapping;
use super::seals::seal;
use crate::dtype::AccessMode;
use crate::error::{Error, Result};

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
    Unfinished::start(name, len)?.finish(seals)
}

/// Bytes of it that are made in one call. The kernel holds the lock of the address space meanwhile, some
/// 0.2 ms, for which other threads wait that map memory.
const PIECE: usize = 256 << 10;

/// Memory that is being made, as slowly as its maker likes: the kernel clears each page of it.
pub(crate) struct Unfinished {
    fd: OwnedFd,
    mapping: Mapping,
    /// Bytes that are there.
    made: usize,
}

impl Unfinished {
    /// Makes and maps a file of `len` bytes, without memory.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where there are no memory or no descriptors for it.
    pub(crate) fn start(name: &str, len: usize) -> Result<Unfinished> {
        let started = map_new(name, len);
        let (fd, mapping) = started.map_err(|error| error.doing(|| making(len)))?;
        Ok(Unfinished {
            fd,
            mapping,
            made: 0,
        })
    }

    /// Makes `len` bytes more of it, at most.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where there is no memory for them.
    pub(crate) fn make(&mut self, len: usize) -> Result<()> {
        let end = self.made + len.min(self.left());
        while self.made < end {
            let part = self.made..end.min(self.made + PIECE);
            let prefaulted = self.mapping.prefault(&self.fd, part.clone());
            prefaulted.map_err(|error| error.doing(|| making(self.mapping.len())))?;
            self.made = part.end;
        }
        Ok(())
    }

    /// Bytes that are still to be made.
    pub(crate) fn left(&self) -> usize {
        self.mapping.len() - self.made
    }

    /// Makes the rest, and seals it all.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where there is no memory for it.
    pub(crate) fn finish(mut self, seals: SealFlags) -> Result<(OwnedFd, Mapping)> {
        self.make(self.left())?;
        seal(&self.fd, seals).map_err(|error| error.doing(|| making(self.mapping.len())))?;
        Ok((self.fd, self.mapping))
    }
}

fn making(len: usize) -> String {
    format!("making {} of shared memory", amount(len))
}

fn map_new(name: &str, len: usize) -> Result<(OwnedFd, Mapping)> {
    limits::check_file_size(len)?;
    limits::check_memory(len)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = match fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3 the flag is unknown; a sandbox may know the others only.
        Err(Errno::INVAL | Errno::PERM | Errno::NOSYS) => fs::memfd_create(name, flags),
        other => other,
    }
    .map_err(Error::memory("memfd_create"))?;
    // The other seals come after the writable mapping, which FUTURE_WRITE would refuse.
    let file = FixedFile::create(fd, len)?;
    // Any process may write a memfd's attributes, which a client's user must not: extended ones are
    // memory of the kernel that stays as long as this process keeps the file.
    fs::fchmod(file.fd(), Mode::RUSR | Mode::RGRP | Mode::ROTH).map_err(Error::memory("fchmod"))?;
    let mapping = Mapping::new(&file, AccessMode::ReadWrite)?;
    Ok((file.into_inner(), mapping))
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

/// Which process has made the memory that this process maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    /// A process of this user, for itself.
    OwnUser,
    /// Any other process.
    Other,
}

/// Bytes of another process's memory that are prefaulted at once.
const STEP: usize = 1 << 20;

/// Whether a file has memory for all of its bytes, as far as the kernel counts.
pub(crate) fn is_whole(stat: &fs::Stat) -> bool {
    let blocks = (stat.st_size as u64).div_ceil(512);
    u64::try_from(stat.st_blocks).unwrap_or(0) >= blocks
}

/// Maps and prefaults memory that another process made, to read, after checking its size and seals.
pub(crate) fn open(fd: impl AsFd, len: usize, seals: SealFlags, maker: Maker) -> Result<Mapping> {
    let mapping = map_to_read(&fd, len, seals)?;
    let is_there = is_there(&fd, len, maker);
    for start in (0..len).step_by(STEP) {
        prefault(&mapping, start..len.min(start + STEP), is_there)?;
    }
    Ok(mapping)
}

/// Maps memory that another process made, to read, after checking its size and seals. Before a part
/// of it is read, that has to be [prefaulted](prefault).
pub(crate) fn map_to_read(fd: impl AsFd, len: usize, seals: SealFlags) -> Result<Mapping> {
    map(fd, len, seals, AccessMode::ReadOnly)
}

/// Prefaults a part of such a mapping, all of whose memory [is there](is_there), or may not be.
///
/// Its maker may have lied of how much of it there is (by memory beyond the end of the file, which
/// counts, too): the rest is made here, and charged to this process. That ends with an error while
/// there is memory left. What is there is charged to its maker already.
///
/// # Errors
/// [`Error::ResourceExhausted`] where there is no memory left.
pub(crate) fn prefault(mapping: &Mapping, part: Range<usize>, is_there: bool) -> Result<()> {
    if is_there {
        // Page faults take as long as one call for all of them, which would hold the lock of the address
        // space meanwhile: for long, in a thread that others run before.
        mapping.touch(part);
        return Ok(());
    }
    // Another thread may take as much at the same time.
    let checked = limits::check_memory(2 * part.len());
    let prefaulted = checked.and_then(|()| mapping.prefault_to_read(part));
    prefaulted.map_err(|error| error.doing(|| mapping_of(mapping.len())))
}

/// Whether such memory has no hole; false where that can't be known. Seals keep it so: nothing can punch
/// a hole into it any more.
///
/// To look for a hole takes the file's lock, which a process that may write the file can hold during a
/// write from memory whose page fault does not end: no look at the memory of another user. It also takes
/// the lock of the open file description, which every client of the producer has, and which each of them
/// can hold in the same way with a read: the look is at a description of this process's own.
pub(crate) fn is_there(fd: impl AsFd, len: usize, maker: Maker) -> bool {
    let find = || {
        let own = reopen_read_only(fd).ok()?;
        fs::seek(own, SeekFrom::Hole(0)).ok()
    };
    maker == Maker::OwnUser && find().is_some_and(|hole| hole >= len as u64)
}

/// Maps memory that another process made, after checking its size and seals: a file that could
/// shrink would be a SIGBUS in waiting.
pub(crate) fn map(
    fd: impl AsFd,
    len: usize,
    seals: SealFlags,
    access: AccessMode,
) -> Result<Mapping> {
    let (file, stat) = FixedFile::memfd(fd, seals)?;
    if file.len() != len {
        return Err(Error::Protocol(format!(
            "a memfd has {} bytes, {len} were announced",
            file.len()
        )));
    }
    // Else reading it would allocate it, at the reader's cost and in any size.
    if !is_whole(&stat) {
        return Err(Error::Protocol(format!(
            "a memfd of {len} bytes has memory for {} only",
            stat.st_blocks * 512
        )));
    }
    Mapping::new(&file, access).map_err(|error| match error {
        Error::SharedMemory { answer, .. }
            if Errno::from_io_error(&answer) == Some(Errno::ACCESS) =>
        {
            let what = format!("the peer passed a memfd that can't be mapped as {access:?}");
            Error::Protocol(what)
        }
        other => other.doing(|| mapping_of(len)),
    })
}

fn mapping_of(len: usize) -> String {
    format!("mapping {} of the producer's memory", amount(len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::seals::producer_seals;

    #[test]
    fn a_reader_can_neither_write_nor_shrink() {
        let (fd, mapping) = create("xmem-test", 8192, producer_seals()).unwrap();
        mapping.write(4000, b"frame");
        let reader = reopen_read_only(&fd).unwrap();
        let map = open(&reader, 8192, producer_seals(), Maker::OwnUser).unwrap();
        let mut bytes = [0; 5];
        map.read(4000, &mut bytes);
        assert_eq!(&bytes, b"frame");
        let writable = |fd: &OwnedFd| {
            let (file, _) = FixedFile::memfd(fd, producer_seals()).unwrap();
            Mapping::new(&file, AccessMode::ReadWrite).is_ok()
        };
        assert!(!writable(&reader));
        // Not even the first descriptor gives another writable mapping.
        assert!(!writable(&fd));
        assert_eq!(fs::ftruncate(&fd, 0), Err(Errno::PERM));
    }

    #[test]
    fn an_unsealed_or_short_file_is_refused() {
        let fd = fs::memfd_create("xmem-test", MemfdFlags::ALLOW_SEALING).unwrap();
        fs::ftruncate(&fd, 4096).unwrap();
        let open = |len, seals| open(&fd, len, seals, Maker::OwnUser);
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
        assert!(super::open(not_memory, 0, producer_seals(), Maker::Other).is_err());
    }
}
