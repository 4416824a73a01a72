//! A client that dies or is stopped does not harm others.

use std::time::{Duration, Instant};

use xmem_core::{Publisher, PublisherEvent};
use xmem_tests::client::Receive;
use xmem_tests::{Client, ClientOrder, Events, Place, pattern, process, until};

/// Whether the producer alone can have every slot, which means that none is lost.
fn all_slots_can_be_had(publisher: &Publisher) -> bool {
    let slots = publisher.stats().slots as usize;
    let frames: Vec<_> = std::iter::from_fn(|| publisher.acquire(1).ok())
        .take(slots)
        .collect();
    frames.len() == slots
}

#[test]
fn slot_is_reclaimed_after_client_is_killed() {
    let place = Place::new();
    let (events, observer) = Events::new();
    // No more slots than the producer and one client need, so a lost slot shows.
    let publisher = Publisher::builder(place.channel("cam0"))
        .max_slots(2 + 4)
        .on_event(observer)
        .open()
        .unwrap();
    let mut number = 0;
    for _ in 0..5 {
        let mut victim = Client::connected(&place, "leases=4 name=victim");
        let joined = number;
        for _ in 0..4 {
            pattern::publish(&publisher, number, 5000, 0).unwrap();
            number += 1;
        }
        // The victim starts with the newest frame published before it, if there is one.
        victim.hold(4);
        let stats = publisher.stats();
        assert_eq!(stats.slots, 6);
        assert_eq!(stats.clients.len(), 1);
        let seen = &stats.clients[0];
        assert_eq!((&*seen.name, seen.pid), ("victim", Some(victim.pid())));
        assert_eq!((seen.quota.leases, seen.held, seen.missed), (4, 4, 0));
        assert_eq!(seen.lag, u64::from(joined > 0));
        // The producer continues in the two remaining slots, and pins none of the four.
        for _ in 0..20 {
            pattern::publish(&publisher, number, 5000, 0).unwrap();
            number += 1;
        }
        victim.ask(ClientOrder::CheckHeld);
        assert!(!all_slots_can_be_had(&publisher));
        victim.kill();
        let is_gone = |event: &PublisherEvent| {
            matches!(event, PublisherEvent::ClientDisconnected(_)).then_some(())
        };
        events.wait_for("of a client that is gone", is_gone);
        assert_eq!(publisher.num_clients(), 0);
        assert!(all_slots_can_be_had(&publisher));
        // The frames acquired above were dropped unpublished, and the newest frame was retired for
        // them.
        pattern::publish(&publisher, number, 5000, 0).unwrap();
        number += 1;
    }
    assert_eq!(publisher.stats().bytes, 6 * 8192);
}

#[test]
fn slots_are_reclaimed_when_a_client_leaves_in_good_order() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0"))
        .max_slots(2 + 3)
        .open()
        .unwrap();
    let mut client = Client::connected(&place, "leases=3");
    for number in 0..3 {
        pattern::publish(&publisher, number, 5000, 0).unwrap();
    }
    client.hold(3);
    client.ask(ClientOrder::Disconnect);
    // The held frames keep their slots, even without a subscriber.
    for number in 3..20 {
        pattern::publish(&publisher, number, 5000, 0).unwrap();
    }
    client.ask(ClientOrder::CheckHeld);
    assert!(!all_slots_can_be_had(&publisher));
    assert_eq!(publisher.num_clients(), 1);
    client.release(3);
    until("the client is gone", || publisher.num_clients() == 0);
    assert!(all_slots_can_be_had(&publisher));
}

#[test]
fn death_is_noticed_while_a_child_of_the_client_holds_the_socket() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0")).open().unwrap();
    let mut client = Client::connected(&place, "leases=2");
    for number in 0..2 {
        pattern::publish(&publisher, number, 5000, 0).unwrap();
    }
    client.hold(2);
    let child = client.ask(ClientOrder::Fork).number("pid") as u32;
    assert!(
        process::socket_count(child) > 0,
        "the child holds the socket"
    );
    client.kill();
    until("the client is gone", || publisher.num_clients() == 0);
    assert_ne!(process::state(child), None, "the child still exists");
    assert!(all_slots_can_be_had(&publisher));
}

