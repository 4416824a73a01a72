//! A watch on the directory of a socket, or on the nearest one above it that exists.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::found::FileId;
use super::paths::{bad_path, directory};
use crate::error::Result;
use crate::sys::watch::Watch;

/// A watch on the socket's directory, or the nearest one above it that exists.
#[derive(Debug)]
pub(super) struct Nearest {
    pub(super) watch: Watch,
    directory: PathBuf,
    /// Which one that was: another may get its name.
    file: FileId,
}

impl Nearest {
    /// Makes the watch, by `watch`. Calls `go_on` before each further try, and fails where that does.
    pub(super) fn new(
        path: &Path,
        watch: fn(&Path) -> Result<Watch>,
        go_on: impl Fn() -> Result<()>,
    ) -> Result<Nearest> {
        loop {
            let Some(found) = nearest_directory(path) else {
                return Err(bad_path(directory(path), "no such directory"));
            };
            let (file, watch) = (directory_id(found), watch(found));
            let nearest = match (file, watch) {
                (Ok(file), Ok(watch)) => Nearest {
                    watch,
                    directory: found.into(),
                    file,
                },
                (_, Err(error)) if found.is_dir() => return Err(error),
                _ => {
                    go_on()?;
                    continue;
                }
            };
            // A nearer one may have appeared before the watch.
            if nearest.is_current(path) {
                return Ok(nearest);
            }
            go_on()?;
        }
    }

    /// Whether the socket would appear in the directory that is watched, or the next one to it.
    pub(super) fn is_current(&self, path: &Path) -> bool {
        nearest_directory(path) == Some(&self.directory)
            && directory_id(&self.directory).is_ok_and(|file| file == self.file)
    }
}

/// Of the directory itself, where a link leads to it.
fn directory_id(path: &Path) -> std::io::Result<FileId> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

fn nearest_directory(path: &Path) -> Option<&Path> {
    let mut candidates = directory(path).ancestors().map(|path| {
        if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        }
    });
    candidates.find(|path| path.is_dir())
}
