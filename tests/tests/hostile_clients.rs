//! Clients that write garbage into the only page that they may write.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{SealFlags, fcntl_add_seals};
use xmem_core::{Overflow, Publisher, PublisherBuilder, PublisherEvent, Subscriber};
use xmem_tests::area::Area;
use xmem_tests::producer::Publish;
use xmem_tests::random::Random;
use xmem_tests::wire::{self, Connection};
use xmem_tests::{
    Client, ClientOrder, Events, PATIENCE, Place, Producer, ProducerOrder, pattern, process, until,
};

/// The size of a lease page; the offsets of the word on which a waiting writer sleeps, and of the
/// cursor.
const PAGE: usize = 4096;
const PROGRESS_AT: usize = 24;
const CURSOR_AT: usize = 8;

/// The lease page of a new client, for this process to write, and the connection of the client.
fn lease_page(place: &Place) -> (Area, Connection) {
    let connection = Connection::open(&place.socket("cam0"));
    let welcome = connection.greet(wire::VERSION, 4);
    assert_eq!(welcome.kind, wire::WELCOME);
    let page = Area::map(&welcome.fds[1], PAGE, true);
    connection.join(&welcome.fds[1]);
    (page, connection)
}

/// Repeats `harm` in a thread of its own, while `test` runs.
fn meanwhile<T>(harm: impl FnMut() + Send, test: impl FnOnce() -> T) -> T {
    /// Ends the other thread even if the test fails.
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = End(&over);
        let (over, mut harm) = (&over, harm);
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                harm();
            }
        });
        test()
    })
}

fn start(place: &Place, settings: &str) -> (Producer, Client) {
    let settings = format!("slots=2 slot-size=20000 {settings}");
    let producer = Producer::start(place, &settings);
    (producer, Client::connected(place, ""))
}

#[test]
fn garbage_in_a_lease_page_does_not_harm_others() {
    const FRAMES: u64 = 2000;
    let place = Place::new();
    // The writer waits for each client at times; for the hostile one if its page happens to ask for
    // it.
    let (mut producer, mut honest) = start(&place, "block=20");
    let (page, _connection) = lease_page(&place);
    let mut random = Random::new();
    let before = process::maps(producer.pid(), "xmem-").len();
    let harm = || {
        for word in page.words() {
            // Values for words and leases that are plausible, and others.
            let value = match random.number() % 4 {
                0 => random.number(),
                1 => random.number() % 64,
                _ => ((random.number() % FRAMES) << 16) | (random.number() % 16),
            };
            word.store(value, Ordering::Relaxed);
        }
    };
    meanwhile(harm, || {
        honest.begin(ClientOrder::Run { linger_us: 0 });
        producer.ask(Publish::frames(FRAMES, 20000).period_us(200));
        until("the honest client has the last frame", || {
            honest.progress().number("next") == FRAMES
        });
        let stats = producer.stats();
        // Two for the producer, four for each client.
        assert_eq!(stats.number("slots"), 2 + 4 + 4);
        assert_eq!(process::maps(producer.pid(), "xmem-").len(), before);
    });
}

/// A writer that waits for clients sleeps on a word of each of them.
#[test]
fn a_client_that_wakes_the_writer_all_the_time_is_waited_for_once() {
    const TIMEOUT_MS: u64 = 500;
    let place = Place::new();
    let (mut producer, mut honest) = start(&place, &format!("block={TIMEOUT_MS}"));
    let (page, _connection) = lease_page(&place);
    // The client never receives a frame, and wakes the writer over and over.
    let harm = || {
        page.halves()[PROGRESS_AT / 4].fetch_add(1, Ordering::Relaxed);
    };
    meanwhile(harm, || {
        honest.begin(ClientOrder::Run { linger_us: 0 });
        let published = producer.publish(100, 20000);
        let took = published.number("us") / 1000;
        assert!((TIMEOUT_MS..20 * TIMEOUT_MS).contains(&took), "{took} ms");
        until("the honest client has the last frame", || {
            honest.progress().number("next") == 100
        });
    });
}

