//! Mapped memory that another process sees too.
#![allow(unsafe_code)]

use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::fixed_file::FixedFile;
use crate::dtype::AccessMode;
use crate::error::{Error, Result};

/// A page of the kernel, or a part of one.
const PAGE: usize = 4096;

/// A shared mapping of a whole file of a fixed size.
///
/// Another process may write the bytes at any time, so this type never makes a reference to them:
/// bytes go in and out by copy, and words through `&Atomic`.
///
/// Invariants, set up by the constructor and kept because all fields are private:
/// 1. `raw` maps exactly `len` bytes, until drop.
/// 2. The file can't shrink, by [`FixedFile`]'s invariant, so no access below `len` faults.
/// 3. With `AccessMode::ReadWrite` the mapping is writable.
pub(crate) struct Mapping {
    raw: MmapRaw,
    access: AccessMode,
}

impl Mapping {
    /// Maps all bytes of a file.
    pub(crate) fn new<F: AsFd>(file: &FixedFile<F>, access: AccessMode) -> Result<Mapping> {
        let fd = file.fd().as_raw_fd();
        let mut options = MmapOptions::new();
        options.len(file.len());
        let raw = match access {
            AccessMode::ReadOnly => options.map_raw_read_only(fd),
            AccessMode::ReadWrite => options.map_raw(fd),
        };
        let raw = raw.map_err(Error::memory("mmap"))?;
        Ok(Mapping { raw, access })
    }

    /// Takes every page fault of a range now, so that no frame pays for one. `fd` is the file that is
    /// mapped, and the range starts at a page.
    ///
    /// Running out of memory is an error here, where it can be reported, and not a SIGBUS later.
    pub(crate) fn prefault(&self, fd: impl AsFd, range: Range<usize>) -> Result<()> {
        if !self.populate(range.clone())? {
            let (offset, len) = (range.start as u64, range.len() as u64);
            fallocate(fd, FallocateFlags::empty(), offset, len)
                .map_err(Error::memory("fallocate"))?;
            self.touch(range);
        }
        Ok(())
    }

    /// The same where the range is only read from now on: its maker has filled it.
    pub(crate) fn prefault_to_read(&self, range: Range<usize>) -> Result<()> {
        if !self.populate(range.clone())? {
            self.touch(range);
        }
        Ok(())
    }

    /// The same where the kernel has a call for it, from Linux 5.14 on, that no sandbox refuses.
    pub(crate) fn populate(&self, range: Range<usize>) -> Result<bool> {
        let advice = match self.access {
            AccessMode::ReadOnly => Advice::PopulateRead,
            AccessMode::ReadWrite => Advice::PopulateWrite,
        };
        let Err(error) = self.raw.advise_range(advice, range.start, range.len()) else {
            return Ok(true);
        };
        let answer = match Errno::from_io_error(&error) {
            Some(Errno::INVAL | Errno::NOSYS | Errno::PERM) => return Ok(false),
            // What would have been a SIGBUS: the kernel accounts for no more.
            Some(Errno::FAULT) => Errno::NOMEM.into(),
            _ => error,
        };
        Err(Error::memory("prefaulting the mapping")(answer))
    }

    /// Reads a byte of each page, which in a writable shared mapping of memory makes it writable. The
    /// file has to have memory for them.
    pub(crate) fn touch(&self, range: Range<usize>) {
        self.check(range.start, range.len());
        for offset in range.step_by(PAGE) {
            // SAFETY: the byte is inside the mapping (checked above, invariant 1), and reading it
            // can't fault (invariant 2). Another process may write it meanwhile; any bit pattern is
            // a value, and it is not used.
            unsafe { self.raw.as_ptr().add(offset).read_volatile() };
        }
    }

    /// Keeps the memory from being paged out, where this process may lock so much. Whose control
    /// group it counts for does not matter then.
    pub(crate) fn lock(&self) {
        // Where it may not, a look at the memory waits for it only while its machine or its control
        // group is out of memory.
        let _ = self.raw.lock();
    }

    pub(crate) fn len(&self) -> usize {
        self.raw.len()
    }

    /// The address of the byte at `offset`, for callers that hand it to code that is not Rust.
    ///
    /// # Panics
    /// Where `offset` is beyond the end.
    pub(crate) fn address(&self, offset: usize) -> *mut u8 {
        assert!(offset <= self.len());
        self.raw.as_mut_ptr().wrapping_add(offset)
    }

