//! Many clients that connect and leave all the time, and many channels in one process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use xmem_core::{Publisher, Subscriber};
use xmem_tests::{PATIENCE, Place, is_torture, pattern, process, until};

const CLIENTS: u32 = 64;
const SIZE: usize = 1000;

fn publish(publisher: &Publisher, number: u64) {
    let mut frame = publisher.acquire(SIZE).expect("a slot");
    pattern::fill(&mut frame, number, 0).expect("a record");
    frame.publish().expect("a channel");
}

/// Receives `count` frames, whole and in order.
fn receive(client: &mut Subscriber, count: usize) {
    let mut next = 0;
    for _ in 0..count {
        let frame = client.receive(Some(PATIENCE)).expect("a frame");
        pattern::check(&frame).expect("a whole frame");
        assert!(frame.seq() >= next, "{} came again", frame.seq());
        next = frame.seq() + 1;
    }
}

#[test]
fn a_crowd_that_comes_and_goes_does_not_disturb_others() {
    let visits = if is_torture() { 100 } else { 5 };
    let place = Place::new();
    // One client more than the crowd, and those that have just left.
    let publisher = Publisher::builder(place.channel("cam0"))
        .slot_size(SIZE)
        .max_clients(126)
        .open()
        .expect("a channel");
    let (connect, over) = (
        |leases| {
            let builder = Subscriber::builder(place.channel("cam0")).leases(leases);
            let builder = builder.connect_timeout(Some(PATIENCE)).retry_refused(true);
            builder.connect().expect("a connection")
        },
        AtomicBool::new(false),
    );
    let mut resident = connect(4);
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| {
            let mut number = 0;
            while !over.load(Ordering::Relaxed) {
                publish(&publisher, number);
                number += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            publisher.end_stream();
            number
        });
        let crowd: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..visits {
                        receive(&mut connect(1), 2);
                    }
                })
            })
            .collect();
        let stays = scope.spawn(|| {
            let (mut frames, mut missed) = (0, 0);
            while let Ok(frame) = resident.receive(Some(PATIENCE)) {
                pattern::check(&frame).expect("a whole frame");
                frames += 1;
                missed += frame.missed();
            }
            (frames, missed)
        });
        let crowd: Vec<_> = crowd.into_iter().map(|client| client.join()).collect();
        over.store(true, Ordering::Relaxed);
        let published = producer.join().expect("the thread does not panic");
        let (frames, missed) = stays.join().expect("the thread does not panic");
        println!("{published} published, the resident received {frames} and missed {missed}");
        assert_eq!(frames + missed, published);
        crowd
            .into_iter()
            .for_each(|client| client.expect("the thread does not panic"));
    });
    drop(resident);
    until("all clients are gone", || publisher.num_clients() == 0);
    // Two slots of the producer, those of the resident client, and those of the largest crowd.
    let slots = publisher.stats().slots;
    assert!(slots <= 2 + 4 + 126, "{slots} slots");
}

#[test]
fn many_channels_share_a_process() {
    let place = Place::new();
    let channels = 0..32;
    let name = |number| place.channel(&format!("cam{number}"));
    let fds = process::fd_count(std::process::id());
    std::thread::scope(|scope| {
        for number in channels {
            let channel = name(number);
            scope.spawn(move || {
                let publisher = Publisher::builder(channel.clone())
                    .open()
                    .expect("a channel");
                let mut client = Subscriber::builder(channel)
                    .connect()
                    .expect("a connection");
                for number in 0..100 {
                    publish(&publisher, number);
                    receive(&mut client, 1);
                }
            });
        }
    });
    assert_eq!(place.files(), [""; 0]);
    // Other tests in this process also open and close descriptors.
    until("no descriptor is left", || {
        process::fd_count(std::process::id()) <= fds
    });
}
