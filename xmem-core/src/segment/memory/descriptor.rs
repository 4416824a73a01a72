//! Descriptors of memory that this process hands on.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many descriptors are kept that are not needed to receive frames.
static KEPT: AtomicUsize = AtomicUsize::new(0);

/// A descriptor of a segment's memory.
#[derive(Debug)]
pub(crate) struct Descriptor {
    fd: OwnedFd,
    /// It counts among those that are kept.
    is_counted: bool,
}

impl Descriptor {
    /// A descriptor that this process needs.
    pub(super) fn needed(fd: OwnedFd) -> Descriptor {
        Descriptor {
            fd,
            is_counted: false,
        }
    }

    /// A descriptor that a client keeps to hand it on.
    pub(super) fn kept(fd: OwnedFd) -> Descriptor {
        // Relaxed, as below: it is a figure, and orders nothing.
        KEPT.fetch_add(1, Ordering::Relaxed);
        Descriptor {
            fd,
            is_counted: true,
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// How many are kept in this process.
    pub(crate) fn count_kept() -> usize {
        KEPT.load(Ordering::Relaxed)
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if self.is_counted {
            KEPT.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
