//! Writes false values to lease words and cursors.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use xmem_tests::Line;

use crate::target::{CURSOR, PROGRESS, Target};
use crate::{count, kernel, meanwhile};

/// The bit of a state word that says that the frame may be claimed.
const READY: u64 = 1;

/// The lease word that names the frame of a slot in this state.
fn frame_word(slot: usize, state: u64) -> u64 {
    state & !0xffff | slot as u64
}

/// One thread watches the states of all slots. As soon as the producer retires a frame, the thread
/// names it in a lease, at about the moment when the producer finds the slot free. Each time it
/// uses the next lease. The other threads name all frames that can be claimed, one after the other.
pub(crate) fn flip(target: &'static Target, threads: u64) {
    std::thread::spawn(|| watch(target));
    meanwhile(threads - 1, move |number| {
        for (at, state) in used(target).enumerate() {
            let state = state.load(Ordering::Relaxed);
            if state & READY == READY {
                let lease = target.lease((at + number) % target.leases);
                lease.store(frame_word(at, state), Ordering::Release);
            }
        }
        count(false);
    });
}

/// The state words of the slots that have held a frame, which are the first ones.
fn used(target: &Target) -> impl Iterator<Item = &AtomicU64> {
    let states = target.states().iter();
    states.take_while(|state| state.load(Ordering::Relaxed) != 0)
}

fn watch(target: &Target) {
    let mut seen = vec![0; target.layout.slots];
    let mut at = 0;
    loop {
        for (slot, (state, seen)) in used(target).zip(&mut seen).enumerate() {
            let now = state.load(Ordering::Relaxed);
            let was = std::mem::replace(seen, now);
            if was & READY == READY && now & READY != READY {
                let lease = target.lease(at % target.leases);
                lease.store(frame_word(slot, was), Ordering::Release);
                at += 1;
                count(true);
            }
        }
    }
}

/// Clients of one process, each of which holds as many frames as it may. No two hold the same one.
pub(crate) fn hold(settings: &Line) {
    let clients = settings.number("clients");
    let targets: Vec<_> = (0..clients).map(|_| Target::join(settings)).collect();
    std::thread::spawn(move || {
        let mut next = 0;
        for target in targets {
            for number in 0..target.leases {
                next = claim(target, number, next) + 1;
                count(true);
            }
        }
    });
}

/// Leases the frame at `position` or a later one, as an honest client does. Returns its position.
fn claim(target: &Target, number: usize, position: u64) -> u64 {
    loop {
        let head = target.head();
        if head <= position {
            std::thread::sleep(Duration::from_micros(50));
            continue;
        }
        let word = target.ring_word(head - 1);
        target.lease(number).store(word, Ordering::Release);
        fence(Ordering::SeqCst);
        let state = target.states()[word as usize & 0xffff].load(Ordering::Relaxed);
        if state == word & !0xffff | READY {
            return head - 1;
        }
        target.lease(number).store(0, Ordering::Release);
    }
}

/// Wakes the producer, sleeps, claims and releases frames that it does not have, and moves its
/// cursor back and forth, but never past a frame.
pub(crate) fn stall(target: &'static Target, threads: u64) {
    target.page.words()[CURSOR].store(0, Ordering::Relaxed);
    meanwhile(threads, move |_| {
        for number in 0..target.leases {
            target.announce_sleep();
            target.lease(number).store(2 << 16, Ordering::Release);
            target.page.halves()[PROGRESS].fetch_add(1, Ordering::Release);
            let word = &target.page.halves()[PROGRESS];
            let _ = kernel::futex_act(word, libc::FUTEX_WAKE, u32::MAX >> 1, 0, word, 0);
            target.lease(number).store(0, Ordering::Release);
            count(true);
        }
    });
}