/// A producer in this process, and an honest client that receives a frame occasionally.
struct Host {
    place: Place,
    publisher: Publisher,
    honest: Subscriber,
    next: u64,
}

impl Host {
    fn new() -> Host {
        Host::with(|builder| builder)
    }

    fn with(settings: impl FnOnce(PublisherBuilder) -> PublisherBuilder) -> Host {
        let place = Place::new();
        let builder = settings(Publisher::builder(place.channel("cam0")));
        let publisher = builder.open().expect("a channel");
        let connect = Subscriber::builder(place.channel("cam0")).connect();
        let honest = connect.expect("a connection");
        Host {
            place,
            publisher,
            honest,
            next: 0,
        }
    }

    fn connect(&self) -> Connection {
        Connection::open(&self.place.socket("cam0"))
    }

    fn goes_on(&mut self) {
        pattern::publish(&self.publisher, self.next, 100, 10).expect("a frame");
        let frame = self.honest.receive(Some(PATIENCE)).expect("a frame");
        pattern::check(&frame).expect("a whole frame");
        assert_eq!((frame.seq(), frame.missed()), (self.next, 0));
        self.next += 1;
    }

    /// Sends a forbidden message and returns the reason of the Bye. No message follows it.
    fn answer(&mut self, hostile: &Connection, bytes: &[u8]) -> Option<String> {
        hostile.send(bytes, &[]).expect("the message is sent");
        self.goes_on();
        let mut reason = None;
        while let Some(message) = hostile.receive() {
            if message.kind == wire::BYE {
                reason = Some(message.reason());
            }
        }
        reason
    }
}

#[test]
fn a_hello_cut_or_grown_at_any_byte_is_refused() {
    let mut host = Host::new();
    let hello = wire::hello(wire::VERSION, 4);
    for len in 1..2 * hello.len() {
        let mut bytes = hello.clone();
        bytes.resize(len, 0);
        if len == hello.len() {
            continue;
        }
        let reason = host.answer(&host.connect(), &bytes).expect("a reason");
        assert!(reason.contains("bytes"), "{len} bytes: {reason}");
        // A correct size in the header does not make the message valid.
        if let Some(body) = bytes.get(8..) {
            let bytes = wire::message(wire::HELLO, body);
            assert!(host.answer(&host.connect(), &bytes).is_some(), "{len}");
        }
    }
    assert_eq!(host.publisher.num_clients(), 1);
}

#[test]
fn messages_of_every_kind_but_a_hello_are_refused() {
    let mut host = Host::new();
    for kind in (0..300).chain([1 << 8, 1 << 15, u16::MAX]) {
        for len in [0, 1, 4, 8, 16, 24, 56, 64, 300] {
            if (kind, len) == (wire::HELLO, 64) {
                continue;
            }
            let bytes = wire::message(kind, &vec![0; len]);
            let reason = host.answer(&host.connect(), &bytes);
            assert!(reason.is_some(), "kind {kind}, {len} bytes");
        }
    }
    assert_eq!(host.publisher.num_clients(), 1);
}

#[test]
fn a_client_may_only_send_ready_and_upstream_messages_after_its_hello() {
    let mut host = Host::new();
    for (kind, has_joined) in (0..20).flat_map(|kind| [(kind, false), (kind, true)]) {
        for len in [0, 4, 24, 56, 20_000] {
            let is_allowed = if has_joined {
                kind == wire::UPSTREAM
            } else {
                (kind, len) == (wire::READY, 0)
            };
            if is_allowed {
                continue;
            }
            let hostile = host.connect();
            let welcome = hostile.greet(wire::VERSION, 4);
            assert_eq!(welcome.kind, wire::WELCOME);
            if has_joined {
                hostile.join(&welcome.fds[1]);
            }
            let bytes = wire::message(kind, &vec![7; len]);
            let reason = host.answer(&hostile, &bytes);
            assert!(reason.is_some(), "kind {kind}, {len} bytes, {has_joined}");
        }
    }
    until("the clients are gone", || host.publisher.num_clients() == 1);
}

