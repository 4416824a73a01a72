//! Producers and clients start, stop, crash and restart, in any order.

use xmem_tests::pipeline::{CLIENT, Order, Pipeline, Push, State};
use xmem_tests::{Place, process, until};

/// Frames that all differ from the one before.
const PICTURES: &str =
    "videotestsrc pattern=ball ! video/x-raw,format=RGB,width=64,height=48,framerate=60/1";

fn camera(place: &Place) -> Pipeline {
    let camera = format!("{PICTURES} ! xmemsink name=sink channel=cam0");
    Pipeline::play(place, &[], &camera)
}

fn client(place: &Place, properties: &str) -> Pipeline {
    let client = format!("xmemsrc name=src channel=cam0 {properties} ! fakesink name=out");
    Pipeline::play(place, &["report out.sink"], &client)
}

#[test]
fn a_client_waits_for_a_producer_that_starts_later() {
    let place = Place::new();
    let mut client = client(&place, "");
    process::until_asleep(client.pid(), "src:src");
    let _camera = camera(&place);
    client.until_buffers("out.sink", 10);
}

#[test]
fn a_client_joins_a_producer_that_runs() {
    let place = Place::new();
    let mut camera = camera(&place);
    camera.until_stats("sink", "the camera runs", |stats| {
        stats.number("published") > 10
    });
    let mut client = client(&place, "");
    client.until_buffers("out.sink", 10);
    let stats = client.stats("src");
    assert_eq!(stats.number("connections"), 1, "{stats}");
}

#[test]
fn a_client_that_joins_gets_the_newest_frame_at_once() {
    let place = Place::new();
    let mut producer = Pipeline::play(
        &place,
        &["report sink.sink"],
        "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false",
    );
    producer.order(Push::bytes(100).count(7).seed(1));
    producer.until_stats("sink", "all frames are published", |stats| {
        stats.number("published") == 7
    });
    let mut client = client(&place, "");
    client.until_buffers("out.sink", 1);
    assert_eq!(
        client.digests("out.sink")[0],
        producer.digests("sink.sink")[6]
    );
}

/// The maximum number of slots for one client: small frames in 2 MiB, and some more.
const SLOTS_OF_ONE: u64 = (2 << 20) / 12_288 + 16;

fn a_client_restarts_from(state: State) {
    let place = Place::new();
    let mut camera = camera(&place);
    let mut client = client(&place, "");
    for _ in 0..20 {
        let mark = client.mark();
        client.until_buffers_since(mark, "out.sink", 3);
        client.change(state);
        let mark = camera.mark();
        client.change(State::Playing);
        camera.until_clients_since(mark, "sink", 1);
    }
    let mark = client.mark();
    client.until_buffers_since(mark, "out.sink", 3);
    client.change(State::Null);
    let stats = camera.until_stats("sink", "the client is gone", |stats| {
        stats.number("clients") == 0
    });
    // Each former client has released its slots, so they have not accumulated.
    assert!(stats.number("slots") < 2 * SLOTS_OF_ONE, "{stats}");
}

#[test]
fn a_client_restarts_from_ready_twenty_times() {
    a_client_restarts_from(State::Ready);
}

#[test]
fn a_client_restarts_from_null_twenty_times() {
    a_client_restarts_from(State::Null);
}

#[test]
fn a_client_comes_back_as_a_new_process_after_it_was_killed() {
    let place = Place::new();
    let mut camera = camera(&place);
    for _ in 0..5 {
        let mark = camera.mark();
        let mut client = client(&place, "");
        client.until_buffers("out.sink", 5);
        client.kill();
        camera.until_clients_since(mark, "sink", 0);
    }
    let stats = camera.stats("sink");
    assert!(stats.number("slots") < 2 * SLOTS_OF_ONE, "{stats}");
}

/// How a producer ends while a client has its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// EOS.
    Eos,
    /// The pipeline is stopped.
    Stop,
    /// The process is killed.
    Crash,
}

