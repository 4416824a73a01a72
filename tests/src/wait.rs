//! Waiting for conditions that no event reports.

use std::time::{Duration, Instant};

/// How long anything that must happen may take. Far more than it needs, so that a test fails only
/// if something does not happen, and not on a busy machine or under valgrind.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The interval at which a condition is checked.
const INTERVAL: Duration = Duration::from_millis(1);

/// Waits until `condition` is true. Returns false if that does not happen within [`PATIENCE`].
pub fn comes_true(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(INTERVAL);
    }
    true
}

/// Waits until `condition` is true.
///
/// # Panics
/// If that does not happen in time, with a message that names `what`.
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(
        comes_true(condition),
        "this did not happen within {PATIENCE:?}: {what}"
    );
}

/// Waits until `look` returns a value.
///
/// # Panics
/// If that does not happen in time, with a message that names `what`.
pub fn until_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    until(what, || {
        found = look();
        found.is_some()
    });
    found.expect("found above")
}
