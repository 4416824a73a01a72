//! What a producer keeps for each client: as much as the client asks for, within the limits of the
//! producer.

use xmem_tests::client::Request;
use xmem_tests::producer::Publish;
use xmem_tests::wire::{self, Connection};
use xmem_tests::{Client, ClientOrder, Line, Place, Producer, process, until};

fn until_stats(producer: &mut Producer, what: &str, is_it: impl Fn(&Line) -> bool) {
    until(what, || is_it(&producer.stats()));
}

/// Bytes of slots that the process of the producer maps.
fn mapped(producer: &Producer) -> usize {
    let maps = process::maps(producer.pid(), "xmem-payload");
    maps.iter().map(|map| map.len).sum()
}

#[test]
fn a_client_that_falls_behind_within_its_backlog_misses_nothing() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "slot-size=100000");
    let mut client = Client::connected(&place, "leases=2");
    let granted = client.request(2, 60);
    assert_eq!(granted.number("backlog"), 60);
    client.receive(0);
    producer.publish(60, 1000);
    client.receive_all(60);
    // A client that lags further does miss frames, so it is the quota that keeps them.
    producer.publish(200, 1000);
    let received = client.receive(60);
    assert!(received.number("missed") > 0, "{received}");
}

/// A stream of packets begins like this, with all packets of its first picture.
#[test]
fn a_client_that_was_there_first_misses_nothing_of_a_stream_that_begins_with_many_frames() {
    for _ in 0..10 {
        let place = Place::new();
        let mut producer = Producer::start(&place, "");
        let mut client = Client::connected(&place, "leases=2 backlog=256");
        client.receive(0);
        producer.publish(200, 1000);
        client.receive_all(200);
    }
}

#[test]
fn frames_that_a_client_holds_count_for_its_backlog() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "slot-size=100000");
    let mut client = Client::connected(&place, "leases=2");
    client.request(41, 50);
    producer.publish(40, 1000);
    client.hold(40);
    producer.publish(10, 1000);
    client.receive_all(10);
    client.ask(ClientOrder::CheckHeld);
    client.release(40);
}

#[test]
fn clients_share_the_frames_beyond_their_leases() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "slot-size=100000");
    let mut clients: Vec<Client> = (0..4)
        .map(|_| Client::connected(&place, "leases=2"))
        .collect();
    for client in &mut clients {
        client.request(2, 40);
    }
    let slots = producer.stats().number("slots");
    // 2 for the producer, 2 for each client, and 38 beyond these; a few more are made at the same
    // time.
    assert!((48..100).contains(&slots), "{slots} slots");
    producer.publish(40, 1000);
    for client in &mut clients {
        client.receive_all(40);
    }
}

#[test]
fn memory_is_released_when_the_clients_that_need_it_have_left() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "slot-size=1000000");
    let mut first = Client::connected(&place, "leases=2");
    let before = producer.stats().number("bytes");
    let mut clients: Vec<Client> = (0..3)
        .map(|_| Client::connected(&place, "leases=2"))
        .collect();
    for client in &mut clients {
        client.request(20, 60);
    }
    let with = producer.stats().number("bytes");
    assert!(with > before + 80_000_000, "{with} bytes");
    producer.publish(100, 1000);
    // Whichever way they leave: one sends a Bye, one is killed, one requests less.
    clients[0].end();
    clients[1].kill();
    clients[2].request(2, 2);
    producer.publish(100, 1000);
    until_stats(&mut producer, "the memory is released", |stats| {
        stats.number("bytes") <= before + 70_000_000 && stats.number("departed") == 0
    });
    let left = producer.stats().number("bytes");
    until("the mappings are gone", || {
        mapped(&producer) as u64 <= left + 4096
    });
    let received = first.receive(4);
    assert_eq!(received.number("count"), 4);
}

