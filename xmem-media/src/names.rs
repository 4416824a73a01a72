//! Which names structures, fields, features and types may have.

use crate::error::{InvalidValue, check};
use crate::limits::MAX_NAME;

/// Whether a structure may have this name: a letter, then letters, digits and `/-_.:+`.
///
/// Names that start with `video/x-raw-` or `audio/x-raw-` are those of GStreamer 0.10. Later
/// versions warn about them, so they are refused.
pub fn is_structure_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/-_.:+".contains(&byte))
        && !["video/x-raw-", "audio/x-raw-"]
            .iter()
            .any(|old| name.starts_with(old))
}

/// Whether this can be a feature of caps: `memory:DMABuf`, for example.
pub fn is_feature_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.split_once(':').is_some_and(|(kind, what)| {
            kind.bytes().all(|byte| byte.is_ascii_alphabetic())
                && what.starts_with(|first: char| first.is_ascii_alphabetic())
                && what.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}

/// Checks the name of a structure.
pub(crate) fn check_structure_name(name: &str) -> Result<(), InvalidValue> {
    check(
        is_structure_name(name),
        "the name of a structure is a letter, then letters, digits and /-_.:+, of 255 bytes at most",
    )
}

/// Checks the name of a field, a tag or a type.
pub(crate) fn check_name(name: &str) -> Result<(), InvalidValue> {
    check(
        (1..=MAX_NAME).contains(&name.len()) && !name.contains('\0'),
        "a name has 1 to 255 bytes, none of them zero",
    )
}
