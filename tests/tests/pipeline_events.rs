//! A pipeline that is cut in two: the events and queries that pass, besides the buffers.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use xmem_core::{Channel, Subscriber};
use xmem_tests::pipeline::{Custom, Event, Kind, Order, Pipeline, Push, Seek, Segment, State, Way};
use xmem_tests::{Line, PATIENCE, Place, nobody, until};

const CLIENT: &str = "xmemsrc name=src channel=cam0 ! fakesink name=out sync=false";
const PRODUCER: &str = "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false overflow=block \
     block-timeout=20000000000";
/// Events that sinks send upstream by themselves.
const FROM_SINKS: [&str; 3] = ["latency", "qos", "reconfigure"];

/// A producer and its client, both of which report all that passes.
fn connected(place: &Place) -> (Pipeline, Pipeline) {
    let client = Pipeline::play(place, &["report out.sink"], CLIENT);
    let mut producer = Pipeline::play(place, &["report sink.sink"], PRODUCER);
    producer.until_clients("sink", 1);
    (producer, client)
}

/// What has passed a pad, in order: the types of events, and `buffer`.
fn passed(at: &Pipeline, pad: &str) -> Vec<String> {
    let lines = at.log().iter().filter(|line| line.get("at") == Some(pad));
    let words = lines.map(|line| match line.get("type") {
        Some(kind) => kind.to_owned(),
        None => line.word.clone(),
    });
    words
        .filter(|word| !FROM_SINKS.contains(&word.as_str()))
        .collect()
}

/// The last event of a type that passed a pad.
fn last(at: &Pipeline, pad: &str, kind: &str) -> Line {
    let mut lines = at.log().iter().rev();
    let found = lines.find(|line| line.get("at") == Some(pad) && line.get("type") == Some(kind));
    found
        .unwrap_or_else(|| panic!("no {kind} at {pad}"))
        .clone()
}

fn until_event(at: &mut Pipeline, pad: &str, kind: &str, count: usize) -> Line {
    let mut seen = 0;
    at.until(&format!("{count} {kind} pass {pad}"), |line| {
        seen += usize::from(line.get("at") == Some(pad) && line.get("type") == Some(kind));
        seen >= count
    })
}

fn send(at: &mut Pipeline, event: impl Into<Event>) {
    let event = event.into();
    let sent = at.order(Order::send("src", event.clone()));
    assert_eq!(sent.text("taken"), "true", "{event:?}");
}

#[test]
fn events_pass_in_the_order_of_the_stream() {
    let place = Place::new();
    let (mut producer, mut client) = connected(&place);
    producer.order(Push::bytes(100).pts(0));
    for event in [
        Event::tag("One"),
        Event::gap(1000, 5),
        Event::custom(Way::Downstream, 1),
        Event::from(Kind::Collection),
        Event::from(Custom::new(Way::Sticky, 2).name("application/x-other")),
        Event::toc("edition"),
        Event::protection("edef8ba9-79d6"),
        Event::from(Kind::SegmentDone(5000)),
    ] {
        send(&mut producer, event);
        producer.order(Push::bytes(100));
    }
    send(&mut producer, Custom::new(Way::Both, 3));
    producer.order(Order::end("src"));
    client.until_eos();
    producer.until_eos();
    let [sent, received] =
        [(&producer, "sink.sink"), (&client, "out.sink")].map(|(at, pad)| passed(at, pad));
    assert_eq!(received, sent);
    for kind in [
        "tag",
        "gap",
        "custom-downstream",
        "stream-collection",
        "custom-downstream-sticky",
        "custom-both",
        "toc",
        "protection",
        "segment-done",
        "caps",
        "stream-start",
    ] {
        let [sent, received] = [
            last(&producer, "sink.sink", kind),
            last(&client, "out.sink", kind),
        ];
        assert_eq!(received.get("text"), sent.get("text"), "{kind}");
        assert_eq!(received.get("id"), sent.get("id"), "{kind}");
    }
}

/// Connects a client after a buffer, these events and another buffer. Returns what passes its pad,
/// and both pipelines.
fn join_after(place: &Place, events: Vec<Event>) -> (Vec<String>, Pipeline, Pipeline) {
    let mut producer = Pipeline::play(place, &["report sink.sink"], PRODUCER);
    producer.order(Push::bytes(100));
    for event in events {
        send(&mut producer, event);
    }
    producer.order(Push::bytes(100));
    producer.until_buffers("sink.sink", 2);
    let mut client = Pipeline::play(place, &["report out.sink"], CLIENT);
    client.until_buffers("out.sink", 1);
    (passed(&client, "out.sink"), producer, client)
}

