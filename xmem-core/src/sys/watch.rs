//! Waiting for a name to appear in a directory (inotify).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread::Builder;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::error::{Error, Result};

/// Of a thread that closes a descriptor.
const STACK: usize = 64 * 1024;

/// Becomes readable when a name appears in a directory, or the directory goes.
pub(crate) struct Watch(Option<OwnedFd>);

impl Watch {
    pub(crate) fn new(directory: &Path) -> Result<Watch> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(Error::socket("inotify_init"))?;
        let events = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        inotify::add_watch(&fd, directory, events)
            .map_err(Error::socket(format!("watching {}", directory.display())))?;
        Ok(Watch(Some(fd)))
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let fd = self.0.as_ref().expect("taken only when dropped");
        fd.as_fd()
    }
}

/// Closed by a thread of its own: that can take the kernel 100 ms, on a busy machine seconds, and
/// whoever has waited has something to do, or was told to end at once.
impl Drop for Watch {
    fn drop(&mut self) {
        let fd = self.0.take();
        // Where there is no thread to be had, it is closed here.
        let _ = Builder::new()
            .name("xmem-close".into())
            .stack_size(STACK)
            .spawn(move || drop(fd));
    }
}
