//! The socket file's life: made, taken over from a dead producer, removed.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::found::{FileId, Found, file_id};
use super::{BELOW_A_FILE, Channel, OTHER_PROGRAM, bad_path, directory};
use crate::cancel::Cancellation;
use crate::error::{Error, Result};
use crate::sys::clock::Deadline;
use crate::sys::watch::Watch;
use crate::sys::{pidfd, socket};

/// How long a producer waits for another one that replaces a dead socket beside it.
const CLAIM_PATIENCE: Duration = Duration::from_secs(1);

/// A listening socket and its file, which goes with it.
#[derive(Debug)]
pub(crate) struct Listener {
    fd: OwnedFd,
    path: PathBuf,
    file: FileId,
}

/// The start of the name that a socket has while it is set up, before the process id.
const TEMPORARY: &str = ".xmem-";

/// A name beside `path` that nobody else uses: the prefix, this process's id and a count. Short, since
/// it has to fit into a socket address as well.
fn temporary_name(path: &Path) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!("{TEMPORARY}{:x}.{count:x}", std::process::id()))
}

impl Listener {
    /// Listens at the channel's socket path.
    ///
    /// The socket is bound and listens under a temporary name before it gets its own, so whoever
    /// sees the name can connect. A file whose owner is dead is replaced.
    ///
    /// # Errors
    /// [`Error::InUse`] when a live producer has the path, [`Error::BadPath`] when it can't be
    /// used, [`Error::Cancelled`].
    pub(crate) fn new(
        channel: &Channel,
        perms: u32,
        cancel: &Cancellation<'_>,
    ) -> Result<Listener> {
        let path = channel.prepare()?;
        let temporary = temporary_name(&path);
        let fd = socket::bind(&temporary).map_err(|errno| not_made(&path, errno))?;
        let prepared: std::io::Result<_> = (|| {
            fs::set_permissions(&temporary, fs::Permissions::from_mode(perms))?;
            socket::listen(&fd)?;
            Ok(file_id(&temporary)?)
        })();
        let result = match prepared {
            Ok(file) => claim(&path, &temporary, cancel).map(|()| file),
            Err(error) => Err(Error::path(&path, "making a socket there")(error)),
        };
        // Gone already where it was renamed.
        let _ = fs::remove_file(&temporary);
        let file = result?;
        remove_leftovers(&path);
        Ok(Listener { fd, path, file })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Not if somebody else's socket has taken the name.
        if file_id(&self.path).is_ok_and(|file| file == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Gives the listening socket at `temporary` its final name.
///
/// A name that is free is taken with `link`, which only one can do. A socket whose owner is dead
/// is replaced under a lock on the directory: without it, two that found the same dead socket
/// could each replace it, and the second would replace the first.
fn claim(path: &Path, temporary: &Path, cancel: &Cancellation<'_>) -> Result<()> {
    let deadline = Deadline::after(Some(CLAIM_PATIENCE));
    loop {
        cancel.check()?;
        match fs::hard_link(temporary, path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::path(path, "naming the socket")(error)),
        }
        let lock =
            fs::File::open(directory(path)).map_err(Error::path(directory(path), "opening it"))?;
        let mut watch = None;
        let mut locked = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
        if !locked {
            // What happens from here on is noticed; what happened before is looked at again.
            watch = Some(Watch::new(directory(path))?);
            locked = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
        }
        if locked {
            match owner(path)? {
                Owner::Alive(pid) => return Err(in_use(path, pid)),
                // It went away by itself; the name may be anybody's by now.
                Owner::Missing if !deadline.has_passed() => continue,
                Owner::Missing => return Err(bad_path(path, "comes and goes all the time")),
                Owner::Dead => {}
            }
            return fs::rename(temporary, path)
                .map_err(Error::path(path, "replacing a dead producer's socket"));
        }
        // Somebody else is replacing a dead socket in this directory: we'll see a new name.
        if let Owner::Alive(pid) = owner(path)? {
            return Err(in_use(path, pid));
        }
        if let Some(watch) = &watch {
            let bell = cancel.bell()?;
            watch.wait(Some(&bell), deadline)?;
        }
        if deadline.has_passed() {
            return Err(bad_path(
                directory(path),
                "another process holds a lock on the directory",
            ));
        }
    }
}

/// Why there can't be a socket.
fn not_made(path: &Path, errno: Errno) -> Error {
    match errno {
        Errno::NOTDIR => bad_path(path, BELOW_A_FILE),
        Errno::NOENT => bad_path(directory(path), "there is no such directory: make it"),
        errno => Error::path(path, "making a socket there")(errno),
    }
}

fn in_use(path: &Path, pid: u32) -> Error {
    let path = path.into();
    Error::InUse { path, pid }
}

/// Who listens at a path.
enum Owner {
    /// A process that lives; 0 where its pid can't be seen from here.
    Alive(u32),
    /// Nobody, though there is a socket.
    Dead,
    /// There is no file.
    Missing,
}

fn owner(path: &Path) -> Result<Owner> {
    let found = match Found::at(path) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(Owner::Missing),
        Err(Errno::NOTDIR) => return Err(bad_path(path, BELOW_A_FILE)),
        Err(errno) => return Err(Error::path(path, "looking at it")(errno)),
    };
    if let Some(reason) = found.is_no_socket() {
        return Err(bad_path(path, reason));
    }
    match found.connect(Duration::ZERO) {
        // A child that the owner forked may have kept its socket open.
        Ok(fd) if pidfd::peer_has_exited(&fd)? => Ok(Owner::Dead),
        Ok(fd) => Ok(Owner::Alive(pidfd::peer_credentials(&fd).pid)),
        // Somebody listens, and does not accept.
        Err(Errno::AGAIN) => Ok(Owner::Alive(0)),
        // Should it be gone by now, replacing it is as good.
        Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(Owner::Dead),
        Err(Errno::PROTOTYPE) => Err(bad_path(path, OTHER_PROGRAM)),
        Err(errno) => Err(Error::path(path, "asking whose it is")(errno)),
    }
}

/// Removes what producers that were killed while they started have left in the directory.
fn remove_leftovers(path: &Path) {
    let Ok(entries) = fs::read_dir(directory(path)) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(TEMPORARY))
            .and_then(|rest| rest.split('.').next())
            .and_then(|pid| i32::from_str_radix(pid, 16).ok());
        let Some(pid) = pid else { continue };
        if !entry.file_type().is_ok_and(|kind| kind.is_socket()) {
            continue;
        }
        let alive = rustix::process::Pid::from_raw(pid)
            .is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(Errno::SRCH));
        if !alive {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Canceller;

    const PROMPT: Duration = Duration::from_millis(50);

    fn listen(path: &Path) -> Result<Listener> {
        let canceller = Canceller::new();
        Listener::new(&Channel::path(path), 0o600, &canceller.begin()?)
    }

    #[test]
    fn a_live_owner_is_named_and_a_dead_one_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let first = listen(&path).unwrap();
        match listen(&path) {
            Err(Error::InUse { pid, .. }) => assert_eq!(pid, std::process::id()),
            other => panic!("{other:?}"),
        }
        drop(first);
        // Dead: nobody listens, and the file is still there.
        let dead = socket::bind(&path).unwrap();
        socket::listen(&dead).unwrap();
        drop(dead);
        let second = listen(&path).unwrap();
        assert!(socket::connect(&path, PROMPT).is_ok());
        drop(second);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn of_many_that_start_at_once_one_wins() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        // A socket whose owner is dead.
        drop(socket::bind(&path).unwrap());
        let barrier = std::sync::Barrier::new(8);
        let winners: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        listen(&path)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert_eq!(winners.iter().filter(|result| result.is_ok()).count(), 1);
        assert!(socket::connect(&path, PROMPT).is_ok());
        drop(winners);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.txt");
        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(listen(&path), Err(Error::BadPath { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
