//! One client attacks the memory that it shares with the producer, with what the kernel does to
//! memory and files on request.

use xmem_tests::attacked::{Attacked, Programs, report};
use xmem_tests::{Line, is_torture};

const PROGRAMS: Programs = Programs {
    peer: env!("CARGO_BIN_EXE_xmem-test-peer"),
    hostile: env!("CARGO_BIN_EXE_xmem-test-hostile"),
};

/// Slots of the producer.
const SLOTS: u64 = 100;
/// Between two frames, in µs.
const PERIOD: u64 = 2000;

fn frames() -> u64 {
    match is_torture() {
        true => 30_000,
        false => 400,
    }
}

fn open() -> Attacked {
    let mut channel = Attacked::open(PROGRAMS, SLOTS, "");
    channel.add_honest("");
    channel
}

/// Page faults of the whole process of the producer while it publishes, in a stream that a client
/// attacks.
fn faults_under(attack: &str) -> (u64, Line) {
    let mut channel = open();
    let mut hostile = channel.attack(attack);
    let faults = channel.publish(frames(), PERIOD);
    (faults, report(&mut hostile))
}

/// Each look at a page with a hole would be a page fault, and wait for who punches the next one.
#[test]
fn a_client_that_punches_holes_into_its_page_makes_no_look_at_it_a_page_fault() {
    let (faults, report) = faults_under("punch threads=4 leases=64");
    assert!(report.number("calls") > frames(), "{report}");
    assert_eq!(report.number("effects"), 0, "holes: {report}");
    assert!(faults < frames() / 10, "{faults} page faults");
}

#[test]
fn nothing_that_a_client_asks_of_the_kernel_makes_the_producer_fault() {
    let (faults, report) = faults_under("advise threads=3");
    assert!(report.number("calls") > 0, "{report}");
    assert_eq!(report.number("effects"), 0, "holes: {report}");
    assert!(faults < frames() / 10, "{faults} page faults");
}
