//! What is at a path: pinned, so that what is asked of it is not asked of another that has taken its
//! name meanwhile.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, chmod, fstat, open, statat};
use rustix::io::Errno;

use super::paths::{OTHER_PROGRAM, bad_path};
use crate::error::{Error, Result};
use crate::sys::pidfd;
use crate::sys::socket::{self, Connection};

/// What tells one file from another of the same name.
pub(super) type FileId = (u64, u64);

/// The sticky bit of a socket's file: it is being set up, and its permissions are not yet what they
/// will be. Unlike permissions, no umask takes it away.
pub(super) const UNFINISHED: u32 = 0o1000;

/// A file, whatever becomes of its name.
#[derive(Debug)]
pub(super) struct Found {
    path: PathBuf,
    /// Opened for its place alone (`O_PATH`): that has no effect on a FIFO or a device.
    fd: OwnedFd,
    stat: Stat,
}

/// What listens at a socket's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A process that lives; 0 where its pid can't be seen from here.
    Alive(u32),
    /// No process. So it stays, but for a socket that was bound just now.
    Dead,
}

impl Found {
    /// Looks at `path`. Where that is a symbolic link, it is the link that is found.
    pub(super) fn at(path: &Path) -> std::result::Result<Found, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = open(path, flags, Mode::empty())?;
        let stat = fstat(&fd)?;
        let path = path.into();
        Ok(Found { path, fd, stat })
    }

    pub(super) fn id(&self) -> FileId {
        id(&self.stat)
    }

    /// The user that it belongs to.
    pub(super) fn uid(&self) -> u32 {
        self.stat.st_uid
    }

    /// Whether its owner had yet to finish it when it was found.
    pub(super) fn is_unfinished(&self) -> bool {
        self.stat.st_mode & UNFINISHED != 0
    }

    /// Why no process can listen here, where it is no socket.
    pub(super) fn is_no_socket(&self) -> Option<String> {
        let kind = match FileType::from_raw_mode(self.stat.st_mode) {
            FileType::Socket => return None,
            FileType::Symlink => {
                return Some(
                    "exists and is not a socket but a symbolic link, which is not followed here \
                     because another user could have made it: remove it, or give the path that it \
                     leads to"
                        .into(),
                );
            }
            FileType::Directory => "a directory",
            FileType::Fifo => "a FIFO",
            FileType::RegularFile => "a regular file",
            FileType::BlockDevice | FileType::CharacterDevice => "a device",
            _ => "another kind of file",
        };
        Some(format!(
            "exists and is not a socket but {kind}: remove it, or choose another path"
        ))
    }

    /// Connects to the socket, waiting at most `timeout` for room in its backlog: `AGAIN` then.
    pub(super) fn connect(&self, timeout: Duration) -> std::result::Result<Connection, Errno> {
        match socket::connect(&self.own_path(), timeout) {
            // There is no /proc here.
            Err(Errno::NOENT) => socket::connect(&self.path, timeout),
            other => other,
        }
    }

    /// Asks what listens. Never waits.
    ///
    /// # Errors
    /// [`Error::BadPath`] where it is no socket of this kind, or may not be asked.
    pub(super) fn owner(&self) -> Result<Owner> {
        if let Some(reason) = self.is_no_socket() {
            return Err(bad_path(&self.path, reason));
        }
        match self.connect(Duration::ZERO) {
            // A child that the owner forked may have kept its socket open.
            Ok(fd) if pidfd::peer_has_exited(&fd)? => Ok(Owner::Dead),
            Ok(fd) => Ok(Owner::Alive(pidfd::peer_credentials(&fd).pid)),
            // A process listens, and does not accept.
            Err(Errno::AGAIN) => Ok(Owner::Alive(0)),
            Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(Owner::Dead),
            Err(Errno::PROTOTYPE) => Err(bad_path(&self.path, OTHER_PROGRAM)),
            Err(Errno::ACCESS) => Err(bad_path(
                &self.path,
                format!(
                    "is a socket of user {}, and its permissions don't let this user ask whether \
                     a producer runs there: choose another path",
                    self.uid()
                ),
            )),
            Err(errno) => Err(Error::path(&self.path, "asking whose it is")(errno)),
        }
    }

    /// Sets the permissions of the file, which is known to be a socket of ours.
    pub(super) fn set_permissions(&self, perms: u32) -> std::result::Result<(), Errno> {
        let mode = Mode::from_raw_mode(perms);
        match chmod(self.own_path(), mode) {
            Err(Errno::NOENT) => chmod(&self.path, mode),
            other => other,
        }
    }

    /// The way to this file that no name is part of.
    fn own_path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd()).into()
    }
}

fn id(stat: &Stat) -> FileId {
    (stat.st_dev, stat.st_ino)
}

/// Which file has this name in its directory: the link, where it is one.
pub(super) fn file_id(path: &Path) -> std::result::Result<FileId, Errno> {
    statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map(|stat| id(&stat))
}

/// Whether there is a socket at a path whose owner has yet to finish it. Takes no descriptor.
pub(super) fn is_unfinished_socket(path: &Path) -> bool {
    statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::Socket && stat.st_mode & UNFINISHED != 0
    })
}
