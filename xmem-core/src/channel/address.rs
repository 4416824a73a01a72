//! How a channel is named, and where its socket is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::monitor::{ChannelChange, ChannelMonitor, LiveChannel};
use super::paths::{bad_path, directory, file_name, is_name, names_a_file};
use super::runtime;
use crate::cancel::Canceller;
use crate::error::Result;

/// Bytes of a socket address's path, less the zero at its end.
const MAX_PATH: usize = 107;

/// How a channel is named: a name that producer and clients agree on, or the socket's path.
///
/// The socket of the channel `cam0` is `$XMEM_RUNTIME_DIR/cam0.sock`, else
/// `$XDG_RUNTIME_DIR/xmem/cam0.sock`, else `/tmp/xmem-UID/cam0.sock`. The directory must belong to
/// the user and be closed to others; it is made when it is missing.
///
/// # Examples
///
/// ```
/// use xmem_core::Channel;
///
/// let by_path = Channel::path("/run/camera/front.sock");
/// assert_eq!(by_path.socket_path()?.to_str(), Some("/run/camera/front.sock"));
/// // A name can't lead out of the directory.
/// assert!(Channel::name("../front").socket_path().is_err());
///
/// for channel in Channel::list()? {
///     println!("{}: {:?}", channel.name, channel.format);
/// }
/// # Ok::<(), xmem_core::Error>(())
/// ```
///
/// A path may lead through directories that are symbolic links. At the path itself a symbolic link
/// is not followed, by producers or clients: where others may write to the directory, it could be
/// one of theirs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
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

    /// The channels that have a producer in the directory in which names are looked up.
    /// [`watch`](Channel::watch) tells how that changes.
    ///
    /// It asks each producer for its format, and takes at most 0.2 s.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`](crate::Error::ResourceExhausted) without descriptors.
    pub fn list() -> Result<Vec<LiveChannel>> {
        let changes = Channel::watch(Canceller::new()).changes(Some(Duration::ZERO))?;
        let appeared = changes.into_iter().filter_map(|change| match change {
            ChannelChange::Appeared(channel) => Some(channel),
            ChannelChange::Changed { .. } | ChannelChange::Gone(_) => None,
        });
        Ok(appeared.collect())
    }

    /// A monitor of that directory, whose waits `canceller` ends.
    pub fn watch(canceller: Canceller) -> ChannelMonitor {
        ChannelMonitor::new(canceller)
    }

    /// The path of the channel's socket.
    ///
    /// # Errors
    /// [`Error::BadPath`](crate::Error::BadPath) for a name that is empty, starts with a dot or has a
    /// slash, and for a path that has no name of a file at its end, or is longer than a socket address
    /// holds (107 bytes).
    pub fn socket_path(&self) -> Result<PathBuf> {
        let path = match self {
            Channel::Path(path) => path.clone(),
            Channel::Name(name) => {
                if !is_name(name) {
                    return Err(bad_path(
                        Path::new(name),
                        "a channel's name can't be empty, start with a dot or have a slash",
                    ));
                }
                runtime::directory().0.join(file_name(name))
            }
        };
        if path.as_os_str().len() > MAX_PATH {
            return Err(bad_path(
                &path,
                format!("the path is too long for a socket: {MAX_PATH} bytes are possible"),
            ));
        }
        if !names_a_file(&path) {
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
    pub(super) fn prepare(&self) -> Result<PathBuf> {
        let path = self.socket_path()?;
        if let Channel::Name(_) = self {
            runtime::make(directory(&path))?;
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
