//! A client or a producer that tests run instruction by instruction:
//! `xmem-test-victim client CHANNEL STRETCH` or
//! `xmem-test-victim producer CHANNEL STRETCH CLIENTS EXTRA`
//!
//! The stretch is the part between the two marks: for a client `connect`, `receive`, `release` or
//! `disconnect`; for a producer `open`, `acquire`, `publish` or `close`. The producer waits for
//! CLIENTS clients before its first frame, and its frames have EXTRA extra bytes.

use std::time::Duration;

use xmem_core::{Channel, Publisher, Subscriber};
use xmem_tests::{pattern, steps, until};

/// The size of the producer's frames in bytes.
const SIZE: usize = 96;
/// Number of frames that are published before the stretch, so that every slot was used.
const BEFORE: u64 = 12;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    steps::stepped();
    match arguments[..] {
        ["client", channel, stretch] => client(Channel::name(channel), stretch),
        ["producer", channel, stretch, clients, extra] => {
            let number = |text: &str| text.parse::<usize>().expect("a number");
            producer(
                Channel::name(channel),
                stretch,
                number(clients),
                number(extra),
            );
        }
        _ => panic!("{arguments:?} are not the expected arguments"),
    }
}

/// Runs `act`, between marks if `what` is the stretch.
fn act<T>(what: &str, stretch: &str, act: impl FnOnce() -> T) -> T {
    if what != stretch {
        return act();
    }
    steps::mark();
    let result = act();
    steps::mark();
    result
}

fn client(channel: Channel, stretch: &str) {
    let builder = Subscriber::builder(channel).name("victim").leases(2);
    let connected = act("connect", stretch, || builder.connect());
    let mut subscriber = connected.expect("a producer exists");
    let received = act("receive", stretch, || subscriber.receive(None));
    let frame = received.expect("there is a frame");
    pattern::check(&frame).expect("a whole frame");
    act("release", stretch, || drop(frame));
    act("disconnect", stretch, || drop(subscriber));
}

fn producer(channel: Channel, stretch: &str, clients: usize, extra: usize) {
    // Few slots, so that no segment has a MiB: reading the free memory of the machine takes 200,000
    // instructions.
    let builder = Publisher::builder(channel).max_slots(64);
    let builder = builder.slots(3).slot_size(SIZE);
    let opened = act("open", stretch, || builder.open());
    let publisher = opened.expect("no other producer has the channel");
    let come = publisher.wait_for_clients(clients, Some(Duration::from_secs(30)));
    come.expect("clients come");
    for number in 0..BEFORE {
        let mut frame = publisher.acquire(SIZE).expect("a slot");
        pattern::fill(&mut frame, number, extra).expect("a record");
        frame.publish().expect("a channel");
        // Otherwise the slots would differ from run to run.
        until("the client has passed the frame", || {
            let clients = publisher.stats().clients;
            clients
                .iter()
                .all(|client| client.lag == 0 && client.held == 0)
        });
    }
    let acquired = act("acquire", stretch, || publisher.acquire(SIZE));
    let mut frame = acquired.expect("a slot");
    let published = act("publish", stretch, || {
        pattern::fill(&mut frame, BEFORE, extra).expect("a record");
        frame.publish()
    });
    published.expect("a channel");
    act("close", stretch, || publisher.close());
}
