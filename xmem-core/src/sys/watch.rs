//! Waits for a name to appear in a directory, or to disappear (inotify).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use super::clock::Deadline;
use super::closer;
use super::poll::{EventFd, PollFd, PollFlags, poll};
use crate::error::{Error, Result};

/// The maximum number of reads after a wait. If events are left, the next wait ends at once.
const MOST_READS: u32 = 64;

/// The time between two looks at the directory without inotify.
const UNTOLD: Duration = Duration::from_millis(20);
/// The maximum time between two looks with inotify. It reports nothing when a directory above is
/// renamed, a link on the path changes, or a file system is mounted over it.
const TOLD: Duration = Duration::from_secs(1);

/// Reports that a name appears in a directory, or that the directory is removed.
///
/// Has no descriptor if the user has no inotify instance left (there are usually 128), may not read
/// the directory, or a sandbox refuses the call.
#[derive(Debug)]
pub(crate) struct Watch(Option<OwnedFd>);

impl Watch {
    /// Watches a directory for names that appear.
    pub(crate) fn new(directory: &Path) -> Result<Watch> {
        Watch::of(directory, WatchFlags::empty())
    }

    /// Watches a directory for names that appear or disappear.
    pub(crate) fn of_all(directory: &Path) -> Result<Watch> {
        Watch::of(directory, WatchFlags::DELETE | WatchFlags::MOVED_FROM)
    }

    fn of(directory: &Path, more: WatchFlags) -> Result<Watch> {
        let fd = match inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK) {
            Ok(fd) => fd,
            Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => return Ok(Watch(None)),
            Err(Errno::PERM | Errno::NOSYS) => return Ok(Watch(None)),
            Err(errno) => return Err(Error::socket("watching a directory")(errno)),
        };
        let events = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR
            | more;
        match inotify::add_watch(&fd, directory, events) {
            Ok(_) => Ok(Watch(Some(fd))),
            // ACCESS: a directory with permission to search but not to read.
            Err(Errno::NOSPC | Errno::NOMEM | Errno::ACCESS) => Ok(Watch(None)),
            Err(Errno::PERM | Errno::NOSYS) => Ok(Watch(None)),
            Err(errno) => {
                let what = format!("watching {}", directory.display());
                Err(Error::socket(what)(errno))
            }
        }
    }
}

impl Watch {
    /// Waits until the directory may have changed, or `event_fd` is readable. Returns false at the
    /// deadline.
    pub(crate) fn wait(&self, event_fd: Option<&EventFd>, deadline: Deadline) -> Result<bool> {
        let slice = self.0.as_ref().map_or(UNTOLD, |_| TOLD);
        let slice = Deadline::after(Some(slice)).min(deadline);
        let watch = self.0.iter().map(|fd| PollFd::new(fd, PollFlags::IN));
        let event_fd = event_fd.map(|event_fd| PollFd::new(event_fd, PollFlags::IN));
        let mut fds: Vec<PollFd<'_>> = watch.chain(event_fd).collect();
        poll(&mut fds, slice)?;
        let told = fds.iter().any(|fd| !fd.revents().is_empty());
        self.clear();
        Ok(told || !deadline.has_passed())
    }

    /// Returns a descriptor that is readable when the directory may have changed, for a caller that
    /// also waits for other things. `None` if the caller has to look from time to time.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }

    /// Reads and drops the events. The caller looks at the directory afterwards; later events end
    /// the next wait.
    pub(crate) fn clear(&self) {
        let Some(fd) = &self.0 else { return };
        let mut events = [0; 4096];
        let mut read = || rustix::io::read(fd, &mut events).is_ok_and(|len| len > 0);
        // A limited number of reads: another user may cause events faster than they are read.
        let _ = (0..MOST_READS).all(|_| read());
    }
}

/// Closes the descriptor on another thread: the kernel can take 100 ms to close it, seconds on a
/// busy machine, and a thread that has waited has to continue, or was told to end at once.
impl Drop for Watch {
    fn drop(&mut self) {
        closer::close(self.0.take().into_iter().collect());
    }
}
