//! Sink and sources in one process, each in a pipeline of its own.

use std::sync::{Arc, OnceLock};

use gst::prelude::*;
use xmem_core::{Publisher, PublisherEvent};
use xmem_tests::local::{self, Local};
use xmem_tests::{Place, pattern, until};

const PICTURES: &str = "videotestsrc is-live=true pattern=ball \
                        ! video/x-raw,format=RGB,width=64,height=48,framerate=60/1";

fn camera(place: &Place, properties: &str) -> Local {
    let sink = local::sink(place, properties);
    Local::new(&format!("{PICTURES} ! {sink}"))
}

fn viewer(place: &Place, properties: &str) -> Local {
    let source = local::source(place, "");
    Local::new(&format!("{source} ! appsink name=out {properties}"))
}

#[test]
fn sources_come_and_go_beside_their_sink() {
    let place = Place::new();
    let camera = camera(&place, "");
    camera.change(gst::State::Playing);
    camera.settle(gst::State::Playing);
    let first = viewer(&place, "");
    first.change(gst::State::Playing);
    first.settle(gst::State::Playing);
    // The client leaves and reconnects.
    assert_eq!(
        first.change(gst::State::Ready),
        gst::StateChangeSuccess::Success
    );
    first.change(gst::State::Playing);
    first.settle(gst::State::Playing);
    let second = viewer(&place, "");
    second.change(gst::State::Playing);
    second.settle(gst::State::Playing);
    for viewer in [&first, &second] {
        for _ in 0..10 {
            let sample = viewer.pull().expect("the stream continues");
            let caps = sample.caps().expect("a picture has caps");
            let info = gst_video::VideoInfo::from_caps(caps).expect("the caps are of video");
            assert_eq!((info.width(), info.height()), (64, 48));
            let buffer = sample.buffer().expect("a sample has a buffer");
            assert_eq!(buffer.size(), info.size());
            assert!(buffer.meta::<gst_video::VideoMeta>().is_some());
        }
    }
    for pipeline in [&first, &second, &camera] {
        let changed = pipeline.change(gst::State::Null);
        assert_eq!(changed, gst::StateChangeSuccess::Success);
        assert!(pipeline.messages().is_empty(), "{:?}", pipeline.messages());
    }
    assert!(place.files().is_empty(), "{:?}", place.files());
}

#[test]
fn without_async_all_states_are_reached_at_once() {
    let place = Place::new();
    let camera = camera(&place, "sync=false async=false wait-for-connection=true");
    let viewer = viewer(&place, "sync=false async=false");
    for _ in 0..3 {
        for pipeline in [&camera, &viewer] {
            let changed = pipeline.change(gst::State::Playing);
            assert_eq!(changed, gst::StateChangeSuccess::Success);
        }
        assert!(viewer.pull().is_some());
        for pipeline in [&viewer, &camera] {
            let changed = pipeline.change(gst::State::Null);
            assert_eq!(changed, gst::StateChangeSuccess::Success);
        }
        assert!(place.files().is_empty(), "{:?}", place.files());
    }
}

#[test]
fn the_end_of_a_stream_and_a_stop_are_no_errors() {
    let place = Place::new();
    let sink = local::sink(&place, "");
    let producer = Local::play(&format!("fakesrc num-buffers=5 sizetype=fixed ! {sink}"));
    let message = producer.message(&[gst::MessageType::Eos, gst::MessageType::Error]);
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    producer.change(gst::State::Null);
    assert!(producer.messages().is_empty(), "{:?}", producer.messages());
}

#[test]
fn a_stream_of_bytes_without_caps_crosses() {
    let place = Place::new();
    let sink = local::sink(
        &place,
        "sync=false async=false wait-for-connection=true overflow=block block-timeout=20000000000",
    );
    let producer = Local::play(&format!("appsrc name=src format=bytes ! {sink}"));
    let client = local::pulling(&place);
    for size in [1000, 1, 70_000] {
        let sent = gst::Buffer::from_slice(vec![7u8; size]);
        producer.push(&sent);
        let sample = client.pull().expect("the stream continues");
        assert_eq!(sample.caps(), None);
        let received = sample.buffer().expect("a sample has a buffer");
        assert_eq!(local::bytes(received), local::bytes(&sent));
    }
    producer.end();
    assert!(client.pull().is_none());
}

#[test]
fn what_upstream_writes_into_the_sinks_memory_is_not_copied() {
    let place = Place::new();
    let producer = local::pushing(&place);
    let client = local::pulling(&place);
    let caps = gst::Caps::new_empty_simple("application/x-test");
    producer.set_caps(&caps);
    producer.push(&gst::Buffer::from_slice([1]));
    client.pull();
    let mut query = gst::query::Allocation::new(Some(&caps), false);
    let pad = producer.element("src").static_pad("src").expect("a pad");
    assert!(pad.peer_query(&mut query));
    let (allocator, params) = query
        .allocation_params()
        .next()
        .expect("the sink has an allocator");
    let allocator = allocator.expect("the allocator of the sink");
    for size in [1, 100_000, 3_000_000] {
        let memory = allocator.alloc(size, Some(&params)).expect("memory");
        let mut map = memory
            .into_mapped_memory_writable()
            .expect("the memory is new");
        map.fill(9);
        let mut sent = gst::Buffer::new();
        sent.make_mut().append_memory(map.into_memory());
        producer.push(&sent);
        local::assert_same(&sent, &client.pull_buffer());
    }
    let stats = producer.stats("sink");
    assert_eq!(stats.get::<u64>("zero-copy"), Ok(3), "{stats}");
    assert_eq!(stats.get::<u64>("copied"), Ok(1), "{stats}");
}

#[test]
fn caps_of_a_producer_that_is_gone_at_once_are_pushed_for_the_next() {
    let place = Place::new();
    let producer = || Publisher::builder(place.channel("cam0")).producer_name("test");
    for _ in 0..20 {
        let gone = Arc::new(OnceLock::<Publisher>::new());
        let first = producer().on_event({
            let gone = gone.clone();
            // Called before the client is sent anything, so it receives the caps and the end at the
            // same time.
            move |event| {
                if let PublisherEvent::ClientConnected(_) = event {
                    gone.wait().close();
                }
            }
        });
        let first = first.open().unwrap();
        first
            .set_format(xmem_tests::format("application/x-test"))
            .unwrap();
        gone.set(first).unwrap();
        let source = local::source(&place, "on-disconnect=reconnect");
        let client = Local::play(&format!(
            "{source} ! appsink name=out sync=false async=false"
        ));
        until("the client was connected", || {
            client.stats("src").get::<u64>("connections").unwrap() > 0
        });
        let mut second = None;
        until("the channel is free", || {
            second = producer().open().ok();
            second.is_some()
        });
        let second = second.unwrap();
        second
            .set_format(xmem_tests::format("application/x-test"))
            .unwrap();
        pattern::publish(&second, 0, 100, 0).unwrap();
        let sample = client.pull().unwrap();
        let caps = sample.caps().expect("a buffer has caps");
        assert_eq!(caps.to_string(), "application/x-test");
    }
}
