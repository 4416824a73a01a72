//! Every way to change a memory file through a descriptor or a mapping of it.
//!
//! The attacks are real: an attack that is not refused changes what other processes see.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use rustix::fs::{FallocateFlags, SealFlags, SeekFrom, fallocate, fcntl_add_seals, ftruncate};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mprotect, munmap};

/// Number of bytes that are attacked at once. The file must have at least this many from `offset`
/// on.
pub const PAGE: usize = 4096;
/// The bytes that are written.
const MARK: [u8; 64] = [0xa5; 64];

/// An attack on a descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// Completes the sentence "it was changed by".
    pub name: &'static str,
    attempt: fn(BorrowedFd<'_>, u64) -> Result<(), Errno>,
}

impl Attack {
    /// Attacks the page at `offset`, a multiple of [`PAGE`].
    ///
    /// # Errors
    /// The error of the kernel, if it refuses.
    pub fn attempt(&self, fd: BorrowedFd<'_>, offset: u64) -> Result<(), Errno> {
        (self.attempt)(fd, offset)
    }
}

const fn attack(
    name: &'static str,
    attempt: fn(BorrowedFd<'_>, u64) -> Result<(), Errno>,
) -> Attack {
    Attack { name, attempt }
}

/// Attacks that write or remove bytes, and keep the size.
pub const ON_CONTENT: &[Attack] = &[
    attack("write", |fd, offset| {
        rustix::fs::seek(fd, SeekFrom::Start(offset))?;
        rustix::io::write(fd, &MARK).map(drop)
    }),
    attack("pwrite", |fd, offset| {
        rustix::io::pwrite(fd, &MARK, offset).map(drop)
    }),
    attack("a writable mapping", |fd, offset| {
        let map = Map::new(fd, offset, ProtFlags::READ | ProtFlags::WRITE)?;
        map.write();
        Ok(())
    }),
    attack("a write-only mapping", |fd, offset| {
        Map::new(fd, offset, ProtFlags::WRITE)?.write();
        Ok(())
    }),
    attack("mprotect", |fd, offset| {
        let map = Map::new(fd, offset, ProtFlags::READ)?;
        make_writable(map.0)?;
        map.write();
        Ok(())
    }),
    // The kernel's interface for debuggers.
    attack("/proc/self/mem", |fd, offset| {
        let map = Map::new(fd, offset, ProtFlags::READ)?;
        write_as_debugger(map.0)
    }),
    attack("splice", |fd, offset| {
        let (reader, writer) = rustix::pipe::pipe()?;
        rustix::io::write(&writer, &MARK)?;
        let flags = rustix::pipe::SpliceFlags::empty();
        let mut offset = offset;
        rustix::pipe::splice(&reader, None, fd, Some(&mut offset), MARK.len(), flags).map(drop)
    }),
    attack("sendfile", |fd, offset| {
        rustix::fs::seek(fd, SeekFrom::Start(offset))?;
        rustix::fs::sendfile(fd, any_file()?, None, MARK.len()).map(drop)
    }),
    attack("copy_file_range", |fd, offset| {
        let mut offset = offset;
        let from = any_file()?;
        rustix::fs::copy_file_range(&from, Some(&mut 0), fd, Some(&mut offset), MARK.len())
            .map(drop)
    }),
    attack("MADV_REMOVE", |fd, offset| {
        Map::new(fd, offset, ProtFlags::READ)?.remove_pages()
    }),
    attack("a hole", |fd, offset| {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(fd, hole, offset, PAGE as u64)
    }),
    attack("zeroes", |fd, offset| {
        fallocate(fd, FallocateFlags::ZERO_RANGE, offset, MARK.len() as u64)
    }),
    attack("collapsing", |fd, offset| {
        fallocate(fd, FallocateFlags::COLLAPSE_RANGE, offset, PAGE as u64)
    }),
];

/// Removes all bytes: a process that reads them afterwards is killed by SIGBUS.
pub const TRUNCATE: Attack = attack("ftruncate to zero", |fd, _| ftruncate(fd, 0));

/// Attacks on the size, and on what the owner may do later.
pub const ON_SIZE: &[Attack] = &[
    TRUNCATE,
    attack("ftruncate to a larger size", |fd, _| ftruncate(fd, 1 << 30)),
    attack("an additional seal", |fd, _| {
        fcntl_add_seals(fd, SealFlags::WRITE)
    }),
];

fn any_file() -> Result<File, Errno> {
    File::open("/proc/self/exe").map_err(|error| errno(&error))
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Opens the file again for writing, if the kernel allows it.
///
/// # Errors
/// The error of the kernel.
pub fn reopen(path: &str) -> Result<OwnedFd, Errno> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_CLOEXEC);
    let file = options.open(path).map_err(|error| errno(&error))?;
    Ok(file.into())
}

