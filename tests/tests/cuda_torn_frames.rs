//! Frames in the memory of a GPU are whole, whatever is killed.
//!
//! `XMEM_SECONDS` is the time of the test of torn frames (1), `XMEM_ROUNDS` the number of processes that
//! are killed on each side (10), `XMEM_BYTES` the size of a frame (64 KiB). `scripts/gpu-check.sh` runs
//! this on a GPU.

use std::str::FromStr;

use xmem_tests::fakecuda::FakeCuda;
use xmem_tests::gpu::{Consume, Produce, client, producer};
use xmem_tests::peer::Peer;
use xmem_tests::{Place, until};

const CLIENTS: usize = 4;

/// A number from the environment.
fn setting<T: FromStr>(name: &str, default: T) -> T {
    let Ok(value) = std::env::var(name) else {
        return default;
    };
    let parsed = value.parse().ok();
    parsed.unwrap_or_else(|| panic!("{name}={value} is not a number"))
}

fn size() -> usize {
    setting("XMEM_BYTES", 64 << 10)
}

fn wait_for_clients(producer: &mut Peer<Produce>, count: usize) {
    until("the clients are there", || {
        producer.ask(Produce::Stats).number("clients") == count as u64
    });
}

/// Ends the stream. Returns how many frames a client has compared, all of them whole.
fn compared(client: &mut Peer<Consume>) -> u64 {
    let line = client.wait_for("ended");
    assert_eq!(line.number("torn"), 0, "{line}");
    line.number("count")
}

#[test]
fn no_frame_is_torn_at_full_rate() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut producer = producer(&place, &driver, "");
    let mut clients = [(); CLIENTS].map(|()| client(&place, &driver, ""));
    wait_for_clients(&mut producer, CLIENTS);
    for client in &mut clients {
        client.order(Consume::Compare);
    }
    let mut frames = 0;
    // One order a second, because an answer is waited for with a deadline.
    for _ in 0..setting("XMEM_SECONDS", 1) {
        frames += producer.ask(Produce::Number(size(), 1000)).number("count");
    }
    producer.ask(Produce::End);
    let counts = clients.each_mut().map(compared);
    assert!(
        counts.iter().all(|count| *count > 0),
        "{counts:?} of {frames}"
    );
    println!(
        "FIGURE torn frames: 0 of {} compared, {frames} published",
        counts.iter().sum::<u64>()
    );
}

#[test]
fn clients_that_are_killed_tear_and_hold_nothing() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut producer = producer(&place, &driver, "");
    let mut other = client(&place, &driver, "");
    wait_for_clients(&mut producer, 1);
    other.order(Consume::Compare);
    let rounds = setting("XMEM_ROUNDS", 10);
    for round in 0..rounds {
        let mut client = client(&place, &driver, "");
        client.order(Consume::Compare);
        // It is killed while it waits, while it compares, and anywhere between.
        producer.ask(Produce::Number(size(), round % 20));
        client.kill();
    }
    wait_for_clients(&mut producer, 1);
    producer.ask(Produce::Number(size(), 20));
    producer.ask(Produce::End);
    let count = compared(&mut other);
    until("no frame is held", || {
        producer.ask(Produce::Stats).number("held") == 0
    });
    println!("FIGURE clients killed: {rounds}; the other one compared {count} frames, 0 torn");
}

#[test]
fn producers_that_are_killed_leave_whole_frames() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let rounds = setting("XMEM_ROUNDS", 10);
    let mut count = 0;
    for round in 0..rounds {
        let settings = format!("channel=killed{round}");
        let mut producer = producer(&place, &driver, &settings);
        let mut client = client(&place, &driver, &settings);
        wait_for_clients(&mut producer, 1);
        client.order(Consume::Compare);
        producer.ask(Produce::Number(size(), 1 + round % 20));
        producer.order(Produce::Number(size(), 10_000));
        producer.kill();
        count += compared(&mut client);
    }
    println!("FIGURE producers killed: {rounds}; their clients compared {count} frames, 0 torn");
}
