//! `RLIMIT_NOFILE` is reached. A process that needs a descriptor gets an error that names this
//! limit, nothing is left of the failed operation, all other processes continue, and the operation
//! succeeds once descriptors are free.

use std::os::unix::net::UnixListener;

use rustix::process::Resource;
use xmem_tests::limits::{leave_descriptors, lower};
use xmem_tests::wire::Connection;
use xmem_tests::{Line, Peer, Place, process, until};

const PEER: &str = env!("CARGO_BIN_EXE_xmem-test-peer");

/// More descriptors than any operation in these tests needs, so each test ends.
const MANY: usize = 30;

fn start(place: &Place, arguments: &str) -> Peer {
    let mut peer = Peer::start(PEER, place, arguments);
    let greeting = if arguments.starts_with("producer") {
        "opened"
    } else {
        "ready"
    };
    peer.wait_for(greeting);
    process::until_asleep(peer.pid(), "worker");
    peer
}

/// Connects, and waits until the producer has closed the descriptors that it sent.
fn connect(client: &mut Peer, producer: &Peer) {
    client.ask("connect", "connected");
    process::until_asleep(producer.pid(), "xmem-control");
}

/// Checks that the error text is enough for a person to solve the problem.
fn says(failed: &Line, kind: &str) {
    assert_eq!(failed.text("kind"), kind, "{failed}");
    assert_eq!(failed.text("retryable"), "true", "{failed}");
    for word in ["too many open files", "RLIMIT_NOFILE", "ulimit -n"] {
        assert!(failed.text("text").contains(word), "{failed}");
    }
}

/// The resources of an idle process: descriptors, mappings of xmem, threads.
fn belongings(pid: u32) -> (usize, usize, usize) {
    let maps = process::maps(pid, "xmem-").len();
    (
        process::fd_count(pid),
        maps,
        process::thread_states(pid).len(),
    )
}

/// Repeats an order, each time with one more free descriptor, until it succeeds. Checks each error
/// and that nothing is left after it. Returns how many times it failed.
fn until_there_is_room(peer: &mut Peer, order: &str, done: &str) -> usize {
    let before = belongings(peer.pid());
    for room in 0..MANY {
        let limit = leave_descriptors(peer.pid(), room);
        peer.order(order);
        let answer = peer.next_line();
        drop(limit);
        if answer.word == done {
            return room;
        }
        says(&answer, "ResourceExhausted");
        until("nothing is left", || belongings(peer.pid()) == before);
    }
    panic!("{order} does not succeed with {MANY} descriptors");
}

#[test]
fn a_producer_opens_with_the_descriptors_it_needs_and_not_with_less() {
    let place = Place::new();
    let mut producer = start(&place, "opener channel=cam0 slot-size=10000");
    // A failure leaves no file either: the next attempt would find it in use, or replace it.
    assert!(until_there_is_room(&mut producer, "open", "opened") >= 3);
    assert_eq!(place.files(), ["cam0.sock"]);
    let mut client = start(&place, "client channel=cam0");
    client.ask("connect", "connected");
    producer.ask("publish", "published");
    client.ask("receive count=1", "received");
}

#[test]
fn a_producer_that_can_not_take_over_a_dead_socket_leaves_it_alone() {
    let place = Place::new();
    // A socket of the kind that xmem makes, without a listener.
    drop(UnixListener::bind(place.socket("cam0")).expect("a socket"));
    let mut producer = start(&place, "opener channel=cam0");
    assert!(until_there_is_room(&mut producer, "open", "opened") >= 3);
    assert_eq!(place.files(), ["cam0.sock"]);
    let mut client = start(&place, "client channel=cam0");
    client.ask("connect", "connected");
}

#[test]
fn a_client_connects_with_the_descriptors_it_needs_and_not_with_less() {
    let place = Place::new();
    let mut producer = start(&place, "producer channel=cam0 slot-size=10000");
    let mut other = start(&place, "client channel=cam0");
    connect(&mut other, &producer);
    let mut client = start(&place, "client channel=cam0");
    assert!(until_there_is_room(&mut client, "connect", "connected") >= 3);
    until("the failed connections are gone", || {
        producer.ask("stats", "stats").number("clients") == 2
    });
    producer.ask("publish count=10 size=1000", "published");
    for client in [&mut client, &mut other] {
        let received = client.ask("receive count=10", "received");
        assert_eq!(received.number("missed"), 0);
    }
}

#[test]
fn a_client_waits_for_a_producer_with_the_descriptors_it_needs() {
    let place = Place::new();
    let mut client = start(&place, "client channel=cam0 timeout-ms=1");
    let before = belongings(client.pid());
    for room in 0..MANY {
        let limit = leave_descriptors(client.pid(), room);
        client.order("connect");
        let answer = client.next_line();
        drop(limit);
        // It is closed by a thread of its own.
        until("nothing is left", || belongings(client.pid()) == before);
        if answer.text("kind") == "NoProducer" {
            // The eventfd and the socket. Without an inotify instance the client polls.
            assert_eq!(room, 2);
            return;
        }
        says(&answer, "ResourceExhausted");
    }
    panic!("it does not wait with {MANY} descriptors");
}

