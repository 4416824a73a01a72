//! Where a channel is found: names, directories, and the socket's path.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::rand::{GetRandomFlags, getrandom};

use crate::error::{Error, Result};
use crate::sys::clock;
use crate::sys::pidfd::OVERFLOW_UID;

mod found;
mod listener;
mod lock;
mod takeover;
mod waiting;

pub(crate) use listener::Listener;
pub(crate) use waiting::connect;

/// How long one `connect` waits in the kernel for room in the backlog before it looks whether it
/// was cancelled. The kernel ends the wait as soon as there is room.
const CONNECT_SLICE: Duration = Duration::from_millis(50);

/// Bytes of a socket address's path, less the zero at its end.
const MAX_PATH: usize = 107;

/// How a channel is named: a name that producer and clients agree on, or the socket's path.
///
/// The socket of the channel `cam0` is `$XMEM_RUNTIME_DIR/cam0.sock`, else
/// `$XDG_RUNTIME_DIR/xmem/cam0.sock`, else `/tmp/xmem-UID/cam0.sock`. The directory must belong to
/// the user and be closed to others; it is made when it is missing.
///
/// A path may lead through directories that are symbolic links. At the path itself a symbolic link
/// is not followed, by producers or clients: where others may write to the directory, it could be
/// one of theirs.
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
    /// path that has no name of a file at its end, or is longer than a socket address holds (107
    /// bytes).
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
        if !found::names_a_file(&path) {
            return Err(bad_path(
                &path,
                "has to end with the name of the socket's file, not with a slash, \".\" or \"..\"",
            ));
        }
        if path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(bad_path(&path, "a path can't contain a zero byte"));
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
                // What is there instead is looked at below.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == ErrorKind::NotADirectory => {
                    return Err(bad_path(directory, BELOW_A_FILE));
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
    if found.is_symlink() {
        return Err(bad_path(
            path,
            "is a symbolic link, which is not followed here: set XMEM_RUNTIME_DIR to the directory \
             that it leads to",
        ));
    }
    if !found.is_dir() {
        return Err(bad_path(path, "not a directory"));
    }
    if found.uid() != uid {
        let unmapped = match found.uid() {
            OVERFLOW_UID => " (nobody, or a user that this user namespace does not map)",
            _ => "",
        };
        let owner = found.uid();
        return Err(bad_path(
            path,
            format!(
                "belongs to user {owner}{unmapped}, not to user {uid}: to share a channel with \
                 other users, set socket-path, and perms of the producer; else set \
                 XMEM_RUNTIME_DIR to a directory of user {uid} with mode 0700, which may be a \
                 subdirectory"
            ),
        ));
    }
    if found.mode() & 0o077 != 0 {
        return Err(bad_path(
            path,
            format!(
                "is open to other users (mode {:o}): chmod 700 it, or set XMEM_RUNTIME_DIR to a \
                 subdirectory with mode 0700; to share a channel with other users, set \
                 socket-path, and perms of the producer",
                found.mode() & 0o777
            ),
        ));
    }
    Ok(())
}

const BELOW_A_FILE: &str = "leads through something that is not a directory";
const OTHER_PROGRAM: &str = "is the socket of another program: remove it, or choose another path";

/// A number that no other process has thought of: process ids are not unique between namespaces.
fn random() -> u64 {
    let mut bytes = [0; 8];
    match getrandom(&mut bytes, GetRandomFlags::NONBLOCK) {
        Ok(8) => u64::from_ne_bytes(bytes),
        _ => clock::monotonic().as_nanos() as u64 ^ u64::from(std::process::id()) << 40,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        for name in ["", ".", "..", "a/b", ".hidden", "a\0b"] {
            assert!(Channel::name(name).socket_path().is_err(), "{name:?}");
        }
    }

    #[test]
    fn paths_that_name_no_file_are_refused() {
        let long = "/tmp/a".repeat(40);
        for path in [
            "", "/", ".", "..", "/tmp/", "a.sock/", "a.sock/.", "a/..", "a\0b", &long,
        ] {
            assert!(Channel::path(path).socket_path().is_err(), "{path:?}");
        }
        for path in ["a.sock", "./a.sock", "/tmp/../a.sock", "//a.sock", "a/.b"] {
            assert!(Channel::path(path).socket_path().is_ok(), "{path:?}");
        }
    }
}
