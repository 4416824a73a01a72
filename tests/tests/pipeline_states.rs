//! No wait delays a state change, a flush or a seek, whatever the peer does.

use std::time::Duration;

use xmem_tests::pipeline::{
    CLIENT, Order, PICTURES, PROMPT, Pipeline, Seek, State, blocked_by_a_stopped_client,
};
use xmem_tests::{Place, process, until};

const FOR_EVER: &str = "18446744073709551615";

/// A producer that sends what it is ordered to push.
fn pushing(place: &Place) -> Pipeline {
    let description = "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false";
    Pipeline::play(place, &["report sink.sink"], description)
}

/// Changes the state in all ways, while its thread `thread` waits.
fn is_always_prompt(pipeline: &mut Pipeline, thread: &str) {
    for states in [
        &[State::Paused, State::Playing][..],
        &[State::Paused, State::Ready, State::Paused, State::Playing],
        &[State::Ready, State::Playing],
        &[State::Null, State::Playing],
        &[State::Null],
    ] {
        process::until_asleep(pipeline.pid(), thread);
        for state in states {
            pipeline.change_promptly(*state);
        }
    }
}

#[test]
fn a_source_that_waits_for_a_producer_changes_its_state_at_once() {
    let place = Place::new();
    let client = format!("xmemsrc name=src channel=cam0 connection-timeout={FOR_EVER} ! fakesink");
    let mut client = Pipeline::play(&place, &[], &client);
    is_always_prompt(&mut client, "src:src");
}

#[test]
fn a_source_that_waits_for_frames_changes_its_state_at_once() {
    let place = Place::new();
    let mut producer = pushing(&place);
    producer.push(1);
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    client.until_buffers("out.sink", 1);
    is_always_prompt(&mut client, "src:src");
}

#[test]
fn a_source_whose_producer_is_stopped_changes_its_state_at_once() {
    let place = Place::new();
    let mut producer = pushing(&place);
    producer.push(1);
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    client.until_buffers("out.sink", 1);
    producer.stop();
    // After the first READY it has to reconnect, to a producer that does not answer.
    is_always_prompt(&mut client, "src:src");
    producer.resume();
    let mark = client.mark();
    client.change(State::Playing);
    client.until_buffers_since(mark, "out.sink", 1);
}

#[test]
fn a_sink_that_waits_for_a_connection_changes_its_state_at_once() {
    for source in [
        PICTURES,
        &format!("{PICTURES} ! identity drop-allocation=true"),
    ] {
        let place = Place::new();
        let producer = format!(
            "{source} ! xmemsink name=sink channel=cam0 sync=false wait-for-connection=true"
        );
        let mut producer = Pipeline::play(&place, &[], &producer);
        is_always_prompt(&mut producer, "v:src");
    }
}

#[test]
fn a_producer_that_a_stopped_client_blocks_changes_its_state_at_once() {
    for source in [
        PICTURES,
        &format!("{PICTURES} ! identity drop-allocation=true"),
    ] {
        let place = Place::new();
        let (mut producer, _client) = blocked_by_a_stopped_client(&place, source);
        for states in [
            &[State::Paused, State::Playing][..],
            &[State::Paused, State::Ready, State::Paused, State::Playing],
        ] {
            for state in states {
                producer.change_promptly(*state);
            }
            producer.until_stuck("sink", "v:src");
        }
        producer.change_promptly(State::Null);
        assert!(place.files().is_empty());
    }
}

#[test]
fn a_seek_flushes_a_producer_that_a_stopped_client_blocks() {
    for source in [
        PICTURES,
        &format!("{PICTURES} ! identity drop-allocation=true"),
    ] {
        let place = Place::new();
        let (mut producer, mut client) = blocked_by_a_stopped_client(&place, source);
        for _ in 0..3 {
            let sought = producer.order(Seek::to(0));
            assert_eq!(sought.text("done"), "true");
            let time = sought.number("ms");
            assert!(u128::from(time) < PROMPT.as_millis(), "it took {time} ms");
            producer.until_stuck("sink", "v:src");
        }
        // Then it continues.
        client.resume();
        let before = client.watched("out.sink").number("count");
        until("the client receives again", || {
            client.watched("out.sink").number("count") > before + 100
        });
    }
}

