//! Where a channel is found: names, directories, and the socket file's life.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::cancel::Cancellation;
use crate::error::{Error, Result};
use crate::sys::clock::Deadline;
use crate::sys::watch::Watch;
use crate::sys::{pidfd, socket};

/// How long one `connect` waits in the kernel for room in the backlog before it looks whether it
/// was cancelled. The kernel ends the wait as soon as there is room.
const CONNECT_SLICE: Duration = Duration::from_millis(50);

/// How long a producer waits for another one that replaces a dead socket beside it.
const CLAIM_PATIENCE: Duration = Duration::from_secs(1);

/// How a channel is named: a name that producer and clients agree on, or the socket's path.
///
/// The socket of the channel `cam0` is `$XMEM_RUNTIME_DIR/cam0.sock`, else
/// `$XDG_RUNTIME_DIR/xmem/cam0.sock`, else `/tmp/xmem-UID/cam0.sock`. The directory must belong to
/// the user and be closed to others; it is made when it is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Found by a name.
    Name(String),
    /// Found by the path of its socket.
    Path(PathBuf),
}

impl Channel {
    /// The channel of this name.
    pub fn name(name: impl Into<String>) -> Channel {
        Channel::Name(name.into())
    }

    /// The channel whose socket is at this path.
    pub fn path(path: impl Into<PathBuf>) -> Channel {
        Channel::Path(path.into())
    }

    /// The path of the channel's socket.
    ///
    /// # Errors
    /// [`Error::BadPath`] for a name that is empty, starts with a dot or has a slash, and for a
    /// path longer than a socket address holds (107 bytes).
    pub fn socket_path(&self) -> Result<PathBuf> {
        let path = match self {
            Channel::Path(path) => path.clone(),
            Channel::Name(name) => {
                if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
                    return Err(bad_path(
                        Path::new(name),
                        "a channel's name can't be empty, start with a dot or have a slash",
                    ));
                }
                runtime_directory().join(format!("{name}.sock"))
            }
        };
        if path.as_os_str().len() > MAX_PATH {
            return Err(bad_path(
                &path,
                format!("the path is too long for a socket: {MAX_PATH} bytes are possible"),
            ));
        }
        if path.file_name().is_none() {
            return Err(bad_path(&path, "not the path of a file"));
        }
        Ok(path)
    }

    /// The socket's path, its directory made and checked where xmem owns it.
    fn prepare(&self) -> Result<PathBuf> {
        let path = self.socket_path()?;
        if let Channel::Name(_) = self {
            let directory = directory(&path);
            match fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
            {
                Ok(()) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::AlreadyExists | ErrorKind::NotADirectory
                    ) =>
                {
                    return Err(bad_path(directory, "not a directory"));
                }
                Err(error) => {
                    return Err(Error::path(directory, "making the runtime directory")(
                        error,
                    ));
                }
            }
            check_directory(directory)?;
        }
        Ok(path)
    }
}

impl std::fmt::Display for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Channel::Name(name) => f.write_str(name),
            Channel::Path(path) => path.display().fmt(f),
        }
    }
}

fn bad_path(path: &Path, reason: impl Into<String>) -> Error {
    Error::BadPath {
        path: path.into(),
        reason: reason.into(),
    }
}

