//! Events that share a sequence number in the producer's pipeline share one in the pipelines of its
//! clients. The numbers themselves belong to each pipeline.

use std::collections::HashMap;

use gst::SeekFlags;
use xmem_tests::pipeline::{Custom, Event, Kind, Order, Pipeline, Push, Seek, Segment, State, Way};
use xmem_tests::{Line, Place};

const CLIENT: &str = "xmemsrc name=src channel=cam0 ! fakesink name=out sync=false";
const APPLICATION: &str = "appsrc name=src format=time ! xmemsink name=sink channel=cam0 sync=false overflow=block \
     block-timeout=20000000000";
const PICTURES: &str = "videotestsrc name=v ! video/x-raw,format=GRAY8,width=64,height=48,framerate=100/1 \
     ! xmemsink name=sink channel=cam0 sync=false overflow=block block-timeout=20000000000";
/// Events that GStreamer makes in each pipeline, or that the elements of one pipeline send
/// upstream.
const OWN: [&str; 5] = ["latency", "qos", "reconfigure", "seek", "caps"];

/// What has passed a pad besides buffers, from the first event of kind `first` since `mark`, and
/// its sequence numbers, renumbered from 0 in their order. A segment that is sent again with
/// another running time counts once.
fn numbered(at: &Pipeline, mark: usize, pad: &str, first: &str) -> Vec<(String, usize)> {
    let mut numbers = HashMap::new();
    let mut events: Vec<(String, usize)> = Vec::new();
    for line in events_of(at, mark, pad, first) {
        let next = numbers.len();
        let number = *numbers.entry(line.number("seqnum")).or_insert(next);
        events.push((line.text("type").to_owned(), number));
    }
    events.dedup_by(|one, before| one.0 == "segment" && one == before);
    events
}

fn events_of<'a>(
    at: &'a Pipeline,
    mark: usize,
    pad: &str,
    first: &str,
) -> impl Iterator<Item = &'a Line> {
    let is_of_stream = move |line: &&Line| {
        let kind = line.get("type").unwrap_or_default();
        // The event continues to a sink, which does not receive it.
        let is_drain = line
            .get("text")
            .is_some_and(|text| text.contains("xmem-drain"));
        line.word == "event" && line.get("at") == Some(pad) && !OWN.contains(&kind) && !is_drain
    };
    let events = at.log()[mark..].iter().filter(is_of_stream);
    events.skip_while(move |line| line.get("type") != Some(first))
}

fn until_event(at: &mut Pipeline, mark: usize, pad: &str, kind: &str) -> Line {
    at.until_since(mark, &format!("{kind} passes {pad}"), |line| {
        line.get("at") == Some(pad) && line.get("type") == Some(kind)
    })
}

/// Checks that both pads had the same events with the same numbers, and that the last event is of
/// this kind. Returns them.
fn are_alike(producer: &mut Pipeline, client: &mut Pipeline, last: &str) -> Vec<(String, usize)> {
    until_event(producer, 0, "sink.sink", last);
    until_event(client, 0, "out.sink", last);
    let [sent, received] = [(&*producer, "sink.sink"), (&*client, "out.sink")]
        .map(|(at, pad)| numbered(at, 0, pad, "stream-start"));
    assert_eq!(received, sent);
    sent
}

/// Sends an event between two buffers, from the pad: the element itself would change some numbers.
fn send(producer: &mut Pipeline, event: impl Into<Event>) {
    let event = event.into();
    let sent = producer.order(Order::push_event("src", event.clone()));
    assert_eq!(sent.text("taken"), "true", "{event:?}");
}

fn push(producer: &mut Pipeline) {
    let count = producer.buffers("sink.sink").len();
    producer.order(Push::bytes(100));
    producer.until_buffers("sink.sink", count + 1);
}

fn connected(place: &Place, producer: &str) -> (Pipeline, Pipeline) {
    let client = Pipeline::play(place, &["report out.sink"], CLIENT);
    let mut producer = Pipeline::play(place, &["report sink.sink"], producer);
    producer.until_clients("sink", 1);
    (producer, client)
}

