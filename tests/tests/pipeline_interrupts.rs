//! Ctrl-C ends `gst-launch-1.0` at once, whatever it waits for and whatever its peer does. A
//! stopped client does not block others.

use std::time::Instant;

use xmem_tests::launched::Launched;
use xmem_tests::pipeline::{CLIENT, Pipeline, Push, State};
use xmem_tests::{Place, process, until};

const FOR_EVER: &str = "18446744073709551615";
const PICTURES: &str = "videotestsrc name=v ! video/x-raw,format=RGB,width=64,height=48";

fn until_the_socket_is_there(place: &Place) {
    until("the producer listens", || place.socket("cam0").exists());
}

/// A client that has received a frame.
fn running_client(place: &Place) -> Pipeline {
    let mut client = Pipeline::play(place, &["count out.sink"], CLIENT);
    until_received(&mut client, 10);
    client
}

fn until_received(client: &mut Pipeline, count: u64) {
    until(&format!("{count} frames are received"), || {
        client.watched("out.sink").number("count") >= count
    });
}

#[test]
fn a_source_that_waits_for_a_producer_is_interrupted() {
    let place = Place::new();
    let mut client = Launched::start(
        &place,
        &format!("xmemsrc name=src channel=cam0 connection-timeout={FOR_EVER} ! fakesink"),
    );
    process::until_asleep(client.pid(), "src:src");
    client.interrupt();
}

#[test]
fn a_source_that_waits_for_frames_is_interrupted() {
    let place = Place::new();
    let mut producer = Pipeline::play(
        &place,
        &[],
        "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false",
    );
    producer.order(Push::bytes(10));
    let mut client = Launched::start(&place, CLIENT);
    producer.until_stats("sink", "the client has the frame", |stats| {
        stats.number("clients") == 1 && stats.number("client-0-lag") == 0
    });
    process::until_asleep(client.pid(), "src:src");
    client.interrupt();
    // The producer has one client less, and continues.
    producer.until_clients("sink", 0);
}

#[test]
fn a_source_whose_producer_is_stopped_is_interrupted() {
    let place = Place::new();
    let mut producer = Pipeline::play(
        &place,
        &[],
        "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false",
    );
    producer.order(Push::bytes(10));
    let mut connected = Launched::start(&place, CLIENT);
    producer.until_stats("sink", "the client has the frame", |stats| {
        stats.number("clients") == 1 && stats.number("client-0-lag") == 0
    });
    producer.stop();
    let mut connecting = Launched::start(&place, CLIENT);
    process::until_asleep(connecting.pid(), "src:src");
    process::until_asleep(connected.pid(), "src:src");
    connected.interrupt();
    connecting.interrupt();
    // Both clients connected and left while the producer was stopped.
    producer.resume();
    producer.until_clients("sink", 0);
    let stats = producer.until_stats("sink", "no client is connected", |stats| {
        stats.number("clients") == 0
    });
    assert_eq!(stats.number("published"), 1);
}

#[test]
fn a_sink_that_waits_for_a_connection_is_interrupted() {
    let place = Place::new();
    let mut producer = Launched::start(
        &place,
        &format!("{PICTURES} ! xmemsink channel=cam0 wait-for-connection=true"),
    );
    until_the_socket_is_there(&place);
    process::until_asleep(producer.pid(), "v:src");
    producer.interrupt();
    assert!(place.files().is_empty(), "{:?}", place.files());
}

#[test]
fn a_producer_that_a_stopped_client_blocks_is_interrupted() {
    for source in [
        PICTURES,
        &format!("{PICTURES} ! identity drop-allocation=true"),
    ] {
        let place = Place::new();
        let mut producer = Launched::start(
            &place,
            &format!(
                "{source} ! xmemsink channel=cam0 sync=false overflow=block \
                 block-timeout=3600000000000"
            ),
        );
        let client = running_client(&place);
        client.stop();
        process::until_asleep(producer.pid(), "v:src");
        producer.interrupt();
        assert!(place.files().is_empty(), "{:?}", place.files());
    }
}

#[test]
fn a_producer_whose_pool_is_empty_is_interrupted() {
    let place = Place::new();
    let mut producer = Launched::start(
        &place,
        &format!(
            "{PICTURES} ! queue ! xmemsink channel=cam0 max-buffers=8 wait-for-connection=true"
        ),
    );
    until_the_socket_is_there(&place);
    process::until_asleep(producer.pid(), "v:src");
    producer.interrupt();
    assert!(place.files().is_empty(), "{:?}", place.files());
}

