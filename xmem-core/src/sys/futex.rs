//! Sleeping on words: `FUTEX_WAKE` and `futex_waitv` (Linux 5.16).
//!
//! A wait names words and the values they had; it ends when one was woken, has another value, or
//! at the deadline, and also for no reason at all. So every caller loops on its own predicate.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, WaitFlags, WaitPtr, WaitvFlags};
use rustix::time::{ClockId, Timespec};

pub(crate) use rustix::thread::futex::Wait;

use super::clock::Deadline;
use crate::error::{Error, Result};

/// Most words that one wait can name (the kernel's `FUTEX_WAITV_MAX`).
pub(crate) const MAX_WORDS: usize = 128;

/// A word in shared memory, which may be mapped read-only, and the value it was seen with.
pub(crate) fn shared(word: &AtomicU32, seen: u32) -> Wait {
    entry(word, seen, WaitFlags::SIZE_U32)
}

fn entry(word: &AtomicU32, seen: u32, flags: WaitFlags) -> Wait {
    let mut wait = Wait::new();
    wait.val = u64::from(seen);
    wait.uaddr = WaitPtr::new(word.as_ptr().cast());
    wait.flags = flags;
    wait
}

/// Sleeps until one of the words is woken or differs from the value seen, or until the deadline.
///
/// # Errors
/// [`Error::TimedOut`] at the deadline.
pub(crate) fn wait_any(words: &[Wait], deadline: Deadline) -> Result<()> {
    match futex::waitv(
        words,
        WaitvFlags::empty(),
        deadline.timespec().as_ref(),
        ClockId::Monotonic,
    ) {
        Ok(_) => Ok(()),
        // Words that change all the time must not put the deadline off.
        Err(Errno::AGAIN | Errno::INTR) if deadline.has_passed() => Err(Error::TimedOut),
        Err(Errno::AGAIN | Errno::INTR) => Ok(()),
        Err(Errno::TIMEDOUT) => Err(Error::TimedOut),
        Err(Errno::NOSYS) => wait_first(words, deadline),
        Err(errno) => Err(Error::memory("futex_waitv")(errno)),
    }
}

/// What kernels before 5.16, and some tools that stand in for a kernel, can do: wait for the first
/// word. A change of the others is noticed a little later.
#[cold]
fn wait_first(words: &[Wait], deadline: Deadline) -> Result<()> {
    const SLICE: Duration = Duration::from_millis(2);
    let slice = Deadline::after(Some(SLICE)).min(deadline);
    let left = slice.left().unwrap_or(SLICE);
    let timeout = Timespec::try_from(left).ok();
    let Some(first) = words.first() else {
        return Ok(());
    };
    let private = first.flags.contains(WaitFlags::PRIVATE);
    let flags = match private {
        true => Flags::PRIVATE,
        false => Flags::empty(),
    };
    // SAFETY: `entry` made the pointer from a reference to an atomic that the caller still
    // borrows or owns: every wait happens while its words are alive.
    let word = unsafe { AtomicU32::from_ptr(first.uaddr.ptr.cast()) };
    let _ = futex::wait(word, flags, first.val as u32, timeout.as_ref());
    match deadline.has_passed() {
        true => Err(Error::TimedOut),
        false => Ok(()),
    }
}

/// Wakes everyone who sleeps on a word in shared memory.
pub(crate) fn wake_all(word: &AtomicU32) {
    // A wake of a valid, aligned word can't fail.
    let _ = futex::wake(word, Flags::empty(), i32::MAX as u32);
}

/// A word of this process alone: wakes its threads from a wait for words of other processes.
#[derive(Debug, Default)]
pub(crate) struct Event(AtomicU32);

impl Event {
    /// The value to wait with. What is signalled after this call ends the wait.
    pub(crate) fn snapshot(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// The entry of a wait that a signal since `snapshot` ends.
    pub(crate) fn since(&self, snapshot: u32) -> Wait {
        entry(&self.0, snapshot, WaitFlags::SIZE_U32 | WaitFlags::PRIVATE)
    }

    /// Ends every wait since a snapshot taken before. What was written before this call is seen
    /// by who takes a snapshot after it: the increment's Release pairs with `snapshot`'s Acquire.
    pub(crate) fn signal(&self) {
        self.0.fetch_add(1, Ordering::Release);
        let _ = futex::wake(&self.0, Flags::PRIVATE, i32::MAX as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_signal_since_the_snapshot_ends_the_wait() {
        let event = Event::default();
        let seen = event.snapshot();
        let soon = Deadline::after(Some(Duration::from_millis(1)));
        assert!(matches!(
            wait_any(&[event.since(seen)], soon),
            Err(Error::TimedOut)
        ));
        std::thread::scope(|scope| {
            scope.spawn(|| event.signal());
            while event.snapshot() == seen {
                wait_any(&[event.since(seen)], Deadline::after(None)).unwrap();
            }
        });
        wait_any(&[event.since(seen)], Deadline::after(None)).unwrap();
    }
}
