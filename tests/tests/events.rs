//! Events arrive in order with the frames between which they were sent, and events of clients
//! arrive at the producer.

use std::sync::mpsc;
use std::time::Duration;

use xmem_core::{
    Error, EventKind, Item, Overflow, Publisher, PublisherBuilder, PublisherEvent, StreamEvent,
    Subscriber, SubscriberBuilder,
};
use xmem_tests::{PATIENCE, Place, pattern, until};

fn publisher(place: &Place) -> PublisherBuilder {
    Publisher::builder(place.channel("cam0"))
}

fn subscriber(place: &Place) -> SubscriberBuilder {
    Subscriber::builder(place.channel("cam0"))
}

/// Describes the next received item in a word.
fn next(subscriber: &mut Subscriber) -> String {
    match subscriber.receive_item(Some(PATIENCE)) {
        Ok(Item::Frame(frame)) => format!("frame {}", frame.seq()),
        Ok(Item::Event(event)) => text(&event),
        Ok(other) => format!("{other:?}"),
        Err(error) => format!("{error:?}"),
    }
}

fn text(event: &StreamEvent) -> String {
    String::from_utf8(event.content().to_vec()).unwrap()
}

fn is_quiet(subscriber: &mut Subscriber) -> bool {
    let nothing = subscriber.receive_item(Some(Duration::ZERO));
    matches!(nothing, Err(Error::TimedOut))
}

#[test]
fn events_and_frames_arrive_in_the_order_of_the_stream() {
    let place = Place::new();
    let publisher = publisher(&place).slots(8).open().unwrap();
    let mut subscriber = subscriber(&place).leases(8).connect().unwrap();
    let say = |kind, text: &str| publisher.send_event(kind, text.as_bytes()).unwrap();
    let mut expected = Vec::new();
    for number in 0..4 {
        say(EventKind::Sticky(7), &format!("tags {number}"));
        say(EventKind::Passing, "gap");
        say(EventKind::Passing, "gap");
        pattern::publish(&publisher, number, 100, 0).unwrap();
        expected.push(format!("tags {number}"));
        expected.extend(["gap", "gap"].map(String::from));
        expected.push(format!("frame {number}"));
    }
    // Without a frame after it.
    say(EventKind::Passing, "last");
    publisher.end_stream();
    publisher.end_stream();
    expected.extend(["last", "EndOfStream"].map(String::from));
    for expected in expected {
        assert_eq!(next(&mut subscriber), expected);
    }
    assert!(is_quiet(&mut subscriber));
    say(EventKind::Passing, "again");
    publisher.close();
    assert_eq!(next(&mut subscriber), "again");
    assert_eq!(next(&mut subscriber), "Stopped");
}

#[test]
fn a_client_that_joins_late_gets_the_current_state_and_nothing_else() {
    let place = Place::new();
    let publisher = publisher(&place).open().unwrap();
    let say = |kind, text: &str| publisher.send_event(kind, text.as_bytes()).unwrap();
    say(EventKind::Sticky(2), "segment 1");
    say(EventKind::Sticky(1), "start");
    say(EventKind::Format, "format 1");
    say(EventKind::Sticky(2), "segment 2");
    say(EventKind::Passing, "gap");
    pattern::publish(&publisher, 0, 100, 0).unwrap();
    // After the newest frame: in order, without events that are sent only once.
    say(EventKind::Format, "format 2");
    say(EventKind::Passing, "gap");
    let mut subscriber = subscriber(&place).connect().unwrap();
    for expected in ["start", "segment 2", "format 1", "frame 0", "format 2"] {
        assert_eq!(next(&mut subscriber), expected);
    }
    assert!(is_quiet(&mut subscriber));
    pattern::publish(&publisher, 1, 100, 0).unwrap();
    assert_eq!(next(&mut subscriber), "frame 1");
}

