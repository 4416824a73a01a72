//! What bindings and event loops use: a descriptor that tells when there is something to receive, looks
//! that never wait, frames that go to descriptors.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use xmem_core::{Error, EventKind, Frame, Item, Publisher, Subscriber};
use xmem_tests::{PATIENCE, Place, pattern, until};

/// Whether the descriptor is or becomes readable in this time.
fn is_readable(fd: &OwnedFd, time: Duration) -> bool {
    let time = Timespec::try_from(time).unwrap();
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    poll(&mut fds, Some(&time)).unwrap() > 0
}

/// Nothing can be received, and the descriptor says so, sooner or later: it may be readable without a reason.
fn is_idle(subscriber: &mut Subscriber, fd: &OwnedFd) {
    until("there is nothing to receive", || {
        while let Some(item) = subscriber.try_receive().unwrap() {
            assert!(matches!(item, Item::Event(_)), "{item:?}");
        }
        !is_readable(fd, Duration::from_millis(20))
    });
}

/// The frame for which the descriptor has become readable.
fn next(subscriber: &mut Subscriber, fd: &OwnedFd) -> Frame {
    loop {
        assert!(is_readable(fd, PATIENCE));
        if let Some(Item::Frame(frame)) = subscriber.try_receive().unwrap() {
            pattern::check(&frame).unwrap();
            return frame;
        }
    }
}

fn connected(place: &Place, leases: u32) -> (Publisher, Subscriber) {
    let publisher = Publisher::builder(place.channel("cam0")).open().unwrap();
    let builder = Subscriber::builder(place.channel("cam0")).leases(leases);
    (publisher, builder.connect().unwrap())
}

#[test]
fn the_descriptor_is_readable_while_there_is_something_to_receive() {
    let place = Place::new();
    let (publisher, mut subscriber) = connected(&place, 8);
    let fd = subscriber.poll_fd().unwrap();
    is_idle(&mut subscriber, &fd);
    for number in 0..200 {
        pattern::publish(&publisher, number, 100, 0).unwrap();
        assert_eq!(next(&mut subscriber, &fd).seq(), number);
        if number % 3 == 0 {
            is_idle(&mut subscriber, &fd);
        }
    }
    // Several at once: it stays readable until all are received.
    for number in 200..205 {
        pattern::publish(&publisher, number, 100, 0).unwrap();
    }
    for number in 200..205 {
        assert_eq!(next(&mut subscriber, &fd).seq(), number);
    }
    is_idle(&mut subscriber, &fd);
    publisher.send_event(EventKind::Passing, b"said").unwrap();
    assert!(is_readable(&fd, PATIENCE));
    let event = loop {
        match subscriber.try_receive().unwrap() {
            Some(Item::Event(event)) => break event,
            _ => assert!(is_readable(&fd, PATIENCE)),
        }
    };
    assert_eq!((event.number(), event.content()), (Some(1), &b"said"[..]));
    is_idle(&mut subscriber, &fd);
    publisher.close();
    let end = loop {
        assert!(is_readable(&fd, PATIENCE));
        match subscriber.try_receive() {
            Ok(item) => assert!(item.is_none()),
            Err(error) => break error,
        }
    };
    assert!(matches!(end, Error::Stopped), "{end}");
}

#[test]
fn the_descriptor_and_waits_can_be_mixed() {
    let place = Place::new();
    let (publisher, mut subscriber) = connected(&place, 8);
    let fd = subscriber.poll_fd().unwrap();
    for number in (0..100).step_by(2) {
        is_idle(&mut subscriber, &fd);
        std::thread::scope(|scope| {
            scope.spawn(|| pattern::publish(&publisher, number, 100, 0).unwrap());
            let frame = subscriber.receive(Some(PATIENCE)).unwrap();
            assert_eq!(frame.seq(), number);
        });
        std::thread::scope(|scope| {
            scope.spawn(|| pattern::publish(&publisher, number + 1, 100, 0).unwrap());
            assert_eq!(next(&mut subscriber, &fd).seq(), number + 1);
        });
    }
}

#[test]
fn a_client_without_leases_is_told_apart_and_its_descriptor_waits_for_one() {
    let place = Place::new();
    let (publisher, mut subscriber) = connected(&place, 2);
    let fd = subscriber.poll_fd().unwrap();
    for number in 0..3 {
        pattern::publish(&publisher, number, 100, 0).unwrap();
    }
    let held = [0, 1].map(|_| next(&mut subscriber, &fd));
    is_idle(&mut subscriber, &fd);
    let starved = subscriber.receive(Some(Duration::from_millis(10)));
    assert!(
        matches!(starved, Err(Error::Starved { leases: 2 })),
        "{starved:?}"
    );
    is_idle(&mut subscriber, &fd);
    drop(held);
    assert_eq!(next(&mut subscriber, &fd).seq(), 2);
}

#[test]
fn a_client_can_skip_to_what_comes_next() {
    let place = Place::new();
    let (publisher, mut subscriber) = connected(&place, 4);
    for number in 0..3 {
        pattern::publish(&publisher, number, 100, 0).unwrap();
    }
    assert_eq!(subscriber.first_position(), 0);
    assert_eq!(subscriber.receive(Some(PATIENCE)).unwrap().seq(), 0);
    subscriber.skip();
    assert!(subscriber.try_receive().unwrap().is_none());
    pattern::publish(&publisher, 3, 100, 0).unwrap();
    let frame = subscriber.receive(Some(PATIENCE)).unwrap();
    assert_eq!(
        (frame.seq(), frame.missed(), subscriber.missed()),
        (3, 0, 0)
    );
    let late = Subscriber::builder(place.channel("cam0"));
    assert_eq!(late.connect().unwrap().first_position(), 3);
}

#[test]
fn what_is_sticky_can_be_read() {
    let place = Place::new();
    let (publisher, _subscriber) = connected(&place, 4);
    let said = |kind| publisher.current(kind).map(|content| content.to_vec());
    assert_eq!(said(EventKind::Format), None);
    publisher.set_format("text").unwrap();
    publisher.send_event(EventKind::Sticky(7), b"one").unwrap();
    publisher.send_event(EventKind::Sticky(7), b"two").unwrap();
    publisher.send_event(EventKind::Passing, b"once").unwrap();
    assert_eq!(said(EventKind::Format), Some(b"text".to_vec()));
    assert_eq!(said(EventKind::Sticky(7)), Some(b"two".to_vec()));
    assert_eq!(said(EventKind::Sticky(8)), None);
    assert_eq!(said(EventKind::Passing), None);
    publisher.send_event(EventKind::Sticky(7), b"").unwrap();
    assert_eq!(said(EventKind::Sticky(7)), None);
}
