//! Where a client begins: with the newest sync point, if the frames since then are kept.

use std::time::Duration;

use xmem_core::{
    Delivery, EventKind, Item, Overflow, Publisher, PublisherBuilder, Quota, Role, Subscriber,
    SubscriberBuilder,
};
use xmem_tests::{PATIENCE, Place, until};

use Role::{Dependent as D, Leading as L, SyncPoint as S};

const LONG: Duration = Duration::from_secs(3600);
const SIZE: usize = 3000;

fn publisher(place: &Place, set: impl FnOnce(PublisherBuilder) -> PublisherBuilder) -> Publisher {
    let builder = Publisher::builder(place.channel("cam0")).keep_group(LONG);
    set(builder).open().expect("the channel is free")
}

fn publish(publisher: &Publisher, roles: impl IntoIterator<Item = Role>) {
    for role in roles {
        let mut frame = publisher.acquire(SIZE).expect("a slot");
        frame.meta_mut().set_role(role);
        frame.publish().expect("the frame is published");
    }
}

fn group(length: usize) -> impl Iterator<Item = Role> {
    std::iter::once(S).chain(std::iter::repeat_n(D, length - 1))
}

fn connect(place: &Place, set: impl FnOnce(SubscriberBuilder) -> SubscriberBuilder) -> Subscriber {
    let builder = Subscriber::builder(place.channel("cam0"));
    set(builder).connect().expect("a producer exists")
}

/// The positions of all frames that can be received, none of which was missed.
fn receive(subscriber: &mut Subscriber) -> Vec<u64> {
    let mut positions = Vec::new();
    while subscriber.has_next() {
        let frame = subscriber.receive(Some(PATIENCE)).expect("a frame");
        assert_eq!(frame.missed(), 0, "{frame:?}");
        positions.push(frame.seq());
    }
    positions
}

/// The position at which a client begins that joins now.
fn first(place: &Place) -> u64 {
    let mut subscriber = connect(place, |builder| builder);
    let positions = receive(&mut subscriber);
    let is_next = positions.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    assert!(is_next, "{positions:?}");
    positions[0]
}

#[test]
fn a_client_begins_with_the_newest_sync_point_and_misses_nothing() {
    let place = Place::new();
    let publisher = publisher(&place, |builder| builder);
    publish(&publisher, group(40));
    let mut early = connect(&place, |builder| builder);
    assert_eq!(receive(&mut early), (0..40).collect::<Vec<_>>());
    // A client that has received all frames, or is slow, makes no difference for others.
    publish(&publisher, [D, D, D]);
    assert_eq!(first(&place), 0);
    publish(&publisher, [S]);
    assert_eq!(first(&place), 43);
    publish(&publisher, [D, L, L, S, D]);
    assert_eq!(first(&place), 45);
    publish(&publisher, [L, D, D]);
    assert_eq!(first(&place), 45);
    assert_eq!(receive(&mut early), (40..52).collect::<Vec<_>>());
}

#[test]
fn groups_are_kept_for_clients_in_the_steady_state() {
    let place = Place::new();
    let publisher = publisher(&place, |builder| builder);
    for round in 0..30 {
        publish(&publisher, group(60));
        assert_eq!(first(&place), 60 * round);
    }
    let slots = publisher.stats().slots;
    assert!((60..=120).contains(&slots), "{slots} slots");
}

#[test]
fn without_a_group_that_is_kept_a_client_begins_with_the_newest_frame() {
    let place = Place::new();
    let publisher = publisher(&place, |builder| builder.keep_group(Duration::ZERO));
    publish(&publisher, group(10));
    assert_eq!(first(&place), 9);
    assert!(publisher.stats().slots <= 10);
}

#[test]
fn a_group_that_is_too_old_is_not_kept() {
    let place = Place::new();
    let publisher = publisher(&place, |builder| {
        builder.keep_group(Duration::from_millis(20))
    });
    publish(&publisher, group(3));
    let start = xmem_core::monotonic_time();
    until("the group is too old", || {
        xmem_core::monotonic_time() > start + Duration::from_millis(40)
    });
    publish(&publisher, [D]);
    assert_eq!(first(&place), 3);
    publish(&publisher, [D, S]);
    assert_eq!(first(&place), 5);
}

#[test]
fn latest_delivery_begins_with_the_newest_frame() {
    let place = Place::new();
    let publisher = publisher(&place, |builder| builder);
    publish(&publisher, group(10));
    let mut latest = connect(&place, |builder| builder.delivery(Delivery::Latest));
    assert_eq!(receive(&mut latest), [9]);
}

