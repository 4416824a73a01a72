//! Clearing a dead producer's socket away, and what producers that were killed have left.

use std::fs;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, link, rename, renameat_with};
use rustix::io::Errno;

use super::found::{Found, Owner};
use super::lock::{LOCK, Lock};
use super::paths::{bad_path, directory, random};
use crate::error::{Error, Result};

/// The start of the names of sockets that are cleared away, and of locks.
const TEMPORARY: &str = ".xmem-";
/// Most names of a directory that are looked at for leftovers, and most of these that are asked.
const MOST_NAMES: usize = 4096;
const MOST_LEFTOVERS: usize = 64;

/// Clears a socket away that was found dead, so that the path is free.
///
/// Between that look and this, another producer that has no part in the lock may have put its own
/// there. So it is moved, looked at once more, and given its name again where it is not dead.
pub(super) fn clear_away(path: &Path, found: &Found) -> Result<()> {
    let aside = path.with_file_name(format!("{TEMPORARY}{:016x}", random()));
    match rename(path, &aside) {
        Ok(()) => {}
        // The path is free by now.
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::PERM | Errno::ACCESS) => {
            return Err(bad_path(
                path,
                format!(
                    "is the socket of a producer of user {} that is gone, and this user may not \
                     replace it: remove it, or choose another path",
                    found.uid()
                ),
            ));
        }
        Err(errno) => {
            return Err(Error::path(path, "replacing a dead producer's socket")(
                errno,
            ));
        }
    }
    let is_dead = is_dead(&aside);
    match is_dead {
        Ok(true) => drop(fs::remove_file(&aside)),
        _ => put_back(&aside, path),
    }
    is_dead.map(drop)
}

/// Gives a file its name again, where that is free.
fn put_back(aside: &Path, path: &Path) {
    let renamed = renameat_with(CWD, aside, CWD, path, RenameFlags::NOREPLACE);
    // Some file systems can't do that.
    if matches!(renamed, Err(Errno::INVAL | Errno::NOSYS)) && link(aside, path).is_ok() {
        let _ = fs::remove_file(aside);
    }
}

/// Whether a file is a socket and its owner dead, or there is none.
fn is_dead(path: &Path) -> Result<bool> {
    match Found::at(path) {
        Ok(found) if found.is_no_socket().is_some() => Ok(false),
        Ok(found) => Ok(found.owner()? == Owner::Dead),
        // What is dead may have been removed as a leftover.
        Err(Errno::NOENT) => Ok(true),
        Err(errno) => Err(Error::path(path, "looking at it")(errno)),
    }
}

/// Removes what processes that were killed while they started have left in the directory. Whether one
/// lives its socket or its lock tells, not a name: another PID namespace has its own numbers.
pub(super) fn remove_leftovers(path: &Path) {
    let Ok(entries) = fs::read_dir(directory(path)) else {
        return;
    };
    let uid = rustix::process::geteuid().as_raw();
    let leftovers = entries.take(MOST_NAMES).flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        if !name.starts_with(TEMPORARY) {
            return None;
        }
        let found = Found::at(&entry.path()).ok()?;
        // Others may fill a directory with what has such names.
        (found.uid() == uid).then(|| (entry.path(), name.starts_with(LOCK), found))
    });
    for (path, is_lock, found) in leftovers.take(MOST_LEFTOVERS) {
        if is_lock {
            Lock::remove(path);
        } else if matches!(found.owner(), Ok(Owner::Dead)) {
            let _ = fs::remove_file(path);
        }
    }
}
