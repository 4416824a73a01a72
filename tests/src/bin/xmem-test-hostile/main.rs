//! A client that attacks whoever it shares memory with: `xmem-test-hostile ROLE socket=PATH ...`
//!
//! It speaks the protocol by itself, says `attacking` as soon as it is at work, and answers `report`
//! with what it has done so far. It ends with its input. Settings of every role:
//!
//! - `uid`: the user that it becomes before it connects, where it is root.
//! - `leases`, `delivery=latest`: what it says in its Hello.
//! - `threads`: how many attack at once.
//! - `elsewhere=1`: it does the same to memory of its own. This is what the attack costs a machine
//!   anyway, for a comparison.
//!
//! | role | what it does |
//! |---|---|
//! | `idle` | nothing: it joins, and reads its messages |
//! | `pi` | `FUTEX_WAIT_REQUEUE_PI` and `FUTEX_LOCK_PI` on every word that it can map |
//! | `requeue` | moves whoever sleeps on one of them to a word of its own |
//! | `wake` | wakes whoever sleeps on one of them |
//! | `waiters` | sleeps on them `count` times; with `ring=1` through io_uring |
//! | `punch` | punches holes into its lease page, from the Welcome on |
//! | `advise` | everything else that the kernel does to memory and files on request |
//! | `hang` | before Ready, a `write` into its lease page that does not end |
//! | `flip` | names frames in its lease words just when the producer takes them back |
//! | `hold` | holds a frame with each lease, `leases` of each of `clients` |
//! | `linger` | passes descriptors whose close does not end, with a Hello and as a client |
//! | `stall` | looks to a blocking producer as if it made progress, as often as it can |

mod files;
mod futexes;
mod kernel;
mod leases;
mod linger;
mod ring;
mod target;
mod waiters;

use std::io::BufRead;
use std::sync::atomic::{AtomicU64, Ordering};

use xmem_tests::faults::Faults;
use xmem_tests::{Line, nobody};

use target::Target;

/// Calls made, and those that had an effect: a process was woken or moved, a hole was punched.
static CALLS: AtomicU64 = AtomicU64::new(0);
static EFFECTS: AtomicU64 = AtomicU64::new(0);

/// Counts a call.
fn count(had_effect: bool) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    if had_effect {
        EFFECTS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs `attack` over and over in `threads` threads, as long as the process lives.
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
    // What the other user could have, but not in every container.
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
    for order in std::io::stdin().lock().lines().map_while(Result::ok) {
        match order.as_str() {
            "report" => println!("{}", report()),
            "exit" => break,
            other => panic!("{other:?} is not an order"),
        }
    }
    // Threads that sleep don't end by themselves.
    std::process::exit(0);
}

fn report() -> Line {
    Line::new("report")
        .with("calls", CALLS.load(Ordering::Relaxed))
        .with("effects", EFFECTS.load(Ordering::Relaxed))
        .with("expelled", u64::from(target::is_expelled()))
}