/// Makes a mapped page of this process writable and writes to it. The page is at least [`PAGE`]
/// bytes large.
///
/// # Errors
/// The error of the kernel, if it refuses.
///
/// # Safety
/// The page at `address` is mapped, and is memory shared with other processes: this process has no
/// Rust reference to it, and its bytes may change at any time.
pub unsafe fn mprotect_and_write(address: *mut c_void) -> Result<(), Errno> {
    make_writable(address)?;
    write_mark(address);
    Ok(())
}

/// Writes to an address through `/proc/self/mem`, which the kernel provides for debuggers.
///
/// # Errors
/// The error of the kernel, if it refuses.
pub fn write_as_debugger(address: *mut c_void) -> Result<(), Errno> {
    let memory = OpenOptions::new().write(true).open("/proc/self/mem");
    let memory = memory.map_err(|error| errno(&error))?;
    let written = memory.write_at(&MARK, address as u64);
    written.map(drop).map_err(|error| errno(&error))
}

fn make_writable(address: *mut c_void) -> Result<(), Errno> {
    // SAFETY: the call only adds permissions to a mapped page, which violates no assumption of
    // other code.
    unsafe { mprotect(address, PAGE, MprotectFlags::READ | MprotectFlags::WRITE) }
}

fn write_mark(address: *mut c_void) {
    // SAFETY: the callers have a writable page at this address. It is memory shared with other
    // processes: no reference to it exists, and its bytes have no meaning to this process.
    unsafe { std::ptr::copy_nonoverlapping(MARK.as_ptr(), address.cast::<u8>(), MARK.len()) };
}

/// A mapping of one page of a file.
#[derive(Debug)]
pub struct Map(*mut c_void);

impl Map {
    /// Maps the page at `offset`.
    ///
    /// # Errors
    /// The error of the kernel, if it refuses.
    pub fn new(fd: impl AsFd, offset: u64, access: ProtFlags) -> Result<Map, Errno> {
        let (flags, fd) = (MapFlags::SHARED, fd.as_fd());
        // SAFETY: without MAP_FIXED the kernel chooses a range that contains no mapping.
        unsafe { mmap(std::ptr::null_mut(), PAGE, access, flags, fd, offset) }.map(Map)
    }

    /// Writes to the page, which must be writable.
    pub fn write(&self) {
        write_mark(self.0);
    }

    /// Removes the memory of the page (`MADV_REMOVE`).
    ///
    /// # Errors
    /// The error of the kernel, if it refuses.
    pub fn remove_pages(&self) -> Result<(), Errno> {
        // SAFETY: self owns the mapping of this range, and no reference into it exists.
        unsafe { madvise(self.0, PAGE, Advice::LinuxRemove) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: self owns the mapping of this range, and it is no longer used.
        let _ = unsafe { munmap(self.0, PAGE) };
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;

    /// Attacks that no kernel, or not every kernel, performs on shared memory.
    const UNSUPPORTED: &[&str] = &["/proc/self/mem", "copy_file_range", "zeroes", "collapsing"];

    #[test]
    fn unprotected_content_is_changed() {
        for attack in ON_CONTENT {
            let memory = memfd_create("victim", MemfdFlags::CLOEXEC).unwrap();
            let before = [1; 3 * PAGE];
            rustix::io::pwrite(&memory, &before, 0).unwrap();
            let attempt = attack.attempt(memory.as_fd(), PAGE as u64);
            let mut after = [1; 3 * PAGE];
            rustix::io::pread(&memory, &mut after, 0).unwrap();
            assert_eq!(after[..PAGE], before[..PAGE], "{}", attack.name);
            if attempt.is_ok() {
                assert_ne!(after, before, "{}", attack.name);
            } else {
                assert!(
                    UNSUPPORTED.contains(&attack.name),
                    "{attack:?}: {attempt:?}"
                );
            }
        }
    }

    #[test]
    fn an_unprotected_size_is_changed() {
        for attack in ON_SIZE {
            let memory = memfd_create("victim", MemfdFlags::ALLOW_SEALING).unwrap();
            rustix::io::pwrite(&memory, &[1; PAGE], 0).unwrap();
            attack.attempt(memory.as_fd(), 0).unwrap();
        }
    }
}
