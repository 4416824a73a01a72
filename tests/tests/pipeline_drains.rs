//! Memory that a sink imports, wanted back by the element that made it: a pool that is freed or
//! changed.

use xmem_tests::pipeline::{CLIENT, LOSSLESS, Order, PUSHING, Pipeline, Push, State};
use xmem_tests::{Place, process, until};

/// Number of buffers in the producer's pool, of which at most half are imported.
const POOL: u64 = 40;

/// A producer and its client, which has received `frames` frames from the pool of the producer.
fn passed(place: &Place, client: &str, frames: usize) -> (Pipeline, Pipeline) {
    let mut client = Pipeline::play(place, &["report out.sink"], client);
    let producer = format!("{PUSHING} {LOSSLESS}");
    let mut producer = Pipeline::play_for(1, place, &["report sink.sink"], &producer);
    push(&mut producer, frames);
    client.until_buffers("out.sink", frames);
    (producer, client)
}

fn push(producer: &mut Pipeline, frames: usize) {
    let mark = producer.mark();
    producer.push(Push::bytes(5000).memfds(POOL as u32).count(frames as u64));
    producer.until_buffers_since(mark, "sink.sink", frames);
}

fn unused(producer: &mut Pipeline) -> u64 {
    producer.order(Order::Unused).number("count")
}

fn drain(producer: &mut Pipeline) {
    let answer = producer.order(Order::Drain("src".into()));
    assert_eq!(answer.text("answered"), "true");
}

fn assert_same(producer: &Pipeline, client: &Pipeline) {
    let (sent, received) = (producer.digests("sink.sink"), client.digests("out.sink"));
    assert_eq!(sent.len(), received.len());
    assert!(sent == received, "{} frames differ", sent.len());
}

#[test]
fn a_drain_returns_all_buffers_although_sinks_keep_the_last() {
    let place = Place::new();
    let (mut producer, mut client) = passed(&place, CLIENT, 10);
    assert!(unused(&mut producer) < POOL);
    for round in 1..=20 {
        drain(&mut producer);
        assert_eq!(unused(&mut producer), POOL, "round {round}");
        // The drain has lost no frame, and the next ones are imported as before.
        push(&mut producer, 10);
        client.until_buffers("out.sink", 10 + 10 * round);
    }
    assert_same(&producer, &client);
    let stats = producer.stats("sink");
    assert_eq!(stats.number("imported"), 210, "{stats}");
    assert_eq!(stats.number("client-0-missed"), 0, "{stats}");
}

#[test]
fn frames_that_clients_have_yet_to_receive_are_not_lost_by_a_drain() {
    let place = Place::new();
    let (mut producer, mut client) = passed(&place, CLIENT, 1);
    for round in 1..=50 {
        push(&mut producer, 15);
        drain(&mut producer);
        assert_eq!(unused(&mut producer), POOL, "round {round}");
    }
    client.until_buffers("out.sink", 1 + 50 * 15);
    assert_same(&producer, &client);
}

#[test]
fn a_drain_goes_through_a_process_in_the_middle() {
    let place = Place::new();
    let middle = format!(
        "xmemsrc channel=cam0 max-leases=16 ! queue ! xmemsink name=sink channel=cam1 {LOSSLESS}"
    );
    let mut middle = Pipeline::play(&place, &[], &middle);
    let last = "xmemsrc channel=cam1 ! queue ! fakesink name=out";
    let mut last = Pipeline::play(&place, &["report out.sink"], last);
    middle.until_clients("sink", 1);
    let mut producer = Pipeline::play(
        &place,
        &["report sink.sink"],
        &format!("{PUSHING} {LOSSLESS}"),
    );
    producer.until_clients("sink", 1);
    for round in 1..=20 {
        push(&mut producer, 5);
        drain(&mut producer);
        assert_eq!(unused(&mut producer), POOL, "round {round}");
    }
    last.until_buffers("out.sink", 100);
    assert_same(&producer, &last);
    assert_eq!(middle.stats("sink").number("imported"), 100);
}

#[test]
fn buffers_that_a_client_holds_come_back_when_it_releases_them() {
    let place = Place::new();
    let (mut producer, mut client) = passed(&place, CLIENT, 1);
    client.hold("out.sink", 2);
    push(&mut producer, 3);
    client.until_buffers("out.sink", 4);
    let held = client.held("out.sink");
    drain(&mut producer);
    assert_eq!(unused(&mut producer), POOL - 2);
    // It has not changed: no process writes to it.
    push(&mut producer, 10);
    drain(&mut producer);
    client.until_buffers("out.sink", 14);
    client.hold("out.sink", 0);
    drain(&mut producer);
    assert_eq!(unused(&mut producer), POOL);
    assert!(!held.is_empty());
    assert_same(&producer, &client);
}

#[test]
fn a_stopped_client_does_not_delay_a_drain_for_long() {
    let place = Place::new();
    let (mut producer, mut client) = passed(&place, CLIENT, 1);
    let mut other = Pipeline::play(&place, &["report out.sink"], CLIENT);
    producer.until_clients("sink", 2);
    other.until_buffers("out.sink", 1);
    client.stop();
    push(&mut producer, 5);
    other.until_buffers("out.sink", 6);
    drain(&mut producer);
    // All buffers except the one that the client holds.
    assert!(unused(&mut producer) >= POOL - 1);
    assert_eq!(other.messages(), [""; 0]);
    push(&mut producer, 5);
    other.until_buffers("out.sink", 11);
    client.kill();
    producer.until_clients("sink", 1);
    drain(&mut producer);
    assert_eq!(unused(&mut producer), POOL);
}

