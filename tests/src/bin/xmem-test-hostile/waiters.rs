//! Thousands of sleepers on one word. A producer that wakes a client must not wake all of them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::Builder;
use std::time::Duration;

use xmem_tests::Line;

use crate::kernel::futex_sleep;
use crate::target::{PROGRESS, Target, WAKE};
use crate::{count, meanwhile, ring};

/// The size of the stack of a thread, in bytes.
const STACK: usize = 64 * 1024;
/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

/// Starts `count` sleepers, most of them on the word by which the producer wakes the client.
pub(crate) fn start(target: &'static Target, settings: &Line) {
    let number = settings.number("count") as usize;
    match settings.get("ring") {
        Some(_) => ring::start(&target.page.halves()[WAKE], number),
        None => threads(target, number),
    }
    meanwhile(1, move |_| {
        target.announce_sleep();
        std::thread::sleep(Duration::from_micros(100));
    });
}

fn threads(target: &'static Target, number: usize) {
    let others = target.notable_words();
    for number in 0..number {
        let word: &'static AtomicU32 = match number % 4 {
            0 => others[number / 4 % others.len()],
            1 => &target.page.halves()[PROGRESS],
            _ => &target.page.halves()[WAKE],
        };
        let sleep = move || {
            loop {
                let value = word.load(Ordering::Relaxed);
                let result = futex_sleep(word, libc::FUTEX_WAIT, value, LONG, word);
                count(result.is_ok());
            }
        };
        let thread = Builder::new().stack_size(STACK).spawn(sleep);
        thread.expect("a user may have thousands of threads");
    }
}
