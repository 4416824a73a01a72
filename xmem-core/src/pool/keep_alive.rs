//! What keeps the bytes of a frame in imported memory.

use std::any::Any;
use std::sync::Arc;

use crate::callback::{self, Failure};

/// The caller's value that keeps imported memory as it is. It is dropped when no client can read the
/// frame any more.
pub(crate) struct KeepAlive {
    value: Option<Box<dyn Any + Send>>,
    failure: Arc<Failure>,
}

impl KeepAlive {
    /// Drops `value` in the end. A panic in that drop is noted as the channel's failure.
    pub(crate) fn new(value: impl Any + Send, failure: Arc<Failure>) -> KeepAlive {
        let value: Box<dyn Any + Send> = Box::new(value);
        KeepAlive {
            value: Some(value),
            failure,
        }
    }
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        let value = self.value.take();
        if let Err(reason) = callback::call("giving memory back", || drop(value)) {
            self.failure.note(reason);
        }
    }
}

impl std::fmt::Debug for KeepAlive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeepAlive")
    }
}
