//! Code that is not xmem's, called by it. A panic there ends the channel with an error, and neither
//! the thread nor whoever waits for what that thread does.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use crate::error::Error;

/// Calls `run`, which is known as `what`.
///
/// # Errors
/// What it has panicked with.
pub(crate) fn call<T>(what: &str, run: impl FnOnce() -> T) -> Result<T, String> {
    // What it leaves half done is its own: of xmem's it changes nothing but through calls.
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let reason = format!("{what} panicked: {}", message(&*payload));
        // That may panic as well.
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

/// Why a channel has failed, if it has.
#[derive(Debug, Default)]
pub(crate) struct Failure(OnceLock<String>);

impl Failure {
    /// The channel has failed. The first reason counts.
    pub(crate) fn note(&self, reason: String) {
        let _ = self.0.set(reason);
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// The error of a call on a channel that is closed.
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
