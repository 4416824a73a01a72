//! A client or a producer that tests run instruction by instruction:
//! `xmem-test-victim client|producer CHANNEL STRETCH`
//!
//! The stretch is what stands between the two marks: of a client `connect`, `receive`, `release` or
//! `disconnect`; of a producer `open`, `acquire`, `publish` or `close`.

use std::time::Duration;

use xmem_core::{Channel, Publisher, Subscriber};
use xmem_tests::{pattern, steps, until};

/// Bytes of a producer's frames, and of their extra data.
const SIZE: usize = 96;
const EXTRA: usize = 16;
/// Frames that were published before the stretch: every slot was used.
const BEFORE: u64 = 12;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, channel, stretch] = &arguments[..] else {
        panic!("a role, a channel and a stretch are needed");
    };
    steps::stepped();
    match role.as_str() {
        "client" => client(Channel::name(channel), stretch),
        "producer" => producer(Channel::name(channel), stretch),
        other => panic!("{other:?} is not a role"),
    }
}

/// Does something, between marks where that is the stretch.
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
    let mut subscriber = connected.expect("there is a producer");
    let received = act("receive", stretch, || subscriber.receive(None));
    let frame = received.expect("there is a frame");
    pattern::check(&frame).expect("a whole frame");
    act("release", stretch, || drop(frame));
    act("disconnect", stretch, || drop(subscriber));
}

fn producer(channel: Channel, stretch: &str) {
    let builder = Publisher::builder(channel).slots(3).slot_size(SIZE);
    let opened = act("open", stretch, || builder.open());
    let publisher = opened.expect("nobody else has the channel");
    let clients = publisher.wait_for_clients(1, Some(Duration::from_secs(30)));
    clients.expect("a client comes");
    for number in 0..BEFORE {
        let mut frame = publisher.acquire(SIZE).expect("a slot");
        pattern::fill(&mut frame, number, EXTRA).expect("a record");
        frame.publish().expect("a channel");
        // Else one run would find other slots than the next.
        until("the client has seen it", || {
            let clients = publisher.stats().clients;
            clients
                .iter()
                .all(|client| client.lag == 0 && client.held == 0)
        });
    }
    let acquired = act("acquire", stretch, || publisher.acquire(SIZE));
    let mut frame = acquired.expect("a slot");
    let published = act("publish", stretch, || {
        pattern::fill(&mut frame, BEFORE, EXTRA).expect("a record");
        frame.publish()
    });
    published.expect("a channel");
    act("close", stretch, || publisher.close());
}