#[test]
fn a_producer_without_descriptors_tells_new_clients_and_serves_the_others() {
    let place = Place::new();
    let mut producer = start(&place, "producer channel=cam0 slot-size=10000");
    let mut old = start(&place, "client channel=cam0");
    connect(&mut old, &producer);
    let mut new = start(&place, "client channel=cam0");
    let before = belongings(producer.pid());
    let mut refusals = 0;
    for room in 0..MANY {
        let limit = leave_descriptors(producer.pid(), room);
        new.order("connect");
        let answer = new.next_line();
        producer.ask("publish count=5 size=1000", "published");
        let received = old.ask("receive count=5", "received");
        assert_eq!(received.number("missed"), 0);
        drop(limit);
        if answer.word == "connected" {
            break;
        }
        says(&answer, "Refused");
        assert!(answer.text("text").contains("producer"), "{answer}");
        refusals += 1;
        until("nothing is left", || belongings(producer.pid()) == before);
    }
    assert!(refusals > 2, "{refusals} refusals");
    new.ask("receive count=1", "received");
}

#[test]
fn a_client_that_could_not_be_answered_connects_once_descriptors_are_free() {
    let place = Place::new();
    let mut producer = start(&place, "producer channel=cam0 slot-size=1000");
    let mut old = start(&place, "client channel=cam0");
    connect(&mut old, &producer);
    let connected = process::socket_count(producer.pid());
    let limit = leave_descriptors(producer.pid(), 0);
    // A connection that sends nothing uses the one descriptor that is reserved for this case.
    let silent = Connection::open(&place.socket("cam0"));
    until("the connection was accepted", || {
        process::socket_count(producer.pid()) > connected
    });
    let mut new = start(&place, "client channel=cam0");
    new.order("connect");
    producer.ask("publish count=5 size=1000", "published");
    old.ask("receive count=5", "received");
    drop(limit);
    new.wait_for("connected");
    drop(silent);
    new.ask("receive count=1", "received");
}

#[test]
fn a_client_without_descriptors_for_new_memory_gets_an_error_and_can_reconnect() {
    let place = Place::new();
    let mut producer = start(&place, "producer channel=cam0 slot-size=1000");
    let mut clients: Vec<Peer> = (0..2)
        .map(|_| start(&place, "client channel=cam0"))
        .collect();
    for client in &mut clients {
        connect(client, &producer);
    }
    let limit = leave_descriptors(clients[0].pid(), 0);
    producer.ask("publish count=1 size=100000", "published");
    clients[0].order("receive count=1");
    // The client takes the order first and answers it later.
    assert_eq!(clients[0].next_line().word, "receiving");
    says(&clients[0].next_line(), "ResourceExhausted");
    drop(limit);
    clients[0].ask("connect", "connected");
    producer.ask("publish count=4 size=100000", "published");
    // A client that reconnects receives the newest frame first.
    for client in &mut clients {
        let received = client.ask("receive count=5", "received");
        assert_eq!(received.number("missed"), 0);
        assert_eq!(received.number("next"), 5);
    }
}

#[test]
fn a_producer_without_descriptors_goes_on_with_the_memory_it_has() {
    let place = Place::new();
    let mut producer = start(&place, "producer channel=cam0 slot-size=1000");
    let mut client = start(&place, "client channel=cam0");
    connect(&mut client, &producer);
    let before = belongings(producer.pid());
    let long = "x".repeat(40_000);
    let wishes = [
        // Larger slots, memory for extra bytes, memory for a format.
        ("publish count=1 size=100000", "published"),
        ("publish count=1 size=1000 extra=100000", "published"),
        (&format!("format text={long}"), "formatted"),
    ];
    for (wish, _) in wishes {
        for room in 0..2 {
            let limit = leave_descriptors(producer.pid(), room);
            producer.order(wish);
            says(&producer.next_line(), "ResourceExhausted");
            producer.ask("publish count=5 size=1000", "published");
            let received = client.ask("receive count=5", "received");
            assert_eq!(received.number("missed"), 0);
            drop(limit);
            assert_eq!(belongings(producer.pid()), before);
        }
    }
    for (wish, done) in wishes {
        producer.ask(wish, done);
    }
    producer.ask("publish count=1 size=1000", "published");
    client.ask("receive count=3", "received");
}

#[test]
fn a_limit_below_what_is_in_use_ends_no_stream() {
    let place = Place::new();
    let mut producer = start(&place, "producer channel=cam0 slot-size=1000");
    let mut old = start(&place, "client channel=cam0");
    connect(&mut old, &producer);
    // Below this limit not even `poll` works with the open descriptors.
    let limit = lower(producer.pid(), Resource::Nofile, 2);
    let mut new = start(&place, "client channel=cam0");
    new.order("connect");
    for _ in 0..100 {
        producer.ask("publish count=1 size=1000", "published");
        old.ask("receive count=1", "received");
    }
    drop(limit);
    new.wait_for("connected");
    new.ask("receive count=1", "received");
    producer.ask("close", "closed");
}
