//! The metadata of buffers at a client, and that they cannot be written.

use std::time::{SystemTime, UNIX_EPOCH};

use gst::BufferFlags;
use xmem_tests::pipeline::{CLIENT, LOSSLESS, Order, PUSHING, Pipeline, Push, State};
use xmem_tests::{Place, process};

const SECOND: u64 = 1_000_000_000;

/// A producer that sends what the test pushes, and a client that started before it, so the running
/// time of the client starts earlier.
fn pushing(place: &Place) -> (Pipeline, Pipeline) {
    let client = Pipeline::play(place, &["inspect out.sink"], CLIENT);
    let producer = format!("{PUSHING} {LOSSLESS}");
    let producer = Pipeline::play_for(1, place, &["inspect sink.sink"], &producer);
    (producer, client)
}

#[test]
fn a_client_cannot_write_the_buffers_that_it_receives() {
    let place = Place::new();
    let (mut producer, mut client) = pushing(&place);
    let picture = "video/x-raw,format=RGB,width=64,height=48,framerate=30/1";
    producer.push(Push::of(picture).count(5));
    producer.push(Push::bytes(5000).count(5));
    client.until_buffers("out.sink", 10);
    producer.until_buffers("sink.sink", 10);
    for buffer in client.buffers("out.sink") {
        assert_eq!(buffer.text("write-to-memory"), "refused", "{buffer}");
        assert_eq!(buffer.text("write-to-buffer"), "copies", "{buffer}");
        assert_eq!(buffer.text("changed"), "false", "{buffer}");
    }
    assert_eq!(
        client.digests("out.sink"),
        producer.digests("sink.sink"),
        "a client writes to copies of its own"
    );
    // The kernel confirms it: the mappings themselves are read-only.
    let maps = process::maps(client.pid(), "xmem-payload");
    assert!(!maps.is_empty());
    for map in maps {
        assert_eq!(map.access, "r--s", "{map:?}");
    }
    for map in process::maps(client.pid(), "xmem-metadata") {
        assert_eq!(map.access, "r--s", "{map:?}");
    }
}

#[test]
fn the_producer_cannot_write_published_frames_either() {
    let place = Place::new();
    let client = "xmemsrc channel=cam0 ! fakesink name=out";
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    let mut producer = Pipeline::start(
        &place,
        &["report sink.sink"],
        &format!(
            "videotestsrc num-buffers=60 pattern=ball ! video/x-raw,format=I420,width=320,height=240 \
             ! xmemsink name=sink channel=cam0 {LOSSLESS}"
        ),
    );
    producer.hold("sink.sink", 5);
    producer.change(State::Ready);
    producer.until_clients("sink", 1);
    producer.change(State::Playing);
    producer.until_eos();
    let scribbled = producer.order(Order::Scribble("sink.sink".into()));
    assert_eq!(scribbled.number("refused"), 5, "{scribbled}");
    assert_eq!(scribbled.number("allowed"), 0, "{scribbled}");
    client.until_eos();
    assert_eq!(client.digests("out.sink"), producer.digests("sink.sink"));
}

#[test]
fn times_offsets_and_duration_cross() {
    let place = Place::new();
    let (mut producer, mut client) = pushing(&place);
    let buffer = || Push::bytes(100);
    let first = buffer().pts(0).dts(0).duration(33_333_333);
    let second = buffer().pts(40_000_000).dts(20_000_000).duration(1);
    for buffer in [
        first.offset(0).offset_end(1),
        second.offset(12_345_678_901).offset_end(12_345_678_902),
        buffer().pts(3600 * SECOND),
        buffer().dts(50_000_000),
        buffer().duration(0).offset(7),
        buffer().pts(20_000_000).offset_end(9),
    ] {
        producer.push(buffer);
    }
    client.until_buffers("out.sink", 6);
    producer.until_buffers("sink.sink", 6);
    let pairs = producer.buffers("sink.sink").into_iter();
    for (sent, received) in pairs.zip(client.buffers("out.sink")) {
        let fields = ["pts", "dts", "duration", "offset", "offset-end", "size"];
        for field in [&fields[..], &["digest"]].concat() {
            assert_eq!(received.text(field), sent.text(field), "{field} of {sent}");
        }
    }
}

