//! The socket file: creation at its path, takeover from a dead producer, removal.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use super::address::Channel;
use super::found::{FileId, Found, Owner, UNFINISHED, file_id, is_unfinished_socket};
use super::lock::Lock;
use super::paths::{BELOW_A_FILE, bad_path, directory, random};
use super::takeover::{clear_away, remove_leftovers};
use crate::cancel::Cancellation;
use crate::error::{Error, Result};
use crate::sys::clock::Deadline;
use crate::sys::pidfd;
use crate::sys::socket::{self, Connection, Listening};

/// How long a producer tries to take a path that other processes take and free.
const TRYING: Duration = Duration::from_secs(1);
/// The minimum number of tries: the process may be stopped meanwhile.
const LEAST_TRIES: u32 = 16;
/// The time between two looks at a socket that another producer finishes within a few system calls.
const UNFINISHED_PAUSE: Duration = Duration::from_millis(1);

/// The permissions of an unfinished socket, with which its owner checks that the path leads to it.
const OWNERS: u32 = 0o600;

/// The bits of permissions.
const PERMISSIONS: u32 = 0o777;

/// A listening socket and its file, which is removed with it.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Listening,
    path: PathBuf,
    file: FileId,
}

impl Listener {
    /// Listens at the channel's socket path. A file whose owner is dead is replaced.
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
        let (socket, file) = take(&path, perms & PERMISSIONS, cancel)?;
        remove_leftovers(&path);
        Ok(Listener { socket, path, file })
    }

    /// Accepts the next connection. `AGAIN`: there is none; `NOBUFS`: none should be accepted for a
    /// while.
    pub(crate) fn accept(&self) -> std::result::Result<Connection, Errno> {
        if self.socket.is_overrun() {
            return Err(Errno::NOBUFS);
        }
        socket::accept(&self.socket)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // No xmem process replaces the file of a listening socket, but a user may have removed it.
        if file_id(&self.path).is_ok_and(|file| file == self.file) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Takes the path. `bind` creates the file, in which only one process can succeed. A file of a dead
/// producer is removed first.
///
/// This does not rely on a lock that another user could hold. While this process has no file at the
/// path, each process that finds a finished socket with a live owner there gives up, and no other
/// process does; so one remains.
fn take(path: &Path, perms: u32, cancel: &Cancellation<'_>) -> Result<(Listening, FileId)> {
    let _lock = Lock::take(path, cancel)?;
    let deadline = Deadline::after(Some(TRYING));
    for tries in 1.. {
        cancel.check()?;
        if let Some(taken) = place(path, perms)? {
            return Ok(taken);
        }
        let is_last = tries >= LEAST_TRIES && deadline.has_passed();
        let found = match Found::at(path) {
            Ok(found) => found,
            Err(Errno::NOENT) if is_last => break,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(Error::path(path, "looking at it")(errno)),
        };
        match found.owner()? {
            Owner::Alive(_) if found.is_unfinished() && !is_last => {
                cancel.pause(UNFINISHED_PAUSE)?
            }
            Owner::Alive(pid) => {
                let path = path.into();
                let pid = pidfd::known(pid);
                return Err(Error::InUse { path, pid });
            }
            Owner::Dead if is_last => break,
            Owner::Dead => clear_away(path, &found)?,
        }
    }
    Err(bad_path(
        path,
        "other processes make and remove it all the time",
    ))
}

/// Creates the socket. Returns `None` if there is a file, or if another producer has treated the
/// socket as dead before it listened.
fn place(path: &Path, perms: u32) -> Result<Option<(Listening, FileId)>> {
    let socket = match socket::bind(path, UNFINISHED | OWNERS | perms) {
        Ok(socket) => socket,
        Err(Errno::ADDRINUSE) => return Ok(None),
        Err(errno) => return Err(not_made(path, errno)),
    };
    let finished = finish(path, &socket, perms);
    if finished.is_err() {
        remove_unfinished(path);
    }
    Ok(finished?.map(|file| (socket, file)))
}

/// Makes the socket listen, and then checks that the path leads to it. `clear_away` moves a file
/// and then checks that it is dead. With these two orders, at most one of two processes continues.
fn finish(path: &Path, socket: &Listening, perms: u32) -> Result<Option<FileId>> {
    let failed = |errno| not_made(path, errno);
    socket::listen(socket).map_err(failed)?;
    let found = match Found::at(path) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(failed(errno)),
    };
    if !is_reached(&found, socket).map_err(failed)? {
        return Ok(None);
    }
    // This also wakes clients that were refused until now and watch the directory.
    found.set_permissions(perms).map_err(failed)?;
    Ok(Some(found.id()))
}