#[test]
fn events_before_the_first_frame_reach_a_client() {
    let place = Place::new();
    let publisher = publisher(&place).open().unwrap();
    publisher.send_event(EventKind::Passing, b"lost").unwrap();
    publisher
        .send_event(EventKind::Sticky(1), b"start")
        .unwrap();
    publisher.send_event(EventKind::Passing, b"lost").unwrap();
    let mut subscriber = subscriber(&place).connect().unwrap();
    assert_eq!(next(&mut subscriber), "start");
    assert!(is_quiet(&mut subscriber));
    publisher.send_event(EventKind::Passing, b"heard").unwrap();
    assert_eq!(next(&mut subscriber), "heard");
}

#[test]
fn an_event_of_16_mib_arrives_and_a_larger_one_is_refused() {
    let place = Place::new();
    let publisher = publisher(&place).open().unwrap();
    let mut subscriber = subscriber(&place).connect().unwrap();
    for length in [4_056, 4_057, 16 << 20] {
        let content: Vec<u8> = (0..length).map(|at: u32| (at % 251) as u8).collect();
        publisher.send_event(EventKind::Passing, &content).unwrap();
        match subscriber.receive_item(Some(PATIENCE)).unwrap() {
            Item::Event(event) => assert!(event.content() == content),
            other => panic!("{other:?}"),
        }
    }
    let too_long = vec![0; (16 << 20) + 1];
    let error = publisher.send_event(EventKind::Passing, &too_long);
    assert!(matches!(error, Err(Error::TooLong { .. })), "{error:?}");
    // A format is bytes like others: it need not be a text.
    publisher.set_format([0xff]).unwrap();
    assert!(matches!(
        subscriber.receive_item(Some(PATIENCE)),
        Ok(Item::Event(event)) if event.content() == [0xff]
    ));
}

#[test]
fn a_client_that_does_not_read_costs_no_memory_and_gets_the_current_state() {
    let place = Place::new();
    let publisher = publisher(&place).open().unwrap();
    let mut subscriber = subscriber(&place).connect().unwrap();
    for number in 0..100_000u32 {
        let tags = format!("tags {number}");
        publisher
            .send_event(EventKind::Sticky(1), tags.as_bytes())
            .unwrap();
        publisher
            .send_event(EventKind::Passing, &[b'x'; 1000])
            .unwrap();
    }
    pattern::publish(&publisher, 0, 100, 0).unwrap();
    let mut last = String::new();
    loop {
        match next(&mut subscriber) {
            frame if frame == "frame 0" => break,
            event if event.starts_with("tags") => last = event,
            event => assert!(event.starts_with('x'), "{event}"),
        }
    }
    assert_eq!(last, "tags 99999");
}

#[test]
fn out_of_band_events_overtake_and_a_flush_drops_unreceived_items() {
    let place = Place::new();
    let publisher = publisher(&place).slots(8).open().unwrap();
    let (told, urgent) = mpsc::channel();
    let mut subscriber = subscriber(&place)
        .on_urgent(move |event| told.send(event).unwrap())
        .connect()
        .unwrap();
    let say = |kind, text: &str| publisher.send_event(kind, text.as_bytes()).unwrap();
    say(EventKind::Sticky(1), "segment");
    for number in 0..3 {
        pattern::publish(&publisher, number, 100, 0).unwrap();
    }
    say(EventKind::Passing, "void");
    say(EventKind::Urgent, "now");
    let event = urgent.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        (event.kind(), text(&event)),
        (EventKind::Urgent, "now".into())
    );
    assert_eq!(next(&mut subscriber), "segment");
    assert_eq!(next(&mut subscriber), "frame 0");
    say(EventKind::Sticky(2), "tags");
    say(EventKind::Flush, "flush");
    assert_eq!(text(&urgent.recv_timeout(PATIENCE).unwrap()), "flush");
    pattern::publish(&publisher, 3, 100, 0).unwrap();
    assert_eq!(next(&mut subscriber), "tags");
    assert_eq!(next(&mut subscriber), "frame 3");
    assert_eq!(subscriber.missed(), 0);
    assert!(is_quiet(&mut subscriber));
}

