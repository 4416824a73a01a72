//! What is at a path: pinned, so that what is asked of it is not asked of another that has taken its
//! name meanwhile.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, open, statat};
use rustix::io::Errno;

use crate::sys::socket;

/// What tells one file from another of the same name.
pub(super) type FileId = (u64, u64);

/// A file, whatever becomes of its name.
#[derive(Debug)]
pub(super) struct Found<'a> {
    path: &'a Path,
    /// Opened for its place alone (`O_PATH`): that has no effect on a FIFO or a device.
    fd: OwnedFd,
    stat: Stat,
}

impl Found<'_> {
    /// Looks at `path`. Where that is a symbolic link, it is the link that is found.
    pub(super) fn at(path: &Path) -> Result<Found<'_>, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = open(path, flags, Mode::empty())?;
        let stat = fstat(&fd)?;
        Ok(Found { path, fd, stat })
    }

    /// Why nobody can listen here, where it is no socket.
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

    /// Connects to the socket, waiting at most `patience` for room in its backlog: `AGAIN` then.
    pub(super) fn connect(&self, patience: Duration) -> Result<OwnedFd, Errno> {
        match socket::connect(&self.own_path(), patience) {
            // There is no /proc here.
            Err(Errno::NOENT) => socket::connect(self.path, patience),
            other => other,
        }
    }

    /// The way to this file that no name is part of.
    fn own_path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd()).into()
    }
}

/// Which file has this name in its directory: the link, where it is one.
pub(super) fn file_id(path: &Path) -> Result<FileId, Errno> {
    let stat = statat(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Whether a path ends with the name of a file as it is written: not with a slash, `.` or `..`.
pub(super) fn names_a_file(path: &Path) -> bool {
    let path = path.as_os_str().as_encoded_bytes();
    let name = path.rsplit(|&byte| byte == b'/').next();
    !matches!(name, None | Some(b"" | b"." | b".."))
}
