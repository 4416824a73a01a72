//! Ending a wait from another thread.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::sys::clock::Deadline;
use crate::sys::futex::{self, Wait, WakeWord};
use crate::sys::poll::EventFd;

/// Ends every wait that was started with it, at once and from any thread.
///
/// For Ctrl-C, call [`cancel`](Canceller::cancel) on the thread that handles signals (`signalfd`, or the
/// crate `ctrlc`). It takes a lock, so a signal handler itself must not call it. A signal alone ends no
/// wait.
///
/// Clones are the same canceller. After [`cancel`](Canceller::cancel), waits end with
/// [`Error::Cancelled`] until [`reset`](Canceller::reset). A wait that was under way ends also
/// where the reset comes before its thread has run again.
///
/// # Examples
///
/// ```
/// use xmem_core::{Canceller, Error};
/// # use xmem_core::{Channel, Publisher, Subscriber};
/// # fn main() -> xmem_core::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let channel = Channel::path(directory.path().join("cam0.sock"));
/// # let publisher = Publisher::builder(channel.clone()).open()?;
/// let canceller = Canceller::new();
/// let mut subscriber = Subscriber::builder(channel).canceller(canceller.clone()).connect()?;
/// let other = canceller.clone();
/// std::thread::spawn(move || other.cancel());
/// assert!(matches!(subscriber.receive(None), Err(Error::Cancelled)));
///
/// // The connection is as it was.
/// canceller.reset();
/// # publisher.acquire(1)?.publish()?;
/// subscriber.receive(None)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Canceller(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    cancelled: AtomicBool,
    /// Counts the cancels.
    cancels: AtomicU32,
    /// Signalled by each cancel and each interrupt: counts them.
    wake_word: WakeWord,
    /// Of the operations that wait with `poll`.
    event_fds: Mutex<Vec<Weak<EventFd>>>,
}

impl Canceller {
    /// A canceller that is not cancelled.
    pub fn new() -> Canceller {
        Canceller::default()
    }

    /// Ends the waits under way, and later ones.
    pub fn cancel(&self) {
        let event_fds = self.event_fds();
        // A snapshot of the word that is taken after the signal sees it.
        self.0.cancelled.store(true, Ordering::Release);
        // After that, so that what begins and does not see it counts less.
        self.0.cancels.fetch_add(1, Ordering::Release);
        self.end_waits(event_fds);
    }

    /// Ends the waits under way, and no later ones.
    pub fn interrupt(&self) {
        self.end_waits(self.event_fds());
    }

    /// Lets waits be waits again.
    pub fn reset(&self) {
        let _locked = self.event_fds();
        self.0.cancelled.store(false, Ordering::Release);
    }

    /// Whether it was cancelled and not reset since.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// Begins an operation that may wait.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if it is cancelled.
    pub fn begin(&self) -> Result<Cancellation<'_>> {
        let seen = self.0.wake_word.snapshot();
        let cancels = self.0.cancels.load(Ordering::Acquire);
        if self.is_cancelled() {
            return Err(Error::Cancelled);
        }
        Ok(Cancellation {
            canceller: self,
            seen,
            cancels,
        })
    }

    fn end_waits(&self, event_fds: MutexGuard<'_, Vec<Weak<EventFd>>>) {
        self.0.wake_word.signal();
        event_fds
            .iter()
            .filter_map(Weak::upgrade)
            .for_each(|event_fd| event_fd.notify());
    }

    fn event_fds(&self) -> MutexGuard<'_, Vec<Weak<EventFd>>> {
        self.0
            .event_fds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// An operation that may wait: what ends its waits is a cancel or an interrupt since it began,
/// whether there was a reset since or not.
#[derive(Clone, Copy, Debug)]
#[must_use = "it ends the waits that it is passed to"]
pub struct Cancellation<'a> {
    canceller: &'a Canceller,
    seen: u32,
    cancels: u32,
}

impl Cancellation<'_> {
    /// An error if the operation has to end.
    pub(crate) fn check(&self) -> Result<()> {
        if self.canceller.0.wake_word.snapshot() == self.seen {
            Ok(())
        } else {
            Err(Error::Cancelled)
        }
    }

    /// Whether it has to end because of interrupts alone, so that another one can begin at once.
    pub fn is_interrupted(&self) -> bool {
        let cancels = self.canceller.0.cancels.load(Ordering::Acquire);
        self.check().is_err() && cancels == self.cancels
    }

    /// The entry for a futex wait that is to end with the operation; an error if that has to end.
    pub(crate) fn wait(&self) -> Result<Wait<'_>> {
        self.check()?;
        Ok(self.canceller.0.wake_word.since(self.seen))
    }

    /// Waits so long.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the operation has to end.
    pub fn pause(&self, time: Duration) -> Result<()> {
        let until = Deadline::after(Some(time));
        while !until.has_passed() {
            match futex::wait_any(&[self.wait()?], until) {
                Ok(()) | Err(Error::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
        self.check()
    }

    /// An eventfd for `poll`, readable when the operation has to end. An error if it has to already.
    pub(crate) fn event_fd(&self) -> Result<Arc<EventFd>> {
        let event_fd = Arc::new(EventFd::new()?);
        let mut event_fds = self.canceller.event_fds();
        event_fds.retain(|event_fd| event_fd.strong_count() > 0);
        event_fds.push(Arc::downgrade(&event_fd));
        drop(event_fds);
        // A cancel before that did not reach it.
        self.check()?;
        Ok(event_fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_is_told_from_a_cancel_though_it_was_reset() {
        let canceller = Canceller::new();
        let before = canceller.begin().unwrap();
        assert!(!before.is_interrupted());
        canceller.interrupt();
        assert!(before.is_interrupted());
        let since = canceller.begin().unwrap();
        assert!(!since.is_interrupted());
        canceller.cancel();
        canceller.interrupt();
        canceller.reset();
        for cancelled in [before, since] {
            assert!(matches!(
                cancelled.pause(Duration::ZERO),
                Err(Error::Cancelled)
            ));
            assert!(!cancelled.is_interrupted());
        }
        assert!(canceller.begin().unwrap().pause(Duration::ZERO).is_ok());
    }
}
