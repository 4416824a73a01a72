//! A client's wait for a producer that may come later.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use super::{CONNECT_SLICE, Channel, FileId, NO_SOCKET, bad_path, directory, is_no_socket};
use crate::cancel::Cancellation;
use crate::error::{Error, Result};
use crate::sys::clock::Deadline;
use crate::sys::watch::Watch;
use crate::sys::{pidfd, socket};

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
    use crate::channel::Listener;

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
            let _listener = Listener::new(&channel, 0o600).unwrap();
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