#[test]
fn upstream_that_waits_for_a_slot_does_not_delay_a_change_of_state() {
    let place = Place::new();
    // The queue fills with the maximum number of slots, and no element takes one out of it.
    let producer = format!(
        "{PICTURES} ! queue ! xmemsink name=sink channel=cam0 sync=false max-buffers=8 \
         wait-for-connection=true"
    );
    let mut producer = Pipeline::play(&place, &[], &producer);
    is_always_prompt(&mut producer, "v:src");
}

#[test]
fn a_seek_flushes_upstream_that_waits_for_a_slot() {
    let place = Place::new();
    let producer = format!(
        "{PICTURES} ! queue ! xmemsink name=sink channel=cam0 sync=false max-buffers=8 \
         wait-for-connection=true"
    );
    let mut producer = Pipeline::play(&place, &[], &producer);
    for _ in 0..3 {
        producer.until_stuck("sink", "v:src");
        let sought = producer.order(Seek::to(0));
        assert_eq!(sought.text("done"), "true");
        let time = sought.number("ms");
        assert!(u128::from(time) < PROMPT.as_millis(), "it took {time} ms");
    }
    // Then it continues.
    producer.order(Order::set("sink", "wait-for-connection", "false"));
    producer.order(Seek::to(0));
    producer.until_stats("sink", "frames are published", |stats| {
        stats.number("published") > 100
    });
}

#[test]
fn a_source_that_is_flushed_goes_on() {
    let place = Place::new();
    let mut producer = pushing(&place);
    producer.push(1);
    // async=false: a sink that changes its state when it is flushed has problems of its own.
    let client = format!("{CLIENT} async=false");
    let mut client = Pipeline::play(&place, &["report out.sink"], &client);
    client.until_buffers("out.sink", 1);
    for round in 0..5 {
        process::until_asleep(client.pid(), "src:src");
        let flushed = client.order(Order::Flush("src".into()));
        assert_eq!(flushed.text("start"), "true", "{flushed}");
        assert_eq!(flushed.text("stop"), "true", "{flushed}");
        assert!(u128::from(flushed.number("ms")) < PROMPT.as_millis());
        producer.push(1);
        client.until_buffers("out.sink", round + 2);
    }
    assert_eq!(client.stats("src").number("missed"), 0);
    assert_eq!(client.stats("src").number("connections"), 1);
}

#[test]
fn a_sink_without_async_changes_its_state_with_success() {
    let place = Place::new();
    let mut producer = Pipeline::start(
        &place,
        &[],
        "appsrc name=src format=time ! xmemsink name=sink channel=cam0 async=false",
    );
    for state in [
        State::Ready,
        State::Paused,
        State::Playing,
        State::Paused,
        State::Ready,
        State::Null,
    ] {
        let changed = producer.order(state);
        assert_eq!(changed.text("result"), "Success", "to {state:?}");
        let settled = producer.order(Order::Settle(Some("sink".into())));
        assert_eq!(settled.text("state"), format!("{state:?}"));
    }
}

#[test]
fn a_source_is_live() {
    let place = Place::new();
    let mut client = Pipeline::start(&place, &[], CLIENT);
    assert_eq!(client.order(State::Paused).text("result"), "NoPreroll");
    client.change_promptly(State::Null);
}

#[test]
fn a_sources_thread_has_a_short_time_slice_for_as_long_as_it_streams() {
    const SHORT: u64 = 100_000;
    let place = Place::new();
    let client = format!("xmemsrc name=src channel=cam0 connection-timeout={FOR_EVER} ! fakesink");
    let mut client = Pipeline::play(&place, &[], &client);
    process::until_asleep(client.pid(), "src:src");
    let shortened = |pid| {
        process::time_slices(pid)
            .iter()
            .filter(|&&slice| slice == SHORT)
            .count()
    };
    // Kernels before 6.12 accept a time slice and ignore it.
    let expected = std::thread::spawn(move || {
        xmem_core::set_time_slice(Some(Duration::from_nanos(SHORT))).expect("a slice");
        shortened(std::process::id())
    });
    let expected = expected.join().expect("the thread");
    assert_eq!(shortened(client.pid()), expected);
    client.change_promptly(State::Ready);
    until("the thread has its former time slice", || {
        shortened(client.pid()) == 0
    });
}
