//! Frames arrive as they were published: bytes, record, format and extra bytes, in segments that
//! are made and replaced.

use std::time::Duration;

use xmem_core::{Error, Publisher, Subscriber};
use xmem_tests::client::Receive;
use xmem_tests::producer::Publish;
use xmem_tests::{
    Client, ClientOrder, PATIENCE, Place, Producer, ProducerOrder, pattern, process, until,
};

#[test]
fn every_frame_arrives_exactly_as_it_was_published() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "slots=2 name=maker");
    let mut subscriber = Subscriber::builder(place.channel("cam0"))
        .connect()
        .unwrap();
    let sizes = [100, 1, 0, 4095, 4096, 4097, 100_003, 7, 1 << 20, 640];
    let extras = [0, 1, 639, 640, 641, 5000, 100_000, 0];
    let mut number = 0;
    for size in sizes {
        for extra in extras {
            let format = format!("format/{}, pad={}", number / 3, "x".repeat(extra / 10));
            producer.ask(ProducerOrder::Format(format.clone()));
            producer.ask(Publish::frames(1, size).extra(extra));
            let frame = subscriber.receive(Some(PATIENCE)).unwrap();
            assert_eq!(frame.seq(), number);
            assert_eq!(frame.missed(), 0);
            assert_eq!(frame.payload().unwrap().len(), size);
            assert_eq!(frame.meta().extra_len() as usize, extra);
            assert_eq!(
                frame.format().map(|bytes| &**bytes),
                Some(format.as_bytes())
            );
            if number % 2 == 0 {
                assert_eq!(frame.meta().producer(), "maker");
            }
            pattern::check(&frame).unwrap();
            number += 1;
        }
    }
    assert_eq!(subscriber.missed(), 0);
}

#[test]
fn a_format_longer_than_a_message_arrives() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0")).open().unwrap();
    let mut subscriber = Subscriber::builder(place.channel("cam0"))
        .connect()
        .unwrap();
    for length in [32_000, 33_000, 1_000_000] {
        let format: String = (0..length)
            .map(|at| char::from(b'a' + at as u8 % 26))
            .collect();
        publisher.set_format(&format).unwrap();
        publisher.acquire(1).unwrap().publish().unwrap();
        let frame = subscriber.receive(Some(PATIENCE)).unwrap();
        assert!(
            frame
                .format()
                .is_some_and(|bytes| **bytes == *format.as_bytes())
        );
    }
}

/// Producers of compressed streams publish empty frames too.
#[test]
fn the_first_frame_may_be_empty() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "");
    let mut subscriber = Subscriber::builder(place.channel("cam0"))
        .connect()
        .unwrap();
    producer.publish(1, 0);
    pattern::check(&subscriber.receive(Some(PATIENCE)).unwrap()).unwrap();
    producer.publish(1, 10);
    pattern::check(&subscriber.receive(Some(PATIENCE)).unwrap()).unwrap();
}

#[test]
fn a_client_that_starts_first_receives_every_frame() {
    let place = Place::new();
    let mut client = Client::start(&place, "");
    client.order(ClientOrder::Connect);
    process::until_asleep(client.pid(), "worker");
    let mut producer = Producer::start(&place, "slots=20");
    client.wait_for("connected");
    producer.ask(Publish::frames(20, 5000).extra(30));
    let received = client.receive(20);
    assert_eq!(
        (received.number("first"), received.number("missed")),
        (0, 0)
    );
}

#[test]
fn a_client_that_joins_gets_the_newest_frame_at_once() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "slots=20");
    producer.publish(10, 5000);
    for _ in 0..2 {
        let mut client = Client::connected(&place, "");
        let received = client.receive(1);
        assert_eq!(
            (received.number("first"), received.number("missed")),
            (9, 0)
        );
    }
}

#[test]
fn larger_frames_take_a_new_segment_and_the_old_one_goes() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0")).open().unwrap();
    let mut client = Client::connected(&place, "leases=4");

    let mut number = 0;
    let mut publish_and_receive = |client: &mut Client, size: usize, count: u64| {
        for _ in 0..count {
            pattern::publish(&publisher, number, size, 100).unwrap();
            number += 1;
            client.receive(1);
        }
    };
    let shared = |client: &Client| -> usize {
        let maps = process::maps(client.pid(), "xmem-payload");
        maps.iter().map(|map| map.len).sum()
    };

    // Small, then larger, then much larger, then small again: the small frames fit the large slots.
    publish_and_receive(&mut client, 4096, 12);
    let small = publisher.stats();
    assert_eq!((small.segments, small.slots), (1, 2 + 4));
    assert_eq!(small.bytes, 6 * 4096);
    for size in [16_384, 1 << 20] {
        publish_and_receive(&mut client, size, 1);
        // The client holds a frame of the old segments, so these stay.
        publish_and_receive(&mut client, size, 12);
        let stats = publisher.stats();
        assert_eq!((stats.segments, stats.slots), (1, 6), "{stats:?}");
        assert_eq!(stats.bytes, 6 * size as u64);
        until("the client has unmapped the old segments", || {
            shared(&client) == 6 * size
        });
    }
    publish_and_receive(&mut client, 3000, 12);
    let stats = publisher.stats();
    assert_eq!((stats.segments, stats.bytes), (1, 6 << 20));
}

