//! The sockets of a directory that have a channel's name, and whether a producer listens there.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use super::found::{FileId, Found};
use super::paths::{file_name, name_of};
use crate::sys::pidfd;
use crate::sys::socket::Connection;

/// Most names of a directory that are looked at.
const MOST_NAMES: usize = 4096;

/// A socket's file, by the name of its channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) file: FileId,
}

/// Some of the sockets that have a channel's name, at most `most`, in the order of the names. Those
/// that a producer is about to finish are left out, and nothing is connected to.
pub(super) fn entries(directory: &Path, most: usize) -> Vec<Entry> {
    let Ok(names) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let names = names.take(MOST_NAMES).flatten();
    let mut names: Vec<_> = names
        .filter_map(|entry| Some(name_of(&entry.file_name())?.to_owned()))
        .collect();
    names.sort_unstable();
    let entries = names.iter().filter_map(|name| entry(directory, name));
    entries.take(most).collect()
}

/// The socket of a channel in a directory, where it is there and finished.
pub(super) fn entry(directory: &Path, channel: &str) -> Option<Entry> {
    let path = directory.join(file_name(channel));
    let found = Found::at(&path).ok()?;
    let is_one = found.is_no_socket().is_none() && !found.is_unfinished();
    is_one.then(|| Entry {
        name: channel.to_owned(),
        path,
        file: found.id(),
    })
}

/// A producer that listens at a socket.
pub(super) struct Listening {
    /// 0 where it can't be seen from here, or is too busy to accept.
    pub(super) pid: u32,
    /// Its user: the file's owner, where the producer is too busy.
    pub(super) uid: u32,
    /// Readable when the process has exited; there is none on old kernels, for a process of another PID
    /// namespace.
    pub(super) pidfd: Option<OwnedFd>,
    /// A connection that has said nothing; there is none where the producer is too busy.
    pub(super) connection: Option<Connection>,
}

/// What listens at an entry. Never waits. `None` where the file is another one by now, where no process
/// listens, and where this user may not connect.
pub(super) fn listening(entry: &Entry) -> Option<Listening> {
    let found = Found::at(&entry.path).ok()?;
    if found.id() != entry.file {
        return None;
    }
    match found.connect(Duration::ZERO) {
        // A child that the producer forked may have kept its socket open.
        Ok(connection) if pidfd::peer_has_exited(&connection).ok()? => None,
        Ok(connection) => {
            let credentials = pidfd::peer_credentials(&connection);
            Some(Listening {
                pid: credentials.pid,
                uid: credentials.uid,
                pidfd: pidfd::peer_pidfd(&connection).ok().flatten(),
                connection: Some(connection),
            })
        }
        Err(Errno::AGAIN) => Some(Listening {
            pid: 0,
            uid: found.uid(),
            pidfd: None,
            connection: None,
        }),
        Err(_) => None,
    }
}
