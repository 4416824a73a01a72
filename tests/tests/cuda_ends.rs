//! Producers and clients of frames in the memory of a GPU end, in good order or not, and devices fail. The
//! driver is a stand-in.

use std::time::Duration;

use xmem_tests::fakecuda::{FakeCuda, Mode};
use xmem_tests::gpu::*;
use xmem_tests::peer::Peer;
use xmem_tests::{Place, process, until};

const ILLEGAL_ADDRESS: u32 = 700;
const UNKNOWN: u32 = 999;

#[test]
fn published_frames_stay_when_the_producer_is_killed_and_others_never_come() {
    let (place, driver) = (Place::new(), held());
    let mut producer = producer(&place, &driver, "");
    let mut control = driver.control(producer.pid());
    control.open();
    let reading = FakeCuda::new();
    let mut client = client(&place, &reading, "");
    for value in 1..=2 {
        producer.ask(Produce::Publish(SIZE, value));
    }
    receive(&mut client);
    control.hold();
    producer.ask(Produce::Publish(SIZE, 3));
    producer.kill();
    assert_eq!(look(&mut client), Some(1));
    receive(&mut client);
    client.ask(Consume::Drop);
    assert_eq!(look(&mut client), Some(2));
    let line = client.fail_at(Consume::Receive(10_000));
    assert_eq!(line.text("kind"), "disconnected", "{line}");
}

#[test]
fn a_client_that_is_killed_while_the_device_reads_leaves_nothing() {
    let place = Place::new();
    let (writing, reading) = (FakeCuda::new(), held());
    let mut producer = producer(&place, &writing, "");
    for round in 0..rounds(20) {
        let mut client = client(&place, &reading, "leases=2");
        producer.ask(Produce::Publish(SIZE, 1));
        receive(&mut client);
        if round % 2 == 0 {
            client.ask(Consume::Release);
        }
        client.kill();
    }
    wait_for_clients(&mut producer, 0);
    producer.ask(Produce::Run(SIZE, 50));
    let line = producer.ask(Produce::Stats);
    assert_eq!(
        (line.number("held"), line.number("pending")),
        (0, 0),
        "{line}"
    );
    let alive = writing.control(producer.pid()).alive();
    assert_eq!(
        alive.number("mappings"),
        line.number("segments"),
        "{alive}, {line}"
    );
}

#[test]
fn clients_that_come_and_go_leave_no_descriptor_mapping_or_handle() {
    let (place, driver) = (Place::new(), FakeCuda::new());
    let mut producer = producer(&place, &driver, "");
    let mut client = client(&place, &driver, "");
    let mut before = None;
    for round in 0..rounds(40) {
        // Each has memory of its own.
        let size = SIZE << (round % 8);
        let mut source = producer_of(&place, &driver, round);
        source.ask(Produce::Publish(size, 1));
        let mut other = crate::client(&place, &driver, &format!("channel=other{round}"));
        receive(&mut other);
        assert_eq!(look(&mut other), Some(1));
        other.ask(Consume::Release);
        producer.ask(Produce::Publish(SIZE, 2));
        receive(&mut client);
        client.ask(Consume::Release);
        let fds = process::fd_count(producer.pid()) + process::fd_count(client.pid());
        if round == 5 {
            before = Some(fds);
        }
        let before = before.unwrap_or(fds);
        assert_eq!(fds, before);
        let pids = (source.pid(), other.pid());
        source.end();
        other.end();
        for pid in [pids.0, pids.1] {
            let kinds = ["allocations", "handles", "mappings", "events", "bytes"];
            driver.assert_nothing_left(pid, &kinds);
        }
    }
}

fn producer_of(place: &Place, driver: &FakeCuda, round: usize) -> Peer<Produce> {
    producer(place, driver, &format!("channel=other{round}"))
}

#[test]
fn a_device_that_fails_ends_the_channel_with_the_reason() {
    let mut held = Held::new();
    let Held {
        producer,
        control,
        client,
        ..
    } = &mut held;
    producer.ask(Produce::Publish(SIZE, 1));
    control.fail_next(ILLEGAL_ADDRESS);
    control.run_all();
    let line = client.fail_at(Consume::Receive(10_000));
    assert_eq!(line.text("kind"), "disconnected", "{line}");
    assert!(line.text("text").contains("(700)"), "{line}");
    until("the publisher knows", || {
        let line = producer.outcome(Produce::Publish(SIZE, 2));
        line.word == "failed"
    });
}

#[test]
fn a_client_whose_device_fails_gets_the_reason_and_others_go_on() {
    let place = Place::new();
    let (writing, reading) = (FakeCuda::new(), held());
    let mut producer = producer(&place, &writing, "");
    let mut failing = client(&place, &reading, "");
    let mut other = client(&place, &writing, "");
    producer.ask(Produce::Publish(SIZE, 1));
    receive(&mut failing);
    failing.ask(Consume::Release);
    let mut control = reading.control(failing.pid());
    control.lose(UNKNOWN);
    until("the client knows", || {
        let line = failing.fail_at(Consume::Receive(100));
        line.text("kind") == "cuda"
    });
    receive(&mut other);
    assert_eq!(look(&mut other), Some(1));
    producer.ask(Produce::Run(SIZE, 20));
}

#[test]
fn a_publisher_that_is_closed_publishes_what_the_device_writes_soon() {
    let time = Duration::from_millis(30);
    let (place, driver) = (Place::new(), FakeCuda::new().mode(Mode::Delay(time)));
    let mut producer = producer(&place, &driver, "");
    let reading = FakeCuda::new();
    let mut client = client(&place, &reading, "");
    for value in 1..=3 {
        producer.ask(Produce::Publish(SIZE, value));
    }
    producer.ask(Produce::Close);
    for value in 1..=3 {
        receive(&mut client);
        assert_eq!(look(&mut client), Some(value));
        client.ask(Consume::Drop);
    }
    let line = client.fail_at(Consume::Receive(10_000));
    assert_eq!(line.text("kind"), "stopped", "{line}");
}

#[test]
fn a_publisher_whose_device_does_not_end_its_work_closes_all_the_same() {
    let mut held = Held::new();
    let Held {
        producer,
        control,
        client,
        ..
    } = &mut held;
    producer.ask(Produce::Publish(SIZE, 1));
    producer.ask(Produce::Close);
    let line = client.fail_at(Consume::Receive(10_000));
    assert_eq!(line.text("kind"), "stopped", "{line}");
    control.run_all();
    until("the frame is given up", || {
        producer.ask(Produce::Stats).number("unpublished") == 1
    });
}

#[test]
fn frames_outlive_their_subscriber() {
    let place = Place::new();
    let (writing, reading) = (FakeCuda::new(), held());
    let mut producer = producer(&place, &writing, "");
    let mut client = client(&place, &reading, "");
    producer.ask(Produce::Publish(SIZE, 6));
    receive(&mut client);
    let mut control = reading.control(client.pid());
    client.ask(Consume::Leave);
    client.ask(Consume::Release);
    let held = |producer: &mut Peer<Produce>| producer.ask(Produce::Stats).number("held");
    producer.ask(Produce::Run(SIZE, 20));
    assert_eq!(held(&mut producer), 1);
    control.run_all();
    wait_for_clients(&mut producer, 0);
}