#[test]
fn a_client_that_joins_late_gets_sticky_events_first() {
    let place = Place::new();
    let events = vec![
        Event::tag("One"),
        Event::custom(Way::Downstream, 1),
        Event::custom(Way::Sticky, 2),
        Event::protection("one"),
        Event::protection("two"),
        Event::toc("edition"),
        Event::gap(1, None),
    ];
    let (passed, _producer, client) = join_after(&place, events);
    let expected = [
        "stream-start",
        "caps",
        "segment",
        "tag",
        "custom-downstream-sticky",
        "protection",
        "protection",
        "toc",
        "buffer",
    ];
    assert_eq!(passed, expected);
    assert!(
        last(&client, "out.sink", "tag")
            .text("text")
            .contains("One")
    );
}

#[test]
fn tags_end_with_their_stream() {
    let place = Place::new();
    let events = vec![
        Event::tag("One"),
        Event::custom(Way::Sticky, 2),
        Event::stream_start("another"),
    ];
    let (passed, mut producer, mut client) = join_after(&place, events);
    let expected = [
        "stream-start",
        "caps",
        "segment",
        "custom-downstream-sticky",
        "buffer",
    ];
    assert_eq!(passed, expected);
    // The same tags are sent again, for this stream.
    send(&mut producer, Event::tag("One"));
    until_event(&mut client, "out.sink", "tag", 1);
}