/// The client could punch holes into the page. The producer does not seal the page itself, because
/// that may wait for the client.
#[test]
fn a_client_that_has_not_sealed_its_lease_page_is_refused() {
    let mut host = Host::new();
    let needed = [SealFlags::empty(), SealFlags::FUTURE_WRITE, SealFlags::SEAL];
    for seals in needed {
        let hostile = host.connect();
        let welcome = hostile.greet(wire::VERSION, 4);
        assert_eq!(welcome.kind, wire::WELCOME);
        fcntl_add_seals(&welcome.fds[1], seals).expect("a page can be sealed");
        let reason = host.answer(&hostile, &wire::message(wire::READY, &[]));
        let reason = reason.expect("a reason");
        assert!(reason.contains("not sealed"), "{seals:?}: {reason}");
    }
    assert_eq!(host.publisher.num_clients(), 1);
}

#[test]
fn a_flood_of_hellos_and_hang_ups_leaves_nothing() {
    const PEERS: usize = 1000;
    let mut host = Host::new();
    host.goes_on();
    let before = process::fd_count(std::process::id());
    let hello = wire::hello(wire::VERSION, 64);
    for number in 0..PEERS {
        let hostile = host.connect();
        for part in hello.chunks(1 + number % hello.len()) {
            // The producer may have closed the connection already.
            let _ = hostile.send(part, &[]);
        }
        if number % 50 == 0 {
            host.goes_on();
        }
    }
    until("the clients are gone", || host.publisher.num_clients() == 1);
    until("nothing of them is left", || {
        process::fd_count(std::process::id()) <= before
    });
    host.goes_on();
}

/// A blocking writer waits for the cursors of its clients.
#[test]
fn a_cursor_is_believed_forwards_and_as_far_as_there_are_frames() {
    let (events, observer) = Events::new();
    let mut host = Host::with(|builder| {
        let timeout = Duration::from_millis(100);
        let builder = builder.overflow(Overflow::Block { timeout });
        // So many frames that the next one reuses the slot of the first.
        builder.slots(2).max_slots(10).on_event(observer)
    });
    let (page, _connection) = lease_page(&host.place);
    let mut at = |position: u64| {
        page.words()[CURSOR_AT / 8].store(position, Ordering::Relaxed);
        for _ in 0..20 {
            host.goes_on();
        }
        let told = events.drain().into_iter();
        let lagging = told.filter(|event| matches!(event, PublisherEvent::ClientLagging { .. }));
        lagging.count()
    };
    // A client that is ahead of all frames is not waited for. A client that asks for the frames
    // after them is waited for once.
    assert_eq!(at(u64::MAX), 0);
    assert_eq!(at(0), 1);
    // Frames that it has passed are not new for it again.
    assert_eq!(at(7), 0);
    // It has caught up, and may lag again.
    assert_eq!(at(u64::MAX / 2), 0);
    assert_eq!(at(7), 1);
}

/// Descriptors that were sent and not received count against the user of the producer, up to
/// `RLIMIT_NOFILE` for all clients together. Beyond that no client can receive memory.
#[test]
fn a_client_that_does_not_read_has_few_descriptors_in_flight() {
    const FORMATS: usize = 50;
    const FEW: usize = 8;
    let place = Place::new();
    let mut producer = Producer::start(&place, "");
    // Connected first, so that it is sent each message before the others are.
    let (_page, silent) = lease_page(&place);
    let mut honest = Client::connected(&place, "");
    // Each format is too long for a message.
    let long = "x".repeat(5000);
    for number in 0..FORMATS {
        producer.ask(ProducerOrder::Format(format!("{number}{long}")));
    }
    producer.publish(1, 1000);
    honest.receive(1);
    producer.stop();
    let descriptors = |messages: &[wire::Message]| -> usize {
        messages.iter().map(|message| message.fds.len()).sum()
    };
    let under_way = silent.received();
    let count = descriptors(&under_way);
    assert!((1..=FEW).contains(&count), "{count} descriptors");
    producer.resume();
    // A client that reads receives everything.
    let is_event = |message: &wire::Message| message.kind == wire::EVENT;
    let mut events = under_way.into_iter().filter(is_event).count();
    while events < FORMATS {
        events += usize::from(silent.receive().is_some_and(|message| is_event(&message)));
    }
}

