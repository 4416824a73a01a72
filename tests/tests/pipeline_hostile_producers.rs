//! A producer that sends garbage to a source: the source ends with an error that says what was
//! wrong.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use xmem_core::{EventKind, Publisher};
use xmem_tests::area::SEALED;
use xmem_tests::hostile::impostor::Impostor;
use xmem_tests::pipeline::{Pipeline, State};
use xmem_tests::{Line, PATIENCE, Place, format, pattern, process, wire};

const CLIENT: &str = "xmemsrc name=src channel=cam0 ! fakesink name=out sync=false";

/// A publisher, and a pipeline that is connected to it.
fn connected(place: &Place, watches: &[&str], client: &str) -> (Publisher, Pipeline) {
    let open = Publisher::builder(place.channel("cam0")).open();
    let publisher = open.expect("a channel");
    let client = Pipeline::play(place, watches, client);
    let come = publisher.wait_for_clients(1, Some(PATIENCE));
    come.expect("the client");
    (publisher, client)
}

/// What a source says of a frame of this format, and of these extra bytes.
fn error_of(format: &[u8], extra: &[u8]) -> Line {
    let place = Place::new();
    let (publisher, mut client) = connected(&place, &["count out.sink"], CLIENT);
    publisher
        .set_format(format)
        .expect("there is enough memory");
    let mut frame = publisher.acquire(1000).expect("a slot");
    pattern::fill(&mut frame, 0, 0).expect("a record");
    frame.set_extra(extra).expect("there is enough memory");
    frame.publish().expect("a channel");
    let error = client.until_message("error");
    assert_eq!(error.text("from"), "src", "{error}");
    client.change_promptly(State::Null);
    error
}

#[test]
fn invalid_caps_are_an_error() {
    // Records of kind 25 are arrays: of one value, which is the next.
    let nested = (0..100_000).fold(Vec::new(), |inner: Vec<u8>, _| {
        if inner.len() > 1 << 16 {
            return inner;
        }
        let head = [25, inner.len() as u32 + 4, 1].map(u32::to_le_bytes);
        [&head.concat()[..], &inner].concat()
    });
    let field = |value: &[u8]| {
        let text = |text: &str| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
        let record = |kind: u32, body: &[u8]| {
            let head = [kind, body.len() as u32].map(u32::to_le_bytes).concat();
            [&head[..], body].concat()
        };
        let structure = [&text("a/b")[..], &1u32.to_le_bytes(), &text("c"), value].concat();
        let features = [0u32, 0].map(u32::to_le_bytes).concat();
        let head = [0u32, 1].map(u32::to_le_bytes).concat();
        let body = [head, record(20, &features), record(24, &structure)].concat();
        record(19, &body)
    };
    let value = |kind: u32, words: &[u32]| {
        let head = [kind, 4 * words.len() as u32];
        let words = head.iter().chain(words);
        field(
            &words
                .flat_map(|word| word.to_le_bytes())
                .collect::<Vec<_>>(),
        )
    };
    let good = format("video/x-raw, width=8");
    let cut_short = good[..good.len() - 1].to_vec();
    let mut one_more = good.clone();
    one_more.push(0);
    let many = "video/x-raw,format=RGB,width=8,height=8,framerate=1/1;";
    let mut too_many = format(&many.repeat(10_000));
    let number = 20_000u32.to_le_bytes();
    too_many[12..16].copy_from_slice(&number);
    let mut ever_more = format("a/b").repeat(100_000);
    let length = ever_more.len() as u32 - 8;
    ever_more[4..8].copy_from_slice(&length.to_le_bytes());
    ever_more[12..16].copy_from_slice(&100_000u32.to_le_bytes());
    for (format, word) in [
        (vec![], "caps"),
        (b"!".to_vec(), "caps"),
        (b"video/x-raw, width=8".to_vec(), "caps"),
        (cut_short, "caps"),
        (one_more, "caps"),
        (format("video/x-raw, width=[1, 8]"), "fixed"),
        (format("video/x-raw, width={1, 8}"), "fixed"),
        (format("ANY"), "fixed"),
        (format("EMPTY"), "fixed"),
        (format("video/x-raw(memory:GLMemory), width=8"), "GLMemory"),
        // A fraction over 0, a range that ends before it starts, a text that is not UTF-8.
        (value(10, &[1, 0]), "fraction"),
        (value(13, &[8, 1, 1]), "range"),
        (value(8, &[0xff]), "UTF-8"),
        // A number of an enumeration without a name, and a value of a kind that does not exist.
        (value(28, &[0, 1]), "name"),
        (value(99, &[1, 2, 3]), "later version"),
        (field(&nested), "caps"),
        (too_many, "caps"),
        (ever_more, "caps"),
    ] {
        let error = error_of(&format, &[]);
        assert!(error.text("text").contains(word), "{error}");
        assert!(
            error.to_string().len() < 2000,
            "{} bytes",
            error.to_string().len()
        );
    }
}

