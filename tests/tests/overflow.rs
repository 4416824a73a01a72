//! Clients that do not keep up: with `Overflow::Block`, with the default, and with a client that
//! holds as many frames as it may.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use xmem_core::{ClientId, Overflow, Publisher, PublisherBuilder, PublisherEvent, Subscriber};
use xmem_tests::client::Receive;
use xmem_tests::{Client, ClientOrder, Events, PATIENCE, Place, pattern, process, until};

fn blocking(place: &Place, timeout: Duration) -> PublisherBuilder {
    Publisher::builder(place.channel("cam0"))
        .slots(2)
        .overflow(Overflow::Block { timeout })
}

fn lagging(event: &PublisherEvent) -> Option<ClientId> {
    match event {
        PublisherEvent::ClientLagging { client, .. } => Some(*client),
        _ => None,
    }
}

fn caught_up(event: &PublisherEvent) -> Option<ClientId> {
    match event {
        PublisherEvent::ClientCaughtUp(id) => Some(*id),
        _ => None,
    }
}

/// Frames in slots that have become too small use all slot numbers.
#[test]
fn growing_frames_wait_for_a_stopped_client_no_longer_than_others() {
    const SLOTS: u64 = 66;
    let place = Place::new();
    let (events, observer) = Events::new();
    let publisher = blocking(&place, Duration::from_millis(300))
        .max_slots(SLOTS as u32)
        .on_event(observer)
        .open()
        .unwrap();
    let mut idle = Client::connected(&place, "leases=64");
    let mut number = 0;
    let mut publish = |size: usize| {
        pattern::publish(&publisher, number, size, 0).unwrap();
        number += 1;
    };
    for size in [4000, 8000, 16_000, 32_000, 64_000, 128_000, 256_000] {
        publish(size);
        until("there are slots for all leases", || {
            u64::from(publisher.stats().slots) >= SLOTS - 1
        });
        // Frames that the client has not received fill them.
        for _ in 1..SLOTS {
            publish(size);
        }
    }
    assert_eq!(events.drain().iter().filter_map(lagging).count(), 1);
    idle.receive(1);
}

#[test]
fn four_clients_receive_every_frame_though_one_is_slow() {
    const FRAMES: u64 = 2000;
    let place = Place::new();
    let (events, observer) = Events::new();
    let publisher = blocking(&place, Duration::from_secs(60))
        .on_event(observer)
        .open()
        .unwrap();
    let mut clients: Vec<Client> = (1..=4)
        .map(|leases| Client::connected(&place, &format!("leases={leases}")))
        .collect();
    for (number, client) in clients.iter_mut().enumerate() {
        // The last client takes long for each frame.
        let work = [0, 0, 0, 300][number];
        client.order(Receive::frames(FRAMES).work_us(work));
    }
    for number in 0..FRAMES {
        pattern::publish(&publisher, number, 3000, 0).unwrap();
    }
    for client in &mut clients {
        let received = client.wait_for("received");
        assert_eq!(received.number("first"), 0);
        assert_eq!(received.number("next"), FRAMES);
        assert_eq!(received.number("missed"), 0);
    }
    let events = events.drain();
    let warnings = events.iter().filter_map(lagging).count();
    assert_eq!(warnings, 0, "{events:?}");
    assert_eq!(publisher.stats().slots, 2 + 1 + 2 + 3 + 4);
}