/// Descriptors that a peer does not receive stay in flight until it closes its socket, even after
/// the producer has closed its own.
#[test]
fn descriptors_that_are_not_received_keep_the_place_of_a_client() {
    const PLACES: usize = 3;
    let place = Place::new();
    let _producer = Producer::start(&place, &format!("max-clients={PLACES}"));
    let greet = |_| {
        let connection = Connection::open(&place.socket("cam0"));
        let hello = wire::hello(wire::VERSION, 1);
        connection.send(&hello, &[]).expect("the message is sent");
        // A client may not send this, so the producer closes the connection. It may have done that
        // already.
        let _ = connection.send(&[1, 2, 3], &[]);
        connection
    };
    let connections: Vec<_> = (0..20).map(greet).collect();
    let kind = |connection: &Connection| {
        // If a message of the client was not read, the client receives that error first.
        let answer = connection.receive().or_else(|| connection.receive());
        let first = answer.expect("an answer").kind;
        let messages = std::iter::from_fn(|| connection.receive());
        assert_eq!(messages.last().map_or(first, |last| last.kind), wire::BYE);
        first
    };
    // From the last one on: no client has received anything until the last has its answer.
    let kinds: Vec<_> = connections.iter().rev().map(kind).collect();
    let welcomes = kinds.iter().filter(|kind| **kind == wire::WELCOME);
    assert!((1..=PLACES).contains(&welcomes.count()), "{kinds:?}");
    // All clients have received everything, so there are free places again, although no connection
    // was closed.
    let mut honest = Client::start(&place, "");
    until("there is a free place", || {
        honest.order(ClientOrder::Connect);
        honest.next_line().word == "connected"
    });
    drop(connections);
}

/// Each event that is too long for a message has a descriptor, which the producer keeps open while
/// the event waits.
#[test]
fn clients_that_do_not_read_cost_the_producer_few_descriptors() {
    const CLIENTS: usize = 10;
    let place = Place::new();
    let mut producer = Producer::start(&place, "");
    let long = "x".repeat(5000);
    let mut silent = Vec::new();
    for number in 0..CLIENTS {
        silent.push(lease_page(&place));
        for format in 0..100 {
            producer.ask(ProducerOrder::Format(format!("{number}.{format}{long}")));
        }
    }
    // Those of the log, and a few for each client.
    let count = process::fd_count(producer.pid());
    assert!(count < 150 + 8 * CLIENTS, "{count} descriptors");
}

/// The reasons and answers that a producer sends are limited too: to 64 peers that do not read
/// them, and as many that are refused at the same time.
#[test]
fn unread_reasons_and_answers_are_limited() {
    const FEW: usize = 150;
    let place = Place::new();
    let (mut producer, mut honest) = start(&place, "");
    let question = wire::question(wire::VERSION);
    let intrude = |number| {
        let connection = Connection::open(&place.socket("cam0"));
        let says = if number % 2 == 0 {
            &[1, 2, 3][..]
        } else {
            &question
        };
        // The producer may have closed the connection for a newer one.
        let _ = connection.send(says, &[]);
        connection
    };
    let connections: Vec<_> = (0..500).map(intrude).collect();
    until("all connections were refused", || {
        connections.iter().all(Connection::is_over)
    });
    let has_reason = |connection: &&Connection| {
        let messages = connection.received();
        let mut kinds = messages.iter().map(|message| message.kind);
        kinds.any(|kind| [wire::BYE, wire::ANSWER].contains(&kind))
    };
    let reasons = connections.iter().filter(has_reason).count();
    assert!((1..FEW).contains(&reasons), "{reasons}");
    producer.publish(1, 1000);
    honest.receive(1);
}
