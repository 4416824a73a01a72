//! Containers and streams of bytes that do not come directly from a muxer: from files, from relays,
//! one after another.

use gst::BufferFlags;
use xmem_tests::local::{self, Local};
use xmem_tests::pipeline::{Order, Pipeline, Push, State};
use xmem_tests::{Place, until};

const CLIENT: &str = "xmemsrc name=src channel=cam0 ! fakesink name=out sync=false";
/// Properties of a sink that keeps nothing for clients that join later.
const FORGETFUL: &str = "sync=false group-time=0";

#[test]
fn files_of_every_container_arrive_byte_for_byte() {
    const PICTURES: &str = "videotestsrc num-buffers=60 pattern=ball ! \
        video/x-raw,format=I420,width=128,height=96,framerate=30/1";
    let h264 = format!("{PICTURES} ! x264enc speed-preset=ultrafast key-int-max=20 ! h264parse");
    for (what, stream) in [
        ("MP4", format!("{h264} ! mp4mux")),
        (
            "MP4 in fragments",
            format!("{h264} ! mp4mux streamable=true fragment-duration=300"),
        ),
        ("FLV", format!("{h264} ! flvmux streamable=true")),
        ("MPEG-TS", format!("{h264} ! mpegtsmux")),
        ("Matroska", format!("{h264} ! matroskamux")),
        ("Ogg", format!("{PICTURES} ! theoraenc ! oggmux")),
    ] {
        let place = Place::new();
        let [made, received] = ["made", "received"].map(|name| place.path().join(name));
        let written = |source: &str, path: &std::path::Path| {
            format!("{source} ! filesink sync=false location={}", path.display())
        };
        Pipeline::play(&place, &[], &written(&stream, &made)).until_eos();
        let producer = format!(
            "filesrc location={} ! typefind ! xmemsink name=sink channel=cam0 overflow=block \
             block-timeout=20000000000 wait-for-connection=true",
            made.display()
        );
        let mut producer = Pipeline::play(&place, &[], &producer);
        let client = written("xmemsrc name=src channel=cam0", &received);
        let mut client = Pipeline::play(&place, &[], &client);
        producer.until_eos();
        client.until_eos();
        let [made, received] = [made, received].map(|path| std::fs::read(path).expect("a file"));
        assert!(made.len() > 2 * 4096, "{what}: {} bytes", made.len());
        assert!(
            made == received,
            "{what}: {} bytes of {}",
            received.len(),
            made.len()
        );
    }
}

/// `mpegtsmux` sets DELTA_UNIT on all buffers if there is no video.
#[test]
fn a_relay_of_sound_in_mpeg_ts_can_be_joined() {
    let place = Place::new();
    let producer = format!(
        "audiotestsrc is-live=true samplesperbuffer=480 ! audioconvert ! avenc_aac ! aacparse ! \
         mpegtsmux ! xmemsink name=sink channel=first {FORGETFUL}"
    );
    let mut producer = Pipeline::play(&place, &[], &producer);
    let until_published = |pipeline: &mut Pipeline| {
        pipeline.until_stats("sink", "some buffers are published", |stats| {
            stats.number("published") >= 20
        });
    };
    until_published(&mut producer);
    let relay =
        format!("xmemsrc name=src channel=first ! xmemsink name=sink channel=cam0 {FORGETFUL}");
    let mut relay = Pipeline::play(&place, &[], &relay);
    until_published(&mut relay);
    let client = "xmemsrc name=src channel=cam0 ! tsdemux ! aacparse ! avdec_aac ! \
                  fakesink name=out sync=false";
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    client.until_buffers("out.sink", 10);
    assert_eq!(client.stats("src").number("skipped"), 0);
}

/// Waits until a client that joins has received its next frame, which needs others according to its
/// flags.
fn until_joined(place: &Place, producer: &mut Pipeline, source: &str) {
    let mut client = Pipeline::play(place, &["report out.sink"], CLIENT);
    producer.until_clients("sink", 1);
    producer.order(Push::bytes(100).from(source).delta());
    client.until_buffers("out.sink", 1);
    assert_eq!(client.stats("src").number("skipped"), 0);
}

#[test]
fn knowledge_about_one_stream_is_not_used_for_the_next() {
    let (key, delta) = (BufferFlags::empty(), BufferFlags::DELTA_UNIT);
    let push = |producer: &mut Pipeline, source: &str, flags: BufferFlags, published: u64| {
        producer.push(Push::bytes(100).from(source).with(flags));
        producer.until_stats("sink", "the buffer is published", |stats| {
            stats.number("published") == published
        });
    };
    // The same elements once more.
    let place = Place::new();
    let producer = format!("appsrc name=src ! xmemsink name=sink channel=cam0 {FORGETFUL}");
    let mut producer = Pipeline::play(&place, &[], &producer);
    push(&mut producer, "src", key, 1);
    push(&mut producer, "src", delta, 2);
    producer.settle(State::Ready);
    producer.change(State::Playing);
    push(&mut producer, "src", delta, 3);
    until_joined(&place, &mut producer, "src");
    drop(producer);

    // Another source.
    let place = Place::new();
    let producer = format!(
        "appsrc name=first ! all. appsrc name=second ! all. \
         concat name=all ! xmemsink name=sink channel=cam0 {FORGETFUL}"
    );
    let mut producer = Pipeline::play(&place, &[], &producer);
    push(&mut producer, "first", key, 1);
    push(&mut producer, "first", delta, 2);
    producer.order(Order::end("first"));
    push(&mut producer, "second", delta, 3);
    until_joined(&place, &mut producer, "second");
}

/// An encoder may write parameter sets once, and its caps may change in another field after that.
#[test]
fn parameter_sets_are_sent_after_a_change_of_caps() {
    const SETS: [&[u8]; 2] = [&[0, 0, 0, 1, 0x67, 1, 2], &[0, 0, 0, 1, 0x68, 3]];
    const SLICE: &[u8] = &[0, 0, 0, 1, 0x65, 0x88, 4];
    let place = Place::new();
    let sink = local::sink(&place, "sync=false async=false");
    let producer = Local::play(&format!("appsrc name=src format=time ! {sink}"));
    let pushed = |rate: &str, content: &[&[u8]], published: u64| {
        let caps = "video/x-h264,stream-format=byte-stream,alignment=au,framerate=";
        let caps = format!("{caps}{rate}").parse().expect("caps");
        producer.set_caps(&caps);
        let mut buffer = gst::Buffer::from_slice(content.concat());
        let time = gst::ClockTime::from_seconds(published);
        buffer.get_mut().expect("the buffer is new").set_pts(time);
        producer.push(&buffer);
        until("the buffer is published", || {
            producer.stats("sink").get::<u64>("published") == Ok(published)
        });
    };
    pushed("30/1", &[SETS[0], SETS[1], SLICE], 1);
    pushed("25/1", &[SLICE], 2);
    let client = local::pulling(&place);
    let first = client.pull_buffer();
    assert_eq!(local::bytes(&first), [SETS[0], SETS[1], SLICE].concat());
}
