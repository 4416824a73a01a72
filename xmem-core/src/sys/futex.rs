//! Sleeping on words: `FUTEX_WAKE` and `futex_waitv` (Linux 5.16).
//!
//! A wait names words and the values they had. It ends when one of them was woken or has another
//! value, at the deadline, and also without a reason. So every caller loops on its own predicate.
//!
//! Where the kernel, or a container's seccomp profile, refuses `futex_waitv`, `fallback.rs` takes
//! its place.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, WakeOp, WakeOpCmp};

use super::clock::Deadline;
use crate::error::Result;

mod fallback;
mod wait;

use wait::{Answer, ended};
pub(crate) use wait::{Wait, shared};

/// Most words that one wait can name (the kernel's `FUTEX_WAITV_MAX`).
pub(crate) const MAX_WORDS: usize = 128;

/// Whether `futex_waitv` was refused once.
static REFUSED: AtomicBool = AtomicBool::new(false);

/// Whether a wait may name several shared words. Where this is false, it may name one, and any
/// number of [`WakeWord`]s.
pub(crate) fn takes_many() -> bool {
    !REFUSED.load(Ordering::Relaxed)
}

/// Sleeps until one of the words is woken or differs from the value seen, or until the deadline.
///
/// # Errors
/// [`Error::TimedOut`](crate::Error::TimedOut) at the deadline.
pub(crate) fn wait_any(words: &[Wait<'_>], deadline: Deadline) -> Result<()> {
    if !takes_many() {
        return fallback::wait(words, deadline);
    }
    match wait::sleep(words, deadline) {
        // A kernel before 5.16, or a container that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => {
            // SYNC POINT with `WakeWord::signal`: a signal that does not see this flag came before
            // the wait in the fallback looks at the words.
            REFUSED.store(true, Ordering::SeqCst);
            fallback::wait(words, deadline)
        }
        other => ended(other, deadline),
    }
}

/// Wakes one thread that sleeps on a word in shared memory. The caller has changed the word
/// before. Returns whether a thread slept there.
///
/// # Errors
/// The kernel's answer where the other process uses the word for something else than such a sleep
/// (`EINVAL`: a priority-inheritance futex). It may then sleep on.
pub(crate) fn wake_one(word: &AtomicU32) -> Answer<bool> {
    futex::wake(word, Flags::empty(), 1).map(|woken| woken > 0)
}

/// Wakes one thread that sleeps on each of two words in shared memory, in one call (`FUTEX_WAKE_OP`).
/// The caller has changed both before, the second one to `value`. Where another process has changed
/// that since, its thread may sleep on.
///
/// # Errors
/// The kernel's answer, as of [`wake_one`], for either word. Then both threads may sleep on.
pub(crate) fn wake_both(first: &AtomicU32, (second, value): (&AtomicU32, u32)) -> Answer<()> {
    // The kernel changes the second word, here by nothing, and wakes there only where its value
    // compares as wanted with a number of 12 bits: as numbers that have a sign.
    let compare = if (value as i32) < 0 {
        WakeOpCmp::Lt
    } else {
        WakeOpCmp::Ge
    };
    let flags = Flags::empty();
    futex::wake_op(first, flags, 1, 1, second, WakeOp::Or, compare, 0, 0).map(drop)
}

/// A word of this process alone: ends its threads' waits for words of other processes.
#[derive(Debug, Default)]
pub(crate) struct WakeWord(AtomicU32);

impl WakeWord {
    /// The value to wait with. What is signalled after this call ends the wait.
    pub(crate) fn snapshot(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// The entry of a wait that a signal since `snapshot` ends.
    pub(crate) fn since(&self, snapshot: u32) -> Wait<'_> {
        wait::private(&self.0, snapshot)
    }

    /// Ends every wait since a snapshot taken before. What was written before this call is seen
    /// after a snapshot taken after it: the increment's Release pairs with `snapshot`'s Acquire.
    pub(crate) fn signal(&self) {
        self.0.fetch_add(1, Ordering::Release);
        // No other process has the word, so the kernel has no reason to refuse.
        let _ = futex::wake(&self.0, Flags::PRIVATE, i32::MAX as u32);
        // SYNC POINT with `wait_any` and `fallback::wait`: either this fence comes first, then
        // the sleeper sees the increment when it looks at the words; or its own does, then the
        // flag and its entry are seen here.
        fence(Ordering::SeqCst);
        if REFUSED.load(Ordering::SeqCst) {
            fallback::signal(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::time::Duration;

    /// Both ways to wait have to pass.
    type Waiting = fn(&[Wait<'_>], Deadline) -> Result<()>;
    const WAYS: [Waiting; 2] = [wait_any, fallback::wait];

    #[test]
    fn a_signal_since_the_snapshot_ends_the_wait() {
        for wait in WAYS {
            let wake_word = WakeWord::default();
            let seen = wake_word.snapshot();
            let soon = Deadline::after(Some(Duration::from_millis(1)));
            assert!(matches!(
                wait(&[wake_word.since(seen)], soon),
                Err(Error::TimedOut)
            ));
            std::thread::scope(|scope| {
                scope.spawn(|| wake_word.signal());
                while wake_word.snapshot() == seen {
                    wait_any(&[wake_word.since(seen)], Deadline::after(None)).unwrap();
                }
            });
            wait(&[wake_word.since(seen)], Deadline::after(None)).unwrap();
        }
    }

    #[test]
    fn a_wake_of_two_words_wakes_both_whatever_their_values_are() {
        let values = [0, 1, i32::MAX as u32 - 1, i32::MAX as u32, u32::MAX];
        for value in values.into_iter().cycle().take(200) {
            let words = [0, 0].map(|_| AtomicU32::new(value));
            std::thread::scope(|scope| {
                for word in &words {
                    scope.spawn(move || {
                        while word.load(Ordering::Acquire) == value {
                            wait_any(&[shared(word, value)], Deadline::after(None)).unwrap();
                        }
                    });
                }
                for word in &words {
                    word.fetch_add(1, Ordering::Release);
                }
                wake_both(&words[0], (&words[1], value.wrapping_add(1))).unwrap();
            });
        }
    }

    #[test]
    fn without_futex_waitv_every_signal_ends_a_wait_for_several_words() {
        REFUSED.store(true, Ordering::SeqCst);
        let (word, wake_words) = (
            AtomicU32::new(7),
            [WakeWord::default(), WakeWord::default()],
        );
        // Each of these ends a wait without end, a thousand times.
        let signals: [&(dyn Fn() + Sync); 3] = [
            &|| wake_words[0].signal(),
            &|| wake_words[1].signal(),
            &|| {
                word.fetch_add(1, Ordering::Release);
                wake_one(&word).unwrap();
            },
        ];
        for signal in signals {
            for _ in 0..1000 {
                let seen = (
                    word.load(Ordering::Acquire),
                    wake_words.each_ref().map(WakeWord::snapshot),
                );
                let words = [
                    shared(&word, seen.0),
                    wake_words[0].since(seen.1[0]),
                    wake_words[1].since(seen.1[1]),
                ];
                std::thread::scope(|scope| {
                    scope.spawn(signal);
                    fallback::wait(&words, Deadline::after(None)).unwrap();
                });
            }
        }
        REFUSED.store(false, Ordering::SeqCst);
    }
}
