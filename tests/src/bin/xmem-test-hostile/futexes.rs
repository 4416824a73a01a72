//! Futex calls on words that other processes might sleep on. All of them need only a readable
//! mapping, except for the locks.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::kernel::{futex_act, futex_sleep};
use crate::target::{PROGRESS, Target, WAKE};
use crate::{count, meanwhile};

/// How long a call sleeps before it is made again.
const NAP: Duration = Duration::from_millis(100);
/// All sleepers.
const ALL: u32 = i32::MAX as u32;
/// The `FUTEX_OP` of a wake that changes nothing and wakes no other process.
const NO_OPERATION: u32 = (libc::FUTEX_OP_OR as u32) << 28;

/// A word of this process, to which its threads are requeued.
static OWN: AtomicU32 = AtomicU32::new(0);

/// Waits with `FUTEX_WAIT_REQUEUE_PI` on the notable words, the client's wake word first, one
/// thread each: a plain wake of such a waiter fails. Other threads take PI locks on two words, for
/// which the kernel lends the owner of the word its priority.
pub(crate) fn pi(target: &'static Target, threads: u64) {
    let words = target.notable_words();
    for word in words {
        meanwhile(1, move |_| {
            let value = word.load(Ordering::Relaxed);
            let result = futex_sleep(word, libc::FUTEX_WAIT_REQUEUE_PI, value, NAP, &OWN);
            count(result.is_ok());
        });
    }
    for at in [WAKE, PROGRESS] {
        meanwhile(threads, move |_| {
            let word = &target.page.halves()[at];
            let result = futex_sleep(word, libc::FUTEX_LOCK_PI, 0, NAP, &OWN);
            count(result.is_ok());
            word.store(0, Ordering::Relaxed);
        });
    }
    // The producer has to try the wake.
    meanwhile(1, move |_| {
        target.announce_sleep();
        std::thread::sleep(Duration::from_micros(100));
    });
}

/// Moves sleepers to a word on which no process wakes them.
pub(crate) fn requeue(target: &'static Target, threads: u64) {
    meanwhile(threads, move |_| {
        for word in target.notable_words() {
            let value = word.load(Ordering::Relaxed);
            for operation in [
                libc::FUTEX_REQUEUE,
                libc::FUTEX_CMP_REQUEUE,
                libc::FUTEX_CMP_REQUEUE_PI,
            ] {
                let wake = u32::from(operation == libc::FUTEX_CMP_REQUEUE_PI);
                let moved = futex_act(word, operation, wake, ALL, &OWN, value);
                count(moved.is_ok_and(|moved| moved > 0));
            }
        }
        for word in target.words() {
            let moved = futex_act(word, libc::FUTEX_REQUEUE, 0, ALL, &OWN, 0);
            count(moved.is_ok_and(|moved| moved > 0));
        }
    });
    meanwhile(1, move |_| {
        target.announce_sleep();
        std::thread::sleep(Duration::from_micros(100));
    });
}

/// Wakes sleepers without a reason.
pub(crate) fn wake(target: &'static Target, threads: u64) {
    meanwhile(threads, move |_| {
        for word in target.notable_words() {
            for (operation, value) in [
                (libc::FUTEX_WAKE, 0),
                (libc::FUTEX_WAKE_BITSET, u32::MAX),
                (libc::FUTEX_WAKE_OP, NO_OPERATION),
            ] {
                let woken = futex_act(word, operation, ALL, 0, &OWN, value);
                count(woken.is_ok_and(|woken| woken > 0));
            }
        }
        for word in target.words() {
            let woken = futex_act(word, libc::FUTEX_WAKE, ALL, 0, &OWN, 0);
            count(woken.is_ok_and(|woken| woken > 0));
        }
    });
    meanwhile(1, move |_| {
        target.announce_sleep();
        std::thread::sleep(Duration::from_micros(100));
    });
}
