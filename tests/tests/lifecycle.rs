//! Producers and clients start, stop, crash and restart, in any order.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::net::{Shutdown, shutdown};
use xmem_core::{Error, Publisher, Subscriber};
use xmem_tests::client::Receive;
use xmem_tests::producer::Publish;
use xmem_tests::{
    Client, ClientOrder, PATIENCE, Place, Producer, ProducerOrder, is_torture, pattern, process,
    until, wire,
};

/// A client that runs, and reconnects whenever that can help.
fn running_client(place: &Place) -> Client {
    let mut client = Client::start(place, "");
    client.begin(ClientOrder::Run { linger_us: 0 });
    client
}

fn until_client_has_received(client: &mut Client, frames: u64) {
    until(&format!("the client has received {frames} frames"), || {
        client.progress().number("frames") >= frames
    });
}

/// Ends the stream in one of three ways, with published frames that the client has not received.
/// Returns the error.
fn error_after(ending: impl FnOnce(&mut Producer)) -> Error {
    let place = Place::new();
    let mut producer = Producer::start(&place, "slots=8");
    let mut subscriber = Subscriber::builder(place.channel("cam0"))
        .connect()
        .unwrap();
    let mut next = 0;
    let mut receive = |subscriber: &mut Subscriber| {
        let frame = subscriber.receive(Some(PATIENCE)).unwrap();
        assert_eq!((frame.seq(), frame.missed()), (next, 0));
        pattern::check(&frame).unwrap();
        next += 1;
    };
    // First as many frames at once as there will be: a client cannot get memory that it does not
    // know from a killed producer.
    producer.ask(Publish::frames(8, 70000).extra(700));
    (0..8).for_each(|_| receive(&mut subscriber));
    producer.ask(Publish::frames(8, 70000).extra(700));
    ending(&mut producer);
    (0..8).for_each(|_| receive(&mut subscriber));
    let error = subscriber.receive(Some(PATIENCE)).unwrap_err();
    // The error stays, except for an end of stream, which is reported once, because the stream may
    // continue.
    let again = subscriber.receive(Some(Duration::ZERO)).unwrap_err();
    match error {
        Error::EndOfStream => assert!(matches!(again, Error::TimedOut), "{again}"),
        _ => assert_eq!(again.to_string(), error.to_string()),
    }
    error
}

#[test]
fn an_end_of_stream_is_reported_after_the_last_frame() {
    let error = error_after(|producer| {
        producer.ask(ProducerOrder::Eos);
    });
    assert!(matches!(error, Error::EndOfStream), "{error}");
    assert!(!error.is_retryable());
}

#[test]
fn a_clean_stop_is_reported_after_the_last_frame() {
    let error = error_after(|producer| {
        producer.ask(ProducerOrder::Close);
    });
    assert!(matches!(error, Error::Stopped), "{error}");
    assert!(error.is_retryable());
}

#[test]
fn a_crash_is_reported_after_the_last_frame() {
    let error = error_after(|producer| producer.kill());
    assert!(matches!(error, Error::Disconnected(_)), "{error}");
    assert!(error.is_retryable());
}

#[test]
fn a_waiting_client_is_woken_by_each_end() {
    for kind in ["EndOfStream", "Stopped", "Disconnected"] {
        let place = Place::new();
        let mut producer = Producer::start(&place, "");
        let mut client = Client::connected(&place, "");
        client.begin(Receive::frames(1));
        process::until_asleep(client.pid(), "worker");
        match kind {
            "EndOfStream" => producer.order(ProducerOrder::Eos),
            "Stopped" => producer.order(ProducerOrder::Close),
            _ => producer.kill(),
        }
        assert_eq!(client.next_line().text("kind"), kind);
    }
}

#[test]
fn a_stream_that_was_ended_goes_on_when_more_is_published() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "slots=4");
    let mut subscriber = Subscriber::builder(place.channel("cam0"))
        .connect()
        .unwrap();
    for round in 0..3 {
        producer.publish(2, 100);
        producer.ask(ProducerOrder::Eos);
        for number in 0..2 {
            let frame = subscriber.receive(Some(PATIENCE)).unwrap();
            assert_eq!(frame.seq(), 2 * round + number);
        }
        let error = subscriber.receive(Some(PATIENCE)).unwrap_err();
        assert!(matches!(error, Error::EndOfStream), "{error}");
    }
}