/// A client whose producer sends ten frames and then ends; and the producer, which still exists
/// after EOS.
fn client_after(ending: Ending, on_disconnect: &str) -> (Place, Pipeline, Pipeline) {
    let place = Place::new();
    let mut client = client(&place, &format!("on-disconnect={on_disconnect}"));
    let mut producer = Pipeline::play_for(
        1,
        &place,
        &[],
        "appsrc name=src format=time ! xmemsink name=sink channel=cam0 overflow=block \
         block-timeout=20000000000 sync=false",
    );
    // A frame in memory that the client does not know yet is lost if the producer is killed, so the
    // slots for the client are made before the other frames.
    producer.order(Push::bytes(100));
    client.until_buffers("out.sink", 1);
    producer.until_stats("sink", "the slots are made", |stats| {
        stats.number("slots") >= stats.number("client-0-backlog") + 2
    });
    producer.order(Push::bytes(100).count(9));
    producer.until_stats("sink", "all frames are published", |stats| {
        stats.number("published") == 10
    });
    match ending {
        Ending::Eos => {
            producer.order(Order::end("src"));
            producer.until_eos();
        }
        Ending::Stop => {
            producer.change(State::Null);
        }
        Ending::Crash => producer.kill(),
    }
    // All published frames come first, whatever happens then.
    client.until_buffers("out.sink", 10);
    (place, client, producer)
}

#[test]
fn an_end_of_stream_ends_the_stream_whatever_on_disconnect_says() {
    for on_disconnect in ["error", "eos", "reconnect"] {
        let (_place, mut client, _producer) = client_after(Ending::Eos, on_disconnect);
        client.until_eos();
        assert_eq!(client.buffers("out.sink").len(), 10);
    }
}

#[test]
fn a_stop_and_a_crash_are_errors_where_on_disconnect_is_error() {
    let (_place, mut client, _producer) = client_after(Ending::Stop, "error");
    let stopped = client.until_message("error");
    let (_place, mut client, _producer) = client_after(Ending::Crash, "error");
    let crashed = client.until_message("error");
    for message in [&stopped, &crashed] {
        assert_eq!(message.text("kind"), "Resource.Read", "{message}");
        assert_eq!(message.text("from"), "src", "{message}");
        let text = message.text("text");
        assert!(text.contains("on-disconnect=reconnect"), "{text}");
    }
    // The two errors differ.
    assert!(stopped.text("text").contains("stopped"), "{stopped}");
    assert!(crashed.text("text").contains("gone"), "{crashed}");
}

#[test]
fn a_stop_and_a_crash_end_the_stream_where_on_disconnect_is_eos() {
    for ending in [Ending::Stop, Ending::Crash] {
        let (_place, mut client, _producer) = client_after(ending, "eos");
        client.until_eos();
        assert_eq!(client.buffers("out.sink").len(), 10);
    }
}

#[test]
fn a_client_goes_on_with_the_next_producer_where_on_disconnect_is_reconnect() {
    for ending in [Ending::Stop, Ending::Crash] {
        let (place, mut client, _producer) = client_after(ending, "reconnect");
        let mut next = Pipeline::play_for(
            1,
            &place,
            &["report sink.sink"],
            "appsrc name=src format=time ! xmemsink name=sink channel=cam0 overflow=block \
             sync=false",
        );
        next.order(
            Push::of("text/x-raw,format=utf8")
                .size(50)
                .count(5)
                .seed(1000),
        );
        next.order(Order::end("src"));
        client.until_eos();
        next.until_eos();
        assert_eq!(
            client.digests("out.sink")[10..],
            next.digests("sink.sink")[..]
        );
        let flags = client.buffers("out.sink")[10].text("flags");
        assert_eq!(flags, "DISCONT", "after {ending:?}");
        let caps = client.caps("out.sink");
        assert_eq!(caps.len(), 2, "{caps:?}");
        assert!(caps[1].starts_with("text/x-raw"), "{caps:?}");
        let stats = client.stats("src");
        assert_eq!(stats.number("connections"), 2, "{stats}");
        assert_eq!(stats.number("received"), 15, "{stats}");
    }
}