/// Returns whether a connection to the file arrives at the socket. The connections of other
/// processes prove nothing: they may have found the file before it was moved away.
fn is_reached(found: &Found, socket: &Listening) -> std::result::Result<bool, Errno> {
    let connection = match found.connect(Duration::ZERO) {
        Ok(connection) => connection,
        Err(Errno::CONNREFUSED | Errno::NOENT | Errno::AGAIN | Errno::PROTOTYPE) => {
            return Ok(false);
        }
        Err(errno) => return Err(errno),
    };
    let sent = random().to_ne_bytes();
    // If the socket belongs to another process, it may be full, or closed.
    let _ = socket::send(&connection, &sent, &[]);
    let mut received = [0; 16];
    for _ in 0..=socket::BACKLOG {
        // A client that has connected already is disconnected here, and connects again.
        let accepted = match socket::accept(socket) {
            Ok(accepted) => accepted,
            Err(Errno::INTR | Errno::CONNABORTED) => continue,
            Err(Errno::AGAIN) => break,
            Err(errno) => return Err(errno),
        };
        let message = socket::receive(&accepted, &mut received);
        if message.is_ok_and(|message| received[..message.len] == sent) {
            connection.close_own();
            accepted.close_own();
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes the unfinished socket of a producer that failed. If another producer has its own
/// unfinished socket there by now, that producer starts again.
fn remove_unfinished(path: &Path) {
    if is_unfinished_socket(path) {
        let _ = std::fs::remove_file(path);
    }
}

/// Returns the error for a socket that could not be made.
fn not_made(path: &Path, errno: Errno) -> Error {
    match errno {
        Errno::NOTDIR => bad_path(path, BELOW_A_FILE),
        Errno::NOENT => bad_path(directory(path), "there is no such directory: make it"),
        errno => Error::path(path, "making a socket there")(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
            Err(Error::InUse { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(first);
        // Dead: nothing listens, and the file is still there.
        let dead = socket::bind(&path, 0o600).unwrap();
        socket::listen(&dead).unwrap();
        drop(dead);
        let second = listen(&path).unwrap();
        assert!(socket::connect(&path, PROMPT).is_ok());
        drop(second);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_socket_that_was_replaced_before_it_listened_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let slow = socket::bind(&path, UNFINISHED | 0o600).unwrap();
        let quick = listen(&path).unwrap();
        assert_eq!(finish(&path, &slow, 0o600).unwrap(), None);
        assert_eq!(file_id(&path).unwrap(), quick.file);
        drop(slow);
        assert!(socket::connect(&path, PROMPT).is_ok());
        // The same for a socket whose file was removed.
        drop(quick);
        let slow = socket::bind(&path, UNFINISHED | 0o600).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(finish(&path, &slow, 0o600).unwrap(), None);
    }

    #[test]
    fn a_live_socket_that_was_thought_dead_is_not_cleared_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let live = listen(&path).unwrap();
        clear_away(&path, &Found::at(&path).unwrap()).unwrap();
        assert_eq!(file_id(&path).unwrap(), live.file);
        assert!(socket::connect(&path, PROMPT).is_ok());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        // The same for a file that is no socket.
        let path = directory.path().join("notes.txt");
        fs::write(&path, "mine").unwrap();
        clear_away(&path, &Found::at(&path).unwrap()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_killed_producers_have_left_is_replaced_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        // Leftovers of producers that were killed: before listening, and after moving a dead socket
        // aside.
        drop(socket::bind(&path, UNFINISHED | 0o600).unwrap());
        let beside = |name: &str| directory.path().join(name);
        drop(socket::bind(&beside(".xmem-0123456789abcdef"), 0o600).unwrap());
        fs::write(beside(".xmem-lock-0-0-b.sock"), "").unwrap();
        // A socket with a live owner.
        let live = socket::bind(&beside(".xmem-fedcba9876543210"), 0o600).unwrap();
        socket::listen(&live).unwrap();
        let listener = listen(&path).unwrap();
        let left = fs::read_dir(directory.path()).unwrap().flatten();
        let mut left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, [".xmem-fedcba9876543210", "a.sock"]);
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn the_address_of_the_socket_is_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        // At the first start, and after a dead producer.
        drop(socket::bind(&path, 0o600).unwrap());
        for _ in 0..2 {
            let listener = listen(&path).unwrap();
            let address = rustix::net::getsockname(&listener).unwrap();
            let address = rustix::net::SocketAddrUnix::try_from(address).unwrap();
            let address = address.path_bytes().unwrap();
            assert_eq!(address, path.as_os_str().as_encoded_bytes());
        }
    }

    #[test]
    fn of_many_that_start_at_once_one_wins() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        // A socket whose owner is dead.
        drop(socket::bind(&path, 0o600).unwrap());
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
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.txt");
        fs::write(&path, "mine").unwrap();
        assert!(matches!(listen(&path), Err(Error::BadPath { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
