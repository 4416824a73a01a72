//! Waiting for descriptors, and a bell to end such a wait.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::time::Timespec;

pub(crate) use rustix::event::{PollFd, PollFlags};

use super::clock::Deadline;
use crate::error::{Error, Result};

/// Waits until a descriptor has something to tell, or until the deadline (which is no error: then
/// no descriptor has anything).
pub(crate) fn poll(fds: &mut [PollFd<'_>], deadline: Deadline) -> Result<()> {
    loop {
        let left = deadline
            .left()
            .and_then(|left| Timespec::try_from(left).ok());
        match rustix::event::poll(fds, left.as_ref()) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::socket("poll")(errno)),
        }
    }
}

/// Ends a `poll` in another thread.
#[derive(Debug)]
pub(crate) struct Bell(OwnedFd);

impl Bell {
    pub(crate) fn new() -> Result<Bell> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map(Bell)
            .map_err(Error::socket("making a bell (eventfd)"))
    }

    /// Rings until `silence`.
    pub(crate) fn ring(&self) {
        // It fails only when the counter is full, and then it rings already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    pub(crate) fn silence(&self) {
        // It fails only when the bell was silent.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
