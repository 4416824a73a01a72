//! Where a stream begins for a client that joins late: nothing has a negative running time, with
//! which aggregators and muxers fail.

use xmem_tests::pipeline::{CLIENT, Event, Order, PICTURES, Pipeline, Push, State, running_time};
use xmem_tests::{Line, Place, is_torture, until};

const MS: u64 = 1_000_000;

/// The buffers that have passed a pad of the client, none of which was too early.
fn buffers<'a>(client: &'a Pipeline, at: &str) -> Vec<&'a Line> {
    let buffers = client.buffers(at);
    for buffer in &buffers {
        assert!(running_time(buffer) >= 0, "{buffer}");
    }
    buffers
}

/// Checks that running times increase.
fn rise(buffers: &[&Line]) {
    for pair in buffers.windows(2) {
        let [one, next] = [pair[0], pair[1]].map(running_time);
        assert!(one < next, "{pair:#?}");
    }
}

/// Waits until `time` has passed since `start` on the monotonic clock.
fn until_after(start: u64, time: u64) {
    until("some time passes", || {
        xmem_core::monotonic_time().as_nanos() as u64 > start + time
    });
}

/// Checks a pipeline that shows the frames of a channel, in all the ways in which it can begin.
fn begins_well(producer: &str, client: &str) {
    let rounds = if is_torture() { 20 } else { 2 };
    for _ in 0..rounds {
        let place = Place::new();
        let play = || Pipeline::play(&place, &["report sink.sink"], producer);
        let mut running = play();
        running.until_buffers("sink.sink", 5);
        let mut client = Pipeline::play(&place, &["report src.src"], client);
        client.until_buffers("src.src", 5);
        let more = |client: &mut Pipeline| {
            let mark = client.mark();
            client.until_buffers_since(mark, "src.src", 5);
        };
        client.change_promptly(State::Paused);
        until_after(xmem_core::monotonic_time().as_nanos() as u64, 50 * MS);
        client.change_promptly(State::Playing);
        more(&mut client);
        rise(&buffers(&client, "src.src"));
        // A flush of a pipeline on its way to PLAYING can deadlock with that state change in
        // GStreamer.
        client.settled();
        client.order(Order::Flush("src".into()));
        more(&mut client);
        let count = client.buffers("src.src").len();
        running.kill();
        running = play();
        running.until_clients("sink", 1);
        more(&mut client);
        rise(&buffers(&client, "src.src")[count..]);
        // From the start, while the producer continues.
        client.change(State::Ready);
        client.change(State::Playing);
        more(&mut client);
        buffers(&client, "src.src");
        assert_eq!(client.messages(), [""; 0]);
        client.end();
    }
}

#[test]
fn pictures_begin_correctly_before_all_aggregators() {
    let producer = "videotestsrc is-live=true \
                    ! video/x-raw,format=I420,width=64,height=48,framerate=60/1 \
                    ! xmemsink name=sink channel=cam0 sync=false";
    for elements in [
        "compositor",
        "videomixer",
        "videorate ! video/x-raw,framerate=10/1",
        "textoverlay text=x",
        "videoconvert ! x264enc tune=zerolatency ! mp4mux fragment-duration=100",
        "videoconvert ! x264enc tune=zerolatency ! mpegtsmux",
        "matroskamux",
    ] {
        begins_well(
            producer,
            &format!(
                "xmemsrc name=src channel=cam0 on-disconnect=reconnect ! {elements} \
                 ! fakesink sync=false"
            ),
        );
    }
}

#[test]
fn sound_begins_correctly_before_all_aggregators() {
    let producer = "audiotestsrc is-live=true samplesperbuffer=480 \
                    ! audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2 \
                    ! xmemsink name=sink channel=cam0 sync=false";
    for elements in [
        "audiomixer",
        "audioconvert ! adder",
        "audioconvert ! liveadder",
        "audioconvert ! vorbisenc ! oggmux",
        "audioconvert ! avenc_aac ! flvmux streamable=true",
    ] {
        begins_well(
            producer,
            &format!(
                "xmemsrc name=src channel=cam0 on-disconnect=reconnect max-leases=32 ! {elements} \
                 ! fakesink sync=false"
            ),
        );
    }
}

