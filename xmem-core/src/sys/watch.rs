//! Waiting for a name to appear in a directory, or to go (inotify).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use super::clock::Deadline;
use super::closer;
use super::poll::{EventFd, PollFd, PollFlags, poll};
use crate::error::{Error, Result};

/// How often events are read, after a wait; what is left ends the next one.
const MOST_READS: u32 = 64;

/// How often a thread looks that can't be told.
const UNTOLD: Duration = Duration::from_millis(20);
/// The longest wait between two looks where inotify works. It reports nothing when a directory above is
/// renamed, a link on the path changes, or a file system is mounted over it.
const TOLD: Duration = Duration::from_secs(1);

/// Tells when a name appears in a directory, or the directory goes.
///
/// Without a descriptor where the user has no inotify instance left (there are 128, usually), may
/// not look into the directory, or a sandbox refuses the call.
#[derive(Debug)]
pub(crate) struct Watch(Option<OwnedFd>);

impl Watch {
    /// Watches a directory for names that appear.
    pub(crate) fn new(directory: &Path) -> Result<Watch> {
        Watch::of(directory, WatchFlags::empty())
    }

    /// Watches a directory for names that appear, and for those that go.
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
            // ACCESS: a directory that may be passed and not looked at.
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
    /// Waits until there may be something new, or `event_fd` is readable. False at the deadline.
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

    /// What is readable when there may be something new, for a caller that waits for other things as well.
    /// There is none where the directory has to be looked at from time to time.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }

    /// Takes in what it tells. That is looked at afterwards; what comes from here on ends the next wait.
    pub(crate) fn clear(&self) {
        let Some(fd) = &self.0 else { return };
        let mut events = [0; 4096];
        let mut read = || rustix::io::read(fd, &mut events).is_ok_and(|len| len > 0);
        // Not as long as they come: another user may make them faster than they are read.
        let _ = (0..MOST_READS).all(|_| read());
    }
}

/// Closing it can take the kernel 100 ms, on a busy machine seconds, and whoever has waited has
/// something to do, or was told to end at once.
impl Drop for Watch {
    fn drop(&mut self) {
        closer::close(self.0.take().into_iter().collect());
    }
}