fn runtime_directory() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(directory) = set("XMEM_RUNTIME_DIR") {
        PathBuf::from(directory)
    } else if let Some(directory) = set("XDG_RUNTIME_DIR") {
        PathBuf::from(directory).join("xmem")
    } else {
        let uid = rustix::process::geteuid().as_raw();
        PathBuf::from(format!("/tmp/xmem-{uid}"))
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Others must not be able to put a socket of theirs where clients look for ours.
fn check_directory(path: &Path) -> Result<()> {
    let found = fs::symlink_metadata(path).map_err(Error::path(path, "looking at it"))?;
    let uid = rustix::process::geteuid().as_raw();
    if !found.is_dir() {
        return Err(bad_path(path, "not a directory"));
    }
    if found.uid() != uid {
        return Err(bad_path(
            path,
            format!(
                "belongs to user {}, not to user {uid}: set XMEM_RUNTIME_DIR to a directory of your own",
                found.uid()
            ),
        ));
    }
    if found.mode() & 0o077 != 0 {
        return Err(bad_path(
            path,
            format!(
                "is open to other users (mode {:o}): chmod 700 it",
                found.mode() & 0o777
            ),
        ));
    }
    Ok(())
}

/// A listening socket and its file, which goes with it.
#[derive(Debug)]
pub(crate) struct Listener {
    fd: OwnedFd,
    path: PathBuf,
    file: FileId,
}

/// What tells one file from another of the same name.
type FileId = (u64, u64);

fn file_id(path: &Path) -> std::io::Result<FileId> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Bytes of a socket address's path, less the zero at its end.
const MAX_PATH: usize = 107;

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
    /// used.
    pub(crate) fn new(channel: &Channel, perms: u32) -> Result<Listener> {
        let path = channel.prepare()?;
        let temporary = temporary_name(&path);
        let fd = socket::bind(&temporary).map_err(Error::path(&path, "making a socket there"))?;
        let prepared: std::io::Result<_> = (|| {
            fs::set_permissions(&temporary, fs::Permissions::from_mode(perms))?;
            socket::listen(&fd)?;
            file_id(&temporary)
        })();
        let result = match prepared {
            Ok(file) => claim(&path, &temporary).map(|()| file),
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
fn claim(path: &Path, temporary: &Path) -> Result<()> {
    let deadline = Deadline::after(Some(CLAIM_PATIENCE));
    loop {
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
                Owner::Missing => continue,
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
            watch.wait(None, deadline)?;
        }
        if deadline.has_passed() {
            return Err(bad_path(
                directory(path),
                "another process holds a lock on the directory",
            ));
        }
    }
}

fn in_use(path: &Path, pid: u32) -> Error {
    let path = path.into();
    Error::InUse { path, pid }
}

const NO_SOCKET: &str = "exists and is not a socket";

/// Whether a path that nobody listens at is that of another kind of file.
fn is_no_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket())
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
    match socket::connect(path, CONNECT_SLICE) {
        // A child that the owner forked may have kept its socket open.
        Ok(fd) if pidfd::peer_has_exited(&fd)? => Ok(Owner::Dead),
        Ok(fd) => Ok(Owner::Alive(pidfd::peer_credentials(&fd).pid)),
        // Somebody listens, and does not accept.
        Err(Errno::AGAIN) => Ok(Owner::Alive(0)),
        Err(Errno::NOENT) => Ok(Owner::Missing),
        Err(Errno::CONNREFUSED) if is_no_socket(path) => Err(bad_path(path, NO_SOCKET)),
        // Should it be gone by now, replacing it is as good.
        Err(Errno::CONNREFUSED) => Ok(Owner::Dead),
        Err(Errno::PROTOTYPE) => Err(bad_path(path, "is the socket of another program")),
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

/// Connects to the channel's producer, waiting for one to appear until the deadline.
///
/// # Errors
/// [`Error::NoProducer`] or [`Error::NoAnswer`] at the deadline, [`Error::Cancelled`] when
/// cancelled.
pub(crate) fn connect(
    channel: &Channel,
    deadline: Deadline,
    cancel: &Cancellation<'_>,
) -> Result<OwnedFd> {
    let path = channel.prepare()?;
    let mut watching: Option<Watching> = None;
    loop {
        match socket::connect(&path, CONNECT_SLICE) {
            Ok(fd) if !pidfd::peer_has_exited(&fd)? => return Ok(fd),
            // The backlog is full: the wait has ended, or is over.
            Err(Errno::AGAIN) => {
                cancel.check()?;
                if deadline.has_passed() {
                    return Err(Error::NoAnswer {
                        path,
                        waited: Duration::MAX,
                    });
                }
                continue;
            }
            Err(Errno::CONNREFUSED) if is_no_socket(&path) => {
                return Err(bad_path(&path, NO_SOCKET));
            }
            // The owner is dead, though a child of its listens.
            Ok(_) | Err(Errno::NOENT | Errno::CONNREFUSED) => {}
            Err(Errno::ACCESS) => {
                return Err(bad_path(
                    &path,
                    "permission denied: the producer's perms decide who may connect",
                ));
            }
            Err(Errno::PROTOTYPE) => {
                return Err(bad_path(&path, "is the socket of another program"));
            }
            Err(errno) => {
                let what = format!("connecting to {}", path.display());
                return Err(Error::socket(what)(errno));
            }
        }
        // The watch comes before the look that counts, so a socket that appears between them is
        // noticed.
        match &watching {
            Some(watching) if watching.is_current(&path) => {
                let bell = cancel.bell()?;
                let told = watching.watch.wait(Some(&bell), deadline)?;
                cancel.check()?;
                if !told {
                    return Err(no_producer(&path));
                }
            }
            _ => watching = Some(Watching::new(&path)?),
        }
    }
}

/// How long was waited is known to who has set the deadline.
fn no_producer(path: &Path) -> Error {
    Error::NoProducer {
        path: path.into(),
        waited: Duration::MAX,
    }
}

/// A watch on the socket's directory, or the nearest one above it that exists.
struct Watching {
    watch: Watch,
    directory: PathBuf,
    /// Which one that was: another may get its name.
    file: FileId,
}

impl Watching {
    fn new(path: &Path) -> Result<Watching> {
        loop {
            let Some(found) = nearest_directory(path) else {
                return Err(bad_path(directory(path), "no such directory"));
            };
            let (file, watch) = (directory_id(found), Watch::new(found));
            let watching = match (file, watch) {
                (Ok(file), Ok(watch)) => Watching {
                    watch,
                    directory: found.into(),
                    file,
                },
                (_, Err(error)) if found.is_dir() => return Err(error),
                _ => continue,
            };
            // A nearer one may have appeared before the watch.
            if watching.is_current(path) {
                return Ok(watching);
            }
        }
    }

    /// Whether the socket would appear in the directory that is watched, or the next one to it.
    fn is_current(&self, path: &Path) -> bool {
        nearest_directory(path) == Some(&self.directory)
            && directory_id(&self.directory).is_ok_and(|file| file == self.file)
    }
}

/// Of the directory itself, where a link leads to it.
fn directory_id(path: &Path) -> std::io::Result<FileId> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

fn nearest_directory(path: &Path) -> Option<&Path> {
    let mut candidates =
        directory(path)
            .ancestors()
            .map(|path| match path.as_os_str().is_empty() {
                true => Path::new("."),
                false => path,
            });
    candidates.find(|path| path.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Canceller;

    fn listen(path: &Path) -> Result<Listener> {
        Listener::new(&Channel::path(path), 0o600)
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
        assert!(socket::connect(&path, CONNECT_SLICE).is_ok());
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
        assert!(socket::connect(&path, CONNECT_SLICE).is_ok());
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

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        for name in ["", ".", "..", "a/b", ".hidden", "a\0b"] {
            assert!(Channel::name(name).socket_path().is_err(), "{name:?}");
        }
        assert!(Channel::path("/tmp/".repeat(40)).socket_path().is_err());
    }

    #[test]
    fn a_client_waits_for_a_producer_and_can_be_cancelled() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("later/a.sock");
        let channel = Channel::path(&path);
        let canceller = Canceller::new();
        assert!(matches!(
            connect(
                &channel,
                Deadline::after(Some(Duration::from_millis(5))),
                &canceller.begin().unwrap()
            ),
            Err(Error::NoProducer { .. })
        ));
        std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                let cancellation = canceller.begin().unwrap();
                connect(&channel, Deadline::after(None), &cancellation)
            });
            std::fs::create_dir(path.parent().unwrap()).unwrap();
            let _listener = listen(&path).unwrap();
            client.join().unwrap().unwrap();
        });
        let cancellation = canceller.begin().unwrap();
        std::fs::remove_dir(path.parent().unwrap()).unwrap();
        canceller.cancel();
        // As soon as it would wait, though it may again by now.
        canceller.reset();
        assert!(matches!(
            connect(&channel, Deadline::after(None), &cancellation),
            Err(Error::Cancelled)
        ));
    }
}
