//! Clients that write nonsense into the only page they may write.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use xmem_tests::random::Random;
use xmem_tests::wire::{self, Connection};
use xmem_tests::{Peer, Place, process, until};

const PEER: &str = env!("CARGO_BIN_EXE_xmem-test-peer");

/// Bytes of a lease page, and where the word is that a waiting writer sleeps on.
const PAGE: usize = 4096;
const PROGRESS_AT: usize = 4;

/// A client's lease page, for its own process to write as it likes.
struct LeasePage {
    start: *mut std::ffi::c_void,
    _connection: Connection,
}

// SAFETY: the page is only accessed through atomics, from whatever thread, and stays mapped until
// drop.
unsafe impl Sync for LeasePage {}

impl LeasePage {
    fn of_new_client(place: &Place) -> LeasePage {
        let connection = Connection::open(&place.socket("cam0"));
        let welcome = connection.greet(wire::VERSION, 4);
        assert_eq!(welcome.kind, wire::WELCOME);
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: without MAP_FIXED the kernel chooses a range where nothing is.
        let start = unsafe {
            mmap(
                std::ptr::null_mut(),
                PAGE,
                access,
                MapFlags::SHARED,
                &welcome.fds[1],
                0,
            )
        };
        LeasePage {
            start: start.unwrap(),
            _connection: connection,
        }
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: PAGE bytes are mapped from `start`, which is the start of a page and so aligned,
        // until drop; other processes access them as atomics too.
        unsafe { std::slice::from_raw_parts(self.start.cast(), PAGE / 8) }
    }

    fn progress(&self) -> &AtomicU32 {
        // SAFETY: as above; the offset is inside the page and a multiple of 4.
        unsafe { &*self.start.byte_add(PROGRESS_AT).cast() }
    }
}

impl Drop for LeasePage {
    fn drop(&mut self) {
        // SAFETY: the mapping is our own, and borrows of it have ended.
        let _ = unsafe { munmap(self.start, PAGE) };
    }
}

/// Runs `harm` again and again in a thread of its own, while `test` runs.
fn meanwhile<T>(harm: impl FnMut() + Send, test: impl FnOnce() -> T) -> T {
    /// Ends the other thread when the test fails, too.
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = End(&over);
        let (over, mut harm) = (&over, harm);
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                harm();
            }
        });
        test()
    })
}

fn start(place: &Place, settings: &str) -> (Peer, Peer) {
    let settings = format!("producer channel=cam0 slots=2 slot-size=20000 {settings}");
    let mut producer = Peer::start(PEER, place, &settings);
    producer.wait_for("opened");
    let mut client = Peer::start(PEER, place, "client channel=cam0");
    client.wait_for("ready");
    client.ask("connect", "connected");
    (producer, client)
}

#[test]
fn garbage_in_a_lease_page_harms_nobody_else() {
    const FRAMES: u64 = 2000;
    let place = Place::new();
    // Each is waited for at times, the hostile one when its page happens to say so.
    let (mut producer, mut honest) = start(&place, "block=20");
    let page = LeasePage::of_new_client(&place);
    let mut random = Random::new();
    let before = process::maps(producer.pid(), "xmem-").len();
    let harm = || {
        for word in page.words() {
            // Of words and leases that can be true, and of others.
            let value = match random.number() % 4 {
                0 => random.number(),
                1 => random.number() % 64,
                _ => ((random.number() % FRAMES) << 16) | (random.number() % 16),
            };
            word.store(value, Ordering::Relaxed);
        }
    };
    meanwhile(harm, || {
        honest.ask("run", "running");
        let order = format!("publish count={FRAMES} size=20000 period-us=200");
        producer.ask(&order, "published");
        until("the honest client has the last frame", || {
            honest.ask("progress", "progress").number("next") == FRAMES
        });
        let stats = producer.ask("stats", "stats");
        // Two for the producer, four for each client.
        assert_eq!(stats.number("slots"), 2 + 4 + 4);
        assert_eq!(process::maps(producer.pid(), "xmem-").len(), before);
    });
}

/// A writer that waits for clients sleeps on a word of each of them.
#[test]
fn a_client_that_rings_all_the_time_is_waited_for_once() {
    const TIMEOUT_MS: u64 = 500;
    let place = Place::new();
    let (mut producer, mut honest) = start(&place, &format!("block={TIMEOUT_MS}"));
    let page = LeasePage::of_new_client(&place);
    // It never receives a frame, and wakes the writer over and over.
    let harm = || {
        page.progress().fetch_add(1, Ordering::Relaxed);
    };
    meanwhile(harm, || {
        honest.ask("run", "running");
        let published = producer.ask("publish count=100 size=20000", "published");
        let took = published.number("us") / 1000;
        assert!((TIMEOUT_MS..20 * TIMEOUT_MS).contains(&took), "{took} ms");
        until("the honest client has the last frame", || {
            honest.ask("progress", "progress").number("next") == 100
        });
    });
}
