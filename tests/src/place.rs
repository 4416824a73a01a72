//! A test's own runtime directory.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use xmem_core::Channel;

/// Where the channels of one test are: a directory that goes with the test.
///
/// Peers get it as `XMEM_RUNTIME_DIR` and find channels by name; the test's own process, which
/// other tests share, finds the same channels by path.
#[derive(Debug)]
pub struct Place {
    directory: TempDir,
    /// What was in `/dev/shm` before the test.
    shm: BTreeSet<String>,
}

impl Place {
    /// An empty directory.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Place {
        Place {
            directory: tempfile::Builder::new()
                .prefix("xmem-test-")
                .permissions(Permissions::from_mode(0o700))
                .tempdir()
                .expect("a temporary directory"),
            shm: shm(),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The socket of the channel that peers call `name`.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.sock"))
    }

    /// The channel that peers call `name`.
    pub fn channel(&self, name: &str) -> Channel {
        Channel::path(self.socket(name))
    }

    /// What is in the directory.
    pub fn files(&self) -> Vec<String> {
        names(self.path()).into_iter().collect()
    }

    /// What has come to `/dev/shm` since the place was made, but for what xmem never makes:
    /// GStreamer's `shmsink` may be at work beside the tests.
    pub fn new_in_shm(&self) -> Vec<String> {
        let new = shm().difference(&self.shm).cloned().collect::<Vec<_>>();
        new.into_iter()
            .filter(|name| !name.starts_with("shmpipe."))
            .collect()
    }
}

fn shm() -> BTreeSet<String> {
    names(Path::new("/dev/shm"))
}

fn names(directory: &Path) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return BTreeSet::new();
    };
    entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
