//! `RLIMIT_NOFILE` is reached. A process that needs a descriptor gets an error that names this
//! limit, nothing is left of the failed operation, all other processes continue, and the operation
//! succeeds once descriptors are free.

use std::os::unix::net::UnixListener;

use rustix::process::Resource;
use xmem_tests::client::Receive;
use xmem_tests::limits::{leave_descriptors, lower};
use xmem_tests::order::Order;
use xmem_tests::producer::Publish;
use xmem_tests::wire::Connection;
use xmem_tests::{
    Client, ClientOrder, Line, Opener, OpenerOrder, Peer, Place, Producer, ProducerOrder, process,
    until,
};

/// More descriptors than any operation in these tests needs, so each test ends.
const MANY: usize = 30;

fn start<O: Order>(place: &Place, settings: &str) -> Peer<O> {
    let peer = Peer::start(place, settings);
    process::until_asleep(peer.pid(), "worker");
    peer
}

/// Connects, and waits until the producer has closed the descriptors that it sent.
fn connect(client: &mut Client, producer: &Producer) {
    client.connect();
    process::until_asleep(producer.pid(), "xmem-control");
}

/// Checks that the error text is enough for a person to solve the problem.
fn says(failed: &Line, kind: &str) {
    failed.says(kind, &["too many open files", "RLIMIT_NOFILE", "ulimit -n"]);
    assert_eq!(failed.text("retryable"), "true", "{failed}");
}

/// Repeats an order, each time with one more free descriptor, until it succeeds. Checks each error
/// and that nothing is left after it. Returns how many times it failed.
fn until_there_is_room<O: Order + Clone>(peer: &mut Peer<O>, order: O) -> usize {
    let before = process::belongings(peer.pid());
    for room in 0..MANY {
        let limit = leave_descriptors(peer.pid(), room);
        let answer = peer.outcome(order.clone());
        drop(limit);
        if answer.word == order.answer() {
            return room;
        }
        says(&answer, "ResourceExhausted");
        until("nothing is left", || {
            process::belongings(peer.pid()) == before
        });
    }
    panic!("{order:?} does not succeed with {MANY} descriptors");
}

#[test]
fn a_producer_opens_with_the_descriptors_it_needs_and_not_with_less() {
    let place = Place::new();
    let mut producer: Opener = start(&place, "slot-size=10000");
    // A failure leaves no file either: the next attempt would find it in use, or replace it.
    assert!(until_there_is_room(&mut producer, OpenerOrder::Open) >= 3);
    assert_eq!(place.files(), ["cam0.sock"]);
    let mut client: Client = start(&place, "");
    client.connect();
    producer.ask(OpenerOrder::Publish);
    client.receive(1);
}

#[test]
fn a_producer_that_can_not_take_over_a_dead_socket_leaves_it_alone() {
    let place = Place::new();
    // A socket of the kind that xmem makes, without a listener.
    drop(UnixListener::bind(place.socket("cam0")).expect("a socket"));
    let mut producer: Opener = start(&place, "");
    assert!(until_there_is_room(&mut producer, OpenerOrder::Open) >= 3);
    assert_eq!(place.files(), ["cam0.sock"]);
    let mut client: Client = start(&place, "");
    client.connect();
}

#[test]
fn a_client_connects_with_the_descriptors_it_needs_and_not_with_less() {
    let place = Place::new();
    let mut producer: Producer = start(&place, "slot-size=10000");
    let mut other: Client = start(&place, "");
    connect(&mut other, &producer);
    let mut client: Client = start(&place, "");
    assert!(until_there_is_room(&mut client, ClientOrder::Connect) >= 3);
    producer.until_clients(2);
    producer.publish(10, 1000);
    for client in [&mut client, &mut other] {
        client.receive_all(10);
    }
}

