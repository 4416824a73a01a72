//! A client that attacks the processes it shares memory with:
//! `xmem-test-hostile ROLE socket=PATH ...`
//!
//! It implements the protocol itself, reports `attacking` as soon as it attacks, and answers the
//! order [`Report`] with what it has done so far. It ends when its input ends. Settings of every
//! role:
//!
//! - `uid`: the user that it becomes before it connects, if it is root.
//! - `leases`, `delivery=latest`: the values in its Hello.
//! - `threads`: number of threads that attack.
//! - `elsewhere=1`: it does the same to memory that it does not share. This is the cost of the
//!   attack without xmem, for a comparison.
//!
//! | role | what it does |
//! |---|---|
//! | `idle` | joins and reads its messages |
//! | `pi` | `FUTEX_WAIT_REQUEUE_PI` and `FUTEX_LOCK_PI` on every word that it can map |
//! | `requeue` | moves sleepers on these words to a word of its own |
//! | `wake` | wakes sleepers on these words |
//! | `waiters` | sleeps on them `count` times; with `ring=1` through io_uring |
//! | `punch` | punches holes into its lease page, from the Welcome on |
//! | `advise` | all other requests to the kernel that act on memory and files |
//! | `hang` | before Ready, a `write` into its lease page that does not end |
//! | `flip` | names frames in its lease words at the moment when the producer retires them |
//! | `hold` | holds a frame with each lease, `leases` of each of `clients` |
//! | `linger` | passes descriptors whose close does not end, with a Hello and as a client |
//! | `stall` | seems to make progress to a blocking producer, as often as it can |

mod files;
mod futexes;
mod kernel;
mod leases;
mod linger;
mod ring;
mod target;
mod waiters;

use std::sync::atomic::{AtomicU64, Ordering};

use xmem_tests::attacked::Report;
use xmem_tests::faults::Faults;
use xmem_tests::{Line, nobody, order};

use target::Target;

/// Number of calls, and number of calls with an effect: a process was woken or requeued, a hole was
/// punched.
static CALLS: AtomicU64 = AtomicU64::new(0);
static EFFECTS: AtomicU64 = AtomicU64::new(0);

/// Counts a call.
fn count(had_effect: bool) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    if had_effect {
        EFFECTS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Repeats `attack` in `threads` threads as long as the process lives.
fn meanwhile(threads: u64, attack: impl Fn(usize) + Send + Copy + 'static) {
    for number in 0..threads as usize {
        std::thread::spawn(move || {
            loop {
                attack(number);
            }
        });
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let settings = Line::parse(&arguments.join(" "));
    // Prepared before the process becomes another user. Any user could have this, but not in every
    // container.
    let faults = ["hang", "read"]
        .contains(&settings.word.as_str())
        .then(Faults::open);
    if let Some(uid) = settings.get_number("uid") {
        nobody::become_user(uid as u32);
    }
    let threads = settings.get_number("threads").unwrap_or(2);
    match settings.word.as_str() {
        "hang" => files::hang(&settings, faults.flatten()),
        "read" => files::read(&settings, faults.flatten()),
        "punch" => files::punch(&settings, threads),
        "advise" => files::advise(&settings, threads),
        "hold" => leases::hold(&settings),
        "linger" => linger::start(&settings),
        role => {
            let target = Target::join(&settings);
            match role {
                "idle" => {}
                "pi" => futexes::pi(target, threads),
                "requeue" => futexes::requeue(target, threads),
                "wake" => futexes::wake(target, threads),
                "waiters" => waiters::start(target, &settings),
                "flip" => leases::flip(target, threads),
                "stall" => leases::stall(target, threads),
                other => panic!("{other:?} is not a role"),
            }
        }
    }
    println!("attacking");
    for Report in order::received() {
        println!("{}", report());
    }
    // Threads that sleep do not end by themselves.
    std::process::exit(0);
}

fn report() -> Line {
    Line::new("report")
        .with("calls", CALLS.load(Ordering::Relaxed))
        .with("effects", EFFECTS.load(Ordering::Relaxed))
        .with("expelled", u64::from(target::is_expelled()))
}