    /// The start of `len` bytes from `offset`, to read while the mapping is borrowed.
    ///
    /// # Panics
    /// Where the range is not inside the mapping.
    pub(crate) fn range(&self, offset: usize, len: usize) -> *const u8 {
        self.check(offset, len);
        self.address(offset)
    }

    /// The same, to write.
    ///
    /// # Panics
    /// Where the range is not inside the mapping, or the mapping is read-only.
    pub(crate) fn range_mut(&self, offset: usize, len: usize) -> *mut u8 {
        assert_eq!(self.access, AccessMode::ReadWrite);
        self.check(offset, len);
        self.address(offset)
    }

    /// Copies bytes out.
    ///
    /// # Panics
    /// Where the range is not inside the mapping: callers check what they got from elsewhere.
    pub(crate) fn read(&self, offset: usize, into: &mut [u8]) {
        self.check(offset, into.len());
        // SAFETY: the range is inside the mapping (checked above, invariant 1) and reading it
        // can't fault (invariant 2). `into` is an exclusive borrow of as many bytes. It may itself
        // be shared memory that is mapped, even this memory in another mapping, which `copy`
        // allows. Another process may write meanwhile: then the copy mixes old and new bytes, which
        // are all valid `u8`; a caller that needs it whole holds a lease or checks the copy.
        unsafe { ptr::copy(self.raw.as_ptr().add(offset), into.as_mut_ptr(), into.len()) }
    }

    /// Copies bytes in.
    ///
    /// # Panics
    /// Where the range is not inside the mapping, or the mapping is read-only.
    pub(crate) fn write(&self, offset: usize, from: &[u8]) {
        assert_eq!(self.access, AccessMode::ReadWrite);
        self.check(offset, from.len());
        // SAFETY: the range is inside a writable mapping (checked above, invariants 1 and 3)
        // and writing it can't fault (invariant 2). `from` is a borrow of as many bytes. It may
        // itself be shared memory that is mapped, even this memory in another mapping, which `copy`
        // allows: a caller that borrows such memory has promised that it does not change.
        unsafe { ptr::copy(from.as_ptr(), self.raw.as_mut_ptr().add(offset), from.len()) }
    }

    /// Borrows `count` atomics at `offset`.
    ///
    /// On a read-only mapping only relaxed loads are allowed (see `std::sync::atomic`, "Atomic
    /// accesses to read-only memory"): the callers in `lease.rs` keep to it.
    ///
    /// # Panics
    /// Where the range is not inside the mapping or not aligned.
    pub(crate) fn atomics<T: Atomic>(&self, offset: usize, count: usize) -> &[T] {
        let size = size_of::<T>();
        self.check(offset, count.checked_mul(size).expect("count of atomics"));
        assert_eq!(offset % size, 0);
        // SAFETY: the range is inside the mapping and stays mapped as long as `self` is borrowed
        // (invariant 1), it is aligned (mappings start at a page), any bit pattern is a value of
        // an atomic integer (`Atomic` is sealed to those), and shared mutation by this process
        // or another is what atomics are for; nothing here ever makes an exclusive reference.
        unsafe { std::slice::from_raw_parts(self.raw.as_ptr().add(offset).cast::<T>(), count) }
    }

    fn check(&self, offset: usize, len: usize) {
        assert!(
            offset.checked_add(len).is_some_and(|end| end <= self.len()),
            "{len} bytes at {offset} are not inside a mapping of {}",
            self.len()
        );
    }
}

impl std::fmt::Debug for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mapping({} bytes, {:?})", self.len(), self.access)
    }
}

/// An atomic integer of 32 or 64 bits.
pub(crate) trait Atomic: sealed::Sealed {}
impl Atomic for std::sync::atomic::AtomicU32 {}
impl Atomic for std::sync::atomic::AtomicI32 {}
impl Atomic for std::sync::atomic::AtomicU64 {}

mod sealed {
    pub(crate) trait Sealed {}
    impl Sealed for std::sync::atomic::AtomicU32 {}
    impl Sealed for std::sync::atomic::AtomicI32 {}
    impl Sealed for std::sync::atomic::AtomicU64 {}
}
