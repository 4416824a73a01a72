//! Pausing, playing and stepping: nothing is lost and nothing deadlocks, however fast the changes
//! come.

use xmem_tests::pipeline::{
    BLOCKING, CLIENT, Order, PICTURES, Pipeline, Push, Seek, State, blocked_by_a_stopped_client,
};
use xmem_tests::{Place, process, until};

/// A producer that waits for its first client.
fn waiting(place: &Place, settings: &str) -> Pipeline {
    let producer = format!(
        "{PICTURES} ! xmemsink name=sink channel=cam0 sync=false wait-for-connection=true {settings}"
    );
    let mut producer = Pipeline::play(place, &[], &producer);
    producer.until_stuck("sink", "v:src");
    producer
}

#[test]
fn a_producer_that_pauses_while_a_client_blocks_it_goes_on_afterwards() {
    // Blocked in the buffer pool, where upstream waits, and in the sink, which copies.
    for source in [
        PICTURES,
        &format!("{PICTURES} ! identity drop-allocation=true"),
    ] {
        let place = Place::new();
        let (mut producer, mut client) = blocked_by_a_stopped_client(&place, source);
        for _ in 0..200 {
            producer.change_promptly(State::Paused);
            producer.change_promptly(State::Playing);
        }
        client.resume();
        let before = client.watched("out.sink").number("count");
        until("the client receives again", || {
            client.watched("out.sink").number("count") > before + 100
        });
        assert!(producer.messages().is_empty(), "{:?}", producer.messages());
        assert_eq!(client.stats("src").number("missed"), 0);
    }
}

#[test]
fn a_producer_that_pauses_while_upstream_waits_for_a_slot_goes_on_afterwards() {
    let place = Place::new();
    let producer = format!(
        "{PICTURES} ! queue ! xmemsink name=sink channel=cam0 sync=false max-buffers=8 \
         wait-for-connection=true"
    );
    let mut producer = Pipeline::play(&place, &[], &producer);
    producer.until_stuck("sink", "v:src");
    for _ in 0..50 {
        producer.settle(State::Paused);
        producer.settle(State::Playing);
    }
    // It continues when the sink tries again.
    producer.settle(State::Paused);
    producer.order(Order::set("sink", "wait-for-connection", "false"));
    producer.settle(State::Playing);
    producer.until_stats("sink", "frames are published", |stats| {
        stats.number("published") > 100
    });
    assert!(producer.messages().is_empty(), "{:?}", producer.messages());
}

#[test]
fn a_producer_that_pauses_goes_on_where_it_was() {
    let place = Place::new();
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    let mut producer = Pipeline::play_for(
        1,
        &place,
        &["report sink.sink"],
        &format!(
            "{PICTURES},framerate=60/1 ! xmemsink name=sink channel=cam0 overflow=block \
             block-timeout=20000000000"
        ),
    );
    for _ in 0..10 {
        let mark = client.mark();
        client.until_buffers_since(mark, "out.sink", 3);
        producer.settle(State::Paused);
        producer.settle(State::Playing);
    }
    producer.order(Order::Eos);
    producer.until_eos();
    client.until_eos();
    let sent = producer.digests("sink.sink");
    assert_eq!(client.digests("out.sink"), sent);
}

#[test]
fn a_client_that_pauses_loses_nothing_where_the_producer_waits() {
    let place = Place::new();
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    let mut producer = Pipeline::play_for(
        1,
        &place,
        &["report sink.sink"],
        &format!(
            "videotestsrc name=v pattern=ball num-buffers=2000 \
             ! video/x-raw,format=RGB,width=64,height=48 \
             ! xmemsink name=sink channel=cam0 {BLOCKING}"
        ),
    );
    for round in 1..10 {
        client.until_buffers("out.sink", 50 * round);
        client.change_promptly(State::Paused);
        client.change_promptly(State::Playing);
    }
    producer.until_eos();
    client.until_eos();
    assert_eq!(client.digests("out.sink"), producer.digests("sink.sink"));
    assert_eq!(client.buffers("out.sink").len(), 2000);
    assert_eq!(client.stats("src").number("connections"), 1);
}

#[test]
fn a_frame_that_waits_for_a_connection_while_the_producer_pauses_is_sent_later() {
    let place = Place::new();
    let mut producer = Pipeline::play(
        &place,
        &["report sink.sink"],
        "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false \
         wait-for-connection=true overflow=block",
    );
    producer.push(20);
    producer.settle(State::Playing);
    for _ in 0..3 {
        process::until_asleep(producer.pid(), "src:src");
        producer.settle(State::Paused);
        producer.settle(State::Playing);
    }
    producer.settle(State::Paused);
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    // The frame that is shown in PAUSED.
    client.until_buffers("out.sink", 1);
    assert_eq!(producer.stats("sink").number("published"), 1);
    producer.change(State::Playing);
    producer.order(Order::end("src"));
    producer.until_eos();
    client.until_eos();
    assert_eq!(client.digests("out.sink"), producer.digests("sink.sink"));
    assert_eq!(client.buffers("out.sink").len(), 20);
}