#[test]
fn a_client_outlives_twenty_producers() {
    let place = Place::new();
    let mut client = client(&place, "connection-timeout=20000000000");
    for round in 0..20 {
        let mut camera = camera(&place);
        camera.until_clients("sink", 1);
        let mark = client.mark();
        client.until_buffers_since(mark, "out.sink", 3);
        match round % 2 {
            0 => camera.kill(),
            _ => camera.end(),
        }
    }
    let stats = client.stats("src");
    assert_eq!(stats.number("connections"), 20, "{stats}");
    assert!(client.messages().is_empty(), "{:?}", client.messages());
}

#[test]
fn a_producer_restarts_in_its_process() {
    let place = Place::new();
    let mut camera = camera(&place);
    let mut client = client(&place, "");
    for state in [State::Ready, State::Null].repeat(10) {
        let mark = client.mark();
        client.until_buffers_since(mark, "out.sink", 3);
        camera.change(state);
        let mark = camera.mark();
        camera.change(State::Playing);
        if state == State::Null {
            // From READY on, the channel has existed all the time.
            camera.until_clients_since(mark, "sink", 1);
        }
    }
    let mark = client.mark();
    client.until_buffers_since(mark, "out.sink", 3);
}

#[test]
fn a_stream_that_has_ended_can_start_again() {
    let place = Place::new();
    let mut producer = Pipeline::start(
        &place,
        &["report sink.sink"],
        &format!("{PICTURES} ! xmemsink name=sink channel=cam0"),
    );
    for _ in 0..5 {
        let mark = producer.mark();
        producer.change(State::Playing);
        producer.until_buffers_since(mark, "sink.sink", 3);
        // A client that connects now gets nothing of the EOS before.
        let mut client = client(&place, "");
        client.until_buffers("out.sink", 5);
        producer.order(Order::Eos);
        client.until_eos();
        producer.until_since(mark, "the client gets EOS too", |line| {
            line.word == "message" && line.text("type") == "eos"
        });
        // Back in READY the channel stays.
        producer.change(State::Ready);
    }
}

#[test]
fn a_socket_that_a_killed_producer_has_left_is_taken_over() {
    let place = Place::new();
    let mut first = camera(&place);
    first.until_stats("sink", "the camera runs", |stats| {
        stats.number("published") > 0
    });
    first.kill();
    let mut second = camera(&place);
    second.until_stats("sink", "the next camera runs", |stats| {
        stats.number("published") > 0
    });
    let mut client = client(&place, "");
    client.until_buffers("out.sink", 3);
    second.end();
    until("the socket is gone", || place.files().is_empty());
}

#[test]
fn one_process_has_a_sink_and_several_sources() {
    let place = Place::new();
    // async=false: a pipeline plays when all its sinks have their first buffer, and here two sinks
    // get theirs from the third.
    let mut pipeline = Pipeline::play(
        &place,
        &["report sink.sink", "report a.sink", "report b.sink"],
        "videotestsrc is-live=true num-buffers=60 pattern=ball \
         ! video/x-raw,format=RGB,width=64,height=48,framerate=60/1 \
         ! xmemsink name=sink channel=cam0 overflow=block wait-for-connection=true async=false \
         xmemsrc channel=cam0 ! fakesink name=a \
         xmemsrc channel=cam0 ! fakesink name=b",
    );
    pipeline.until_eos();
    let sent = pipeline.digests("sink.sink");
    assert_eq!(sent.len(), 60);
    for client in ["a.sink", "b.sink"] {
        let received = pipeline.digests(client);
        // The second source may have connected after the first frames were reused.
        assert!(received.len() > 10, "{} of {client}", received.len());
        assert!(sent.ends_with(&received), "{client}");
    }
    pipeline.end();
    assert!(place.files().is_empty(), "{:?}", place.files());
}

#[test]
fn the_socket_goes_with_the_producer() {
    let place = Place::new();
    let description = format!("{PICTURES} ! xmemsink name=sink channel=cam0");
    let mut camera = Pipeline::start(&place, &[], &description);
    assert!(place.files().is_empty(), "{:?}", place.files());
    camera.change(State::Ready);
    assert_eq!(place.files(), ["cam0.sock"]);
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    camera.change(State::Playing);
    client.until_buffers("out.sink", 3);
    camera.change(State::Null);
    assert!(place.files().is_empty(), "{:?}", place.files());
    assert!(place.new_in_shm().is_empty(), "{:?}", place.new_in_shm());
}
