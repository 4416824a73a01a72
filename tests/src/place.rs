//! The runtime directory of a test.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use xmem_core::Channel;

/// The directory for the channels of one test. Dropping the value removes it.
///
/// Peers get it as `XMEM_RUNTIME_DIR` and find channels by name. The process of the test, which
/// other tests share, finds the same channels by path.
#[derive(Debug)]
pub struct Place {
    directory: TempDir,
    /// The names in `/dev/shm` before the test.
    shm: BTreeSet<String>,
}

impl Place {
    /// Creates an empty directory.
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

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The socket of the channel with the name `name`.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.sock"))
    }

    /// The channel with the name `name`.
    pub fn channel(&self, name: &str) -> Channel {
        Channel::path(self.socket(name))
    }

    /// The names in the directory.
    pub fn files(&self) -> Vec<String> {
        names(self.path()).into_iter().collect()
    }

    /// The names in `/dev/shm` that are new since the place was created, without names that xmem
    /// never makes: a `shmsink` of GStreamer may run beside the tests.
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