#[test]
fn what_a_child_of_the_client_drops_stays_the_clients() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0")).open().unwrap();
    let mut client = Client::connected(&place, "leases=2");
    for number in 0..2 {
        pattern::publish(&publisher, number, 5000, 0).unwrap();
    }
    client.hold(2);
    assert_eq!(client.ask(ClientOrder::ForkAndDrop).text("well"), "true");
    // The child has made a connection of its own, and has ended.
    until("the child is gone", || publisher.num_clients() == 1);
    assert_eq!(publisher.stats().clients[0].held, 2);
    // Larger frames are in a segment that the client does not know yet.
    for number in 2..100 {
        pattern::publish(&publisher, number, 5000 * number as usize, 0).unwrap();
    }
    client.ask(ClientOrder::CheckHeld);
    client.release(2);
    client.receive(1);
}

#[test]
fn a_stopped_client_does_not_disturb_the_producer_or_other_clients() {
    const FRAMES: u64 = 400;
    let place = Place::new();
    // Enough slots for the other client to lag as far as it may on a busy machine.
    let publisher = Publisher::builder(place.channel("cam0"))
        .slots(FRAMES as u32 + 50)
        .open()
        .unwrap();
    let mut other = Client::connected(&place, "name=other");
    let mut stopped = Client::connected(&place, "name=stopped leases=4");
    for number in 0..4 {
        pattern::publish(&publisher, number, 20_000, 0).unwrap();
    }
    stopped.hold(4);
    other.receive(4);

    let mut number = 4;
    let mut publish = |others: &mut Client| {
        others.begin(Receive::frames(FRAMES));
        let start = Instant::now();
        for _ in 0..FRAMES {
            pattern::publish(&publisher, number, 20_000, 0).unwrap();
            number += 1;
            // At 5,000 per second, which is slow.
            let due = start + Duration::from_micros(200) * (number as u32 % FRAMES as u32);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let elapsed = start.elapsed();
        assert_eq!(others.wait_for("received").number("missed"), 0);
        elapsed
    };
    let before = publish(&mut other);
    let bytes = publisher.stats().bytes;
    stopped.stop();
    let after = publish(&mut other);
    let stats = publisher.stats();
    // If the client had been waited for only once, this would take far longer.
    assert!(after < 3 * before, "{after:?} instead of {before:?}");
    assert_eq!((stats.bytes, stats.segments), (bytes, 1));
    let figures: Vec<_> = stats
        .clients
        .iter()
        .map(|client| (&*client.name, client.held, client.missed))
        .collect();
    assert_eq!(figures, [("other", 0, 0), ("stopped", 4, 0)]);
    // It continues with the frames that still exist, and knows how many it missed.
    stopped.resume();
    stopped.ask(ClientOrder::CheckHeld);
    stopped.release(4);
    let received = stopped.receive(1);
    assert_eq!(received.number("missed"), received.number("first") - 4);
    assert!(received.number("missed") > 0);
}

/// Unlike a hang-up, a stop in the middle of a handshake is not reported to the producer.
#[test]
fn a_client_that_is_stopped_while_it_connects_does_not_disturb_others() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0"))
        .slots(100)
        .open()
        .unwrap();
    let mut other = Client::connected(&place, "");
    let mut number = 0;
    for moment in 0..20 {
        let mut stopped = Client::start(&place, "");
        stopped.order(ClientOrder::Connect);
        std::thread::sleep(Duration::from_micros(50) * moment);
        stopped.stop();
        for _ in 0..20 {
            pattern::publish(&publisher, number, 2000, 0).unwrap();
            number += 1;
        }
        other.receive_all(20);
    }
    until("only one client is left", || publisher.num_clients() == 1);
}