#[test]
fn sound_continues_from_its_first_sample_without_a_gap() {
    let place = Place::new();
    let producer = "audiotestsrc is-live=true samplesperbuffer=4800 \
                    ! audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=1 \
                    ! xmemsink name=sink channel=cam0 sync=false";
    let mut producer = Pipeline::play(&place, &["report sink.sink"], producer);
    producer.until_buffers("sink.sink", 2);
    for _ in 0..10 {
        let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
        client.until_buffers("out.sink", 3);
        let buffers = buffers(&client, "out.sink");
        for pair in buffers.windows(2) {
            let [pts, duration, size] = ["pts", "duration", "size"].map(|key| pair[0].number(key));
            assert_eq!(pts + duration, pair[1].number("pts"), "{pair:#?}");
            assert!((size / 2).abs_diff(duration * 48 / MS) <= 1, "{pair:#?}");
        }
        client.end();
    }
}

/// The newest picture is shown at once, at its own place in the stream, however old it is.
#[test]
fn a_client_of_a_paused_producer_sees_its_picture() {
    let place = Place::new();
    let producer = format!("{PICTURES},framerate=50/1 ! xmemsink name=sink channel=cam0");
    let mut producer = Pipeline::play(&place, &["report sink.sink"], &producer);
    producer.until_stats("sink", "frames are published", |stats| {
        stats.number("published") > 5
    });
    producer.settle(State::Paused);
    let published = producer.stats("sink").number("published") as usize;
    producer.until_buffers("sink.sink", published);
    let newest = producer.buffers("sink.sink")[published - 1].clone();
    until_after(newest.number("now"), 1200 * MS);
    let client = "xmemsrc name=src channel=cam0 ! fakesink name=out sync=true";
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    client.until_buffers("out.sink", 1);
    let first = buffers(&client, "out.sink")[0].clone();
    assert_eq!(first.text("digest"), newest.text("digest"));
    assert_eq!(first.text("pts"), newest.text("pts"));
    assert_eq!(running_time(&first), 0);
    client.until_stats("out", "the picture is shown", |stats| {
        stats.number("rendered") == 1
    });
    // The stream continues with the next picture at its place.
    producer.change(State::Playing);
    client.until_buffers("out.sink", 10);
    let received = buffers(&client, "out.sink");
    let pts: Vec<_> = received.iter().map(|buffer| buffer.number("pts")).collect();
    assert!(pts.is_sorted(), "{pts:?}");
    assert!(running_time(received[9]) > 0);
    assert_eq!(client.stats("src").number("early"), 0);
}

/// A client that plays, and a producer of buffers with times relative to the start of the client.
struct Pushing {
    producer: Pipeline,
    client: Pipeline,
    /// The running time of the producer at the client's running time 0.
    start: u64,
    _place: Place,
}

impl Pushing {
    fn new(settings: &str) -> Pushing {
        let place = Place::new();
        let producer = format!(
            "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false {settings}"
        );
        let mut producer = Pipeline::play(&place, &["report sink.sink"], &producer);
        // This buffer is from long before.
        producer.order(Push::bytes(1));
        producer.settled();
        let base_time = producer.order(Order::BaseTime).number("ns");
        until_after(base_time, 400 * MS);
        let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
        producer.until_clients("sink", 1);
        client.until_buffers("out.sink", 1);
        let start = client.order(Order::BaseTime).number("ns") - base_time;
        Pushing {
            producer,
            client,
            start,
            _place: place,
        }
    }

    /// Pushes a buffer that begins `begin` milliseconds after the start of the client.
    fn push(&mut self, begin: i64, buffer: &Push) {
        let pts = self.start.saturating_add_signed(begin * MS as i64);
        self.producer.push(buffer.clone().pts(pts));
    }

