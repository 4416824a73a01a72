//! A lock that lets one producer at a time take a path. It is a help, no more: what it is for holds
//! without it but for three that meet within microseconds. So a lock that can't be had, for whatever
//! reason, keeps no producer from starting.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, flock, fstat, open};
use rustix::io::Errno;

use super::found::file_id;
use crate::cancel::Cancellation;
use crate::error::Result;
use crate::sys::clock::Deadline;

/// The start of the names of locks. The user and the name of the socket follow.
pub(super) const LOCK: &str = ".xmem-lock-";
/// How long another process may hold the lock. It holds it for a few system calls, unless it was
/// stopped, or a child that it has forked meanwhile has the lock, too.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two looks whether it has let go.
const PAUSE: Duration = Duration::from_millis(1);
/// Names that are tried. In a directory such as `/tmp`, other users can have made files of these
/// names.
const NAMES: u32 = 4;

/// A lock on a file that only this user can open. The file goes with it.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    _file: OwnedFd,
}

/// Why there is no lock.
enum NoLock {
    /// Another process has it.
    Busy,
    /// It was removed meanwhile.
    Gone,
    /// There is something else, or nothing can be made.
    Useless,
}

impl Lock {
    /// The lock for a socket's path. `None` where there is none to be had.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled).
    pub(super) fn take(path: &Path, cancel: &Cancellation<'_>) -> Result<Option<Lock>> {
        let deadline = Deadline::after(Some(PATIENCE));
        let uid = rustix::process::geteuid().as_raw();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut number = 0;
        while number < NAMES && !deadline.has_passed() {
            let file = path.with_file_name(format!("{LOCK}{uid}-{number}-{name}"));
            match Lock::at(file) {
                Ok(lock) => return Ok(Some(lock)),
                Err(NoLock::Busy) => cancel.pause(PAUSE)?,
                Err(NoLock::Gone) => cancel.check()?,
                Err(NoLock::Useless) => number += 1,
            }
        }
        Ok(None)
    }

    /// Removes a lock's file, unless it is held.
    pub(super) fn remove(path: PathBuf) {
        drop(Lock::at(path));
    }

    fn at(path: PathBuf) -> std::result::Result<Lock, NoLock> {
        // Whatever was put there: a link is not followed, a FIFO not waited for.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = open(&path, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
        let file = file.map_err(|_| NoLock::Useless)?;
        let stat = fstat(&file).map_err(|_| NoLock::Useless)?;
        let is_ours = stat.st_uid == rustix::process::geteuid().as_raw();
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_ours || !is_file || stat.st_nlink > 1 || stat.st_size > 0 {
            return Err(NoLock::Useless);
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(NoLock::Busy),
            Err(_) => {
                // No file system or sandbox that can't lock has a lock to lose.
                let _ = std::fs::remove_file(&path);
                return Err(NoLock::Useless);
            }
        }
        // Its last holder may have removed it before this process locked it.
        match file_id(&path) {
            Ok(id) if id == (stat.st_dev, stat.st_ino) => Ok(Lock { path, _file: file }),
            _ => Err(NoLock::Gone),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Before others can lock it.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Canceller;

    fn take(path: &Path) -> Option<Lock> {
        Lock::take(path, &Canceller::new().begin().unwrap()).unwrap()
    }

    #[test]
    fn one_at_a_time_has_the_lock_and_others_do_not_wait_without_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let lock = take(&path).unwrap();
        assert!(take(&path).is_none());
        let other = take(&directory.path().join("b.sock")).unwrap();
        drop((lock, other));
        assert!(take(&path).is_some());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_in_place_of_a_lock_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let uid = rustix::process::geteuid().as_raw();
        let name = |number: u32| {
            directory
                .path()
                .join(format!("{LOCK}{uid}-{number}-a.sock"))
        };
        std::fs::write(name(0), "mine").unwrap();
        std::os::unix::fs::symlink("b", name(1)).unwrap();
        let lock = take(&path).unwrap();
        assert_eq!(lock.path, name(2));
        drop(lock);
        std::fs::create_dir(name(2)).unwrap();
        std::fs::create_dir(name(3)).unwrap();
        assert!(take(&path).is_none());
        assert_eq!(std::fs::metadata(name(0)).unwrap().len(), 4);
    }
}
