//! What a thread waits for, and what the kernel answers.

use std::sync::atomic::AtomicU32;

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, WaitFlags, WaitPtr, WaitvFlags};
use rustix::time::ClockId;

use crate::error::{Error, Result};
use crate::sys::clock::Deadline;

/// The kernel's answer.
pub(super) type Answer<T> = std::result::Result<T, Errno>;

/// A word to sleep on, and the value it was seen with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait<'a> {
    pub(super) word: &'a AtomicU32,
    pub(super) seen: u32,
    /// Only this process sleeps on the word and wakes it.
    pub(super) private: bool,
}

/// A word that another process wakes.
pub(crate) fn shared(word: &AtomicU32, seen: u32) -> Wait<'_> {
    Wait {
        word,
        seen,
        private: false,
    }
}

/// A word that only this process sleeps on and wakes.
pub(super) fn private(word: &AtomicU32, seen: u32) -> Wait<'_> {
    Wait {
        word,
        seen,
        private: true,
    }
}

/// Sleeps on the words (`futex_waitv`).
///
/// The kernel's form of a wait has a pointer to its word. It does not leave this function, which borrows the
/// words.
pub(super) fn sleep(words: &[Wait<'_>], deadline: Deadline) -> Answer<()> {
    let sleep = |words: &[futex::Wait]| {
        let timeout = deadline.timespec();
        let flags = WaitvFlags::empty();
        futex::waitv(words, flags, timeout.as_ref(), ClockId::Monotonic).map(drop)
    };
    match words {
        [a, b] => sleep(&[a, b].map(to_kernel)),
        [a, b, c] => sleep(&[a, b, c].map(to_kernel)),
        _ => sleep(&words.iter().map(to_kernel).collect::<Vec<_>>()),
    }
}

/// Called by [`sleep`] alone.
fn to_kernel(wait: &Wait<'_>) -> futex::Wait {
    let mut kernel = futex::Wait::new();
    kernel.val = u64::from(wait.seen);
    kernel.uaddr = WaitPtr::new(wait.word.as_ptr().cast());
    kernel.flags = WaitFlags::SIZE_U32;
    kernel.flags.set(WaitFlags::PRIVATE, wait.private);
    kernel
}

impl Wait<'_> {
    pub(super) fn flags(self) -> Flags {
        if self.private {
            Flags::PRIVATE
        } else {
            Flags::empty()
        }
    }
}

/// What a wait comes to, from the kernel's answer.
pub(super) fn ended(answer: Answer<()>, deadline: Deadline) -> Result<()> {
    match answer {
        Ok(()) => Ok(()),
        // Words that change all the time must not put the deadline off.
        Err(Errno::AGAIN | Errno::INTR) if deadline.has_passed() => Err(Error::TimedOut),
        Err(Errno::AGAIN | Errno::INTR) => Ok(()),
        Err(Errno::TIMEDOUT) => Err(Error::TimedOut),
        Err(errno) => Err(Error::memory("waiting on a futex")(errno)),
    }
}
