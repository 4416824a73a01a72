//! Which clients a producer accepts and refuses, and what that costs.

use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use xmem_core::{Error, Publisher, Subscriber};
use xmem_tests::wire::{self, Connection};
use xmem_tests::{
    Client, ClientOrder, PATIENCE, Place, Producer, ProducerOrder, is_torture, pattern, process,
    until,
};

#[test]
fn one_client_too_many_is_refused_until_another_leaves() {
    let place = Place::new();
    let _producer = Producer::start(&place, "max-clients=2");
    let mut clients: Vec<Client> = (0..3).map(|_| Client::start(&place, "")).collect();
    clients[0].connect();
    clients[1].connect();
    clients[2].order(ClientOrder::Connect);
    let refused = clients[2].next_line();
    assert_eq!(refused.text("kind"), "Refused");
    assert_eq!(refused.text("retryable"), "true");
    assert!(refused.text("text").contains("max_clients"), "{refused}");
    clients[0].kill();
    until("the client is gone, so another one fits", || {
        clients[2].order(ClientOrder::Connect);
        clients[2].next_line().word == "connected"
    });
}

#[test]
fn a_client_that_times_out_waiting_for_a_place_gets_the_reason() {
    let place = Place::new();
    // The producer is full, and then too slow even to answer.
    let listener = wire::listen(&place.socket("cam0"));
    let error = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            Subscriber::builder(place.channel("cam0"))
                .retry_refused(true)
                .connect_timeout(Some(Duration::from_secs(1)))
                .connect()
                .unwrap_err()
        });
        let first = wire::accept(&listener);
        first.receive().expect("a hello");
        let mut full = 0u64.to_le_bytes().to_vec();
        full.extend(2u64.to_le_bytes());
        full.extend(b"raise max_clients");
        first.send(&wire::message(wire::BYE, &full), &[]).unwrap();
        drop(first);
        let second = wire::accept(&listener);
        let error = client.join().unwrap();
        drop(second);
        error
    });
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert!(error.to_string().contains("max_clients"), "{error}");
}

#[test]
fn a_client_whose_leases_do_not_fit_is_told_which_setting_to_raise() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "slots=3 max-slots=10");
    let _fits = Client::connected(&place, "leases=5");
    let mut wants_more = Client::start(&place, "leases=3");
    let refused = wants_more.outcome(ClientOrder::Connect);
    assert_eq!(refused.text("kind"), "Refused");
    assert_eq!(refused.text("retryable"), "true");
    for word in ["max_slots", "10", "11"] {
        assert!(refused.text("text").contains(word), "{refused}");
    }
    let _fits_too = Client::connected(&place, "leases=2");
    producer.publish(1, 1000);
    assert_eq!(producer.stats().number("slots"), 10);
}

#[test]
fn memory_is_made_for_connected_clients_and_not_for_the_maximum() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0"))
        .max_clients(16)
        .slots(3)
        .slot_size(8192)
        .open()
        .unwrap();
    let figures = || {
        let stats = publisher.stats();
        (stats.slots, stats.bytes)
    };
    assert_eq!(figures(), (3, 3 * 8192));
    let mut first = Client::connected(&place, "leases=4");
    assert_eq!(figures(), (7, 7 * 8192));
    let mut second = Client::connected(&place, "leases=6");
    assert_eq!(figures(), (13, 13 * 8192));
    // The memory that was made for one client serves the next.
    second.kill();
    until("the client is gone", || publisher.num_clients() == 1);
    let mut third = Client::connected(&place, "leases=5");
    assert_eq!(figures(), (13, 13 * 8192));
    // Connected clients get all memory, and all frames in it.
    for number in 0..26 {
        pattern::publish(&publisher, number, 8000, 0).unwrap();
        first.receive(1);
        third.receive(1);
    }
    assert_eq!(figures(), (13, 13 * 8192));
}

/// For this process, which has one end of each connection.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("any process may raise its limit to the maximum");
}