/// These would end the clients, which treat them as a violation of the protocol.
#[test]
fn a_segment_or_a_time_that_clients_would_refuse_does_not_reach_them() {
    let place = Place::new();
    let (mut producer, mut client) = connected(&place);
    producer.order(Push::bytes(100).pts(0));
    for odd in [
        Event::from(Segment::new(0, 0).rate(100000.0)),
        Event::from(Segment::new(0, 0).rate(0.0001)),
        Event::from(Segment::new(0, 0).base(2_305_843_009_213_693_952)),
    ] {
        send(&mut producer, odd);
        producer.order(Push::bytes(100).pts(1000));
    }
    client.until_buffers("out.sink", 4);
    for _ in 0..2 {
        producer.order(Push::bytes(100).pts(2_305_843_009_213_693_952));
    }
    client.until_buffers("out.sink", 6);
    assert_eq!(client.messages(), [""; 0]);
    let segment = last(&client, "out.sink", "segment");
    assert_eq!(segment.text("rate"), "1", "{segment:?}");
    // One warning for the segments, and one for the times.
    for what in ["a segment event", "a time of a buffer"] {
        producer.until("the sink says what does not cross", |line| {
            line.get("text").is_some_and(|text| text.contains(what))
        });
    }
    let warnings = producer.messages();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[test]
fn segments_keep_the_streams_own_time_and_rate() {
    const MS: u64 = 1_000_000;
    let place = Place::new();
    let (mut producer, mut client) = connected(&place);
    let segments = [
        (Segment::new(5000 * MS, 5000 * MS), 5000 * MS),
        (
            Segment::new(1000 * MS, 1000 * MS).rate(2.0).base(400 * MS),
            1200 * MS,
        ),
        (
            Segment::new(0, 0).stop(3000 * MS).rate(-1.0).base(900 * MS),
            2900 * MS,
        ),
        (Segment::new(0, 7000 * MS).base(3_600_000 * MS), 50 * MS),
    ];
    for (number, (segment, pts)) in segments.into_iter().enumerate() {
        send(&mut producer, segment.clone());
        producer.order(Push::bytes(100).pts(pts));
        producer.until_buffers("sink.sink", number + 1);
        client.until_buffers("out.sink", number + 1);
        let sent = producer.buffers("sink.sink")[number].clone();
        let received = client.buffers("out.sink")[number].clone();
        assert_eq!(received.text("pts"), sent.text("pts"));
        // The same moment on the clock of both.
        if number > 0 {
            assert_eq!(received.text("due"), sent.text("due"), "{segment:?}");
        }
        let [sent, received] = [
            last(&producer, "sink.sink", "segment"),
            last(&client, "out.sink", "segment"),
        ];
        for field in ["format", "rate", "start", "stop", "stream-time"] {
            assert_eq!(
                received.text(field),
                sent.text(field),
                "{field} of {segment:?}"
            );
        }
    }
    // The position in the stream is the same on both sides.
    let [there, here] = [(&mut producer, "sink"), (&mut client, "src")].map(|(at, element)| {
        at.order(Order::Position(element.into()))
            .text("ns")
            .to_owned()
    });
    assert_eq!(here, there);
}

#[test]
fn a_stream_in_bytes_stays_one() {
    let place = Place::new();
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    let producer = PRODUCER.replace("format=time", "format=bytes");
    let mut producer = Pipeline::play(&place, &["report sink.sink"], &producer);
    producer.until_clients("sink", 1);
    send(&mut producer, Segment::new(100, 100).bytes(true));
    producer.order(Push::bytes(100));
    client.until_buffers("out.sink", 1);
    producer.until_buffers("sink.sink", 1);
    let segment = last(&client, "out.sink", "segment");
    assert_eq!(segment.text("format"), "Bytes");
    assert_eq!(segment.number("start"), 100);
    let [sent, received] = [
        producer.buffers("sink.sink")[0].text("pts"),
        client.buffers("out.sink")[0].text("pts"),
    ];
    assert_eq!(received, sent);
}

#[test]
fn events_that_are_not_serialized_overtake_a_waiting_client() {
    let place = Place::new();
    let client = "xmemsrc name=src channel=cam0 ! fakesink name=out sync=true";
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    let mut producer = Pipeline::play(&place, &["report sink.sink"], PRODUCER);
    producer.until_clients("sink", 1);
    // It is due in an hour.
    producer.order(Push::bytes(100).pts(3_600_000_000_000));
    client.until_buffers("out.sink", 1);
    send(&mut producer, Event::custom(Way::Downstream, 1));
    send(&mut producer, Custom::new(Way::Oob, 2));
    let event = until_event(&mut client, "out.sink", "custom-downstream-oob", 1);
    assert!(event.text("text").contains("number=(guint64)2"), "{event}");
    assert!(!passed(&client, "out.sink").contains(&"custom-downstream".to_owned()));
}

#[test]
fn a_flush_drops_frames_that_were_not_shown() {
    let place = Place::new();
    let client = "xmemsrc name=src channel=cam0 ! queue ! fakesink name=out sync=true";
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    let mut producer = Pipeline::play(&place, &["report sink.sink"], PRODUCER);
    producer.until_clients("sink", 1);
    for round in 1..20 {
        // It is due in an hour, so the client waits for it.
        producer.order(Push::bytes(100).pts(3_600_000_000_000));
        client.until_buffers("out.sink", 2 * round - 1);
        send(&mut producer, Kind::FlushStart);
        send(&mut producer, Kind::FlushStop);
        send(&mut producer, Segment::new(0, 0));
        producer.order(Push::bytes(100));
        client.until_buffers("out.sink", 2 * round);
        until_event(&mut client, "out.sink", "flush-stop", round);
        let passed = passed(&client, "out.sink");
        let end: Vec<_> = passed.iter().rev().take(4).map(String::as_str).collect();
        assert_eq!(
            end,
            ["buffer", "segment", "flush-stop", "flush-start"],
            "{round}"
        );
        let stats = client.stats("src");
        assert_eq!(stats.number("missed"), 0, "{stats}");
        // A flush makes a sink lose its state. If another flush comes before it has it again,
        // GStreamer's bins can get stuck, even without xmem.
        for at in [&mut producer, &mut client] {
            let settled = at.settled();
            assert_eq!(settled.text("state"), "Playing", "{settled}");
        }
    }
}

#[test]
fn a_stream_that_has_ended_goes_on_after_a_flush() {
    let place = Place::new();
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    let producer = "videotestsrc ! video/x-raw,format=GRAY8,width=64,height=48,framerate=100/1 \
                    ! xmemsink name=sink channel=cam0";
    let mut producer = Pipeline::play(&place, &[], producer);
    producer.until_clients("sink", 1);
    client.until_buffers("out.sink", 1);
    for round in 1..5 {
        let mark = client.mark();
        assert_eq!(
            producer.order(Seek::to(0).stop(100_000_000)).text("done"),
            "true"
        );
        until_event(&mut client, "out.sink", "eos", round);
        let since = &client.log()[mark..];
        let is_last = |line: &&Line| line.word == "buffer" && line.text("pts") == "90000000";
        assert_eq!(since.iter().filter(is_last).count(), 1, "{since:#?}");
    }
}

#[test]
fn a_client_requests_a_key_frame_and_sends_custom_events() {
    let place = Place::new();
    let (mut producer, mut client) = connected(&place);
    producer.order(Push::bytes(100));
    client.until_buffers("out.sink", 1);
    let mut upstream = |event: Event| {
        let sent = client.order(Order::send("out", event));
        sent.text("taken").to_owned()
    };
    assert_eq!(upstream(Event::custom(Way::Upstream, 5)), "true");
    assert_eq!(upstream(Event::from(Kind::ForceKeyUnit)), "true");
    // These events are for one pipeline only.
    let navigation = Custom::new(Way::Navigation, 0);
    for event in [navigation.into(), Seek::to(0).into()] {
        assert_eq!(upstream(event), "false");
    }
    upstream(Event::from(Kind::Qos(1_000_000_000)));
    assert_eq!(upstream(Event::custom(Way::Upstream, 6)), "true");
    until_event(&mut producer, "sink.sink", "custom-upstream", 3);
    let custom = |line: &&Line| line.get("type") == Some("custom-upstream");
    let custom = producer
        .log()
        .iter()
        .filter(custom)
        .map(|line| line.text("text"));
    let expected = ["number=(guint64)5", "GstForceKeyUnit", "number=(guint64)6"];
    for (text, expected) in custom.zip(expected) {
        assert!(text.contains(expected), "{text}");
    }
    let passed = passed(&producer, "sink.sink");
    assert!(!passed.contains(&"navigation".to_owned()));
    assert!(!passed.contains(&"seek".to_owned()));
    let is_from_client = |line: &&Line| line.get("type") == Some("qos");
    assert_eq!(producer.log().iter().filter(is_from_client).count(), 0);
}

#[test]
fn a_key_frame_comes_when_a_client_asks_for_one() {
    let place = Place::new();
    let client = "xmemsrc name=src channel=cam0 ! h264parse ! fakesink name=out sync=false";
    let mut client = Pipeline::start(&place, &["report src.src"], client);
    let mut producer = Pipeline::play(
        &place,
        &["count sink.sink"],
        "videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=30/1 \
         ! x264enc tune=zerolatency key-int-max=100000 \
         ! video/x-h264,stream-format=byte-stream,alignment=au \
         ! xmemsink name=sink channel=cam0 sync=false",
    );
    until("the encoder has started", || {
        producer.watched("sink.sink").number("count") > 10
    });
    client.change(State::Playing);
    client.until_buffers("src.src", 5);
    let is_key = |line: &Line| {
        line.get("at") == Some("src.src")
            && line.word == "buffer"
            && !line.text("flags").contains("DELTA_UNIT")
    };
    let mark = client.mark();
    assert_eq!(
        client
            .order(Order::send("out", Kind::ForceKeyUnit))
            .text("taken"),
        "true"
    );
    client.until_since(mark, "a key frame arrives", is_key);
}

/// A custom upstream event with a structure of these fields: `docs/protocol.md`, 13.5.
fn custom_upstream(fields: impl Iterator<Item = String>) -> Vec<u8> {
    const CUSTOM_UPSTREAM: u32 = 270 << 8 | 1;
    let numbers = |numbers: &[u32]| {
        let bytes = numbers.iter().map(|number| number.to_le_bytes());
        bytes.collect::<Vec<_>>().concat()
    };
    let text = |text: &str| [numbers(&[text.len() as u32]), text.into()].concat();
    // Empty strings.
    let fields: Vec<_> = fields
        .map(|name| [text(&name), numbers(&[8, 0])].concat())
        .collect();
    let structure = [
        text("wish"),
        numbers(&[fields.len() as u32]),
        fields.concat(),
    ]
    .concat();
    let head = [CUSTOM_UPSTREAM, 0, 0, 0, 24, structure.len() as u32];
    [numbers(&head), structure].concat()
}

/// GStreamer never frees the names of fields.
#[test]
fn many_different_names_of_one_client_do_not_affect_another_user() {
    const MOST_NAMES: u32 = 1 << 16;
    const FIELDS: u32 = 1200;
    if !nobody::is_possible() {
        return;
    }
    let place = Place::new();
    set_permissions(place.path(), Permissions::from_mode(0o711)).expect("our directory");
    let socket = place.socket("shared");
    let producer = format!(
        "appsrc name=src format=time ! xmemsink name=sink socket-path={} perms=438 sync=false",
        socket.display()
    );
    let mut producer = Pipeline::play(&place, &["report sink.sink"], &producer);
    producer.until("it opens", |_| socket.exists());
    let connect = || {
        let client = Subscriber::builder(Channel::path(&socket));
        client
            .connect_timeout(Some(PATIENCE))
            .connect()
            .expect("a channel")
    };
    let say = |client: &Subscriber, fields: &mut dyn Iterator<Item = String>| {
        let content = custom_upstream(fields);
        let sent = client.upstream().send(&content);
        assert!(
            sent.expect("the event is short enough"),
            "the producer accepts no more names"
        );
    };
    let mut seen = 0;
    let mut until_seen = |what: &str, count: usize| {
        seen += count;
        let last = until_event(&mut producer, "sink.sink", "custom-upstream", seen);
        let text = last.text("text").to_owned();
        text.contains(what)
    };
    nobody::run_as_nobody(|| {
        let client = connect();
        for round in 0..=MOST_NAMES / FIELDS {
            let mut fields = (0..FIELDS).map(|number| format!("never-{round}-{number}"));
            say(&client, &mut fields);
            assert!(until_seen(&format!("never-{round}-0"), 1));
        }
        say(&client, &mut std::iter::once("and-never-that".into()));
        assert!(
            !until_seen("and-never-that", 1),
            "the limit of names is reached"
        );
    });
    let client = connect();
    say(&client, &mut std::iter::once("but-this".into()));
    assert!(until_seen("but-this", 1));
}

#[test]
fn a_property_selects_the_allowed_upstream_events() {
    let place = Place::new();
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    let producer = format!("{PRODUCER} upstream-events=navigation+seek+qos");
    let mut producer = Pipeline::play(&place, &["report sink.sink"], &producer);
    producer.until_clients("sink", 1);
    producer.order(Push::bytes(100));
    client.until_buffers("out.sink", 1);
    client.order(Order::send("out", Event::custom(Way::Upstream, 0)));
    client.order(Order::send("out", Kind::ForceKeyUnit));
    client.order(Order::send("out", Kind::Qos(86_400_000_000_000)));
    let sent = client.order(Order::send(
        "out",
        Custom::new(Way::Navigation, 0).name("application/x-gst-navigation"),
    ));
    assert_eq!(sent.text("taken"), "true");
    client.order(Order::send("out", Seek::to(7_000_000_000)));
    until_event(&mut producer, "sink.sink", "seek", 1);
    for (kind, count) in [("navigation", 1), ("qos", 1), ("custom-upstream", 0)] {
        let of_kind = |line: &&Line| line.get("type") == Some(kind);
        assert_eq!(
            producer.log().iter().filter(of_kind).count(),
            count,
            "{kind}"
        );
    }
}

#[test]
fn the_clients_latency_includes_the_producers() {
    let place = Place::new();
    let live =
        "videotestsrc is-live=true ! video/x-raw,format=GRAY8,width=64,height=48,framerate=10/1";
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    let mut producer = Pipeline::play(
        &place,
        &["report sink.sink"],
        &format!("{live} ! xmemsink name=sink channel=cam0"),
    );
    // A frame of the camera lasts 100 ms.
    let mut of_producer = 0;
    until("the producer knows its latency", || {
        of_producer = producer.order(Order::Latency(None)).number("min");
        of_producer >= 100_000_000
    });
    client.until_buffers("out.sink", 1);
    until("the client knows", || {
        client
            .order(Order::Latency(Some("src".into())))
            .number("min")
            == of_producer
    });
    // The client posts its latency, and the pipeline asks all elements again.
    client.until("the latency is posted", |line| {
        line.word == "message" && line.text("type") == "latency"
    });
    // As in an uncut pipeline of three elements, each adds its own latency.
    let middle = "xmemsrc name=src channel=cam0 ! xmemsink name=sink channel=cam1";
    let mut middle = Pipeline::play(&place, &["report sink.sink"], middle);
    let last = "xmemsrc name=src channel=cam1 ! fakesink name=out";
    let mut last = Pipeline::play(&place, &["report out.sink"], last);
    last.until_buffers("out.sink", 3);
    until("the last client knows", || {
        last.order(Order::Latency(Some("src".into()))).number("min") >= of_producer
    });
    middle.end();
}

#[test]
fn events_after_a_flush_are_not_lost_with_it() {
    let place = Place::new();
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    let mut producer = Pipeline::play(&place, &["report sink.sink"], PRODUCER);
    producer.until_clients("sink", 1);
    producer.order(Push::bytes(100));
    client.until_buffers("out.sink", 1);
    for round in 1..=200 {
        let mark = client.mark();
        // Sent at once, so that the client receives the event before it has flushed.
        for event in [
            Event::from(Kind::FlushStart),
            Kind::FlushStop.into(),
            Segment::new(0, 0).into(),
            Event::custom(Way::Downstream, round),
        ] {
            producer.send(Order::send("src", event));
        }
        producer.order(Push::bytes(100));
        let number = format!("number=(guint64){round}");
        client.until_since(mark, "the event passes", |line| {
            line.get("text").is_some_and(|text| text.contains(&number))
        });
    }
}
