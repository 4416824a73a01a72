//! Paths and names of sockets: what they are made of, and what is wrong with them.

use std::ffi::OsStr;
use std::path::Path;

use rustix::rand::{GetRandomFlags, getrandom};

use crate::error::Error;
use crate::sys::clock;

/// What the file of a channel's socket is called after the channel's name.
const SUFFIX: &str = ".sock";

pub(super) fn file_name(channel: &str) -> String {
    format!("{channel}{SUFFIX}")
}

/// The name of the channel whose socket's file is called so, where it has one.
pub(super) fn name_of(file: &OsStr) -> Option<&str> {
    let name = file.to_str()?.strip_suffix(SUFFIX)?;
    is_name(name).then_some(name)
}

pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0'])
}

pub(super) fn bad_path(path: &Path, reason: impl Into<String>) -> Error {
    Error::BadPath {
        path: path.into(),
        reason: reason.into(),
        advice: None,
    }
}

pub(super) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Where a path leads through a file.
pub(super) const BELOW_A_FILE: &str = "leads through something that is not a directory";
/// Where a path is a socket that no channel has.
pub(super) const OTHER_PROGRAM: &str =
    "is the socket of another program: remove it, or choose another path";

/// A number that no other process has thought of: process ids are not unique between namespaces.
pub(super) fn random() -> u64 {
    let mut bytes = [0; 8];
    match getrandom(&mut bytes, GetRandomFlags::NONBLOCK) {
        Ok(8) => u64::from_ne_bytes(bytes),
        _ => clock::monotonic().as_nanos() as u64 ^ u64::from(std::process::id()) << 40,
    }
}

/// Whether a path ends with the name of a file as it is written: not with a slash, `.` or `..`.
pub(super) fn names_a_file(path: &Path) -> bool {
    let path = path.as_os_str().as_encoded_bytes();
    let name = path.rsplit(|&byte| byte == b'/').next();
    !matches!(name, None | Some(b"" | b"." | b".."))
}
