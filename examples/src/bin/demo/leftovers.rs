//! What a program can leave behind.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{WaitOptions, getpid, set_child_subreaper, wait};

use crate::Result;

const SHARED_MEMORY: &str = "/dev/shm";

/// How things were before the show.
#[derive(Debug)]
pub struct Before {
    shared_memory: BTreeSet<PathBuf>,
}

impl Before {
    /// Looks around. From now on, whoever of the demo's processes loses its parent becomes a
    /// child of this one.
    pub fn the_show() -> Result<Before> {
        set_child_subreaper(Some(getpid()))?;
        Ok(Before {
            shared_memory: shared_memory(),
        })
    }

    /// Files in `/dev/shm` that were not there, belong to this user, and to no living process:
    /// those of other programs that have started meanwhile are theirs.
    pub fn new_shared_memory(&self) -> Vec<String> {
        let uid = rustix::process::geteuid().as_raw();
        let is_ours = |path: &Path| fs::symlink_metadata(path).is_ok_and(|file| file.uid() == uid);
        shared_memory()
            .difference(&self.shared_memory)
            .filter(|path| is_ours(path) && !is_in_use(path))
            .map(|path| path.display().to_string())
            .collect()
    }
}

fn shared_memory() -> BTreeSet<PathBuf> {
    files(SHARED_MEMORY).collect()
}

fn is_in_use(file: &Path) -> bool {
    let name = file.to_string_lossy();
    files("/proc").any(|process| {
        let maps = fs::read_to_string(process.join("maps")).unwrap_or_default();
        maps.contains(&*name)
            || files(process.join("fd")).any(|fd| fs::read_link(fd).is_ok_and(|to| to == file))
    })
}

/// What is in a directory; nothing where there is none.
fn files(directory: impl AsRef<Path>) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.flatten().map(|entry| entry.path())
}

/// What is left of the children of this process, those that have lost their parent among them.
pub fn children() -> Result<Vec<String>> {
    loop {
        match wait(WaitOptions::NOHANG) {
            // That one had ended already. The next, please.
            Ok(Some(_)) => {}
            Ok(None) => return Ok(vec!["a process that one of the roles has started".into()]),
            Err(Errno::CHILD) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
    }
}
