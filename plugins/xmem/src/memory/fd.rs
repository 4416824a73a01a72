//! Fd-backed memory that other elements have made.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;

use gst_allocators::ffi as allocators;

/// The device and the inode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Returns the id of a descriptor's file, `None` if the descriptor cannot be examined.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> Option<FileId> {
        let file = File::from(fd.try_clone_to_owned().ok()?).metadata().ok()?;
        Some(FileId {
            device: file.dev(),
            inode: file.ino(),
        })
    }
}

/// Returns the descriptor of fd-backed memory.
pub(crate) fn descriptor(memory: &gst::MemoryRef) -> Option<BorrowedFd<'_>> {
    // SAFETY: the memory is alive, as it is borrowed, and with it its descriptor, which belongs to
    // the memory or to its parent.
    unsafe {
        let memory = memory.as_mut_ptr();
        if allocators::gst_is_fd_memory(memory) == glib::ffi::GFALSE {
            return None;
        }
        let fd = allocators::gst_fd_memory_get_fd(memory);
        (fd >= 0).then(|| BorrowedFd::borrow_raw(fd))
    }
}