/// An end of stream that a flush has removed must not come back when the producer stops.
#[test]
fn an_end_that_was_flushed_is_not_received() {
    let place = Place::new();
    for flushes in [false, true] {
        let publisher = publisher(&place).open().unwrap();
        let mut subscriber = subscriber(&place).connect().unwrap();
        pattern::publish(&publisher, 0, 100, 0).unwrap();
        assert_eq!(next(&mut subscriber), "frame 0");
        publisher.end_stream();
        if flushes {
            publisher.send_event(EventKind::Flush, b"flush").unwrap();
            // A receive before the client reads the flush would return the end of stream.
            until("the client has read the flush", || subscriber.is_flushed());
        } else {
            assert_eq!(next(&mut subscriber), "EndOfStream");
        }
        publisher.close();
        assert_eq!(next(&mut subscriber), "Stopped");
    }
}

#[test]
fn a_client_sends_events_to_its_producer_up_to_a_limit() {
    let place = Place::new();
    let (told, heard) = mpsc::channel();
    let publisher = publisher(&place)
        .overflow(Overflow::Block { timeout: PATIENCE })
        .on_event(move |event| {
            if let PublisherEvent::Upstream { content, .. } = event {
                told.send(content).unwrap();
            }
        })
        .open()
        .unwrap();
    let mut subscriber = subscriber(&place).connect().unwrap();
    let upstream = subscriber.upstream();
    assert!(upstream.send(b"key frame, please").unwrap());
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), b"key frame, please");
    let longest = vec![7; 32_760];
    assert!(upstream.send(&longest).unwrap());
    assert!(heard.recv_timeout(PATIENCE).unwrap() == longest);
    let error = upstream.send(&[0; 32_761]);
    assert!(matches!(error, Err(Error::TooLong { .. })), "{error:?}");

    // A flood of events fills the client's own socket, and no other process has to wait.
    let mut sent = 0;
    until("the producer accepts no more", || {
        let taken = upstream.send(b"again").unwrap();
        sent += u32::from(taken);
        !taken
    });
    pattern::publish(&publisher, 0, 100, 0).unwrap();
    assert_eq!(next(&mut subscriber), "frame 0");
    assert!(heard.try_iter().count() < sent as usize);
    // The events that were sent arrive later.
    let mut client = subscriber.upstream();
    until("the client can send again", || {
        client.send(b"once more").unwrap()
    });
    drop(subscriber);
    until("the connection ends", || {
        client = client.clone();
        !client.send(b"too late").unwrap()
    });
}

/// The socket holds only a few messages: those that wait are sent before the channel is closed.
#[test]
fn the_last_events_arrive_before_the_end() {
    const EVENTS: usize = 60;
    let place = Place::new();
    let publisher = publisher(&place).open().unwrap();
    let mut subscriber = subscriber(&place).connect().unwrap();
    for length in [10, 4000, 5000] {
        let content = |number: usize| format!("{number} {}", "x".repeat(length));
        for number in 0..EVENTS {
            let content = content(number);
            let said = publisher.send_event(EventKind::Passing, content.as_bytes());
            said.unwrap();
        }
        if length == 5000 {
            publisher.close();
        }
        (0..EVENTS).for_each(|number| assert_eq!(next(&mut subscriber), content(number)));
    }
    assert_eq!(next(&mut subscriber), "Stopped");
}

/// Events that arrive all the time do not prolong the timeout of a wait for a frame.
#[test]
fn a_wait_for_a_frame_among_events_respects_its_timeout() {
    let place = Place::new();
    let publisher = publisher(&place).open().unwrap();
    let mut subscriber = subscriber(&place).connect().unwrap();
    std::thread::scope(|scope| {
        let (end, ended) = mpsc::channel::<()>();
        let publisher = &publisher;
        scope.spawn(move || {
            while matches!(ended.try_recv(), Err(mpsc::TryRecvError::Empty)) {
                let said = publisher.send_event(EventKind::Passing, b"gap");
                said.expect("a channel");
            }
        });
        let received = subscriber.receive(Some(Duration::from_millis(100)));
        assert!(matches!(received, Err(Error::TimedOut)), "{received:?}");
        drop(end);
    });
}