#[test]
fn invalid_metas_are_an_error() {
    const RGB: &str = "video/x-raw,format=RGB,width=8,height=8,framerate=1/1";
    let meta =
        |kind: u32, len: u32, body: &[u8]| [&kind.to_le_bytes(), &len.to_le_bytes(), body].concat();
    for (extra, what) in [
        (vec![1], "a byte"),
        (meta(1, 4, &[]), "a meta without a body"),
        (
            meta(1, u32::MAX, &[0; 100]),
            "one with more bytes than there are",
        ),
        (
            meta(1, 100, &[0xff; 100]),
            "a video meta of too many planes",
        ),
        (meta(2, 12, &[0; 12]), "a crop that is too short"),
    ] {
        let error = error_of(&format(RGB), &extra);
        assert!(error.text("text").contains("metas"), "{what}: {error}");
    }
}

#[test]
fn metas_that_do_not_fit_their_frame_drop_that_frame() {
    const SIZE: usize = 8 * 8 * 3;
    let place = Place::new();
    let client = "xmemsrc name=src channel=cam0 ! fakesink name=out sync=false";
    let (publisher, mut client) = connected(&place, &["report out.sink"], client);
    let rgb = format("video/x-raw,format=RGB,width=8,height=8,framerate=1/1");
    publisher.set_format(rgb).expect("room for it");
    let meta = |kind: u32, body: &[u32]| {
        let head = [kind, 4 * body.len() as u32];
        let words = head.iter().chain(body);
        words
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let crop = |height| meta(2, &[0, 0, 8, height]);
    // Flags, the format RGB, width, height, planes; then the offset 0 and the stride of the plane.
    let video = |height, stride| {
        let mut body = vec![0, 15, 8, height, 1];
        body.extend([0; 8]);
        body.push(stride);
        body.resize(25, 0);
        meta(1, &body)
    };
    let (mut good, mut bad) = (0, 0);
    let mut publish = |client: &mut Pipeline, extra: &[u8], is_good: bool| {
        let mut frame = publisher.acquire(SIZE).expect("a slot");
        pattern::fill(&mut frame, 0, 0).expect("a record");
        frame.set_extra(extra).expect("there is enough memory");
        frame.publish().expect("a channel");
        *(if is_good { &mut good } else { &mut bad }) += 1;
        let (good, bad) = (good, bad);
        client.until_stats("src", "the source has seen all frames", |stats| {
            let missed = stats.number("missed");
            assert!(missed <= bad, "{stats}");
            stats.number("received") == good && missed == bad
        });
        client.until_buffers("out.sink", good as usize);
    };
    publish(&mut client, &crop(8), true);
    for (extra, word) in [
        (crop(9), "GstVideoCropMeta"),
        (video(7, 24), "GstVideoMeta"),
        (video(8, -24i32 as u32), "stride"),
        (video(8, 25), "GstVideoMeta"),
        (meta(15, &[0, 0, 0, 0, 0]), "GstAudioClippingMeta"),
    ] {
        publish(&mut client, &extra, false);
        publish(&mut client, &extra, false);
        let warning = client.until("the source reports missed frames", |line| {
            line.word == "message" && line.get("text").is_some_and(|text| text.contains(word))
        });
        assert_eq!(warning.text("type"), "warning", "{warning}");
        publish(&mut client, &video(8, 24), true);
        publish(&mut client, &[], true);
    }
    // One of each kind, although each frame was published twice, and the gap after it is marked.
    assert_eq!(client.messages().len(), 5, "{:?}", client.messages());
    let flags = client.buffers("out.sink");
    let flags = flags
        .iter()
        .map(|line| line.text("flags").contains("DISCONT"));
    let expected = [true].into_iter().chain([true, false].into_iter().cycle());
    let flags = flags.collect::<Vec<_>>();
    assert_eq!(flags, expected.take(flags.len()).collect::<Vec<_>>());
}

/// The formats are long and many. What the source keeps of them is limited.
#[test]
fn any_number_of_formats_costs_a_source_limited_memory() {
    let place = Place::new();
    let (publisher, mut client) = connected(&place, &["count out.sink"], CLIENT);
    let mut memory = Vec::new();
    for number in 0..300 {
        // Valid formats of a MiB, all different.
        let long = "x".repeat(1 << 20);
        let caps = format!("application/x-test, number={number}, long={long}");
        publisher.set_format(format(&caps)).expect("room for it");
        pattern::publish(&publisher, number, 1000, 0).expect("a frame");
        client.until_stats("src", "it receives", |stats| {
            stats.number("received") > number
        });
        memory.push(process::memory(client.pid()).own);
    }
    assert_eq!(client.messages(), [""; 0]);
    // The source may keep 64 MiB of text for frames to come, and the parsed form of one format.
    let most = memory.iter().max().expect("many");
    assert!(*most < 200 << 10, "{most} KiB");
}

/// GLib never frees the names of types and fields.
#[test]
fn formats_with_too_many_different_names_are_an_error() {
    let place = Place::new();
    let (publisher, mut client) = connected(&place, &["count out.sink"], CLIENT);
    for round in 0..20 {
        let fields =
            (0..4000).map(|number| format!(", new-{}-{round}-{number}=1", "x".repeat(200)));
        let caps = format!("application/x-test{}", fields.collect::<String>());
        publisher.set_format(format(&caps)).expect("room for it");
        pattern::publish(&publisher, round, 1000, 0).expect("a frame");
        if round < 15 {
            client.until_stats("src", "it receives", |stats| {
                stats.number("received") > round
            });
        }
    }
    let error = client.until_message("error");
    assert!(error.text("text").contains("name"), "{error}");
}

/// The kinds of custom events: sticky, and out-of-band.
const STICKY: u32 = 1;
const OUT_OF_BAND: u32 = 2;

/// A custom event of an xmemsink, with a field of `len` bytes: `docs/protocol.md`, 13.5.
fn custom(kind: u32, name: &str, len: usize) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let record = |kind: u32, body: Vec<u8>| {
        let head = [kind, body.len() as u32].map(u32::to_le_bytes).concat();
        [head, body].concat()
    };
    let field = [text("field"), record(8, vec![b'x'; len])].concat();
    let structure = [text(name), 1u32.to_le_bytes().to_vec(), field].concat();
    let head = [7u32, 0, 0, 0, kind].map(u32::to_le_bytes).concat();
    [head, record(24, structure)].concat()
}