#[test]
fn from_paused_to_ready_all_buffers_go_back() {
    let place = Place::new();
    let (mut producer, mut client) = passed(&place, CLIENT, 10);
    for round in 1..=10 {
        producer.change(State::Ready);
        assert_eq!(unused(&mut producer), POOL, "round {round}");
        producer.change(State::Playing);
        push(&mut producer, 10);
        client.until_buffers("out.sink", 10 + 10 * round);
    }
    assert_same(&producer, &client);
}

#[test]
fn what_a_killed_client_held_goes_back_at_once() {
    let place = Place::new();
    let (mut producer, mut client) = passed(&place, CLIENT, 1);
    client.hold("out.sink", 3);
    push(&mut producer, 5);
    client.until_buffers("out.sink", 6);
    producer.change(State::Ready);
    assert_eq!(unused(&mut producer), POOL - 3);
    client.kill();
    // That needs no further frame and no call.
    until("the buffers are back", || unused(&mut producer) == POOL);
}

/// The query waits behind the frames before it, which a paused sink does not accept.
#[test]
fn a_client_that_is_paused_during_a_drain_continues_and_stops_normally() {
    let place = Place::new();
    // With leases for all frames in the queue, because a lack of leases causes a warning.
    let client = "xmemsrc name=src channel=cam0 max-leases=16 ! queue ! fakesink name=out";
    let (mut producer, mut client) = passed(&place, client, 1);
    for next in [State::Playing, State::Ready, State::Null] {
        client.change(State::Paused);
        push(&mut producer, 3);
        drain(&mut producer);
        client.change(next);
        client.change(State::Playing);
        producer.until_clients("sink", 1);
        let mark = client.mark();
        push(&mut producer, 3);
        client.until_buffers_since(mark, "out.sink", 1);
        drain(&mut producer);
        assert_eq!(unused(&mut producer), POOL, "after {next:?}");
    }
    assert_eq!(client.messages(), [""; 0]);
}

/// A camera that restarts has other buffers, and may get none while those from before exist.
#[test]
fn memory_that_its_maker_has_given_up_is_not_kept() {
    const FRAMES: usize = 10;
    let place = Place::new();
    let (mut producer, mut client) = passed(&place, CLIENT, FRAMES);
    for round in 2..=8 {
        drain(&mut producer);
        producer.order(Order::GiveUp);
        push(&mut producer, FRAMES);
        client.until_buffers("out.sink", round * FRAMES);
    }
    // The memory of the last pool, and of the one before, which is released when a frame comes
    // back.
    until("the client has released the memory of the others", || {
        process::maps(client.pid(), "test-memfd").len() <= 2 * FRAMES
    });
    let fds = process::fds(producer.pid());
    let memfds = fds.iter().filter(|(_, name)| {
        let name = name.to_string_lossy();
        name.contains("test-memfd")
    });
    assert!(memfds.count() <= 3 * FRAMES, "{fds:?}");
    assert_same(&producer, &client);
}

#[test]
fn behind_a_tee_every_sink_releases_its_last_buffer() {
    let place = Place::new();
    let client = "xmemsrc name=src channel=cam0 ! tee name=tee tee. ! queue ! fakesink name=out \
         tee. ! queue ! identity ! fakesink tee. ! fakesink";
    let (mut producer, _client) = passed(&place, client, 10);
    for round in 1..=10 {
        drain(&mut producer);
        assert_eq!(unused(&mut producer), POOL, "round {round}");
        push(&mut producer, 10);
    }
}

/// An appsink answers the DRAIN query after the application has taken all buffers.
#[test]
fn a_client_with_an_appsink_continues_and_stops_normally() {
    let place = Place::new();
    let client = "xmemsrc name=src channel=cam0 ! \
        appsink name=out sync=false max-buffers=1 drop=true wait-on-eos=false";
    let (mut producer, mut client) = passed(&place, client, 5);
    for next in [State::Playing, State::Paused, State::Ready, State::Null] {
        drain(&mut producer);
        // All except those that the application may take: the first and the last.
        assert!(unused(&mut producer) >= POOL - 2, "before {next:?}");
        client.change_promptly(next);
        client.change_promptly(State::Playing);
        producer.until_clients("sink", 1);
        let mark = client.mark();
        push(&mut producer, 5);
        client.until_buffers_since(mark, "out.sink", 1);
    }
    client.end();
}

/// This element lets nothing out before more has come in.
#[test]
fn a_client_that_splits_its_recording_goes_on() {
    let place = Place::new();
    let location = place.path().join("%02d.mkv");
    let client = format!(
        "xmemsrc name=src channel=cam0 ! jpegenc name=out ! \
         splitmuxsink muxer-factory=matroskamux location={}",
        location.display()
    );
    let mut client = Pipeline::play(&place, &["report out.sink"], &client);
    let producer = PUSHING.replace("appsrc", "appsrc do-timestamp=true is-live=true");
    let mut producer = Pipeline::play(&place, &[], &format!("{producer} {LOSSLESS}"));
    producer.until_clients("sink", 1);
    let caps = "video/x-raw,format=I420,width=64,height=48,framerate=30/1";
    for round in 1..=5 {
        producer.push(Push::of(caps).memfds(POOL as u32).count(5));
        client.until_buffers("out.sink", 5 * round);
        drain(&mut producer);
    }
    assert!(producer.stats("sink").number("imported") > 0);
    producer.order(Order::end("src"));
    client.until_eos();
}
#[test]
fn after_the_end_of_the_stream_all_buffers_go_back() {
    let place = Place::new();
    let (mut producer, mut client) = passed(&place, CLIENT, 10);
    producer.order(Order::end("src"));
    producer.until_eos();
    client.until_eos();
    producer.change(State::Ready);
    assert_eq!(unused(&mut producer), POOL);
}