#[test]
fn events_with_one_sequence_number_have_one_at_a_client() {
    let place = Place::new();
    let (mut producer, mut client) = connected(&place, APPLICATION);
    push(&mut producer);
    for event in [
        Event::stream_start("another").seqnum("a"),
        Event::from(Segment::new(0, 0)).seqnum("a"),
        Event::from(Kind::Collection).seqnum("b"),
        Event::tag("One").seqnum("b"),
        Event::custom(Way::Downstream, 1).seqnum("a"),
        Event::custom(Way::Downstream, 2),
        Event::gap(1000, 5).seqnum("c"),
        Event::from(Custom::new(Way::Both, 3)).seqnum("c"),
        Event::custom(Way::Sticky, 4).seqnum("a"),
        Event::toc("edition").seqnum("b"),
        Event::protection("edef8ba9-79d6").seqnum("d"),
        Event::from(Kind::SegmentDone(5000)).seqnum("a"),
    ] {
        send(&mut producer, event);
        push(&mut producer);
    }
    // Many events that are not related.
    for round in 0..6 {
        for _ in 0..50 {
            send(&mut producer, Event::custom(Way::Downstream, 0));
        }
        push(&mut producer);
        client.until_buffers("out.sink", 14 + round);
    }
    send(&mut producer, Event::from(Kind::Eos).seqnum("a"));
    let said = are_alike(&mut producer, &mut client, "eos");
    // The numbers are those of the client, counted in its process.
    let number_of = |kind: &str| {
        said.iter()
            .find(|(of, _)| of == kind)
            .map(|(_, number)| *number)
    };
    assert_eq!(number_of("eos"), number_of("segment-done"));
    assert_ne!(number_of("eos"), number_of("tag"));
}

#[test]
fn a_flush_its_segment_and_the_end_share_the_number_of_their_seek() {
    let place = Place::new();
    let (mut producer, mut client) = connected(&place, PICTURES);
    client.until_buffers("out.sink", 1);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let marks = [producer.mark(), client.mark()];
        // The second seek flushes the first before that has ended.
        for stop in [3_600_000_000_000_u64, 100_000_000] {
            let mark = client.mark();
            let sought = producer.order(Seek::to(0).stop(stop));
            assert_eq!(sought.text("done"), "true");
            until_event(&mut client, mark, "out.sink", "segment");
        }
        until_event(&mut client, marks[1], "out.sink", "eos");
        until_event(&mut producer, marks[0], "sink.sink", "eos");
        let [sent, received] = [
            (&producer, marks[0], "sink.sink"),
            (&client, marks[1], "out.sink"),
        ]
        .map(|(at, mark, pad)| numbered(at, mark, pad, "flush-start"));
        assert_eq!(received, sent);
        let of_seek =
            |number| ["flush-start", "flush-stop", "segment"].map(|kind| (kind.to_owned(), number));
        let mut expected: Vec<_> = [of_seek(0), of_seek(1)].concat();
        expected.push(("eos".to_owned(), 1));
        assert_eq!(received, expected);
        // None of the numbers was used before.
        let numbers: Vec<_> = events_of(&client, marks[1], "out.sink", "flush-start")
            .map(|line| line.number("seqnum"))
            .collect();
        assert!(!numbers.iter().any(|number| seen.contains(number)));
        seen.extend(numbers);
    }
}

#[test]
fn the_end_of_a_segment_has_the_number_of_its_seek() {
    let place = Place::new();
    let (mut producer, mut client) = connected(&place, PICTURES);
    client.until_buffers("out.sink", 1);
    let mark = client.mark();
    let sought = producer.order(Seek::to(0).stop(100_000_000).with(SeekFlags::SEGMENT));
    assert_eq!(sought.text("done"), "true");
    until_event(&mut client, mark, "out.sink", "segment-done");
    let received = numbered(&client, mark, "out.sink", "flush-start");
    let expected = ["flush-start", "flush-stop", "segment", "segment-done"];
    assert_eq!(received, expected.map(|kind| (kind.to_owned(), 0)));
}

#[test]
fn a_client_that_joins_late_gets_the_same_sequence_numbers() {
    let place = Place::new();
    let mut producer = Pipeline::play(&place, &["report sink.sink"], APPLICATION);
    push(&mut producer);
    for event in [
        Event::stream_start("another").seqnum("a"),
        Event::from(Segment::new(0, 0)).seqnum("a"),
        Event::tag("One").seqnum("b"),
        Event::custom(Way::Sticky, 4).seqnum("a"),
    ] {
        send(&mut producer, event);
    }
    push(&mut producer);
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    client.until_buffers("out.sink", 1);
    send(&mut producer, Event::from(Kind::Eos).seqnum("a"));
    until_event(&mut client, 0, "out.sink", "eos");
    let expected = [
        ("stream-start", 0),
        ("segment", 0),
        ("tag", 1),
        ("custom-downstream-sticky", 0),
        ("eos", 0),
    ];
    let expected = expected.map(|(kind, number)| (kind.to_owned(), number));
    assert_eq!(numbered(&client, 0, "out.sink", "stream-start"), expected);
    // A client that joins when the stream has ended, too.
    let mut last = Pipeline::play(&place, &["report out.sink"], CLIENT);
    until_event(&mut last, 0, "out.sink", "eos");
    assert_eq!(numbered(&last, 0, "out.sink", "stream-start"), expected);
}