#[test]
fn a_group_takes_no_slots_beyond_the_limits() {
    for blocks in [false, true] {
        let place = Place::new();
        let overflow = Overflow::Block { timeout: LONG };
        let publisher = publisher(&place, |builder| {
            let overflow = if blocks {
                overflow
            } else {
                Overflow::DropOldest
            };
            builder.max_slots(16).overflow(overflow)
        });
        publish(&publisher, group(12));
        assert_eq!(first(&place), 0);
        publish(&publisher, group(100));
        assert_eq!(publisher.stats().slots, 16);
        assert_eq!(first(&place), 111);
        // A group does not keep a client from joining either.
        let clients = [(); 3].map(|()| connect(&place, |builder| builder.leases(4)));
        publish(&publisher, group(5));
        drop(clients);
    }
    let place = Place::new();
    let bytes = 20 * 4096;
    let publisher = publisher(&place, |builder| builder.max_bytes(bytes));
    publish(&publisher, group(100));
    assert!(publisher.stats().bytes <= bytes);
    assert_eq!(first(&place), 99);
}

/// The leases of clients have priority over a group. A group that does not fit takes no slots from
/// them.
#[test]
fn a_group_takes_no_leases_from_clients() {
    let place = Place::new();
    let publisher = publisher(&place, |builder| builder.max_slots(64));
    let client = connect(&place, |builder| builder.leases(4));
    for length in [300, 50] {
        publish(&publisher, group(length));
        publish(&publisher, [S]);
    }
    let quota = Quota {
        leases: 30,
        backlog: 30,
    };
    assert!(
        client
            .upstream()
            .request(quota)
            .expect("the producer exists")
    );
    until("the client has the leases", || {
        client.granted().quota.leases == 30
    });
    // A group that fits into the remaining slots is kept.
    until("it fits", || {
        publish(&publisher, group(15));
        first(&place) == publisher.stats().published - 15
    });
    assert!(publisher.stats().slots <= 64);
}

#[test]
fn a_client_begins_with_leading_frames_of_the_next_sync_point() {
    let place = Place::new();
    let publisher = publisher(&place, |builder| builder);
    publish(&publisher, [L, L, L]);
    assert_eq!(first(&place), 0);
    publish(&publisher, [S, D, L, L]);
    assert_eq!(first(&place), 0);
    publish(&publisher, [S]);
    assert_eq!(first(&place), 5);
}

#[test]
fn a_stream_of_sync_points_takes_no_more_slots_than_without_groups() {
    let slots = [Duration::ZERO, LONG].map(|kept| {
        let place = Place::new();
        let publisher = publisher(&place, |builder| builder.keep_group(kept));
        publish(&publisher, [S; 100]);
        let mut client = connect(&place, |builder| builder);
        assert_eq!(receive(&mut client), [99]);
        publish(&publisher, [S; 100]);
        publisher.stats().slots
    });
    assert_eq!(slots[0], slots[1]);
}

#[test]
fn events_inside_a_group_arrive_in_their_place() {
    let place = Place::new();
    let publisher = publisher(&place, |builder| builder);
    let say = |kind, text: &str| {
        let said = publisher.send_event(kind, text.as_bytes());
        said.expect("the event is sent");
    };
    say(EventKind::Format, "format");
    say(EventKind::Passing, "before");
    publish(&publisher, [S]);
    say(EventKind::Sticky(3), "first");
    publish(&publisher, [D]);
    say(EventKind::Passing, "once");
    say(EventKind::Urgent, "urgent");
    publish(&publisher, [D]);
    say(EventKind::Sticky(3), "second");
    publish(&publisher, [D]);
    let mut client = connect(&place, |builder| builder);
    let mut told = Vec::new();
    while told.last().is_none_or(|last| last != "3") {
        told.push(match client.receive_item(Some(PATIENCE)).expect("more") {
            Item::Frame(frame) => frame.seq().to_string(),
            Item::Event(event) => String::from_utf8_lossy(event.content()).into_owned(),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(
        told,
        ["format", "0", "first", "1", "once", "2", "second", "3"]
    );
}

#[test]
fn a_flush_makes_a_group_void() {
    let place = Place::new();
    let publisher = publisher(&place, |builder| builder);
    publish(&publisher, group(5));
    publisher
        .send_event(EventKind::Flush, &[])
        .expect("the event is sent");
    publish(&publisher, [D]);
    assert_eq!(first(&place), 5);
    publish(&publisher, group(5));
    assert_eq!(first(&place), 6);
}
