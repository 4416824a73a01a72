//! The directory in which channels are looked up by name, and the check that it belongs to this
//! user only.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::paths::{BELOW_A_FILE, bad_path};
use crate::error::{Error, PathAdvice, Result};
use crate::sys::pidfd::OVERFLOW_UID;

/// The setting that determines the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The environment variable `XMEM_RUNTIME_DIR`.
    XmemRuntimeDir,
    /// The environment variable `XDG_RUNTIME_DIR`; the directory is `xmem` below it.
    XdgRuntimeDir,
    /// Neither is set; the directory is `/tmp/xmem-UID`.
    Default,
}

impl Origin {
    pub(super) fn text(self) -> &'static str {
        match self {
            Origin::XmemRuntimeDir => "from XMEM_RUNTIME_DIR",
            Origin::XdgRuntimeDir => "from XDG_RUNTIME_DIR",
            Origin::Default => {
                "the default, because neither XMEM_RUNTIME_DIR nor XDG_RUNTIME_DIR is set"
            }
        }
    }
}

/// Returns the directory in which this process looks up channels by name, and the setting that
/// determines it.
pub(super) fn directory() -> (PathBuf, Origin) {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(directory) = set("XMEM_RUNTIME_DIR") {
        (directory.into(), Origin::XmemRuntimeDir)
    } else if let Some(directory) = set("XDG_RUNTIME_DIR") {
        (below_xdg(Path::new(&directory)), Origin::XdgRuntimeDir)
    } else {
        let uid = rustix::process::geteuid().as_raw();
        (below_tmp(uid), Origin::Default)
    }
}

/// Returns the directory of channels below a directory for runtime files.
pub(super) fn below_xdg(runtime: &Path) -> PathBuf {
    runtime.join("xmem")
}

/// Returns the directory of channels of a user without a directory for runtime files.
pub(super) fn below_tmp(uid: u32) -> PathBuf {
    PathBuf::from(format!("/tmp/xmem-{uid}"))
}

/// Creates the directory if it is missing, and checks it.
pub(super) fn make(path: &Path) -> Result<()> {
    match fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
    {
        Ok(()) => {}
        // `check` below reports anything else that is there.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Err(bad_path(path, BELOW_A_FILE));
        }
        Err(error) => {
            return Err(Error::path(path, "making the runtime directory")(error));
        }
    }
    check(path)
}

/// Checks that other users cannot put a socket of theirs into the directory.
pub(super) fn check(path: &Path) -> Result<()> {
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
        return Err(Error::BadPath {
            path: path.into(),
            reason: format!("belongs to user {owner}{unmapped}, not to user {uid}"),
            advice: Some(PathAdvice::Own { uid }),
        });
    }
    if found.mode() & 0o077 != 0 {
        return Err(Error::BadPath {
            path: path.into(),
            reason: format!("is open to other users (mode {:o})", found.mode() & 0o777),
            advice: Some(PathAdvice::Private),
        });
    }
    Ok(())
}