#[test]
fn silent_connections_do_not_disturb_others_and_are_closed() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "slots=50");
    let mut receiver = Client::connected(&place, "");
    producer.ask(ProducerOrder::WaitForClients(1));
    let before = process::socket_count(producer.pid());
    let count = if is_torture() { 1000 } else { 100 };
    raise_descriptor_limit();
    let silent: Vec<Connection> = (0..count)
        .map(|_| Connection::open(&place.socket("cam0")))
        .collect();
    // Meanwhile other clients stay connected, and new ones are accepted.
    for _ in 0..10 {
        producer.publish(50, 1000);
        receiver.receive_all(50);
        // At most 64 connections can be open that have not sent a Hello. Some are opened and closed
        // while they are counted.
        assert!(process::socket_count(producer.pid()) <= before + 128);
    }
    let mut late = Client::connected(&place, "");
    late.receive(1);
    // Each costs the producer a descriptor or two, for a limited time.
    for connection in &silent {
        assert!(connection.receive().is_none());
    }
    late.kill();
    until("the producer has closed its descriptors of them", || {
        process::socket_count(producer.pid()) == before
    });
}

/// The answer of a producer to a first message.
fn answer_to(message: &[u8]) -> String {
    let place = Place::new();
    let mut producer = Producer::start(&place, "");
    let connection = Connection::open(&place.socket("cam0"));
    connection.send(message, &[]).unwrap();
    let reason = connection.receive().expect("a reason").reason();
    assert!(connection.receive().is_none(), "the connection is closed");
    // The producer still works.
    producer.publish(1, 10);
    let mut client = Client::connected(&place, "");
    client.receive(1);
    reason
}

#[test]
fn a_hello_that_is_garbage_is_refused_with_a_reason() {
    let garbage: Vec<u8> = (0..100).collect();
    assert!(answer_to(&garbage).contains("says"), "lengths differ");
    let not_ours = wire::message(wire::HELLO, &[7; 64]);
    assert!(answer_to(&not_ours).contains("not one of xmem"));
    assert!(answer_to(&wire::message(99, b"?")).contains("99"));
    assert!(answer_to(&wire::hello(wire::VERSION, 0)).contains("leases"));
    assert!(answer_to(&wire::hello(wire::VERSION, 100_000)).contains("leases"));
    assert!(answer_to(&vec![1; 60_000]).contains("too long"));
    let welcome = wire::message(wire::WELCOME, &[1; 24]);
    assert!(!answer_to(&welcome).is_empty());
}

#[test]
fn another_version_is_refused_and_both_are_named() {
    let reason = answer_to(&wire::hello(wire::VERSION + 6, 4));
    let [theirs, ours] = [wire::VERSION + 6, wire::VERSION];
    for word in [format!("version {theirs}"), format!("version {ours}")] {
        assert!(reason.contains(&word), "{reason}");
    }
}

#[test]
fn a_client_names_both_versions_when_the_producer_has_another() {
    let place = Place::new();
    let listener = wire::listen(&place.socket("cam0"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let client = wire::accept(&listener);
            client.receive().expect("a hello");
            let mut body = 9u32.to_le_bytes().to_vec();
            body.extend([1; 20]);
            client
                .send(&wire::message(wire::WELCOME, &body), &[])
                .unwrap();
        });
        let error = Subscriber::builder(place.channel("cam0"))
            .connect()
            .unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{error}");
        assert!(!error.is_retryable());
        for word in ["version 9".into(), format!("version {}", wire::VERSION)] {
            assert!(error.to_string().contains(&word), "{error}");
        }
    });
}

#[test]
fn the_socket_of_another_program_is_not_worth_another_try() {
    let place = Place::new();
    let listener = std::os::unix::net::UnixListener::bind(place.socket("cam0")).unwrap();
    let error = Subscriber::builder(place.channel("cam0"))
        .connect()
        .unwrap_err();
    assert!(matches!(error, Error::BadPath { .. }), "{error}");
    assert!(!error.is_retryable());
    let error = Publisher::builder(place.channel("cam0")).open().err();
    assert!(matches!(error, Some(Error::BadPath { .. })), "{error:?}");
    drop(listener);
}

