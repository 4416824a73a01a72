//! Shared memory, for peers that write there what they like.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create,
};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The seals of what only the producer may write. A lease page has the same but the third.
pub const SEALED: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::FUTURE_WRITE)
    .union(SealFlags::SEAL);

/// A mapping of memory that other processes access meanwhile: only through atomics.
///
/// Invariant, set up by `map`: `len` bytes from `start`, the start of a page, stay mapped until drop,
/// and can be read; to be written where the mapping was made for it.
#[derive(Debug)]
pub struct Area {
    start: *mut c_void,
    len: usize,
}

// SAFETY: the memory is only accessed through atomics, from whatever thread, and stays mapped until
// drop.
unsafe impl Send for Area {}
// SAFETY: as above.
unsafe impl Sync for Area {}

impl Area {
    /// New memory of `len` bytes, a multiple of 4096, that is there and sealed; and its descriptor.
    pub fn new(len: usize, seals: SealFlags) -> (Area, OwnedFd) {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = memfd_create("hostile", flags).expect("a memfd");
        ftruncate(&fd, len as u64).expect("a memfd grows");
        fallocate(&fd, FallocateFlags::empty(), 0, len as u64).expect("memory");
        let area = Area::map(&fd, len, true);
        fcntl_add_seals(&fd, seals).expect("a memfd can be sealed");
        (area, fd)
    }

    /// Maps the first `len` bytes of what a peer has sent.
    pub fn map(fd: impl AsFd, len: usize, writable: bool) -> Area {
        let access = match writable {
            true => ProtFlags::READ | ProtFlags::WRITE,
            false => ProtFlags::READ,
        };
        // SAFETY: without MAP_FIXED the kernel chooses a range where nothing is.
        let start = unsafe { mmap(std::ptr::null_mut(), len, access, MapFlags::SHARED, fd, 0) };
        let start = start.expect("memory that can be mapped");
        Area { start, len }
    }

    /// All of it, as words of 64 bits.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: by the type's invariant the memory is mapped and aligned until drop, and longer
        // than the slice by less than a word. Whoever else accesses it does so as atomics, too, or
        // is prepared for whatever it reads.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.len / 8) }
    }

    /// All of it, as words of 32 bits.
    pub fn halves(&self) -> &[AtomicU32] {
        // SAFETY: as in `words`.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.len / 4) }
    }

    /// All of it.
    pub fn bytes(&self) -> &[AtomicU8] {
        // SAFETY: as in `words`.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.len) }
    }

    /// Writes bytes at `offset`; what does not fit is left out.
    pub fn write(&self, offset: usize, from: &[u8]) {
        let bytes = self.bytes().get(offset..).unwrap_or_default();
        for (byte, &from) in bytes.iter().zip(from) {
            byte.store(from, Ordering::Relaxed);
        }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: the mapping is our own, and borrows of it have ended.
        let _ = unsafe { munmap(self.start, self.len) };
    }
}
