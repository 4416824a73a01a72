//! Ending a wait from another thread.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::sys::futex::{Event, Wait};
use crate::sys::poll::Bell;

/// Ends every wait that was started with it, at once and from any thread: what a state change or
/// a flush needs.
///
/// Clones are the same canceller. After [`cancel`](Canceller::cancel), waits end with
/// [`Error::Cancelled`] until [`reset`](Canceller::reset).
///
/// ```
/// # fn main() -> xmem_core::Result<()> {
/// let canceller = xmem_core::Canceller::new()?;
/// let other = canceller.clone();
/// std::thread::spawn(move || other.cancel()).join().unwrap();
/// assert!(canceller.is_cancelled());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Canceller(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Held while the state changes, so that flag and bell agree.
    changing: Mutex<()>,
    cancelled: AtomicBool,
    event: Event,
    bell: Bell,
}

impl Canceller {
    /// A canceller that is not cancelled.
    ///
    /// # Errors
    /// [`Error::Socket`] when the process has no descriptor left.
    pub fn new() -> Result<Canceller> {
        Ok(Canceller(Arc::new(Inner {
            changing: Mutex::new(()),
            cancelled: AtomicBool::new(false),
            event: Event::default(),
            bell: Bell::new()?,
        })))
    }

    /// Ends the waits under way, and those to come.
    pub fn cancel(&self) {
        let _changing = self
            .0
            .changing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Seen by who takes a snapshot of the event after the signal.
        self.0.cancelled.store(true, Ordering::Release);
        self.0.event.signal();
        self.0.bell.ring();
    }

    /// Lets waits be waits again.
    pub fn reset(&self) {
        let _changing = self
            .0
            .changing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.0.cancelled.store(false, Ordering::Release);
        self.0.bell.silence();
    }

    /// Whether it was cancelled and not reset since.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// The entry for a futex wait that a later cancel ends; an error if cancelled already.
    pub(crate) fn wait(&self) -> Result<Wait> {
        let seen = self.0.event.snapshot();
        self.check()?;
        Ok(self.0.event.since(seen))
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self.is_cancelled() {
            true => Err(Error::Cancelled),
            false => Ok(()),
        }
    }
}

/// Readable while cancelled, for `poll`.
impl AsFd for Canceller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.bell.as_fd()
    }
}