    /// The same; returns the buffer that arrives.
    fn arrives(&mut self, begin: i64, buffer: &Push) -> Line {
        let count = self.client.buffers("out.sink").len();
        self.push(begin, buffer);
        self.client.until_buffers("out.sink", count + 1);
        self.client.buffers("out.sink")[count].clone()
    }

    /// The same; checks that the buffer is left out, and that `count` buffers have been.
    fn is_early(&mut self, begin: i64, buffer: &Push, count: u64) {
        self.push(begin, buffer);
        self.client
            .until_stats("src", "the buffer is left out", |stats| {
                stats.number("early") == count
            });
    }
}

#[test]
fn only_the_first_of_several_old_pictures_is_shown() {
    let picture = Push::of("video/x-raw,format=GRAY8,width=8,height=8,framerate=50/1");
    let mut pushing = Pushing::new("");
    // A stream of another kind began before; this one has begun.
    let with = picture.clone().duration(20 * MS);
    pushing.is_early(-100, &with, 1);
    pushing.is_early(-60, &picture, 2);
    let half = pushing.arrives(-10, &with);
    assert_eq!((running_time(&half), half.number("duration")), (0, 10 * MS));
    assert!(half.text("flags").contains("DISCONT"), "{half}");
    let whole = pushing.arrives(10, &picture);
    assert_eq!(running_time(&whole), 10 * MS as i128);
    assert_eq!(whole.text("duration"), "none");
    let stats = pushing.client.stats("src");
    assert_eq!(
        [stats.number("missed"), stats.number("received")],
        [0, 3],
        "{stats}"
    );
    // A client that joins when the picture is due shows it at once.
    let base_time = pushing.client.order(Order::BaseTime).number("ns");
    until_after(base_time, 10 * MS);
    pushing.client.change(State::Ready);
    pushing.client.change(State::Playing);
    pushing.client.until_buffers("out.sink", 4);
    let first = pushing.client.buffers("out.sink")[3].clone();
    assert_eq!(first.text("digest"), whole.text("digest"));
    assert_eq!(running_time(&first), 0);
}

#[test]
fn sound_samples_from_the_start_on_arrive() {
    let sound = Push::of("audio/x-raw,format=U8,layout=interleaved,rate=8000,channels=1").size(80);
    let mut pushing = Pushing::new("");
    pushing.is_early(-100, &sound, 1);
    pushing.is_early(-10, &sound, 2);
    let part = pushing.arrives(-4, &sound);
    assert_eq!((running_time(&part), part.number("size")), (0, 48));
    let whole = pushing.arrives(6, &sound);
    assert_eq!(
        (running_time(&whole), whole.number("size")),
        (6 * MS as i128, 80)
    );
}

#[test]
fn all_coded_frames_arrive_and_old_ones_are_decode_only() {
    let coded = Push::of("video/x-h264,framerate=50/1").size(10).delta();
    let mut pushing = Pushing::new("");
    let dts = pushing.start - 150 * MS;
    let over = pushing.arrives(-100, &coded.clone().dts(dts));
    // A 16th of 150 ms is left, in which the order is kept.
    assert_eq!(running_time(&over), 50 * MS as i128 / 16);
    assert_eq!(over.number("pts") - over.number("dts"), 50 * MS / 16);
    assert!(over.text("flags").contains("DECODE_ONLY"), "{over}");
    let half = pushing.arrives(-10, &coded);
    let shown = (running_time(&half), half.number("duration"));
    assert_eq!(shown, (140 * MS as i128 / 16, 10 * MS - 140 * MS / 16));
    assert!(!half.text("flags").contains("DECODE_ONLY"), "{half}");
    assert_eq!(running_time(&pushing.arrives(10, &coded)), 10 * MS as i128);
    assert_eq!(pushing.client.stats("src").number("early"), 0);
}