#[test]
fn a_client_that_joins_a_continued_stream_gets_no_end_of_stream() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "slots=4");
    producer.publish(2, 100);
    producer.ask(ProducerOrder::Eos);
    producer.publish(2, 100);
    let mut subscriber = Subscriber::builder(place.channel("cam0"))
        .connect()
        .unwrap();
    assert_eq!(subscriber.receive(Some(PATIENCE)).unwrap().seq(), 3);
    // The client has read all events of the start when it has this format.
    producer.ask(ProducerOrder::Format("marker".into()));
    producer.publish(1, 100);
    let frame = subscriber.receive(Some(PATIENCE)).unwrap();
    assert_eq!(frame.format().map(|bytes| &**bytes), Some(&b"marker"[..]));
    let error = subscriber.receive(Some(Duration::ZERO)).unwrap_err();
    assert!(matches!(error, Error::TimedOut), "{error}");
}

#[test]
fn a_client_connects_again_to_a_producer_that_comes_back() {
    let place = Place::new();
    let mut client = running_client(&place);
    let mut received = 0;
    for round in 0..6 {
        let mut producer = Producer::start(&place, "");
        // The client wakes up in each round, and has to notice by itself that the former producer
        // is gone.
        producer.ask(ProducerOrder::WaitForClients(1));
        producer.publish(1, 10000);
        received += 1;
        until_client_has_received(&mut client, received);
        match round % 2 {
            0 => producer.kill(),
            _ => producer.end(),
        }
    }
    assert_eq!(client.progress().number("connects"), 6);
}

#[test]
fn a_socket_whose_producer_was_killed_is_taken_over() {
    let place = Place::new();
    let mut first = Producer::start(&place, "");
    first.kill();
    assert_eq!(place.files(), ["cam0.sock"]);
    let mut second = Producer::start(&place, "");
    second.publish(1, 10);
    let mut subscriber = Subscriber::builder(place.channel("cam0"))
        .connect()
        .unwrap();
    assert_eq!(subscriber.receive(Some(PATIENCE)).unwrap().seq(), 0);
    second.end();
    assert_eq!(place.files(), [""; 0]);
}