/// Pads keep one event of each name.
#[test]
fn sticky_events_with_too_many_different_names_are_left_out() {
    for (count, len) in [(1000, 10), (40, 8 << 20)] {
        let place = Place::new();
        let (publisher, mut client) = connected(&place, &["count out.sink"], CLIENT);
        let before = process::memory(client.pid()).own;
        for number in 0..count {
            let content = custom(STICKY, &format!("never-before-{number}"), len);
            let said =
                publisher.send_event(EventKind::Sticky(1 << 63 | 7 << 32 | number), &content);
            said.expect("there is enough memory");
            pattern::publish(&publisher, number, 1000, 0).expect("a frame");
            client.until_stats("src", "it receives", |stats| {
                stats.number("received") > number
            });
        }
        let grown = process::memory(client.pid()).own.saturating_sub(before);
        // Kept events, events that are being read, and free memory of the heap.
        assert!(grown < 100 << 10, "{grown} KiB");
        let warning = client.until_message("warning");
        assert!(warning.text("text").contains("sticky"), "{warning}");
        // The warning is posted once.
        assert_eq!(client.messages().len(), 1);
    }
}

/// A thread other than the streaming thread would push it.
#[test]
fn an_out_of_band_event_that_must_be_in_order_is_left_out() {
    let place = Place::new();
    let (publisher, mut client) = connected(&place, &["report out.sink"], CLIENT);
    pattern::publish(&publisher, 0, 1000, 0).expect("a frame");
    client.until_buffers("out.sink", 1);
    for kind in 0..5 {
        let content = custom(kind, &format!("of-kind-{kind}"), 10);
        let said = publisher.send_event(EventKind::Urgent, &content);
        said.expect("there is enough memory");
    }
    let last = custom(OUT_OF_BAND, "the-last", 10);
    let said = publisher.send_event(EventKind::Urgent, &last);
    said.expect("there is enough memory");
    client.until("the last event has arrived", |line| {
        line.get("text")
            .is_some_and(|text| text.contains("the-last"))
    });
    let seen = (0..5).filter(|kind| {
        let name = format!("of-kind-{kind}");
        let mut lines = client.log().iter().filter_map(|line| line.get("text"));
        lines.any(|text| text.contains(&name))
    });
    assert_eq!(seen.collect::<Vec<_>>(), [2, 4]);
    assert_eq!(client.messages(), [""; 0]);
}