#[test]
fn a_buffer_without_a_time_arrives_without_one() {
    let mut pushing = Pushing::new("");
    for caps in [
        "video/x-raw,format=GRAY8,width=8,height=8,framerate=50/1",
        "video/x-h264",
    ] {
        pushing.producer.order(Push::of(caps).size(64));
    }
    pushing.client.until_buffers("out.sink", 3);
    for buffer in &pushing.client.buffers("out.sink")[1..] {
        assert_eq!([buffer.text("pts"), buffer.text("dts")], ["none"; 2]);
    }
}

#[test]
fn gaps_begin_with_the_pipeline() {
    let mut pushing = Pushing::new("");
    for begin in [-50, -10] {
        let pts = pushing.start.saturating_add_signed(begin * MS as i64);
        let gap = Event::gap(pts, 20 * MS);
        pushing.producer.order(Order::push_event("src", gap));
    }
    let start = pushing.start;
    pushing.arrives(10, &Push::bytes(10));
    let gaps = pushing
        .client
        .log()
        .iter()
        .filter(|line| line.get("type") == Some("gap"));
    let gaps: Vec<_> = gaps.map(|gap| gap.text("text")).collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    for part in [
        format!("timestamp=(guint64){start}"),
        "duration=(guint64)10000000".into(),
    ] {
        assert!(gaps[0].contains(&part), "{gaps:?}, not {part}");
    }
}

/// A producer that waits for its clients loses no frame for any of them.
#[test]
fn no_frame_of_a_producer_that_waits_is_left_out() {
    const FRAMES: usize = 30;
    for kind in [
        "videotestsrc num-buffers=30 ! video/x-raw,format=GRAY8,width=64,height=48,framerate=50/1",
        "audiotestsrc num-buffers=30 ! audio/x-raw,format=S16LE,layout=interleaved,rate=48000",
    ] {
        let place = Place::new();
        let producer = format!(
            "{kind} ! xmemsink name=sink channel=cam0 sync=false wait-for-connection=true \
             overflow=block block-timeout=3600000000000"
        );
        let mut producer = Pipeline::play(&place, &["report sink.sink"], &producer);
        producer.until_buffers("sink.sink", 1);
        let waits_since = producer.buffers("sink.sink")[0].number("now");
        until_after(waits_since, 700 * MS);
        let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
        client.until_eos();
        producer.until_eos();
        let (sent, received) = (producer.buffers("sink.sink"), buffers(&client, "out.sink"));
        assert_eq!(received.len(), FRAMES);
        for (sent, received) in sent.iter().zip(&received) {
            for key in ["digest", "pts", "duration", "size"] {
                assert_eq!(received.text(key), sent.text(key), "{key} of {kind}");
            }
        }
        // The stream begins with the client.
        assert_eq!(running_time(received[0]), 0);
    }
}

#[test]
fn a_producer_may_begin_to_wait_while_it_plays() {
    let place = Place::new();
    let producer = "appsrc name=src format=time ! \
                    xmemsink name=sink channel=cam0 sync=false async=false";
    let mut producer = Pipeline::play(&place, &["report sink.sink"], producer);
    producer.order(Order::set("sink", "wait-for-connection", true));
    let caps = "video/x-raw,format=GRAY8,width=64,height=48,framerate=50/1";
    let push = |producer: &mut Pipeline, number: u64| {
        let frame = Push::of(caps).duration(20 * MS).seed(number);
        producer.push(frame.pts(number * 20 * MS));
    };
    push(&mut producer, 0);
    producer.until_buffers("sink.sink", 1);
    let waits_since = producer.buffers("sink.sink")[0].number("now");
    until_after(waits_since, 700 * MS);
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    for number in 0..3 {
        client.until_buffers("out.sink", number as usize + 1);
        push(&mut producer, number + 1);
    }
    assert_eq!(client.stats("src").number("early"), 0);
    let received = buffers(&client, "out.sink");
    let sent = producer.buffers("sink.sink");
    assert_eq!(received[0].text("digest"), sent[0].text("digest"));
    assert_eq!(running_time(received[0]), 0);
}
