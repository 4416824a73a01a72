//! What there is in place of a channel without a producer: which channels there are, and which other
//! directories have one of that name.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use super::found::Found;
use super::list::{self, Entry};
use super::paths::{directory, file_name, name_of};
use super::runtime;
use crate::sys::closer;

/// Most channels that are named, and most that are looked for.
const MOST_NAMED: usize = 8;
const MOST_LISTED: usize = 32;
/// Most names of a directory in which other users' directories are, and most of these.
const MOST_NAMES: usize = 4096;
const MOST_USERS: usize = 8;
/// How long it may take to look into other users' directories: a file system of theirs may be a
/// process that does not answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// What there is near a socket's path at which no producer was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Nearby {
    /// The socket's file is there, and its producer is gone.
    DeadSocket,
    /// The channels that have a producer in the directory.
    Channels {
        /// Where channels are looked up by name.
        directory: PathBuf,
        /// What determines the directory, as a text.
        origin: &'static str,
        /// Their names, a few at most.
        channels: Vec<String>,
        /// How many more there are.
        more: usize,
    },
    /// There is no such directory.
    NoDirectory(PathBuf),
    /// The path was perhaps meant for this channel.
    Named {
        /// Its name.
        channel: String,
        /// Its socket.
        socket_path: PathBuf,
    },
    /// Another directory of this user has a channel of this name.
    OtherDirectory {
        /// Its name.
        channel: String,
        /// Which directory.
        directory: PathBuf,
    },
    /// Another user has a channel of this name.
    OtherUser {
        /// The user.
        uid: u32,
        /// The name of the channel.
        channel: String,
        /// Where it is.
        directory: PathBuf,
    },
    /// Another user has a directory of channels that this user may not look into.
    ClosedDirectory {
        /// The user.
        uid: u32,
        /// Which directory.
        directory: PathBuf,
    },
}

impl std::fmt::Display for Nearby {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Nearby::DeadSocket => f.write_str("The producer that made this socket is gone."),
            Nearby::Channels {
                directory,
                origin,
                channels,
                more,
            } => {
                let place = format!("{} ({origin})", directory.display());
                match channels.as_slice() {
                    [] => write!(f, "No channel has a producer in {place}."),
                    [one] if *more == 0 => write!(f, "{one} has a producer in {place}."),
                    _ => {
                        let names = channels.join(", ");
                        write!(f, "In {place} these channels have a producer: {names}")?;
                        match more {
                            0 => f.write_str("."),
                            more => write!(f, " and {more} more."),
                        }
                    }
                }
            }
            Nearby::NoDirectory(directory) => {
                write!(f, "There is no directory {}.", directory.display())
            }
            Nearby::Named {
                channel,
                socket_path,
            } => write!(
                f,
                "The channel {channel} has a producer at {}: use channel {channel} in place of a \
                 socket path.",
                socket_path.display()
            ),
            Nearby::OtherDirectory { channel, directory } => {
                let directory = directory.display();
                write!(
                    f,
                    "There is a producer of {channel} in {directory}: to use it, set \
                     XMEM_RUNTIME_DIR={directory}, or start both with the same environment."
                )
            }
            Nearby::OtherUser {
                uid,
                channel,
                directory,
            } => write!(
                f,
                "User {uid} has a channel {channel} in {}: to share one between users, use a \
                 socket path on both sides, and set perms of the producer.",
                directory.display()
            ),
            Nearby::ClosedDirectory { uid, directory } => write!(
                f,
                "User {uid} has a directory of channels too, {}, which this user may not look \
                 into: if the producer runs as that user, use a socket path on both sides, and set \
                 perms of the producer.",
                directory.display()
            ),
        }
    }
}

/// Looks for what there is near a socket's path at which no producer was found: which channels have one
/// in the directory, what determines which directory that is, and where else there is a channel of this
/// name, another user's too.
///
/// It looks into a few directories each time it is called, and connects to sockets of this user, without
/// sending anything.
pub fn nearby(socket_path: &Path) -> Vec<Nearby> {
    let (runtime, origin) = runtime::directory();
    let here = directory(socket_path);
    let name = socket_path.file_name().and_then(name_of);
    let mut found = Vec::new();
    if let Ok(socket) = Found::at(socket_path)
        && socket.is_no_socket().is_none()
    {
        found.push(Nearby::DeadSocket);
    }
    match name.filter(|_| here == runtime) {
        Some(name) => {
            let mut channels: Vec<_> = live(here).into_iter().map(|entry| entry.name).collect();
            let more = channels.len().saturating_sub(MOST_NAMED);
            channels.truncate(MOST_NAMED);
            found.push(Nearby::Channels {
                directory: here.into(),
                origin: origin.text(),
                channels,
                more,
            });
            found.extend(elsewhere(name, here));
        }
        None if !here.is_dir() => found.push(Nearby::NoDirectory(here.into())),
        None => found.extend(named(socket_path, &runtime)),
    }
    found
}