#[test]
fn flags_cross() {
    let place = Place::new();
    let (mut producer, mut client) = pushing(&place);
    let sent = [
        "DISCONT",
        "none",
        "DELTA_UNIT",
        "DELTA_UNIT+DROPPABLE",
        "HEADER",
        "GAP",
        "MARKER",
        "RESYNC",
        "CORRUPTED",
        "NON_DROPPABLE",
        "SYNC_AFTER",
        "LIVE",
        "DISCONT+DELTA_UNIT",
        "none",
    ];
    for flags in sent {
        let flags = flags.split('+').filter_map(BufferFlags::from_name);
        producer.push(Push::bytes(100).with(flags.collect()));
    }
    client.until_buffers("out.sink", sent.len());
    let received = client.buffers("out.sink").into_iter();
    for (sent, received) in sent.iter().zip(received) {
        let sorted = |flags: &str| {
            let mut flags: Vec<_> = flags.split('+').map(str::to_owned).collect();
            flags.sort();
            flags
        };
        assert_eq!(sorted(received.text("flags")), sorted(sent), "{received}");
    }
}

#[test]
fn the_first_buffer_and_the_one_after_a_gap_are_discontinuous() {
    let place = Place::new();
    let client = "xmemsrc name=src channel=cam0 ! fakesink name=out";
    let mut producer = Pipeline::start(
        &place,
        &[],
        "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false",
    );
    producer.change(State::Playing);
    // The newest frame stays for a client that joins later.
    producer.push(1);
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    client.until_buffers("out.sink", 1);
    producer.push(1);
    client.until_buffers("out.sink", 2);
    client.stop();
    producer.push(Push::bytes(5000).count(1000));
    producer.until_stats("sink", "all buffers are published", |stats| {
        stats.number("published") == 1002
    });
    client.resume();
    client.until_stats("src", "the client has continued", |stats| {
        stats.number("received") + stats.number("missed") == 1002
    });
    let stats = client.stats("src");
    let missed = stats.number("missed");
    assert!(missed > 0, "{stats}");
    let received = stats.number("received") as usize;
    client.until_buffers("out.sink", received);
    let flags: Vec<_> = client.buffers("out.sink");
    let flags: Vec<_> = flags.iter().map(|line| line.text("flags")).collect();
    assert_eq!(flags[..3], ["DISCONT", "none", "DISCONT"]);
    let discontinuous = flags.iter().filter(|flags| **flags == "DISCONT");
    assert_eq!(discontinuous.count(), 2, "{flags:?}");
}

#[test]
fn a_frames_time_is_when_the_producer_shows_it() {
    let place = Place::new();
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    // The latency of the camera is added on both sides.
    let mut producer = Pipeline::play(
        &place,
        &["report sink.sink"],
        "videotestsrc is-live=true num-buffers=60 \
         ! video/x-raw,format=GRAY8,width=64,height=48,framerate=60/1 \
         ! xmemsink name=sink channel=cam0 overflow=block",
    );
    client.until_eos();
    producer.until_eos();
    let latency = producer.order(Order::Latency(None));
    assert_eq!(latency.text("live"), "true");
    let latency = latency.number("min");
    assert!(latency > 0, "a live source has a latency");
    let sent = producer.buffers("sink.sink");
    let received = client.buffers("out.sink");
    assert!(received.len() > 30, "{} frames arrived", received.len());
    let mut late = Vec::new();
    for buffer in &received {
        let sent = sent
            .iter()
            .find(|sent| sent.text("offset") == buffer.text("offset"))
            .expect("a frame that arrives was sent");
        assert_ne!(sent.text("base-time"), buffer.text("base-time"));
        assert_eq!(buffer.text("pts"), sent.text("pts"), "{buffer}");
        assert_eq!(buffer.text("due"), sent.text("due"), "{buffer}");
        // The frame arrived when it was due, not before.
        let shown_there = sent.number("due") + latency;
        let now = buffer.number("now");
        assert!(now >= shown_there, "{buffer} arrived too early");
        late.push(now - shown_there);
    }
    late.sort();
    // Some microseconds on an idle machine.
    let median = late[late.len() / 2];
    assert!(
        median < SECOND / 10,
        "half of the frames were {median} ns late"
    );
}

#[test]
fn a_client_is_live_and_adds_no_latency() {
    let place = Place::new();
    let (mut producer, mut client) = pushing(&place);
    producer.push(1);
    client.until_buffers("out.sink", 1);
    let latency = client.order(Order::Latency(Some("src".into())));
    assert_eq!(latency.text("answered"), "true");
    assert_eq!(latency.text("live"), "true");
    assert_eq!(latency.number("min"), 0);
    assert_eq!(client.change(State::Paused).as_secs(), 0);
    let settled = client.settled();
    assert_eq!(settled.text("result"), "NoPreroll");
}