/// The segment event of an xmemsink: `docs/protocol.md`, 13.5.
fn segment(rate: f64, applied_rate: f64, numbers: [u64; 7]) -> Vec<u8> {
    let mut content = 2u32.to_le_bytes().to_vec();
    // No sequence number, then times, without flags.
    content.extend([0; 12]);
    content.extend([3, 0, 0, 0, 0, 0, 0, 0]);
    content.extend([rate, applied_rate].map(f64::to_le_bytes).concat());
    content.extend(numbers.map(u64::to_le_bytes).concat());
    content.extend(i64::MIN.to_le_bytes());
    content
}

/// Base, offset, start, stop, time, position, duration.
const USUAL: [u64; 7] = [0, 0, 0, 10_000_000_000, 0, 0, u64::MAX];
const SEGMENT: EventKind = EventKind::Sticky(1 << 63 | 2 << 32);

#[test]
fn a_segment_with_which_elements_would_overflow_is_an_error() {
    let with = |at: usize, number| {
        let mut numbers = USUAL;
        numbers[at] = number;
        numbers
    };
    for (rate, applied_rate, numbers) in [
        (5e-324, 1.0, USUAL),
        (-1e9, 1.0, USUAL),
        (1.0, 1e300, USUAL),
        (0.001, 1.0, with(3, 1 << 60)),
        (1.0, 1.0, with(0, 1 << 61)),
        (-1.0, 1.0, with(1, 10_000_000_001)),
        (1.0, 1.0, with(2, 10_000_000_001)),
    ] {
        let place = Place::new();
        let (publisher, mut client) = connected(&place, &[], CLIENT);
        let content = segment(rate, applied_rate, numbers);
        publisher
            .send_event(SEGMENT, &content)
            .expect("there is enough memory");
        pattern::publish(&publisher, 0, 1000, 0).expect("a frame");
        let error = client.until_message("error");
        assert!(error.text("text").contains("event"), "{error}");
    }
}

