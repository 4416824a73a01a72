//! The text of an error for a channel without a producer: which channels there are instead, and which
//! other directories have one of that name.

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

/// Says what there is near a socket's path at which no producer was found: which channels have one in
/// the directory, what decides which directory that is, and where else there is a channel of this name,
/// another user's too.
///
/// It looks into a few directories each time it is called, and connects to sockets of this user, without
/// a word.
pub fn nearby(socket_path: &Path) -> String {
    let (runtime, origin) = runtime::directory();
    let here = directory(socket_path);
    let name = socket_path.file_name().and_then(name_of);
    let mut said = Vec::new();
    if let Ok(found) = Found::at(socket_path)
        && found.is_no_socket().is_none()
    {
        said.push("The producer that made this socket is gone.".to_owned());
    }
    match name.filter(|_| here == runtime) {
        Some(name) => {
            let of = format!("{} ({origin})", here.display());
            said.push(list_of(&of, &live(here)));
            said.extend(elsewhere(name, here));
        }
        None if !here.is_dir() => said.push(format!("There is no directory {}.", here.display())),
        None => said.extend(named(socket_path, &runtime)),
    }
    said.join(" ")
}

/// Which channels have a producer in a directory.
fn list_of(directory: &str, channels: &[Entry]) -> String {
    match channels {
        [] => format!("No channel has a producer in {directory}."),
        [one] => format!("{} has a producer in {directory}.", one.name),
        channels => {
            let named: Vec<_> = channels.iter().take(MOST_NAMED).collect();
            let more = match channels.len() - named.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let named: Vec<_> = named.iter().map(|entry| entry.name.as_str()).collect();
            let names = named.join(", ");
            format!("In {directory} these channels have a producer: {names}{more}.")
        }
    }
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
fn named(path: &Path, runtime: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let name = name_of(name.as_ref()).unwrap_or(name);
    is_live(runtime, name).then(|| {
        let meant = runtime.join(file_name(name));
        format!(
            "The channel {name} has a producer at {}: use channel {name} in place of a socket path.",
            meant.display()
        )
    })
}

/// Where else a channel of this name is.
fn elsewhere(name: &str, here: &Path) -> Vec<String> {
    let uid = rustix::process::geteuid().as_raw();
    let xdg = std::env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty());
    let own = xdg.map(|xdg| runtime::below_xdg(Path::new(&xdg)));
    let own = own.into_iter().chain([
        runtime::below_xdg(&PathBuf::from(format!("/run/user/{uid}"))),
        runtime::below_tmp(uid),
    ]);
    let mut looked_into: Vec<PathBuf> = vec![here.into()];
    let mut said = Vec::new();
    for directory in own {
        if looked_into.contains(&directory) {
            continue;
        }
        if is_live(&directory, name) {
            let directory = directory.display();
            said.push(format!(
                "There is a producer of {name} in {directory}: to use it, set \
                 XMEM_RUNTIME_DIR={directory}, or start both with the same environment."
            ));
        }
        looked_into.push(directory);
    }
    said.extend(of_others(name, uid));
    said
}

/// What other users have. They may make a look at their files last as long as they like.
fn of_others(name: &str, uid: u32) -> Vec<String> {
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

fn in_directories_of_others(name: &str, uid: u32) -> Vec<String> {
    let (mut found, mut closed) = (Vec::new(), Vec::new());
    for (owner, directory) in directories_of_others(uid) {
        match look(&directory, name, owner) {
            Look::Found => found.push(format!(
                "User {owner} has a channel {name} in {}: to share one between users, use a \
                 socket path on both sides, and set perms of the producer.",
                directory.display()
            )),
            Look::Closed => closed.push((owner, directory)),
            Look::Nothing => {}
        }
    }
    if found.is_empty()
        && let Some((owner, directory)) = closed.first()
    {
        found.push(format!(
            "User {owner} has a directory of channels too, {}, which this user may not look into: if \
             the producer runs as that user, use a socket path on both sides, and set perms of the producer.",
            directory.display()
        ));
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
