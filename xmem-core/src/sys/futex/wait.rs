//! What a thread waits for, and what the kernel answers.

use std::sync::atomic::AtomicU32;

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, WaitFlags, WaitPtr};

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

impl Wait<'_> {
    /// The kernel's form. Its pointer is valid for as long as the word is borrowed.
    pub(super) fn to_kernel(self) -> futex::Wait {
        let mut wait = futex::Wait::new();
        wait.val = u64::from(self.seen);
        wait.uaddr = WaitPtr::new(self.word.as_ptr().cast());
        wait.flags = WaitFlags::SIZE_U32;
        wait.flags.set(WaitFlags::PRIVATE, self.private);
        wait
    }

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