#[test]
fn a_budget_bounds_what_clients_get() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "slot-size=1000000 max-bytes=40000000");
    let mut client = Client::connected(&place, "leases=2");
    let granted = client.ask(Request {
        leases: 2,
        backlog: 100,
        granted: Some((30, 100)),
    });
    let backlog = granted.number("backlog");
    assert_eq!(backlog, granted.number("most"), "{granted}");
    assert!((30..=38).contains(&backlog), "{granted}");
    // The first leases of the next client have priority.
    let _second = Client::connected(&place, "leases=10");
    let most = backlog as u32 - 10;
    client.ask(Request {
        leases: 2,
        backlog: 99,
        granted: Some((20, most)),
    });
    producer.publish(100, 1000);
    until_stats(&mut producer, "the budget is kept", |stats| {
        stats.number("bytes") <= 40_000_000
    });
    // A client that does not fit is told which limit applies.
    let mut refused = Client::start(&place, "leases=60");
    let answer = refused.fail_at(ClientOrder::Connect).to_string();
    assert!(answer.contains("max_bytes"), "{answer}");
}

#[test]
fn memory_that_a_client_keeps_counts_until_it_is_released() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "slot-size=1000000");
    let hoarder = Connection::open(&place.socket("cam0"));
    let welcome = hoarder.greet(wire::VERSION, 2);
    hoarder.say_ready(&welcome.fds[1]);
    hoarder.receive_kind(wire::JOINED);
    hoarder
        .send(&request(1, 2, 60), &[])
        .expect("the message is sent");
    let mut kept = Vec::new();
    let mut granted = 0;
    while granted < 60 {
        let message = hoarder.receive().expect("a message");
        match message.kind {
            wire::SEGMENT => kept.extend(message.fds),
            wire::GRANTED => granted = message.u32_at(8),
            _ => {}
        }
    }
    drop(hoarder);
    until_stats(
        &mut producer,
        "the memory that it keeps is counted",
        |stats| stats.number("departed") > 30_000_000,
    );
    drop(kept);
    until_stats(&mut producer, "nothing is kept", |stats| {
        stats.number("departed") == 0
    });
}

/// A Request message, as a client sends it.
fn request(number: u32, leases: u32, backlog: u32) -> Vec<u8> {
    let mut body = Vec::new();
    for word in [number, leases, backlog, 0] {
        body.extend(word.to_le_bytes());
    }
    wire::message(wire::REQUEST, &body)
}

#[test]
fn requests_that_make_no_sense_end_the_connection() {
    let place = Place::new();
    let _producer = Producer::start(&place, "slot-size=1000");
    for (number, leases, backlog) in [(0, 2, 2), (1, 0, 2), (1, 257, 2), (1, 2, 4097)] {
        let client = Connection::open(&place.socket("cam0"));
        let welcome = client.greet(wire::VERSION, 2);
        client.say_ready(&welcome.fds[1]);
        client.receive_kind(wire::JOINED);
        client
            .send(&request(number, leases, backlog), &[])
            .expect("the message is sent");
        let bye = client.receive_kind(wire::BYE);
        assert!(bye.reason().contains("request"), "{}", bye.reason());
    }
}

#[test]
fn a_client_that_asks_all_the_time_is_answered_and_harms_no_other() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "slot-size=100000");
    let mut other = Client::connected(&place, "leases=2");
    let client = Connection::open(&place.socket("cam0"));
    let welcome = client.greet(wire::VERSION, 2);
    client.say_ready(&welcome.fds[1]);
    client.receive_kind(wire::JOINED);
    for number in 1..=200 {
        let quota = [(1, 1), (200, 300), (2, 4000), (7, 9)][number as usize % 4];
        let _ = client.send(&request(number, quota.0, quota.1), &[]);
    }
    producer.ask(Publish::frames(500, 1000).period_us(200));
    let received = other.receive(2);
    assert_eq!(received.number("count"), 2);
    drop(client);
    producer.until_clients(1);
}
