//! Slots: how many there are, which thread makes them, and what waits for them.

use xmem_tests::wire::{self, Connection};
use xmem_tests::{Client, ClientOrder, Place, Producer, ProducerOrder, process, until};

/// Bytes of slots that a producer has, or is about to make.
fn payload(producer: &Producer) -> usize {
    let maps = process::maps(producer.pid(), "xmem-payload");
    maps.iter().map(|map| map.len).sum()
}

/// Number of attempts of the next test: it needs a client that connects within the second in which
/// a gigabyte is made.
const TRIES: usize = 5;

#[test]
fn making_slots_for_one_client_does_not_delay_others() {
    let is_first = || {
        let place = Place::new();
        let _producer = Producer::start(&place, "slot-size=16000000");
        let mut other = Client::start(&place, "leases=1");
        let greedy = Connection::open(&place.socket("cam0"));
        let welcome = greedy.greet(wire::VERSION, 64);
        greedy.say_ready(&welcome.fds[1]);
        other.connect();
        let is_first = greedy.received().is_empty();
        assert_eq!(greedy.receive_kind(wire::JOINED).body.len(), 8);
        is_first
    };
    assert!((0..TRIES).any(|_| is_first()));
}

#[test]
fn slots_for_a_client_that_leaves_are_not_made() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "slot-size=16000000");
    let before = payload(&producer);
    let greedy = Connection::open(&place.socket("cam0"));
    let welcome = greedy.greet(wire::VERSION, 64);
    greedy.say_ready(&welcome.fds[1]);
    until("the producer makes the slots", || {
        payload(&producer) > before
    });
    drop(greedy);
    until("the producer has dropped the slots", || {
        payload(&producer) == before
    });
    let mut other = Client::connected(&place, "leases=1");
    producer.publish(1, 1000);
    other.receive(1);
}

#[test]
fn clients_that_join_at_once_make_no_more_slots_than_there_may_be() {
    const SLOT: usize = 8 << 20;
    const SLOTS: usize = 100;
    let place = Place::new();
    let settings = format!("slot-size={SLOT} max-slots={SLOTS}");
    let producer = Producer::start(&place, &settings);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let client = Connection::open(&place.socket("cam0"));
            let welcome = client.greet(wire::VERSION, 40);
            (client, welcome)
        })
        .collect();
    for (client, welcome) in &clients {
        client.say_ready(&welcome.fds[1]);
    }
    let mut answers = vec![None; clients.len()];
    until("each request is answered", || {
        let bytes = payload(&producer);
        assert!(bytes <= SLOTS * SLOT, "{bytes} bytes");
        for (answer, (client, _)) in answers.iter_mut().zip(&clients) {
            let first = client.received().into_iter().next();
            *answer = answer.or(first.map(|first| first.kind));
        }
        answers.iter().all(Option::is_some)
    });
    answers.sort_unstable();
    let (joined, bye) = (Some(wire::JOINED), Some(wire::BYE));
    assert_eq!(answers, [bye, bye, joined, joined]);
}

/// As many as the leases of one client, and those of the producer.
const SLOTS: u64 = 66;

fn producer_of_small_frames(place: &Place) -> (Producer, Client) {
    let mut producer = Producer::start(place, "");
    let mut client = Client::connected(place, "leases=64");
    producer.publish(1, 1000);
    client.receive(1);
    (producer, client)
}

#[test]
fn a_larger_frame_waits_for_a_part_of_the_slots_and_the_others_follow() {
    const SIZE: usize = 4 << 20;
    /// The maximum that is made at once.
    const AT_ONCE: usize = 64 << 20;
    let place = Place::new();
    let (mut producer, mut client) = producer_of_small_frames(&place);
    let faults = |producer: &Producer| process::page_faults_of(producer.pid(), "xmem-control");
    let before = faults(&producer);
    producer.publish(1, SIZE);
    client.receive(1);
    until("all slots exist", || {
        producer.stats().number("slots") >= SLOTS
    });
    // Each page is a page fault of the thread that makes it.
    let by_control = (faults(&producer) - before) as usize * 4096;
    let all = SLOTS as usize * SIZE;
    assert!(by_control >= all - AT_ONCE, "{by_control} bytes of {all}");
    assert!(payload(&producer) <= all + AT_ONCE);
    // Its leases are as usable as before.
    for _ in 0..64 {
        producer.publish(1, SIZE);
        client.hold(1);
    }
    producer.publish(2, SIZE);
    client.order(ClientOrder::CheckHeld);
    client.wait_for("heard");
}

/// While slots are made, frames may become larger still.
#[test]
fn slots_that_are_too_small_by_now_are_not_made() {
    let place = Place::new();
    let (mut producer, mut client) = producer_of_small_frames(&place);
    let mut size = 1 << 20;
    while size <= 8 << 20 {
        producer.publish(1, size);
        client.receive(1);
        size *= 2;
    }
    until("only the slots for the largest frames exist", || {
        let stats = producer.stats();
        let bytes = stats.number("bytes");
        stats.number("slots") >= SLOTS && bytes == payload(&producer) as u64 && {
            // The last frame of the old size is retired with the next one.
            producer.publish(1, 1000);
            client.receive(1);
            bytes == stats.number("slots") * (8 << 20)
        }
    });
}

#[test]
fn slots_that_a_producer_has_yet_to_make_when_it_stops_are_not_made() {
    const SIZE: usize = 16 << 20;
    let is_first = || {
        let place = Place::new();
        let (mut producer, mut client) = producer_of_small_frames(&place);
        producer.publish(1, SIZE);
        client.receive(1);
        producer.ask(ProducerOrder::Close);
        payload(&producer) < SLOTS as usize * SIZE
    };
    assert!((0..TRIES).any(|_| is_first()));
}

#[test]
fn slots_for_a_client_that_is_gone_are_not_made() {
    const SIZE: usize = 16 << 20;
    let is_first = || {
        let place = Place::new();
        let (mut producer, mut client) = producer_of_small_frames(&place);
        producer.publish(1, SIZE);
        client.kill();
        producer.until_clients(0);
        let slots = producer.stats().number("slots");
        producer.publish(2, SIZE);
        slots < SLOTS
    };
    assert!((0..TRIES).any(|_| is_first()));
}
