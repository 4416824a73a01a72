//! Calls code of the application. If it panics, the channel ends with an error; the calling thread
//! continues, and so do threads that wait for it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use crate::error::Error;

/// Calls `run`. `what` is its name in the error.
///
/// # Errors
/// The message of its panic.
pub(crate) fn call<T>(what: &str, run: impl FnOnce() -> T) -> Result<T, String> {
    // Unwind safe: `run` changes xmem's state only through complete calls.
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let reason = format!("{what} panicked: {}", message(&*payload));
        // Dropping the payload may panic, too.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        std::mem::forget(dropped);
        reason
    })
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it did not say why")
}

/// The reason why a channel has failed, if it has.
#[derive(Debug, Default)]
pub(crate) struct Failure(OnceLock<String>);

impl Failure {
    /// Notes that the channel has failed. Only the first reason is kept.
    pub(crate) fn note(&self, reason: String) {
        let _ = self.0.set(reason);
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Returns the error for a call on a closed channel.
    pub(crate) fn error(&self) -> Error {
        self.reason()
            .map_or(Error::Stopped, |reason| Error::Failed(reason.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_whatever_it_carries() {
        assert_eq!(call("it", || 1), Ok(1));
        let panics: [fn(); 3] = [
            || panic!("text"),
            || panic!("number {}", 1),
            || std::panic::panic_any(Bomb),
        ];
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                std::panic::panic_any(Bomb);
            }
        }
        let told = panics.map(|panic| call("it", panic).unwrap_err());
        assert_eq!(
            told,
            [
                "it panicked: text",
                "it panicked: number 1",
                "it panicked: it did not say why"
            ]
        );
    }
}