#[test]
fn a_stopped_client_is_waited_for_once_and_again_after_it_has_caught_up() {
    const TIMEOUT: Duration = Duration::from_millis(300);
    let place = Place::new();
    let (events, observer) = Events::new();
    let publisher = blocking(&place, TIMEOUT).on_event(observer).open().unwrap();
    let mut others = [Client::connected(&place, ""), Client::connected(&place, "")];
    let mut victim = Client::connected(&place, "");
    let id = publisher.stats().clients[2].id;
    for client in others.iter_mut().chain([&mut victim]) {
        client.begin(ClientOrder::Run { linger_us: 0 });
    }
    let mut next = 0;
    let mut publish = |count: u64| {
        let start = Instant::now();
        for _ in 0..count {
            pattern::publish(&publisher, next, 3000, 0).unwrap();
            next += 1;
        }
        start.elapsed()
    };
    let until_all_is_received = || {
        until("all clients have received all frames", || {
            publisher
                .stats()
                .clients
                .iter()
                .all(|client| client.lag == 0)
        });
    };
    let missed = || publisher.stats().clients[2].missed;

    for round in 0..3 {
        // In step: no client misses anything.
        let before = missed();
        publish(100);
        until_all_is_received();
        assert_eq!(missed(), before, "round {round}");
        assert_eq!(events.drain().iter().filter_map(lagging).count(), 0);

        // The client is stopped: the writer waits for it once, then continues without it.
        victim.stop();
        let took = publish(300);
        assert_eq!(events.wait_for("of a client that lags", lagging), id);
        assert!(took >= TIMEOUT, "round {round}: {took:?}");
        assert!(took < 20 * TIMEOUT, "round {round}: {took:?}");
        let has_lapsed = |client: &xmem_core::ClientStats| client.lagging;
        let clients = publisher.stats().clients;
        let clients: Vec<bool> = clients.iter().map(has_lapsed).collect();
        assert_eq!(clients, [false, false, true], "round {round}");

        // The client continues, and is waited for again once it has received the existing frames.
        victim.resume();
        until_all_is_received();
        assert!(missed() > before, "round {round}");
        publish(1);
        assert_eq!(events.wait_for("of a client that caught up", caught_up), id);
        until_all_is_received();
    }
    for client in &mut others {
        let progress = client.progress();
        let figures = (progress.number("frames"), progress.number("missed"));
        assert_eq!(figures, (next, 0));
    }
}

#[test]
fn a_writer_that_waits_for_a_client_goes_on_when_it_dies() {
    let place = Place::new();
    let publisher = blocking(&place, Duration::from_secs(600)).open().unwrap();
    let mut client = Client::connected(&place, "leases=2");
    std::thread::scope(|scope| {
        let writer = std::thread::Builder::new()
            .name("writer-kill".into())
            .spawn_scoped(scope, || {
                for number in 0..50 {
                    pattern::publish(&publisher, number, 3000, 0).unwrap();
                }
            })
            .unwrap();
        process::until_asleep(std::process::id(), "writer-kill");
        assert!(publisher.stats().published < 50);
        client.kill();
        writer.join().unwrap();
    });
}

#[test]
fn a_writer_never_waits_for_a_client_that_wants_the_latest() {
    let place = Place::new();
    let (events, observer) = Events::new();
    let publisher = blocking(&place, Duration::from_secs(600))
        .on_event(observer)
        .open()
        .unwrap();
    let mut client = Client::connected(&place, "delivery=latest");
    for number in 0..100 {
        pattern::publish(&publisher, number, 3000, 0).unwrap();
    }
    let received = client.receive(1);
    assert_eq!(
        (received.number("first"), received.number("missed")),
        (99, 99)
    );
    assert_eq!(events.drain().iter().filter_map(lagging).count(), 0);
}

#[test]
fn a_client_whose_leases_are_all_out_waits_for_one_to_come_back() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0"))
        .slots(6)
        .open()
        .unwrap();
    let mut client = Client::connected(&place, "leases=2");
    for number in 0..6 {
        pattern::publish(&publisher, number, 3000, 0).unwrap();
    }
    client.hold(2);
    client.begin(Receive::frames(1));
    process::until_asleep(client.pid(), "worker");
    // More frames do not help it.
    pattern::publish(&publisher, 6, 3000, 0).unwrap();
    process::until_asleep(client.pid(), "worker");
    assert_eq!(publisher.stats().clients[0].held, 2);
    client.order(ClientOrder::Release(1));
    let received = client.wait_for("received");
    assert_eq!(
        (received.number("first"), received.number("missed")),
        (2, 0)
    );
    assert!(received.number("starved") >= 1);
    client.ask(ClientOrder::CheckHeld);
}

#[test]
fn a_slow_client_knows_how_many_frames_it_has_missed() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0"))
        .slots(4)
        .open()
        .unwrap();
    let mut client = Client::connected(&place, "leases=2");
    for number in 0..100 {
        pattern::publish(&publisher, number, 3000, 0).unwrap();
    }
    // Four slots for the producer and two for the client: the six newest frames exist.
    let received = client.receive(6);
    let figures = ["first", "next", "missed"].map(|key| received.number(key));
    assert_eq!(figures, [94, 100, 94]);
    assert_eq!(publisher.stats().clients[0].missed, 94);
}

