//! What a producer keeps for each client: as much as the client asks for, within the limits of the
//! producer.

use xmem_tests::wire::{self, Connection};
use xmem_tests::{Line, Peer, Place, process, until};

const PEER: &str = env!("CARGO_BIN_EXE_xmem-test-peer");

fn producer(place: &Place, settings: &str) -> Peer {
    let settings = format!("producer channel=cam0 {settings}");
    let mut producer = Peer::start(PEER, place, &settings);
    producer.wait_for("opened");
    producer
}

fn connected(place: &Place, settings: &str) -> Peer {
    let mut client = Peer::start(PEER, place, &format!("client channel=cam0 {settings}"));
    client.wait_for("ready");
    client.ask("connect", "connected");
    client
}

fn stats(producer: &mut Peer) -> Line {
    producer.ask("stats", "stats")
}

fn until_stats(producer: &mut Peer, what: &str, is_it: impl Fn(&Line) -> bool) {
    until(what, || is_it(&stats(producer)));
}

/// Bytes of slots that the process of the producer maps.
fn mapped(producer: &Peer) -> usize {
    let maps = process::maps(producer.pid(), "xmem-payload");
    maps.iter().map(|map| map.len).sum()
}

#[test]
fn a_client_that_falls_behind_within_its_backlog_misses_nothing() {
    let place = Place::new();
    let mut producer = producer(&place, "slot-size=100000");
    let mut client = connected(&place, "leases=2");
    let granted = client.ask("request leases=2 backlog=60", "granted");
    assert_eq!(granted.number("backlog"), 60);
    client.ask("receive count=0", "received");
    producer.ask("publish count=60 size=1000", "published");
    let received = client.ask("receive count=60", "received");
    assert_eq!(received.number("missed"), 0, "{received}");
    // A client that lags further does miss frames, so it is the quota that keeps them.
    producer.ask("publish count=200 size=1000", "published");
    let received = client.ask("receive count=60", "received");
    assert!(received.number("missed") > 0, "{received}");
}

/// A stream of packets begins like this, with all packets of its first picture.
#[test]
fn a_client_that_was_there_first_misses_nothing_of_a_stream_that_begins_with_many_frames() {
    for _ in 0..10 {
        let place = Place::new();
        let mut producer = producer(&place, "");
        let mut client = connected(&place, "leases=2 backlog=256");
        client.ask("receive count=0", "received");
        producer.ask("publish count=200 size=1000", "published");
        let received = client.ask("receive count=200", "received");
        assert_eq!(received.number("missed"), 0, "{received}");
    }
}

#[test]
fn frames_that_a_client_holds_count_for_its_backlog() {
    let place = Place::new();
    let mut producer = producer(&place, "slot-size=100000");
    let mut client = connected(&place, "leases=2");
    client.ask("request leases=41 backlog=50", "granted");
    producer.ask("publish count=40 size=1000", "published");
    client.ask("hold count=40", "holding");
    producer.ask("publish count=10 size=1000", "published");
    let received = client.ask("receive count=10", "received");
    assert_eq!(received.number("missed"), 0, "{received}");
    client.ask("check-held", "heard");
    client.ask("release count=40", "heard");
}

#[test]
fn clients_share_the_frames_beyond_their_leases() {
    let place = Place::new();
    let mut producer = producer(&place, "slot-size=100000");
    let mut clients: Vec<Peer> = (0..4).map(|_| connected(&place, "leases=2")).collect();
    for client in &mut clients {
        client.ask("request leases=2 backlog=40", "granted");
    }
    let slots = stats(&mut producer).number("slots");
    // 2 for the producer, 2 for each client, and 38 beyond these; a few more are made at the same
    // time.
    assert!((48..100).contains(&slots), "{slots} slots");
    producer.ask("publish count=40 size=1000", "published");
    for client in &mut clients {
        let received = client.ask("receive count=40", "received");
        assert_eq!(received.number("missed"), 0, "{received}");
    }
}

#[test]
fn memory_is_released_when_the_clients_that_need_it_have_left() {
    let place = Place::new();
    let mut producer = producer(&place, "slot-size=1000000");
    let mut first = connected(&place, "leases=2");
    let before = stats(&mut producer).number("bytes");
    let mut clients: Vec<Peer> = (0..3).map(|_| connected(&place, "leases=2")).collect();
    for client in &mut clients {
        client.ask("request leases=20 backlog=60", "granted");
    }
    let with = stats(&mut producer).number("bytes");
    assert!(with > before + 80_000_000, "{with} bytes");
    producer.ask("publish count=100 size=1000", "published");
    // Whichever way they leave: one sends a Bye, one is killed, one requests less.
    clients[0].end();
    clients[1].kill();
    clients[2].ask("request leases=2 backlog=2", "granted");
    producer.ask("publish count=100 size=1000", "published");
    until_stats(&mut producer, "the memory is released", |stats| {
        stats.number("bytes") <= before + 70_000_000 && stats.number("departed") == 0
    });
    let left = stats(&mut producer).number("bytes");
    until("the mappings are gone", || {
        mapped(&producer) as u64 <= left + 4096
    });
    let received = first.ask("receive count=4", "received");
    assert_eq!(received.number("count"), 4);
}

#[test]
fn a_budget_bounds_what_clients_get() {
    let place = Place::new();
    let mut producer = producer(&place, "slot-size=1000000 max-bytes=40000000");
    let mut client = connected(&place, "leases=2");
    let granted = client.ask("request leases=2 backlog=100 least=30", "granted");
    let backlog = granted.number("backlog");
    assert_eq!(backlog, granted.number("most"), "{granted}");
    assert!((30..=38).contains(&backlog), "{granted}");
    // The first leases of the next client have priority.
    let _second = connected(&place, "leases=10");
    let most = backlog - 10;
    let request = format!("request leases=2 backlog=99 least=20 most={most}");
    client.ask(&request, "granted");
    producer.ask("publish count=100 size=1000", "published");
    until_stats(&mut producer, "the budget is kept", |stats| {
        stats.number("bytes") <= 40_000_000
    });
    // A client that does not fit is told which limit applies.
    let mut refused = Peer::start(PEER, &place, "client channel=cam0 leases=60");
    refused.wait_for("ready");
    let answer = refused.ask("connect", "failed").to_string();
    assert!(answer.contains("max_bytes"), "{answer}");
}

#[test]
fn memory_that_a_client_keeps_counts_until_it_is_released() {
    let place = Place::new();
    let mut producer = producer(&place, "slot-size=1000000");
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
    let _producer = producer(&place, "slot-size=1000");
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
    let mut producer = producer(&place, "slot-size=100000");
    let mut other = connected(&place, "leases=2");
    let client = Connection::open(&place.socket("cam0"));
    let welcome = client.greet(wire::VERSION, 2);
    client.say_ready(&welcome.fds[1]);
    client.receive_kind(wire::JOINED);
    for number in 1..=200 {
        let quota = [(1, 1), (200, 300), (2, 4000), (7, 9)][number as usize % 4];
        let _ = client.send(&request(number, quota.0, quota.1), &[]);
    }
    producer.ask("publish count=500 size=1000 period-us=200", "published");
    let received = other.ask("receive count=2", "received");
    assert_eq!(received.number("count"), 2);
    drop(client);
    until_stats(&mut producer, "the client is gone", |stats| {
        stats.number("clients") == 1
    });
}