#[test]
fn a_client_waits_for_a_producer_with_the_descriptors_it_needs() {
    let place = Place::new();
    let mut client: Client = start(&place, "timeout-ms=1");
    let before = process::belongings(client.pid());
    for room in 0..MANY {
        let limit = leave_descriptors(client.pid(), room);
        let answer = client.outcome(ClientOrder::Connect);
        drop(limit);
        // It is closed by a thread of its own.
        until("nothing is left", || {
            process::belongings(client.pid()) == before
        });
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
    let mut producer: Producer = start(&place, "slot-size=10000");
    let mut old: Client = start(&place, "");
    connect(&mut old, &producer);
    let mut new: Client = start(&place, "");
    let before = process::belongings(producer.pid());
    let mut refusals = 0;
    for room in 0..MANY {
        let limit = leave_descriptors(producer.pid(), room);
        let answer = new.outcome(ClientOrder::Connect);
        producer.publish(5, 1000);
        old.receive_all(5);
        drop(limit);
        if answer.word == "connected" {
            break;
        }
        says(&answer, "Refused");
        assert!(answer.text("text").contains("producer"), "{answer}");
        refusals += 1;
        until("nothing is left", || {
            process::belongings(producer.pid()) == before
        });
    }
    assert!(refusals > 2, "{refusals} refusals");
    new.receive(1);
}

#[test]
fn a_client_that_could_not_be_answered_connects_once_descriptors_are_free() {
    let place = Place::new();
    let mut producer: Producer = start(&place, "slot-size=1000");
    let mut old: Client = start(&place, "");
    connect(&mut old, &producer);
    let connected = process::socket_count(producer.pid());
    let limit = leave_descriptors(producer.pid(), 0);
    // A connection that sends nothing uses the one descriptor that is reserved for this case.
    let silent = Connection::open(&place.socket("cam0"));
    until("the connection was accepted", || {
        process::socket_count(producer.pid()) > connected
    });
    let mut new: Client = start(&place, "");
    new.order(ClientOrder::Connect);
    producer.publish(5, 1000);
    old.receive(5);
    drop(limit);
    new.wait_for("connected");
    drop(silent);
    new.receive(1);
}

#[test]
fn a_client_without_descriptors_for_new_memory_gets_an_error_and_can_reconnect() {
    let place = Place::new();
    let mut producer: Producer = start(&place, "slot-size=1000");
    let mut clients: Vec<Client> = (0..2).map(|_| start(&place, "")).collect();
    for client in &mut clients {
        connect(client, &producer);
    }
    let limit = leave_descriptors(clients[0].pid(), 0);
    producer.publish(1, 100000);
    says(&clients[0].fail_at(Receive::frames(1)), "ResourceExhausted");
    drop(limit);
    clients[0].connect();
    producer.publish(4, 100000);
    // A client that reconnects receives the newest frame first.
    for client in &mut clients {
        let received = client.receive(5);
        assert_eq!(received.number("missed"), 0);
        assert_eq!(received.number("next"), 5);
    }
}

#[test]
fn a_producer_without_descriptors_goes_on_with_the_memory_it_has() {
    let place = Place::new();
    let mut producer: Producer = start(&place, "slot-size=1000");
    let mut client: Client = start(&place, "");
    connect(&mut client, &producer);
    let before = process::belongings(producer.pid());
    let long = "x".repeat(40_000);
    let wishes = [
        // Larger slots, memory for extra bytes, memory for a format.
        Publish::frames(1, 100_000).into(),
        Publish::frames(1, 1000).extra(100_000).into(),
        ProducerOrder::Format(long),
    ];
    for wish in &wishes {
        for room in 0..2 {
            let limit = leave_descriptors(producer.pid(), room);
            says(&producer.fail_at(wish.clone()), "ResourceExhausted");
            producer.publish(5, 1000);
            client.receive_all(5);
            drop(limit);
            assert_eq!(process::belongings(producer.pid()), before);
        }
    }
    for wish in wishes {
        producer.ask(wish);
    }
    producer.publish(1, 1000);
    client.receive(3);
}

#[test]
fn a_limit_below_what_is_in_use_ends_no_stream() {
    let place = Place::new();
    let mut producer: Producer = start(&place, "slot-size=1000");
    let mut old: Client = start(&place, "");
    connect(&mut old, &producer);
    // Below this limit not even `poll` works with the open descriptors.
    let limit = lower(producer.pid(), Resource::Nofile, 2);
    let mut new: Client = start(&place, "");
    new.order(ClientOrder::Connect);
    for _ in 0..100 {
        producer.publish(1, 1000);
        old.receive(1);
    }
    drop(limit);
    new.wait_for("connected");
    new.receive(1);
    producer.ask(ProducerOrder::Close);
}
