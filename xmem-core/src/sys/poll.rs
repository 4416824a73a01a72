//! Waiting for descriptors, and an eventfd to end such a wait.

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
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    pub(crate) fn new() -> Result<EventFd> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map(EventFd)
            .map_err(Error::socket("making an eventfd"))
    }

    /// Makes it readable until `clear`.
    pub(crate) fn notify(&self) {
        // It fails only when the counter is full: then it is readable already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    pub(crate) fn clear(&self) {
        // It fails only where it was not readable.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
