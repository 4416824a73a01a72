//! Shared memory for peers that write arbitrary values to it.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create,
};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The seals of memory that only the producer may write. A lease page has all of them but the
/// third.
pub const SEALED: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::FUTURE_WRITE)
    .union(SealFlags::SEAL);

/// A mapping of memory that other processes access at the same time, so it is accessed only through
/// atomics.
///
/// Invariant, established by `map`: `len` bytes from `start`, which is the start of a page, stay
/// mapped until drop and can be read. They can be written if the mapping was made writable.
#[derive(Debug)]
pub struct Area {
    start: *mut c_void,
    len: usize,
}

// SAFETY: the memory is only accessed through atomics, from any thread, and stays mapped until
// drop.
unsafe impl Send for Area {}
// SAFETY: as above.
unsafe impl Sync for Area {}

impl Area {
    /// Creates memory of `len` bytes, a multiple of 4096, that is allocated and sealed. Returns its
    /// mapping and its descriptor.
    pub fn new(len: usize, seals: SealFlags) -> (Area, OwnedFd) {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = memfd_create("hostile", flags).expect("a memfd");
        ftruncate(&fd, len as u64).expect("a memfd grows");
        fallocate(&fd, FallocateFlags::empty(), 0, len as u64).expect("memory");
        let area = Area::map(&fd, len, true);
        fcntl_add_seals(&fd, seals).expect("a memfd can be sealed");
        (area, fd)
    }

    /// Maps the first `len` bytes of a descriptor that a peer sent.
    pub fn map(fd: impl AsFd, len: usize, writable: bool) -> Area {
        let access = if writable {
            ProtFlags::READ | ProtFlags::WRITE
        } else {
            ProtFlags::READ
        };
        // SAFETY: without MAP_FIXED the kernel chooses a range that contains no mapping.
        let start = unsafe { mmap(std::ptr::null_mut(), len, access, MapFlags::SHARED, fd, 0) };
        let start = start.expect("the memory can be mapped");
        Area { start, len }
    }

    /// The whole area as words of 64 bits.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: by the type's invariant the memory is mapped and aligned until drop, and the
        // slice is not longer than it. Other processes access it through atomics, too, or accept
        // any value that they read.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.len / 8) }
    }

    /// The whole area as words of 32 bits.
    pub fn halves(&self) -> &[AtomicU32] {
        // SAFETY: as in `words`.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.len / 4) }
    }

    /// The whole area as bytes.
    pub fn bytes(&self) -> &[AtomicU8] {
        // SAFETY: as in `words`.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.len) }
    }

    /// Writes bytes at `offset`; bytes that do not fit are left out.
    pub fn write(&self, offset: usize, from: &[u8]) {
        let bytes = self.bytes().get(offset..).unwrap_or_default();
        for (byte, &from) in bytes.iter().zip(from) {
            byte.store(from, Ordering::Relaxed);
        }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: self owns the mapping, and borrows of it have ended.
        let _ = unsafe { munmap(self.start, self.len) };
    }
}