#[test]
fn an_eos_that_no_producer_has_sent_has_the_number_of_the_segment() {
    let place = Place::new();
    let client = CLIENT.replace("channel=cam0", "channel=cam0 on-disconnect=eos");
    for is_killed in [true, false] {
        let mut client = Pipeline::play(&place, &["report out.sink"], &client);
        let mut producer = Pipeline::play(&place, &["report sink.sink"], PICTURES);
        client.until_buffers("out.sink", 3);
        if is_killed {
            producer.kill();
        } else {
            producer.order(State::Null);
        }
        let end = until_event(&mut client, 0, "out.sink", "eos");
        let segment = until_event(&mut client, 0, "out.sink", "segment");
        let numbers = [&end, &segment].map(|event| event.number("seqnum"));
        assert_eq!(numbers[0], numbers[1], "killed: {is_killed}");
    }
}

#[test]
fn another_producer_has_other_numbers() {
    let place = Place::new();
    let client = CLIENT.replace("channel=cam0", "channel=cam0 on-disconnect=reconnect");
    let mut client = Pipeline::play(&place, &["report out.sink"], &client);
    let mut producer = Pipeline::play(&place, &["report sink.sink"], PICTURES);
    client.until_buffers("out.sink", 1);
    let before = client.mark();
    producer.kill();
    let next = PICTURES.replace("name=v", "name=v num-buffers=5") + " wait-for-connection=true";
    let mut next = Pipeline::play(&place, &["report sink.sink"], &next);
    until_event(&mut client, before, "out.sink", "eos");
    until_event(&mut next, 0, "sink.sink", "eos");
    let [sent, received] = [(&next, 0, "sink.sink"), (&client, before, "out.sink")]
        .map(|(at, mark, pad)| numbered(at, mark, pad, "stream-start"));
    assert_eq!(received, sent);
    let number = |line: &Line| line.get_number("seqnum");
    let [old, new] = [&client.log()[..before], &client.log()[before..]]
        .map(|log| log.iter().filter_map(number).collect::<Vec<_>>());
    assert!(!new.iter().any(|number| old.contains(number)));
}

#[test]
fn numbers_pass_through_a_process_between_two_others() {
    let place = Place::new();
    let last = CLIENT.replace("cam0", "cam1");
    let mut last = Pipeline::play(&place, &["report out.sink"], &last);
    let middle = "xmemsrc name=src channel=cam0 ! xmemsink name=sink channel=cam1 sync=false \
                  overflow=block block-timeout=20000000000";
    let mut middle = Pipeline::play(&place, &["report sink.sink"], middle);
    middle.until_clients("sink", 1);
    let mut producer = Pipeline::play(&place, &["report sink.sink"], PICTURES);
    producer.until_clients("sink", 1);
    last.until_buffers("out.sink", 1);
    let marks = [producer.mark(), last.mark()];
    assert_eq!(
        producer.order(Seek::to(0).stop(100_000_000)).text("done"),
        "true"
    );
    until_event(&mut producer, marks[0], "sink.sink", "eos");
    until_event(&mut last, marks[1], "out.sink", "eos");
    let [sent, received] = [
        (&producer, marks[0], "sink.sink"),
        (&last, marks[1], "out.sink"),
    ]
    .map(|(at, mark, pad)| numbered(at, mark, pad, "flush-start"));
    assert_eq!(received, sent);
    middle.end();
}

#[test]
fn a_clients_own_seek_comes_back_with_its_number() {
    let place = Place::new();
    let mut others = Pipeline::play(&place, &["report out.sink"], CLIENT);
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    let producer = PICTURES.replace("name=sink", "name=sink upstream-events=seek");
    let mut producer = Pipeline::play(&place, &["report sink.sink"], &producer);
    producer.until_clients("sink", 2);
    for at in [&mut others, &mut client] {
        at.until_buffers("out.sink", 1);
    }
    let marks = [&others, &client, &producer].map(Pipeline::mark);
    let sent = client.order(Order::send("out", Seek::to(7_000_000_000)));
    assert_eq!(sent.text("taken"), "true");
    // The seek of the producer is, on its way upstream, an event of the producer.
    for (at, mark, pad, first) in [
        (&mut client, marks[1], "out.sink", "seek"),
        (&mut others, marks[0], "out.sink", "flush-start"),
        (&mut producer, marks[2], "sink.sink", "seek"),
    ] {
        let mut numbers = Vec::new();
        at.until_since(
            mark,
            &format!("the segment of the seek passes {pad}"),
            |line| {
                let kind = line.get("type").unwrap_or_default();
                let is_of_seek = ["seek", "flush-start", "flush-stop", "segment"].contains(&kind);
                let is_next = !numbers.is_empty() || kind == first;
                if line.get("at") == Some(pad) && is_of_seek && is_next {
                    numbers.push(line.number("seqnum"));
                }
                !numbers.is_empty() && kind == "segment"
            },
        );
        assert!(numbers.len() >= 3, "{numbers:?} at {pad}");
        numbers.dedup();
        assert_eq!(numbers.len(), 1, "{numbers:?} at {pad}");
    }
}
