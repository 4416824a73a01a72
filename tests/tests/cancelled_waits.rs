//! Every wait can be ended at once, whatever the peer does. In these tests the peer is stopped.

use std::time::{Duration, Instant};

use xmem_core::{Canceller, Error, Overflow, Publisher, Result, Subscriber};
use xmem_tests::wire::Connection;
use xmem_tests::{Client, Place, Producer, pattern, process};

/// Far longer than it takes to wake a thread, even on a busy machine. The waits themselves have no
/// timeout.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Runs `wait` in a thread with this name, cancels it once it sleeps, and checks that it ends.
fn ends_at_once<T: Send>(
    thread: &str,
    canceller: &Canceller,
    wait: impl FnOnce() -> Result<T> + Send,
) {
    std::thread::scope(|scope| {
        let waiter = std::thread::Builder::new()
            .name(thread.into())
            .spawn_scoped(scope, wait)
            .unwrap();
        let sleeps = process::falls_asleep(std::process::id(), thread);
        let start = Instant::now();
        canceller.cancel();
        assert!(sleeps, "{thread} does not wait");
        let result = waiter.join().unwrap();
        let took = start.elapsed();
        assert!(
            matches!(result, Err(Error::Cancelled)),
            "{:?}",
            result.err()
        );
        assert!(took < AT_ONCE, "{took:?}");
    });
}

fn stopped_producer(place: &Place) -> Producer {
    let producer = Producer::start(place, "");
    producer.stop();
    producer
}

#[test]
fn a_receive_ends_though_the_producer_is_stopped() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "");
    let canceller = Canceller::new();
    let mut subscriber = Subscriber::builder(place.channel("cam0"))
        .canceller(canceller.clone())
        .connect()
        .unwrap();
    producer.stop();
    ends_at_once("receive", &canceller, || subscriber.receive(None));
    // It stays cancelled until it is reset.
    assert!(matches!(subscriber.receive(None), Err(Error::Cancelled)));
    canceller.reset();
    producer.resume();
    producer.publish(1, 10);
    pattern::check(&subscriber.receive(None).unwrap()).unwrap();
    producer.stop();
    let start = Instant::now();
    drop(subscriber);
    assert!(start.elapsed() < AT_ONCE);
}

#[test]
fn a_receive_without_a_free_lease_ends() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0")).open().unwrap();
    let canceller = Canceller::new();
    let mut subscriber = Subscriber::builder(place.channel("cam0"))
        .leases(1)
        .canceller(canceller.clone())
        .connect()
        .unwrap();
    for number in 0..2 {
        pattern::publish(&publisher, number, 100, 0).unwrap();
    }
    let frame = subscriber.receive(None).unwrap();
    ends_at_once("starving", &canceller, || subscriber.receive(None));
    drop(frame);
}

#[test]
fn a_connect_ends_where_there_is_no_producer() {
    let place = Place::new();
    let canceller = Canceller::new();
    let connect = || {
        Subscriber::builder(place.channel("cam0"))
            .connect_timeout(None)
            .canceller(canceller.clone())
            .connect()
    };
    ends_at_once("no-producer", &canceller, connect);
}

#[test]
fn a_connect_ends_where_the_producer_is_stopped() {
    let place = Place::new();
    let _producer = stopped_producer(&place);
    let canceller = Canceller::new();
    let connect = || {
        Subscriber::builder(place.channel("cam0"))
            .connect_timeout(None)
            .canceller(canceller.clone())
            .connect()
    };
    ends_at_once("handshake", &canceller, connect);
}

#[test]
fn a_connect_ends_where_a_stopped_producer_has_its_backlog_full() {
    let place = Place::new();
    let _producer = stopped_producer(&place);
    let canceller = Canceller::new();
    let connect = || {
        Subscriber::builder(place.channel("cam0"))
            .connect_timeout(None)
            .canceller(canceller.clone())
            .connect()
    };
    let _full: Vec<Connection> = (0..128)
        .map(|_| Connection::open(&place.socket("cam0")))
        .collect();
    // The listener takes one more connection beyond its backlog.
    ends_at_once("backlog-1", &canceller, connect);
    canceller.reset();
    ends_at_once("backlog-2", &canceller, connect);
    canceller.reset();
    ends_at_once("backlog-3", &canceller, connect);
}

#[test]
fn a_connect_times_out_where_the_producer_is_stopped() {
    let place = Place::new();
    let _producer = stopped_producer(&place);
    let start = Instant::now();
    let timeout = Duration::from_millis(100);
    let error = Subscriber::builder(place.channel("cam0"))
        .connect_timeout(Some(timeout))
        .connect()
        .unwrap_err();
    assert!(matches!(error, Error::NoAnswer { .. }), "{error}");
    assert!(error.is_retryable());
    for word in ["cam0.sock", "100ms", "stopped", "connect_timeout"] {
        assert!(error.to_string().contains(word), "{error}");
    }
    assert!(start.elapsed() >= timeout && start.elapsed() < timeout + AT_ONCE);
}

#[test]
fn a_writer_that_waits_for_a_stopped_client_can_be_cancelled() {
    let place = Place::new();
    let canceller = Canceller::new();
    let publisher = Publisher::builder(place.channel("cam0"))
        .overflow(Overflow::Block {
            timeout: Duration::from_secs(3600),
        })
        .canceller(canceller.clone())
        .open()
        .unwrap();
    let client = Client::connected(&place, "leases=2");
    client.stop();
    for number in 0..4 {
        pattern::publish(&publisher, number, 100, 0).unwrap();
    }
    ends_at_once("acquire", &canceller, || publisher.acquire(100));
    // The same with a canceller of its own.
    canceller.reset();
    let other = Canceller::new();
    let acquire = || publisher.acquire_timeout(100, None, &other.begin()?);
    ends_at_once("acquire-other", &other, acquire);
    // Closing the publisher ends all waits at once.
    let start = Instant::now();
    drop(publisher);
    assert!(start.elapsed() < AT_ONCE);
}

#[test]
fn a_writer_that_waits_for_its_own_slots_can_be_cancelled() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0"))
        .max_slots(2)
        .open()
        .unwrap();
    let _frames = [
        publisher.acquire(10).unwrap(),
        publisher.acquire(10).unwrap(),
    ];
    let canceller = Canceller::new();
    let acquire = || publisher.acquire_timeout(10, None, &canceller.begin()?);
    ends_at_once("acquire-own", &canceller, acquire);
}

#[test]
fn a_wait_for_clients_can_be_cancelled() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0")).open().unwrap();
    let client = Client::connected(&place, "");
    client.stop();
    publisher.wait_for_clients(1, None).unwrap();
    let canceller = Canceller::new();
    let wait = || publisher.wait_for_clients_cancellable(2, None, &canceller.begin()?);
    ends_at_once("clients", &canceller, wait);
}

#[test]
fn a_close_ends_the_waits_of_a_producer() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0")).open().unwrap();
    std::thread::scope(|scope| {
        let waiter = std::thread::Builder::new()
            .name("closed".into())
            .spawn_scoped(scope, || publisher.wait_for_clients(1, None))
            .unwrap();
        process::until_asleep(std::process::id(), "closed");
        publisher.close();
        assert!(matches!(waiter.join().unwrap(), Err(Error::Stopped)));
    });
    assert!(matches!(publisher.acquire(1).err(), Some(Error::Stopped)));
}