/// The channels of a directory that have a producer.
fn live(directory: &Path) -> Vec<Entry> {
    if !is_own(directory) {
        return Vec::new();
    }
    let entries = list::entries(directory, MOST_LISTED).into_iter();
    entries.filter(has_producer).collect()
}

/// Whether a channel has a producer in a directory.
fn is_live(directory: &Path, channel: &str) -> bool {
    is_own(directory) && list::entry(directory, channel).is_some_and(|entry| has_producer(&entry))
}

/// Whether others can't put sockets of theirs into a directory.
fn is_own(directory: &Path) -> bool {
    runtime::check(directory).is_ok()
}

fn has_producer(entry: &Entry) -> bool {
    // A connection that was closed is a thread, perhaps.
    !closer::is_full() && list::listening(entry).is_some()
}

/// Whether this path may have been meant for the name of a channel.
fn named(path: &Path, runtime: &Path) -> Option<Nearby> {
    let name = path.file_name()?.to_str()?;
    let name = name_of(name.as_ref()).unwrap_or(name);
    is_live(runtime, name).then(|| Nearby::Named {
        channel: name.into(),
        socket_path: runtime.join(file_name(name)),
    })
}

/// Where else a channel of this name is.
fn elsewhere(name: &str, here: &Path) -> Vec<Nearby> {
    let uid = rustix::process::geteuid().as_raw();
    let xdg = std::env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty());
    let own = xdg.map(|xdg| runtime::below_xdg(Path::new(&xdg)));
    let own = own.into_iter().chain([
        runtime::below_xdg(&PathBuf::from(format!("/run/user/{uid}"))),
        runtime::below_tmp(uid),
    ]);
    let mut looked_into: Vec<PathBuf> = vec![here.into()];
    let mut found = Vec::new();
    for directory in own {
        if looked_into.contains(&directory) {
            continue;
        }
        if is_live(&directory, name) {
            found.push(Nearby::OtherDirectory {
                channel: name.into(),
                directory: directory.clone(),
            });
        }
        looked_into.push(directory);
    }
    found.extend(of_others(name, uid));
    found
}

/// What other users have. They may make a look at their files last as long as they like.
fn of_others(name: &str, uid: u32) -> Vec<Nearby> {
    let (tell, told) = mpsc::channel();
    let name = name.to_owned();
    let looking = closer::run(move || {
        // The asking thread may not wait any more.
        let _ = tell.send(in_directories_of_others(&name, uid));
    });
    match looking {
        Ok(()) => told.recv_timeout(PATIENCE).unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

fn in_directories_of_others(name: &str, uid: u32) -> Vec<Nearby> {
    let (mut found, mut closed) = (Vec::new(), None);
    for (uid, directory) in directories_of_others(uid) {
        match look(&directory, name, uid) {
            Look::Found => found.push(Nearby::OtherUser {
                uid,
                channel: name.into(),
                directory,
            }),
            Look::Closed => {
                closed.get_or_insert(Nearby::ClosedDirectory { uid, directory });
            }
            Look::Nothing => {}
        }
    }
    if found.is_empty() {
        found.extend(closed);
    }
    found
}

enum Look {
    Found,
    Closed,
    Nothing,
}

/// Whether a directory that is the owner's own has a socket for the channel. It is not connected to.
fn look(directory: &Path, name: &str, owner: u32) -> Look {
    let is_own = |found: fs::Metadata| found.is_dir() && found.uid() == owner;
    match fs::symlink_metadata(directory).map(is_own) {
        Ok(true) => {}
        _ => return Look::Nothing,
    }
    match fs::symlink_metadata(directory.join(file_name(name))) {
        Ok(found) if found.file_type().is_socket() => Look::Found,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Look::Closed,
        _ => Look::Nothing,
    }
}

/// The directories in which other users' channels are, where they have some.
fn directories_of_others(uid: u32) -> Vec<(u32, PathBuf)> {
    let owners = |directory: &str, prefix: &str| -> Vec<u32> {
        let Ok(names) = fs::read_dir(directory) else {
            return Vec::new();
        };
        let names = names
            .take(MOST_NAMES)
            .flatten()
            .map(|entry| entry.file_name());
        let owners = names.filter_map(|name| {
            let owner = name.to_str()?.strip_prefix(prefix)?;
            let is_plain = owner.bytes().all(|byte| byte.is_ascii_digit());
            owner.parse().ok().filter(|&owner| is_plain && owner != uid)
        });
        let mut owners: Vec<_> = owners.collect();
        owners.sort_unstable();
        owners.truncate(MOST_USERS);
        owners
    };
    let of_tmp = owners("/tmp", "xmem-").into_iter();
    let of_tmp = of_tmp.map(|owner| (owner, runtime::below_tmp(owner)));
    let of_run = owners("/run/user", "").into_iter().map(|owner| {
        let runtime = PathBuf::from(format!("/run/user/{owner}"));
        (owner, runtime::below_xdg(&runtime))
    });
    of_tmp.chain(of_run).collect()
}