#[test]
fn a_frame_of_the_past_is_shown_at_once() {
    let place = Place::new();
    let mut producer = Pipeline::play(
        &place,
        &["report sink.sink"],
        "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false",
    );
    producer.push(Push::bytes(100).pts(0));
    producer.until_buffers("sink.sink", 1);
    let client = "xmemsrc channel=cam0 ! fakesink name=out sync=true";
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    client.until_buffers("out.sink", 1);
    // It was due before the start of the client, which is the earliest time in the client.
    let received = client.buffers("out.sink")[0].clone();
    let base_time = producer.order(Order::BaseTime).number("ns");
    assert!(base_time < received.number("base-time"));
    assert_eq!(received.number("due"), received.number("base-time"));
    client.until_stats("out", "the frame is shown", |stats| {
        stats.number("rendered") == 1
    });
}

#[test]
fn the_record_is_a_meta_of_the_buffer() {
    let place = Place::new();
    let (mut producer, mut client) = pushing(&place);
    let before = milliseconds();
    for (format, count) in [("RGB", 3), ("GRAY16_LE", 1), ("NV12", 1)] {
        let caps = format!("video/x-raw,format={format},width=30,height=20,framerate=30/1");
        producer.push(Push::of(caps).count(count));
    }
    producer.push(Push::bytes(1000));
    client.until_buffers("out.sink", 6);
    let buffers = client.buffers("out.sink");
    let expected = [
        ("u8", "20,30,3", "92,3,1"),
        ("u8", "20,30,3", "92,3,1"),
        ("u8", "20,30,3", "92,3,1"),
        ("u16", "20,30", "60,2"),
        ("u8", "960", "1"),
        ("u8", "1000", "1"),
    ];
    for (number, (buffer, (dtype, shape, strides))) in buffers.iter().zip(expected).enumerate() {
        assert_eq!(buffer.number("record-seq"), number as u64, "{buffer}");
        let named = buffer.text("record-dtype").to_lowercase();
        let named = named.replace("uint", "u");
        assert_eq!(named, dtype, "{buffer}");
        assert_eq!(buffer.text("record-shape"), shape, "{buffer}");
        assert_eq!(buffer.text("record-strides"), strides, "{buffer}");
        assert_eq!(buffer.text("record-producer"), "sink", "{buffer}");
        let timestamp = buffer.number("record-timestamp");
        assert!((before..=milliseconds()).contains(&timestamp), "{buffer}");
        for (field, kind) in [
            ("seq", "guint64"),
            ("slot", "guint"),
            ("dtype", "gchararray"),
            ("shape", "GstValueArray"),
            ("strides", "GstValueArray"),
            ("producer", "gchararray"),
            ("timestamp", "guint64"),
        ] {
            let found = buffer.text(&format!("record-{field}-type"));
            assert_eq!(found, kind, "{field}");
        }
    }
}

fn milliseconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_millis() as u64
}

#[test]
fn raw_video_has_a_video_meta_with_the_producers_planes() {
    let place = Place::new();
    let (mut producer, mut client) = pushing(&place);
    let frame = Push::of("video/x-raw,format=I420,width=37,height=21,framerate=30/1");
    // As the caps describe it, and with longer rows and a cropped region.
    producer.push(&frame);
    producer.push(frame.clone().pad(24).crop((3, 4, 20, 10)));
    producer.push(frame.pad(8).memories(3));
    client.until_buffers("out.sink", 3);
    producer.until_buffers("sink.sink", 3);
    let received = client.buffers("out.sink");
    assert_eq!(received[0].text("video-format"), "I420");
    assert_eq!(received[0].text("video-size"), "37x21");
    assert_eq!(received[0].text("video-strides"), "40,20,20");
    assert_eq!(received[1].text("video-strides"), "64,44,44");
    assert_eq!(received[1].text("video-crop"), "3,4,20,10");
    assert_eq!(received[2].text("video-strides"), "48,28,28");
    assert_eq!(received[2].get("video-crop"), None);
    let sent = producer.buffers("sink.sink");
    for field in ["video-strides", "video-offsets", "video-crop", "size"] {
        for number in [1, 2] {
            assert_eq!(received[number].get(field), sent[number].get(field));
        }
    }
    assert_eq!(client.digests("out.sink"), producer.digests("sink.sink"));
}
