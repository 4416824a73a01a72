//! One client attacks the words on which other processes sleep, with the calls that the kernel
//! offers to a process that can read a word.

use xmem_tests::attacked::{Attacked, Hostile, has_io_uring, report};
use xmem_tests::{is_torture, process, until};

/// Number of slots of the producer.
const SLOTS: u64 = 100;
/// The time between two frames, in µs.
const PERIOD: u64 = 2000;

fn frames() -> u64 {
    if is_torture() { 30_000 } else { 300 }
}

/// A hostile client between two honest ones, and frames for these.
fn publish_under(attack: &str) -> (Attacked, Hostile) {
    let mut channel = Attacked::open(SLOTS, "");
    channel.add_honest("");
    let hostile = channel.attack(attack);
    channel.add_honest("");
    channel.publish(frames(), PERIOD);
    (channel, hostile)
}

/// Waits until the producer has evicted the hostile client.
fn until_expelled(channel: &mut Attacked, hostile: &mut Hostile) {
    until("the client is evicted", || {
        report(hostile).number("expelled") == 1
    });
    assert_eq!(channel.stats().number("refused"), 1);
}

#[test]
fn a_client_that_sleeps_for_a_lock_stops_no_wake_and_is_evicted() {
    let (mut channel, mut hostile) = publish_under("pi");
    until_expelled(&mut channel, &mut hostile);
    // The client has kept its mappings.
    channel.publish(frames(), PERIOD);
    channel.add_honest("");
    channel.publish(frames(), PERIOD);
}

#[test]
fn a_client_that_moves_sleepers_to_another_word_moves_no_other_client() {
    let (_channel, mut hostile) = publish_under("requeue");
    let report = report(&mut hostile);
    assert!(report.number("calls") > 0, "{report}");
    assert_eq!(report.number("effects"), 0, "{report}");
}

#[test]
fn a_client_that_wakes_sleepers_wakes_no_other_client() {
    let (channel, mut hostile) = publish_under("wake");
    let report = report(&mut hostile);
    assert!(report.number("calls") > 0, "{report}");
    assert_eq!(report.number("effects"), 0, "{report}");
    for client in &channel.honest {
        // At most twice per frame: once for the frame, and once if it was woken a moment too early.
        let sleeps = process::sleeps(client.pid(), "worker");
        assert!(sleeps < 2 * frames() + 100, "{sleeps} sleeps");
    }
}

/// The single wake of the producer for a frame must not wake all of them.
#[test]
fn thousands_of_sleepers_of_one_client_cost_one_wake_per_frame() {
    for count in ["count=2000", "count=10000 ring=1"] {
        if count.contains("ring") && !has_io_uring() {
            eprintln!("not tried: io_uring is turned off");
            continue;
        }
        let (_channel, mut hostile) = publish_under(&format!("waiters {count}"));
        let woken = report(&mut hostile).number("effects");
        assert!(woken <= frames(), "{woken} sleepers were woken");
    }
}

/// A lossless stream: a client that is not woken would be waited for, and then marked as lagging.
#[test]
fn a_lossless_stream_loses_nothing_while_words_are_attacked() {
    for attack in ["pi", "requeue", "wake"] {
        let mut channel = Attacked::open(2, "block=20000");
        channel.add_honest("");
        let _hostile = channel.attack(&format!("{attack} delivery=latest"));
        channel.add_honest("");
        channel.publish(frames(), 0);
        assert_eq!(channel.stats().number("lagging"), 0, "{attack}");
    }
}