/// Slots start at page boundaries, so small slots have space for more than they were made for.
#[test]
fn slightly_larger_frames_take_the_slots_there_are() {
    let place = Place::new();
    let builder = Publisher::builder(place.channel("cam0")).max_slots(4);
    let publisher = builder.slots(3).slot_size(64).open().unwrap();
    for size in [64, 100, 1000, 4096] {
        publisher.acquire(size).unwrap().publish().unwrap();
        let stats = publisher.stats();
        assert_eq!((stats.slots, stats.segments), (3, 1), "{stats:?}");
        assert!(stats.slot_size >= Some(size));
        publisher.configure(size + 1, 0).unwrap();
        assert!(publisher.slot_size() > Some(size));
    }
    let held: Vec<_> = (0..4).map(|_| publisher.acquire(5000).unwrap()).collect();
    assert!(publisher.acquire(5000).is_err());
    assert!(held.iter().all(|frame| frame.capacity() >= 5000));
}

#[test]
fn a_frame_in_hand_keeps_its_segment_when_larger_ones_come() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0")).open().unwrap();
    let mut client = Client::connected(&place, "leases=4");
    for number in 0..2 {
        pattern::publish(&publisher, number, 4096, 10).unwrap();
    }
    client.hold(2);
    for number in 2..30 {
        pattern::publish(&publisher, number, 1 << 16, 10).unwrap();
        client.receive(1);
    }
    assert_eq!(publisher.stats().segments, 2);
    client.ask(ClientOrder::CheckHeld);
    client.release(2);
    for number in 30..60 {
        pattern::publish(&publisher, number, 1 << 16, 10).unwrap();
        client.receive(1);
    }
    let stats = publisher.stats();
    assert_eq!((stats.segments, stats.bytes), (1, 6 << 16), "{stats:?}");
    until("the client has unmapped the old segment", || {
        process::maps(client.pid(), "xmem-payload").len() == 1
    });
}

/// Each of these frames needs larger slots, while the slots of the frames before are still in use.
#[test]
fn frames_that_grow_all_the_time_fit_a_small_pool() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "max-slots=6");
    let mut client = Client::connected(&place, "leases=3");
    for power in 0..12 {
        let size = 4096 << power;
        producer.publish(1, size);
        client.receive(1);
    }
}

/// The memory for many extra bytes can be one that the client does not know yet when it receives
/// the frame.
#[test]
fn extra_data_in_a_new_segment_can_be_read_at_once() {
    let place = Place::new();
    for _ in 0..20 {
        let publisher = Publisher::builder(place.channel("cam0"))
            .slots(3)
            .open()
            .unwrap();
        let mut subscriber = Subscriber::builder(place.channel("cam0"))
            .connect()
            .unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..8 {
                    let extra = 2000 << number;
                    pattern::publish(&publisher, number, 500, extra).unwrap();
                }
            });
            for _ in 0..8 {
                let frame = subscriber.receive(Some(PATIENCE)).unwrap();
                pattern::check(&frame).unwrap();
                if frame.seq() == 7 {
                    break;
                }
            }
        });
    }
}

#[test]
fn frames_in_hand_outlive_subscriber_and_producer() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "slots=4");
    let mut subscriber = Subscriber::builder(place.channel("cam0"))
        .connect()
        .unwrap();
    producer.ask(Publish::frames(3, 300000).extra(300));
    let frames: Vec<_> = (0..3)
        .map(|_| subscriber.receive(Some(PATIENCE)).unwrap())
        .collect();
    drop(subscriber);
    // Only these frames keep the slots from being reused.
    producer.publish(50, 300000);
    frames
        .iter()
        .for_each(|frame| pattern::check(frame).unwrap());
    producer.kill();
    frames
        .iter()
        .for_each(|frame| pattern::check(frame).unwrap());
}

#[test]
fn latest_delivery_skips_to_the_newest_frame() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0"))
        .slots(16)
        .open()
        .unwrap();
    let mut client = Client::connected(&place, "delivery=latest");
    for (number, newest, missed) in [(0, 9, 9), (10, 10, 0), (11, 14, 3)] {
        for number in number..=newest {
            pattern::publish(&publisher, number, 1000, 0).unwrap();
        }
        let received = client.receive(1);
        let figures = (received.number("first"), received.number("missed"));
        assert_eq!(figures, (newest, missed));
    }
    client.receive(0);
    let failed = client.fail_at(Receive::frames(1).timeout_ms(1));
    assert_eq!(failed.text("kind"), "TimedOut");
}

#[test]
fn a_client_that_sleeps_through_many_formats_goes_on() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0"))
        .slots(4)
        .open()
        .unwrap();
    let mut subscriber = Subscriber::builder(place.channel("cam0"))
        .connect()
        .unwrap();
    let count = 3000;
    for number in 0..count {
        // Slowly enough that each format is announced to the client.
        std::thread::sleep(Duration::from_micros(100));
        publisher.set_format(format!("format/{number}")).unwrap();
        pattern::publish(&publisher, number, 100, 0).unwrap();
    }
    let mut next = 0;
    while next < count {
        let frame = subscriber.receive(Some(PATIENCE)).unwrap();
        let expected = format!("format/{}", frame.seq());
        assert_eq!(
            frame.format().map(|bytes| &**bytes),
            Some(expected.as_bytes())
        );
        next = frame.seq() + 1;
    }
    assert!(matches!(
        subscriber.receive(Some(Duration::ZERO)),
        Err(Error::TimedOut)
    ));
}