#[test]
fn a_producer_with_a_stopped_client_is_interrupted() {
    let place = Place::new();
    let mut producer = Launched::start(
        &place,
        &format!("{PICTURES},framerate=60/1 ! xmemsink channel=cam0"),
    );
    let clients = [running_client(&place), running_client(&place)];
    clients[0].stop();
    producer.interrupt();
    assert!(place.files().is_empty(), "{:?}", place.files());
}

#[test]
fn a_relay_between_stopped_processes_is_interrupted() {
    let place = Place::new();
    let producer = format!("{PICTURES},framerate=60/1 ! xmemsink name=sink channel=cam0");
    let producer = Pipeline::play(&place, &[], &producer);
    let mut relay = Launched::start(
        &place,
        "xmemsrc channel=cam0 ! xmemsink channel=cam1 overflow=block block-timeout=3600000000000",
    );
    let client = "xmemsrc channel=cam1 ! fakesink name=out";
    let mut client = Pipeline::play(&place, &["count out.sink"], client);
    until_received(&mut client, 10);
    client.stop();
    producer.stop();
    relay.interrupt();
    assert_eq!(place.files(), ["cam0.sock"]);
}

#[test]
fn a_client_that_is_interrupted_does_not_disturb_the_others() {
    let place = Place::new();
    let producer = format!("{PICTURES},framerate=60/1 ! xmemsink name=sink channel=cam0");
    let mut producer = Pipeline::play(&place, &[], &producer);
    let mut other = running_client(&place);
    for _ in 0..5 {
        let mark = producer.mark();
        let mut client = Launched::start(&place, CLIENT);
        producer.until_clients_since(mark, "sink", 2);
        client.interrupt();
        producer.until_clients_since(mark, "sink", 1);
    }
    let before = other.watched("out.sink").number("count");
    until_received(&mut other, before + 30);
    assert_eq!(other.stats("src").number("connections"), 1);
}

/// The number of frames that are published while a client receives `count`.
fn published_while(producer: &mut Pipeline, client: &mut Pipeline, count: u64) -> u64 {
    let received = client.watched("out.sink").number("count");
    let published = producer.stats("sink").number("published");
    until_received(client, received + count);
    producer.stats("sink").number("published") - published
}

#[test]
fn no_client_freezes_the_others() {
    let place = Place::new();
    let mut producer = Pipeline::play(
        &place,
        &[],
        "videotestsrc is-live=true pattern=ball \
         ! video/x-raw,format=RGB,width=640,height=480,framerate=60/1 \
         ! xmemsink name=sink channel=cam0",
    );
    // Leases give a margin of half a second for a client that gets no processor.
    let client = "xmemsrc name=src channel=cam0 max-leases=16 ! fakesink name=out";
    let mut clients = [(); 2].map(|()| Pipeline::play(&place, &["count out.sink"], client));
    for client in &mut clients {
        until_received(client, 60);
    }
    let [mut client, mut stopped] = clients;
    let stats = producer.stats("sink");
    let memory = stats.number("memory");
    let missed = client.stats("src").number("missed");
    stopped.stop();
    let start = Instant::now();
    let published = published_while(&mut producer, &mut client, 120);
    let time = start.elapsed();
    // As many as were published, except for those in flight, and at the pace of the clock.
    assert!((100..=140).contains(&published), "{published} for 120");
    assert!(
        (1..5).contains(&time.as_secs()),
        "120 frames of a sixtieth of a second took {time:?}"
    );
    assert_eq!(client.stats("src").number("missed"), missed);
    let stats = producer.stats("sink");
    assert_eq!(stats.number("memory"), memory, "{stats}");
    assert_eq!(stats.number("dropped"), 0, "{stats}");
    assert_eq!(stats.number("copied"), 0, "{stats}");
    assert_eq!(stats.number("clients"), 2, "{stats}");
    // It has the frames that it had leased, and no more.
    let held = (0..2).map(|client| stats.number(&format!("client-{client}-held")));
    assert!(held.sum::<u64>() <= 32, "{stats}");
    // After it is continued, it receives the newest frames, and knows how many it has missed.
    stopped.resume();
    stopped.until_stats("src", "the client continues", |stats| {
        stats.number("missed") > 0
    });
    published_while(&mut producer, &mut stopped, 30);
    stopped.stop();
    // It does not delay the end of the producer either.
    producer.change_promptly(State::Null);
    assert!(place.files().is_empty(), "{:?}", place.files());
}