#[test]
fn state_changes_faster_than_the_stream_do_not_deadlock() {
    // Enough, in a hundred runs, to hit each of two races that existed.
    for settings in ["", "async=false"] {
        let place = Place::new();
        let mut producer = waiting(&place, settings);
        for _ in 0..20 {
            producer.order(Order::Toggle(1000));
        }
        let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
        client.until_buffers("out.sink", 100);
    }
}

#[test]
fn a_sink_that_pauses_and_plays_between_two_frames_goes_on() {
    let place = Place::new();
    let producer = format!(
        "{PICTURES},framerate=50/1 ! identity sleep-time=20000 \
         ! xmemsink name=sink channel=cam0 sync=false"
    );
    let mut producer = Pipeline::play(&place, &[], &producer);
    let mut published = 0;
    for _ in 0..10 {
        producer.until_stats("sink", "frames are published", |stats| {
            stats.number("published") > published + 2
        });
        producer.order(Order::state_of("sink", State::Paused));
        producer.order(Order::state_of("sink", State::Playing));
        published = producer.stats("sink").number("published");
    }
}

#[test]
fn a_step_in_paused_is_made() {
    for sync in [true, false] {
        let place = Place::new();
        let producer = format!("{PICTURES} ! xmemsink name=sink channel=cam0 sync={sync}");
        let mut producer = Pipeline::play(&place, &[], &producer);
        producer.until_stats("sink", "frames are published", |stats| {
            stats.number("published") > 2
        });
        producer.settle(State::Paused);
        for _ in 0..5 {
            let before = producer.stats("sink").number("published");
            producer.order(Order::step("sink", 3));
            producer.until_stats("sink", "the step is made", |stats| {
                stats.number("published") > before
            });
            let settled = producer.settled();
            assert_eq!(settled.text("result"), "Success", "{settled}");
        }
        producer.settle(State::Playing);
    }
}

#[test]
fn a_frame_that_comes_after_a_pause_has_its_time() {
    let frame = Push::bytes(100).pts(3_600_000_000_000);
    let place = Place::new();
    let description = "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false";
    let mut producer = Pipeline::play(&place, &["inspect sink.sink"], description);
    producer.order(&frame);
    let mut client = Pipeline::play(&place, &["inspect out.sink"], CLIENT);
    client.until_buffers("out.sink", 1);
    for round in 2..10 {
        process::until_asleep(client.pid(), "src:src");
        client.change_promptly(State::Paused);
        client.change_promptly(State::Playing);
        producer.order(&frame);
        producer.until_buffers("sink.sink", round);
        client.until_buffers("out.sink", round);
        let [sent, received] =
            [(&producer, "sink.sink"), (&client, "out.sink")].map(|(at, pad)| {
                let buffers = at.buffers(pad);
                (*buffers.last().expect("at least one buffer")).clone()
            });
        // A smaller error is not corrected: a new segment for each frame does not help.
        let error = received.number("due").abs_diff(sent.number("due"));
        assert!(error <= 500_000, "{error} ns in round {round}");
    }
}

/// A producer whose converter waits, in the pool of the sink, for a stopped client.
fn blocked_behind_a_converter(place: &Place) -> (Pipeline, Pipeline) {
    let source = "videotestsrc name=v ! video/x-raw,format=I420,width=64,height=48 ! videoconvert \
                  ! video/x-raw,format=RGB";
    blocked_by_a_stopped_client(place, source)
}

#[test]
fn a_converter_that_waits_for_a_slot_does_not_delay_a_change_of_state() {
    let place = Place::new();
    let (mut producer, _client) = blocked_behind_a_converter(&place);
    for _ in 0..20 {
        producer.change_promptly(State::Ready);
        producer.change_promptly(State::Playing);
        producer.until_stuck("sink", "v:src");
    }
}

#[test]
fn a_converter_that_waits_for_a_slot_is_flushed() {
    let place = Place::new();
    let (mut producer, _client) = blocked_behind_a_converter(&place);
    for _ in 0..20 {
        assert_eq!(producer.order(Seek::to(0)).text("done"), "true");
        producer.until_stuck("sink", "v:src");
    }
}

#[test]
fn a_released_slot_goes_to_the_thread_that_waits_for_it() {
    let place = Place::new();
    // The source waits, in another thread than that of the sink, for the slot that the sink
    // releases.
    let producer = format!(
        "{PICTURES} ! queue min-threshold-buffers=3 max-size-buffers=0 \
         ! xmemsink name=sink channel=cam0 sync=false max-buffers=4"
    );
    let mut producer = Pipeline::play(&place, &[], &producer);
    producer.until_stats("sink", "frames are published", |stats| {
        stats.number("published") > 5000
    });
}
