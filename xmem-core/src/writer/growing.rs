//! The lock under which slots are made.

use std::cell::RefCell;
use std::sync::{MutexGuard, PoisonError};

use super::Writer;
use crate::pool::{KeepAlive, Pool};

/// The right to make slots. When it ends, what the pool has released meanwhile is dropped, without a lock.
pub(super) struct Growing<'a> {
    writer: &'a Writer,
    lock: Option<MutexGuard<'a, ()>>,
    released: RefCell<Vec<KeepAlive>>,
}

impl Growing<'_> {
    /// Runs `work` with the pool, as [`Writer::with_pool`] does, but keeps what is released meanwhile
    /// until this lock is free.
    pub(super) fn with_pool<T>(&self, work: impl FnOnce(&mut Pool) -> T) -> T {
        let (result, released) = self.writer.locked(work);
        self.released.borrow_mut().extend(released);
        result
    }
}

impl Drop for Growing<'_> {
    fn drop(&mut self) {
        self.lock = None;
        self.writer.drop_released(self.released.take());
    }
}

impl Writer {
    pub(super) fn lock_growing(&self) -> Growing<'_> {
        let lock = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        Growing {
            writer: self,
            lock: Some(lock),
            released: RefCell::default(),
        }
    }
}