#[test]
fn a_time_with_which_elements_would_overflow_is_left_out() {
    let place = Place::new();
    let (publisher, mut client) = connected(&place, &["report out.sink"], CLIENT);
    let content = segment(0.001, 1.0, [0, 0, 0, u64::MAX, 0, 0, u64::MAX]);
    publisher
        .send_event(SEGMENT, &content)
        .expect("there is enough memory");
    let times = [1, u64::MAX - 1, 1 << 61, 1 << 60, 2];
    for (number, time) in (0..).zip(times) {
        let mut frame = publisher.acquire(1000).expect("a slot");
        pattern::fill(&mut frame, number, 0).expect("a record");
        let record = frame.meta_mut();
        let time = Some(Duration::from_nanos(time));
        record.set_stream_pts(time);
        record.set_duration(time);
        record.set_pts(None);
        record.set_dts(None);
        frame.publish().expect("a channel");
        client.until_buffers("out.sink", number as usize + 1);
    }
    let buffers = client.buffers("out.sink");
    let pts: Vec<_> = buffers.iter().map(|line| line.text("pts")).collect();
    assert_eq!(pts[1], pts[2]);
    assert_eq!([pts[0], pts[4]], ["1", "2"]);
    // Three years are valid, but not at a thousandth of the usual rate.
    assert_eq!(pts[3], pts[1]);
    assert_eq!(client.messages(), [""; 0]);
}

/// The number of times that a source connects, in three seconds, to a producer that accepts it,
/// sends it a frame or none, and closes the channel.
fn connections_to_a_producer_that_goes(has_frames: bool, says_bye: bool) -> u32 {
    // One of them is for copies.
    const LEASES: u32 = 4;
    let place = Place::new();
    let listener = wire::listen(&place.socket("cam0"));
    let client = format!(
        "xmemsrc name=src channel=cam0 max-leases={LEASES} on-disconnect=reconnect ! fakesink sync=false"
    );
    let mut client = Pipeline::play(&place, &[], &client);
    let (mut connections, mut first) = (0, None::<Instant>);
    while first.is_none_or(|first| first.elapsed() < Duration::from_secs(3)) {
        let mut producer = Impostor::new(4, 0, SEALED, 0);
        producer.answer(&listener, &producer.welcome(LEASES + 1));
        producer.send(&wire::message(wire::TOLD, &0u64.to_le_bytes()), &[]);
        if has_frames {
            let memory = producer.make_segment(1, 4096, SEALED);
            producer.announce(1, 0, 4096, &[memory.as_fd()]);
            let record = producer.record(0, 1, 100);
            producer.publish(0, &record);
        }
        if says_bye {
            let mut body = producer.head().to_le_bytes().to_vec();
            body.extend([0; 8]);
            producer.send(&wire::message(wire::BYE, &body), &[]);
        }
        first.get_or_insert_with(Instant::now);
        connections += 1;
    }
    // Possibly in the middle of a pause between two attempts.
    client.change_promptly(State::Ready);
    assert_eq!(client.messages(), [""; 0]);
    connections
}

#[test]
fn a_source_waits_before_it_reconnects_to_a_producer_without_frames() {
    for says_bye in [false, true] {
        let connections = connections_to_a_producer_that_goes(false, says_bye);
        // After 0, 20, 60, 140, 300, 620, 1260, 2260 and 3260 ms.
        assert!((2..=9).contains(&connections), "{connections}, {says_bye}");
    }
}

#[test]
fn a_source_reconnects_with_a_pause_to_a_producer_that_ends_after_a_frame() {
    let connections = connections_to_a_producer_that_goes(true, true);
    // One every 20 ms, and the first two.
    assert!((2..=155).contains(&connections), "{connections}");
}
