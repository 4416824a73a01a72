//! Waiting for conditions that have no event.

use std::time::{Duration, Instant};

/// How long anything that must happen may take. Far more than it needs, so that a test fails for
/// what does not happen and never for a machine that is busy, nor under valgrind on one.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(1);

/// Waits until `condition` holds. False when it does not within [`PATIENCE`].
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

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not, naming `what` did not happen.
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(
        comes_true(condition),
        "this did not happen within {PATIENCE:?}: {what}"
    );
}

/// Waits until `look` finds something.
///
/// # Panics
/// When it does not, naming `what` did not happen.
pub fn until_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    until(what, || {
        found = look();
        found.is_some()
    });
    found.expect("found above")
}