/// An encoder that looks ahead: for a while it takes frames and releases none.
#[test]
fn a_client_that_takes_frames_is_waited_for_though_it_gives_none_back_for_long() {
    const FRAMES: u64 = 120;
    const AHEAD: usize = 50;
    const TIMEOUT: Duration = Duration::from_secs(2);
    let place = Place::new();
    let (events, observer) = Events::new();
    let publisher = blocking(&place, TIMEOUT).on_event(observer);
    let publisher = publisher.open().unwrap();
    let subscriber = Subscriber::builder(place.channel("cam0")).leases(64);
    let mut subscriber = subscriber.connect().unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..FRAMES {
                pattern::publish(&publisher, number, 3000, 0).unwrap();
            }
        });
        let mut held = VecDeque::new();
        for number in 0..FRAMES {
            let frame = subscriber.receive(Some(PATIENCE)).unwrap();
            assert_eq!((frame.seq(), frame.missed()), (number, 0));
            held.push_back(frame);
            if held.len() < AHEAD {
                // The work of the client. The writer waits meanwhile, longer than for a stopped
                // client.
                std::thread::sleep(TIMEOUT / 40);
            } else {
                held.pop_front();
            }
        }
    });
    assert!(start.elapsed() > TIMEOUT, "too fast to show anything");
    assert_eq!(events.drain().iter().filter_map(lagging).count(), 0);
}

#[test]
fn a_client_that_gives_frames_back_is_waited_for_though_it_takes_none_for_long() {
    const LEASES: u32 = 16;
    const TIMEOUT: Duration = Duration::from_secs(1);
    let place = Place::new();
    let (events, observer) = Events::new();
    let publisher = blocking(&place, TIMEOUT).on_event(observer);
    let publisher = publisher.open().unwrap();
    let subscriber = Subscriber::builder(place.channel("cam0")).leases(LEASES);
    let mut subscriber = subscriber.connect().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..100 {
                pattern::publish(&publisher, number, 3000, 0).unwrap();
            }
        });
        let receive = |subscriber: &mut Subscriber| subscriber.receive(Some(PATIENCE)).unwrap();
        let mut held: Vec<_> = (0..LEASES).map(|_| receive(&mut subscriber)).collect();
        let start = Instant::now();
        while held.pop().is_some() {
            std::thread::sleep(TIMEOUT / 6);
        }
        assert!(start.elapsed() > TIMEOUT, "too fast to show anything");
        for number in u64::from(LEASES)..100 {
            let frame = receive(&mut subscriber);
            assert_eq!((frame.seq(), frame.missed()), (number, 0));
        }
    });
    assert_eq!(events.drain().iter().filter_map(lagging).count(), 0);
}

#[test]
fn the_event_of_a_lagging_client_says_what_was_observed() {
    const TIMEOUT: Duration = Duration::from_millis(50);
    let place = Place::new();
    let (events, observer) = Events::new();
    let publisher = blocking(&place, TIMEOUT).on_event(observer);
    let publisher = publisher.open().unwrap();
    let subscriber = Subscriber::builder(place.channel("cam0")).leases(3);
    let mut subscriber = subscriber.connect().unwrap();
    pattern::publish(&publisher, 0, 3000, 0).unwrap();
    let _held = subscriber.receive(Some(PATIENCE)).unwrap();
    for number in 1..20 {
        pattern::publish(&publisher, number, 3000, 0).unwrap();
    }
    let told = |event: &PublisherEvent| match event {
        PublisherEvent::ClientLagging {
            stalled,
            held,
            behind,
            ..
        } => Some((*stalled, *held, *behind)),
        _ => None,
    };
    let (stalled, held, behind) = events.wait_for("of a client that lags", told);
    assert!(stalled >= TIMEOUT, "{stalled:?}");
    // Two slots for the producer and three for the client, which holds one frame.
    assert_eq!((held, behind), (1, 4));
}