#[test]
fn a_client_that_breaks_the_protocol_is_evicted_and_others_stay() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0")).open().unwrap();
    let mut other = Client::connected(&place, "");
    for number in 0..20 {
        let hostile = Connection::open(&place.socket("cam0"));
        let welcome = hostile.greet(wire::VERSION, 4);
        assert_eq!(welcome.kind, wire::WELCOME);
        // A client is counted after it has mapped its lease page.
        assert_eq!(publisher.num_clients(), 1);
        hostile.join(&welcome.fds[1]);
        assert_eq!(publisher.num_clients(), 2);
        hostile.send(&wire::hello(wire::VERSION, 4), &[]).unwrap();
        let reason = hostile.receive_kind(wire::BYE).reason();
        assert!(reason.contains("can't send"), "{reason}");
        assert!(hostile.receive().is_none());
        // What it holds stays leased until it closes the connection.
        assert_eq!(publisher.num_clients(), 2);
        drop(hostile);
        until("the client is gone", || publisher.num_clients() == 1);
        pattern::publish(&publisher, number, 1000, 0).unwrap();
        other.receive(1);
    }
}

/// A segment costs the producer a descriptor. Clients that connect one by one, each with one lease
/// more than there are slots, would otherwise use up all descriptors.
#[test]
fn clients_that_come_one_by_one_make_few_segments() {
    const CLIENTS: usize = 100;
    const FEW: usize = 25;
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0"))
        .max_clients(CLIENTS as u32)
        .slots(2)
        .slot_size(1000)
        .open()
        .unwrap();
    let join = || {
        let connection = Connection::open(&place.socket("cam0"));
        let welcome = connection.greet(wire::VERSION, 1);
        connection.join(&welcome.fds[1]);
        connection
    };
    let clients: Vec<_> = (0..CLIENTS).map(|_| join()).collect();
    let stats = publisher.stats();
    assert!(stats.slots as usize > CLIENTS, "{stats:?}");
    assert!(stats.segments < FEW, "{stats:?}");
    // Further clients need no more segments.
    drop(clients);
    until("the clients are gone", || publisher.num_clients() == 0);
    let _clients: Vec<_> = (0..CLIENTS).map(|_| join()).collect();
    assert_eq!(publisher.stats().bytes, stats.bytes);
}

/// The same for the extra bytes of frames that clients hold.
#[test]
fn extra_bytes_of_many_frames_are_in_few_segments() {
    const FRAMES: u64 = 500;
    const FEW: usize = 40;
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0"))
        .slots(FRAMES as u32 + 1)
        .slot_size(1000)
        .open()
        .unwrap();
    // The client receives nothing, so the frames stay.
    let _client = Subscriber::builder(place.channel("cam0"))
        .connect()
        .unwrap();
    for number in 0..FRAMES {
        pattern::publish(&publisher, number, 1000, 1000).unwrap();
    }
    let before = publisher.stats();
    assert!(before.segments < FEW, "{before:?}");
    // A frame with very many extra bytes gets memory of its own.
    let many = 16 << 20;
    pattern::publish(&publisher, FRAMES, 1000, many).unwrap();
    let made = publisher.stats().bytes - before.bytes;
    assert!(
        (many as u64..2 * many as u64).contains(&made),
        "{made} bytes"
    );
}

/// Pieces for extra bytes lie in one segment, which exists as long as a frame that is being written
/// has one of them.
#[test]
fn extra_bytes_stay_valid_when_another_frame_needs_more() {
    let place = Place::new();
    let builder = Publisher::builder(place.channel("cam0"));
    let publisher = builder.slots(4).slot_size(1000).open().unwrap();
    let mut client = Subscriber::builder(place.channel("cam0"))
        .connect()
        .unwrap();
    let mut first = publisher.acquire(1000).unwrap();
    let mut second = publisher.acquire(1000).unwrap();
    for round in 0..6 {
        pattern::fill(&mut first, 2 * round, 1000).unwrap();
        pattern::fill(&mut second, 2 * round + 1, 100_000 << round).unwrap();
        let (one, other) = (first.publish().unwrap(), second.publish().unwrap());
        drop((one, other));
        for _ in 0..2 {
            pattern::check(&client.receive(Some(PATIENCE)).unwrap()).unwrap();
        }
        first = publisher.acquire(1000).unwrap();
        second = publisher.acquire(1000).unwrap();
    }
}
