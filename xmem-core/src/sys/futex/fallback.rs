//! Waiting for several words with `FUTEX_WAIT`, which sleeps on one.
//!
//! The thread sleeps on the word that another process wakes, or on a word of its own where it waits
//! for wake words alone, and says here which of them end its wait. A signal of one of them changes and
//! wakes the word that the thread sleeps on.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::thread::futex::{self, Flags};

use super::wait::{self, Wait, ended};
use crate::error::{Error, Result};
use crate::sys::clock::Deadline;

/// How long a thread sleeps at most on a word that another process has too.
///
/// That process can move the sleeper to another word (`FUTEX_REQUEUE`). With `futex_waitv` the
/// wake words still end the wait; here they would not, but for this.
const SLICE: Duration = Duration::from_secs(1);
/// The same where there are more such words than the one that it sleeps on. Callers avoid this:
/// see [`takes_many`](super::takes_many).
const SHORT_SLICE: Duration = Duration::from_millis(10);

/// A thread that sleeps.
struct Sleeper {
    /// The address of a value of this wait alone.
    id: usize,
    /// The addresses of the wake words that end its sleep.
    wake_words: Vec<usize>,
    /// The word that it sleeps on, which is alive as long as this entry stands in `SLEEPERS`.
    word: *const AtomicU32,
    flags: Flags,
}

// SAFETY: the word is an atomic, and `signal` follows the pointer only while the entry stands in
// the list, under its lock; `Entry` borrows the word and takes the entry out when it ends.
unsafe impl Send for Sleeper {}

static SLEEPERS: Mutex<Vec<Sleeper>> = Mutex::new(Vec::new());

fn sleepers() -> MutexGuard<'static, Vec<Sleeper>> {
    SLEEPERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A sleeper's entry in the list. It borrows the word, and takes the sleeper out on every way out of `wait`.
struct Entry<'a> {
    id: usize,
    _word: PhantomData<&'a AtomicU32>,
}

impl<'a> Entry<'a> {
    /// Enters a thread that sleeps on `sleep` and whose sleep the private ones of `words` end.
    fn new(id: usize, sleep: Wait<'a>, words: &[Wait<'_>]) -> Entry<'a> {
        let wake_words = words.iter().filter(|word| word.private);
        sleepers().push(Sleeper {
            id,
            wake_words: wake_words.map(|one| one.word.as_ptr() as usize).collect(),
            word: sleep.word,
            flags: sleep.flags(),
        });
        Entry {
            id,
            _word: PhantomData,
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        sleepers().retain(|sleeper| sleeper.id != self.id);
    }
}

/// As [`wait_any`](super::wait_any), for one shared word at most and any number of wake words.
#[cold]
pub(super) fn wait(words: &[Wait<'_>], deadline: Deadline) -> Result<()> {
    let own = AtomicU32::new(0);
    let id = own.as_ptr() as usize;
    let own = wait::private(&own, 0);
    let mut shared = words.iter().filter(|word| !word.private);
    let sleep = *shared.next().unwrap_or(&own);
    let until = match (sleep.private, shared.next()) {
        (true, _) => deadline,
        (false, None) => deadline.min(Deadline::after(Some(SLICE))),
        (false, Some(_)) => deadline.min(Deadline::after(Some(SHORT_SLICE))),
    };
    let _entry = Entry::new(id, sleep, words);
    // SYNC POINT with `WakeWord::signal`: its entry stands, then the sleeper looks at the words.
    fence(Ordering::SeqCst);
    let has_changed = |word: &Wait<'_>| word.word.load(Ordering::Acquire) != word.seen;
    if words.iter().any(has_changed) {
        return Ok(());
    }
    let timeout = until.timespec();
    let every = std::num::NonZeroU32::MAX;
    let answer = futex::wait_bitset(
        sleep.word,
        sleep.flags(),
        sleep.seen,
        timeout.as_ref(),
        every,
    );
    match ended(answer, until) {
        // The end of a slice is no time-out.
        Err(Error::TimedOut) if !deadline.has_passed() => Ok(()),
        other => other,
    }
}

/// Wakes the threads that wait for this wake word.
#[cold]
pub(super) fn signal(wake_word: &AtomicU32) {
    let address = wake_word.as_ptr() as usize;
    for sleeper in sleepers().iter() {
        if sleeper.wake_words.contains(&address) {
            // SAFETY: the sleeper stands in the list, whose lock is held, so its `Entry` has not ended
            // and still borrows the word.
            let word = unsafe { &*sleeper.word };
            word.fetch_add(1, Ordering::Release);
            // All of them: where several threads share the word, each looks for itself.
            let _ = futex::wake(word, sleeper.flags, i32::MAX as u32);
        }
    }
}