/// A child of the producer keeps the socket open, so there is neither a hang-up nor a refused
/// connection.
#[test]
fn the_death_of_a_producer_is_noticed_while_a_child_of_it_holds_its_sockets() {
    let place = Place::new();
    let mut first = Producer::start(&place, "");
    let mut subscriber = Subscriber::builder(place.channel("cam0"))
        .connect()
        .unwrap();
    first.publish(1, 5000);
    subscriber.receive(Some(PATIENCE)).unwrap();
    first.publish(1, 5000);
    let child = first.ask(ProducerOrder::Fork).number("pid") as u32;
    first.kill();
    assert_ne!(process::state(child), None, "the child still exists");
    pattern::check(&subscriber.receive(Some(PATIENCE)).unwrap()).unwrap();
    let error = subscriber.receive(Some(PATIENCE)).unwrap_err();
    assert!(matches!(error, Error::Disconnected(_)), "{error}");
    // A client that starts now waits for a running producer, and finds it.
    let mut client = running_client(&place);
    let mut second = Producer::start(&place, "");
    second.ask(ProducerOrder::WaitForClients(1));
    second.publish(1, 5000);
    until_client_has_received(&mut client, 1);
    assert_ne!(process::state(child), None, "the child still exists");
    second.end();
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn what_a_child_of_the_producer_closes_stays_open() {
    let place = Place::new();
    let mut producer = Producer::start(&place, "");
    let mut subscriber = Subscriber::builder(place.channel("cam0"))
        .connect()
        .unwrap();
    let forked = producer.ask(ProducerOrder::ForkAndClose);
    assert_eq!(forked.text("well"), "true");
    producer.publish(1, 5000);
    let frame = subscriber.receive(Some(PATIENCE)).unwrap();
    pattern::check(&frame).unwrap();
    // A client that starts now finds the producer.
    Subscriber::builder(place.channel("cam0"))
        .connect()
        .unwrap();
}

#[test]
fn a_producer_that_finds_another_one_names_its_pid() {
    let place = Place::new();
    let first = Producer::start(&place, "");
    let mut second = Producer::launch(&place, "");
    let failed = second.next_line();
    assert_eq!(failed.text("kind"), "InUse");
    assert_eq!(failed.text("retryable"), "false");
    let named = format!("pid {}", first.pid());
    assert!(failed.text("text").contains(&named), "{failed}");
    // A stopped producer still has the channel.
    first.stop();
    let mut third = Producer::launch(&place, "");
    let failed = third.next_line();
    assert!(failed.text("text").contains(&named), "{failed}");
    first.resume();
}

#[test]
fn one_of_several_simultaneous_producers_wins_and_the_others_name_it() {
    let place = Place::new();
    let rounds = if is_torture() { 1000 } else { 8 };
    for round in 0..rounds {
        // In every other round they find the socket of a dead producer.
        if round % 2 == 1 {
            Producer::start(&place, "").kill();
        }
        let barrier = Barrier::new(4);
        let mut peers: Vec<(Producer, _)> = std::thread::scope(|scope| {
            let start = || {
                barrier.wait();
                let mut peer = Producer::launch(&place, "");
                let line = peer.next_line();
                (peer, line)
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join().unwrap();
            threads.into_iter().map(join).collect()
        });
        let won = |(_, line): &&(Producer, xmem_tests::Line)| line.word == "opened";
        let winners: Vec<u32> = peers
            .iter()
            .filter(won)
            .map(|(peer, _)| peer.pid())
            .collect();
        assert_eq!(winners.len(), 1, "{peers:#?}");
        for (_, line) in peers.iter().filter(|(_, line)| line.word != "opened") {
            let named = format!("pid {}", winners[0]);
            assert!(line.text("text").contains(&named), "{line}");
        }
        for (peer, line) in &mut peers {
            if line.word == "opened" {
                peer.end();
            }
        }
        assert_eq!(place.files(), [""; 0]);
    }
}

#[test]
fn clients_that_start_together_with_their_producer_all_get_in() {
    const CLIENTS: usize = 4;
    let place = Place::new();
    let rounds = if is_torture() { 1000 } else { 20 };
    for round in 0..rounds {
        // In every other round they find the socket of a dead producer.
        if round % 2 == 1 {
            let dead = wire::listen(&place.socket("cam0"));
            // If another test starts a program just now, the program has the socket for a moment
            // too.
            shutdown(&dead, Shutdown::Both).expect("a socket");
        }
        let (barrier, served) = (Barrier::new(CLIENTS + 1), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let builder = Subscriber::builder(place.channel("cam0"));
                    barrier.wait();
                    let client = builder.connect_timeout(Some(PATIENCE)).connect();
                    let mut client = client.expect("a connection");
                    for _ in 0..2 {
                        let frame = client.receive(Some(PATIENCE)).expect("a frame");
                        pattern::check(&frame).expect("a whole frame");
                    }
                    served.fetch_add(1, Ordering::Relaxed);
                });
            }
            barrier.wait();
            let builder = Publisher::builder(place.channel("cam0"));
            let publisher = builder.open().expect("a channel");
            let mut number = 0;
            until("all clients are served", || {
                pattern::publish(&publisher, number, 100, 0).expect("a frame");
                number += 1;
                served.load(Ordering::Relaxed) == CLIENTS
            });
        });
        assert_eq!(place.files(), [""; 0]);
    }
}

#[test]
fn a_missing_producer_is_worth_another_try() {
    let place = Place::new();
    let mut client = Client::start(&place, "timeout-ms=1");
    let failed = client.outcome(ClientOrder::Connect);
    assert_eq!(failed.text("kind"), "NoProducer");
    assert_eq!(failed.text("retryable"), "true");
    assert!(failed.text("text").contains("cam0.sock"), "{failed}");
}

#[test]
fn the_socket_has_the_permissions_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    for perms in [0o600, 0o666] {
        let publisher = Publisher::builder(place.channel("cam0"))
            .perms(perms)
            .open()
            .unwrap();
        let found = std::fs::metadata(publisher.socket_path()).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, perms);
    }
}
