//! Callbacks that panic. The channel ends with an error that says so, and no wait continues without
//! end.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use xmem_core::{
    Error, EventKind, ImportedMemory, Overflow, Publisher, PublisherEvent, Subscriber,
};
use xmem_tests::{PATIENCE, Place, pattern, until};

/// Checks that an error says that the channel has failed, and why.
fn says(error: &Error, why: &str) {
    assert!(matches!(error, Error::Failed(_)), "{error:?}");
    assert!(error.to_string().contains(why), "{error}");
    assert!(!error.is_retryable());
}

/// Checks that the error of a client says that its producer has failed, and why.
fn says_of_producer(error: &Error, why: &str) {
    assert!(matches!(error, Error::Disconnected(_)), "{error:?}");
    assert!(error.to_string().contains(why), "{error}");
    assert!(error.is_retryable());
}

/// Checks that the channel of a producer has ended and only the error is left.
fn has_ended(place: &Place, publisher: &Publisher, why: &str) {
    until("the channel is closed", || place.files().is_empty());
    says(&publisher.acquire(10).unwrap_err(), why);
    let said = publisher.send_event(EventKind::Passing, b"said");
    says(&said.unwrap_err(), why);
    says(&publisher.wait_for_clients(1, None).unwrap_err(), why);
    let client = Subscriber::builder(place.channel("cam0"));
    let client = client.connect_timeout(Some(Duration::ZERO)).connect();
    assert!(
        matches!(client, Err(Error::NoProducer { .. })),
        "{client:?}"
    );
    publisher.close();
    says(&publisher.acquire(10).unwrap_err(), why);
}

#[test]
fn a_producer_whose_on_event_panics_says_so_and_so_do_its_clients() {
    const WHY: &str = "on_event panicked: the second client";
    let place = Place::new();
    let clients = AtomicU32::new(0);
    let publisher = Publisher::builder(place.channel("cam0"))
        .on_event(move |event| {
            let is_client = matches!(event, PublisherEvent::ClientConnected(_));
            if is_client && clients.fetch_add(1, Ordering::Relaxed) == 1 {
                panic!("the {} client", "second");
            }
        })
        .open()
        .unwrap();
    let connect = || {
        Subscriber::builder(place.channel("cam0"))
            .connect()
            .unwrap()
    };
    let mut first = connect();
    pattern::publish(&publisher, 0, 1000, 0).unwrap();
    let in_hand = publisher.acquire(10).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| publisher.wait_for_clients(3, None));
        let mut second = connect();
        // The newest frame was published before the client joined.
        second.receive(Some(PATIENCE)).unwrap();
        says_of_producer(&second.receive(Some(PATIENCE)).unwrap_err(), WHY);
        says(&waiting.join().unwrap().unwrap_err(), WHY);
    });
    // Published frames are received first.
    pattern::check(&first.receive(Some(PATIENCE)).unwrap()).unwrap();
    says_of_producer(&first.receive(Some(PATIENCE)).unwrap_err(), WHY);
    says(&in_hand.publish().map(drop).unwrap_err(), WHY);
    has_ended(&place, &publisher, WHY);
}

#[test]
fn a_panic_of_on_event_on_the_writing_thread_is_an_error_of_the_call() {
    const WHY: &str = "on_event panicked: lagging";
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0"))
        .overflow(Overflow::Block {
            timeout: Duration::from_millis(1),
        })
        .on_event(|event| {
            if matches!(event, PublisherEvent::ClientLagging { .. }) {
                panic!("lagging");
            }
        })
        .open()
        .unwrap();
    let mut client = Subscriber::builder(place.channel("cam0"))
        .leases(1)
        .connect()
        .unwrap();
    let error = (0..100)
        .find_map(|number| pattern::publish(&publisher, number, 1000, 0).err())
        .expect("the client does not receive");
    says(&error, WHY);
    until("the client has received all", || {
        match client.receive(Some(PATIENCE)) {
            Ok(_) => false,
            Err(error) => {
                says_of_producer(&error, WHY);
                true
            }
        }
    });
    has_ended(&place, &publisher, WHY);
}

#[test]
fn a_client_whose_on_urgent_panics_says_so_and_its_producer_goes_on() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0")).open().unwrap();
    let connect = |builder: xmem_core::SubscriberBuilder| builder.connect().unwrap();
    let builder = || Subscriber::builder(place.channel("cam0"));
    let mut client = connect(builder().on_urgent(|_| panic!("urgent")));
    let mut other = connect(builder());
    pattern::publish(&publisher, 0, 1000, 0).unwrap();
    let frame = client.receive(Some(PATIENCE)).unwrap();
    std::thread::scope(|scope| {
        // A receive that waits already ends too.
        let waiting = scope.spawn(|| client.receive(None));
        publisher.send_event(EventKind::Urgent, b"said").unwrap();
        let error = waiting.join().unwrap().unwrap_err();
        says(&error, "on_urgent panicked: urgent");
    });
    // The frames that it holds stay valid.
    for number in 1..20 {
        pattern::publish(&publisher, number, 1000, 0).unwrap();
    }
    pattern::check(&frame).unwrap();
    says(
        &client.receive(None).unwrap_err(),
        "on_urgent panicked: urgent",
    );
    pattern::check(&other.receive(Some(PATIENCE)).unwrap()).unwrap();
    drop((frame, client));
    until("the client is gone", || publisher.num_clients() == 1);
}

#[test]
fn a_client_whose_on_starved_panics_says_so() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0")).open().unwrap();
    let mut client = Subscriber::builder(place.channel("cam0"))
        .leases(1)
        .on_starved(|| panic!("starved"))
        .connect()
        .unwrap();
    pattern::publish(&publisher, 0, 1000, 0).unwrap();
    pattern::publish(&publisher, 1, 1000, 0).unwrap();
    let frame = client.receive(Some(PATIENCE)).unwrap();
    for _ in 0..2 {
        let error = client.receive(None).unwrap_err();
        says(&error, "on_starved panicked: starved");
    }
    drop(publisher);
    pattern::check(&frame).unwrap();
    says(
        &client.receive(None).unwrap_err(),
        "on_starved panicked: starved",
    );
}

/// Memory that panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("given back");
    }
}

#[test]
fn a_producer_whose_memory_panics_when_it_is_released_says_so() {
    const WHY: &str = "giving memory back panicked: given back";
    let fd: OwnedFd = memfd_create("bomb", MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, 4096).unwrap();
    let memory = ImportedMemory::new(fd.as_fd()).unwrap();
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0")).open().unwrap();
    let mut client = Subscriber::builder(place.channel("cam0"))
        .connect()
        .unwrap();
    // Several of them, and each drop panics.
    for _ in 0..3 {
        publisher
            .import_frame(&memory, 0..100, Bomb)
            .unwrap()
            .publish()
            .unwrap();
    }
    let held = client.receive(Some(PATIENCE)).unwrap();
    let mut end = None;
    until("the other memory is dropped", || {
        // As soon as the client has passed the frames.
        end = end.take().or(client.receive(Some(Duration::ZERO)).err());
        let _ = publisher.reclaim(|| false);
        end = end.take().filter(|end| !matches!(end, Error::TimedOut));
        end.is_some()
    });
    let error = end.expect("the channel has ended");
    says_of_producer(&error, WHY);
    has_ended(&place, &publisher, WHY);
    drop(publisher);
    // The last one is held by a client, and dropped by a thread that no other thread waits for.
    drop((held, client));
}
