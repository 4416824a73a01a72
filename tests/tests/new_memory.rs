//! Memory that has just been made: the frames in it that clients have, and the pieces in which it
//! is made and prefaulted.

use std::path::Path;
use std::process::Command;

use xmem_tests::client::Receive;
use xmem_tests::process::{self, can_trace};
use xmem_tests::producer::Publish;
use xmem_tests::{Client, Place, Producer, ProducerOrder, until};

/// The client was told of that memory before the frame was published. Otherwise it could never map
/// it.
#[test]
fn frames_in_memory_made_just_now_outlive_a_producer_that_is_killed() {
    // Larger slots; memory for extra bytes; both, for several frames in sequence.
    for last in [
        Publish::frames(3, 200_000),
        Publish::frames(3, 1000).extra(5000),
        Publish::frames(3, 200_000).extra(5000).grow(300_000),
    ] {
        for _ in 0..20 {
            let place = Place::new();
            let mut producer = Producer::start(&place, "slots=8");
            let mut client = Client::connected(&place, "leases=4");
            producer.publish(1, 1000);
            client.receive(1);
            client.begin(Receive::frames(3));
            // The producer kills itself at the end of the last publish.
            producer.order(ProducerOrder::PublishAndDie(last));
            let received = client.wait_for("received");
            assert_eq!(received.number("missed"), 0, "{last:?}");
            until("the producer is gone", || {
                matches!(process::state(producer.pid()), Some('Z') | None)
            });
        }
    }
}

#[test]
fn a_frame_in_memory_that_was_prefaulted_aside_costs_no_page_fault() {
    const SIZE: u64 = 1 << 20;
    const LEASES: u64 = 60;
    let place = Place::new();
    let mut producer = Producer::start(&place, "");
    let mut client = Client::connected(&place, &format!("leases={LEASES}"));
    producer.publish(1, SIZE as usize);
    client.receive(1);
    until(
        "all slots exist, and the client has prefaulted them",
        || {
            let bytes = producer.stats().number("bytes");
            bytes > LEASES * SIZE && process::memory(client.pid()).shared * 1024 >= bytes
        },
    );
    let faults = process::page_faults(client.pid());
    for _ in 0..LEASES {
        producer.publish(1, SIZE as usize);
        // The client reads all of the frame, and holds it, so the next frame is in another slot.
        client.hold(1);
    }
    let faults = process::page_faults(client.pid()) - faults;
    // Code that runs for the first time and the allocator cause some page faults. A frame is 256
    // pages, which need 16 page faults to be mapped.
    assert!(
        faults < 4 * LEASES,
        "{faults} page faults for {LEASES} frames"
    );
}

/// The lengths of the ranges that a traced process has had populated.
fn populated(report: &Path) -> Vec<u64> {
    let report = std::fs::read_to_string(report).expect("a report");
    // `madvise(ADDRESS, LENGTH, MADV_POPULATE_...)`, or 22 and 23 if strace does not know the
    // names.
    let length = |line: &str| {
        let (_, arguments) = line.split_once("madvise(")?;
        let arguments: Vec<&str> = arguments.split([',', ')']).map(str::trim).collect();
        let is_it = |advice: &str| {
            advice.starts_with("MADV_POPULATE")
                || ["0x16", "0x17", "22", "23"]
                    .iter()
                    .any(|known| advice.starts_with(known))
        };
        let advice = arguments.get(2).copied().filter(|advice| is_it(advice));
        advice.and_then(|_| arguments[1].parse().ok())
    };
    report.lines().filter_map(length).collect()
}

#[test]
fn memory_is_made_and_mapped_a_piece_at_a_time() {
    const SIZE: u64 = 6 << 20;
    /// The maximum that one call makes or maps.
    const PIECE: u64 = 1 << 20;
    if !can_trace() {
        return;
    }
    let place = Place::new();
    let strace = |report: &Path| {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", "trace=madvise", "-o"]);
        command.arg(report);
        command
    };
    let [produced, consumed] = ["producer", "client"].map(|name| place.path().join(name));
    let producer = Producer::within(strace(&produced), "slots=8");
    let mut producer = Producer::start_with(producer, &place);
    let client = Client::within(strace(&consumed), "leases=8");
    let mut client = Client::start_with(client, &place);
    client.connect();
    producer.publish(1, SIZE as usize);
    client.receive(1);
    until("the slots for the client exist", || {
        producer.stats().number("bytes") >= 16 * SIZE
    });
    client.end();
    producer.end();
    let made = populated(&produced);
    assert!(made.iter().sum::<u64>() >= 16 * SIZE, "{made:?}");
    for length in made.into_iter().chain(populated(&consumed)) {
        assert!(length <= PIECE, "{length} bytes at once");
    }
}
