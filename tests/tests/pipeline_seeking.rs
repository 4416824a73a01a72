//! A producer in PAUSED, and seeks: clients show what an uncut pipeline shows, and get its answers
//! to queries.

use gst::SeekFlags;
use xmem_tests::pipeline::{
    BLOCKING, CLIENT, Format, Order, PICTURES, PROMPT, Pipeline, Push, Seek, State,
};
use xmem_tests::{Line, Place, until};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
const CLOCKED: &str = "xmemsrc name=src channel=cam0 ! fakesink name=out sync=true";
/// Ten seconds of pictures, all different, and the elements after them.
const MOVING: &str = "videotestsrc name=v pattern=ball num-buffers=250 \
                      ! video/x-raw,format=I420,width=64,height=48,framerate=25/1";

/// An uncut pipeline in PAUSED, from the elements `source` to a sink `out`.
fn uncut(place: &Place, source: &str) -> Pipeline {
    let description = format!("{source} ! queue name=q ! fakesink name=out sync=true");
    let mut uncut = Pipeline::start(place, &["report out.sink"], &description);
    uncut.settle(State::Paused);
    uncut.until_buffers("out.sink", 1);
    uncut
}

/// The same elements in PAUSED, before an xmemsink with these settings.
fn paused(place: &Place, source: &str, settings: &str) -> Pipeline {
    let description = format!("{source} ! xmemsink name=sink channel=cam0 {settings}");
    let mut producer = Pipeline::start(place, &["report sink.sink"], &description);
    producer.settle(State::Paused);
    producer
}

/// Seeks, and waits until the pipeline has prerolled.
fn seek(pipeline: &mut Pipeline, seek: Seek) {
    assert_eq!(pipeline.order(seek).text("done"), "true", "{seek:?}");
    let settled = pipeline.settled();
    assert_eq!(settled.text("result"), "Success", "{seek:?}: {settled}");
}

/// The next buffer that passes a pad.
fn next(at: &mut Pipeline, mark: usize, pad: &str) -> Line {
    at.until_since(mark, &format!("a buffer passes {pad}"), |line| {
        line.word == "buffer" && line.get("at") == Some(pad)
    })
}

fn last<'a>(at: &'a Pipeline, pad: &str) -> &'a Line {
    let buffers = at.buffers(pad);
    buffers.last().expect("a buffer")
}

/// Waits until a client's sink has shown the last buffer that passed its pad. A sink counts from
/// the last segment event before that buffer.
fn until_shown(client: &mut Pipeline) {
    client.until_stats("out", "the frame is shown", |stats| {
        stats.number("rendered") >= 1
    });
}

/// Waits until a client answers this duration.
fn until_duration(client: &mut Pipeline, duration: &str) {
    until("the duration is answered", || {
        client
            .order(Order::duration("out", Format::Time))
            .text("value")
            == duration
    });
}

/// A file of pictures, of which every 25th is a key frame.
fn file(place: &Place, muxer: &str, bframes: u32) -> String {
    let path = place.path().join(muxer);
    let description = format!(
        "{MOVING} ! x264enc key-int-max=25 bframes={bframes} ! {muxer} ! filesink location={}",
        path.display()
    );
    let mut writer = Pipeline::play(place, &[], &description);
    writer.until_eos();
    writer.end();
    format!("filesrc location={}", path.display())
}

/// Checks that a client in PLAYING shows each frame that an uncut pipeline in PAUSED shows, at
/// once, and no other frame.
fn shows_what_is_uncut(place: &Place, source: &str, seeks: &[Seek]) {
    let mut uncut = uncut(place, source);
    let mut client = Pipeline::play(place, &["report out.sink"], CLOCKED);
    let mut producer = paused(place, source, "");
    producer.until_clients("sink", 1);
    client.until_buffers("out.sink", 1);
    // At first, and after each seek.
    let seeks = std::iter::once(None).chain(seeks.iter().copied().map(Some));
    let mut shown_frames = 0;
    for to in seeks {
        if let Some(to) = to {
            let mark = client.mark();
            seek(&mut uncut, to);
            seek(&mut producer, to);
            next(&mut client, mark, "out.sink");
        }
        shown_frames += 1;
        uncut.until_buffers("out.sink", shown_frames);
        let (expected, shown) = (last(&uncut, "out.sink"), last(&client, "out.sink"));
        for key in ["digest", "pts", "dts", "duration"] {
            assert_eq!(shown.text(key), expected.text(key), "{key} after {to:?}");
        }
        // It is due when it arrives, and not when the producer plays.
        let [due, now] = ["due-monotonic", "now"].map(|key| shown.number(key));
        assert!(due.abs_diff(now) < PROMPT.as_nanos() as u64, "{shown}");
        until_shown(&mut client);
        let duration = uncut
            .order(Order::duration("out", Format::Time))
            .text("value")
            .to_owned();
        until_duration(&mut client, &duration);
    }
    assert_eq!(client.buffers("out.sink").len(), shown_frames);
    assert_eq!(client.messages(), [""; 0]);
    assert_eq!(producer.messages(), [""; 0]);
}

#[test]
fn clients_see_the_frame_that_a_paused_producer_seeks_to() {
    let place = Place::new();
    shows_what_is_uncut(
        &place,
        MOVING,
        &[
            Seek::to(3 * SECOND),
            Seek::to(SECOND),
            Seek::to(9960 * MS),
            Seek::to(2 * SECOND).stop(4 * SECOND).rate(-1.0),
            Seek::to(2 * SECOND).rate(2.0),
            Seek::to(0),
        ],
    );
}

#[test]
fn clients_see_the_frame_of_a_file_that_a_paused_producer_seeks_to() {
    let place = Place::new();
    for (muxer, demuxer) in [("mp4mux", "qtdemux"), ("matroskamux", "matroskademux")] {
        let source = format!(
            "{} ! {demuxer} ! h264parse ! avdec_h264",
            file(&place, muxer, 2)
        );
        shows_what_is_uncut(
            &place,
            &source,
            &[
                Seek::to(3333 * MS).with(SeekFlags::ACCURATE),
                Seek::to(7777 * MS).with(SeekFlags::KEY_UNIT),
                Seek::to(1200 * MS).with(SeekFlags::ACCURATE),
            ],
        );
    }
}

#[test]
fn coded_frames_are_shown_where_a_seek_leads() {
    let place = Place::new();
    let source = format!("{} ! qtdemux ! h264parse", file(&place, "mp4mux", 0));
    let seeks = [Seek::to(3333 * MS).with(SeekFlags::KEY_UNIT), Seek::to(0)];
    shows_what_is_uncut(&place, &source, &seeks);
}

#[test]
fn what_was_shown_in_pause_is_sent_once() {
    for settings in [
        // At the pace of the frames, so that no client misses one.
        "sync=true",
        BLOCKING,
        &format!("{BLOCKING} wait-for-connection=true"),
    ] {
        for source in [MOVING, &format!("{MOVING} ! identity drop-allocation=true")] {
            let place = Place::new();
            let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
            let mut producer = paused(&place, source, settings);
            client.until_buffers("out.sink", 1);
            for at in [5, 9] {
                let mark = client.mark();
                let order = Seek::to(at * SECOND).stop((at + 1) * SECOND);
                seek(&mut producer, order);
                next(&mut client, mark, "out.sink");
            }
            let from = [
                client.buffers("out.sink").len() - 1,
                producer.buffers("sink.sink").len() - 1,
            ];
            // In and out of PAUSED, too.
            producer.change(State::Playing);
            producer.change(State::Paused);
            producer.change(State::Playing);
            producer.until_eos();
            client.until_eos();
            let [received, sent] =
                [(&client, "out.sink"), (&producer, "sink.sink")].map(|(at, pad)| at.digests(pad));
            assert_eq!(received[from[0]..], sent[from[1]..], "{settings}, {source}");
            assert_eq!(sent[from[1]..].len(), 25);
        }
    }
}

#[test]
fn a_pause_shows_the_next_frame_at_once() {
    let place = Place::new();
    // It would be shown in two seconds.
    let source = "videotestsrc name=v pattern=ball num-buffers=5 \
                  ! video/x-raw,format=I420,width=64,height=48,framerate=1/2";
    let mut client = Pipeline::play(&place, &["report out.sink"], CLOCKED);
    let mut producer = paused(&place, source, "");
    producer.until_clients("sink", 1);
    client.until_buffers("out.sink", 1);
    producer.settle(State::Playing);
    producer.settle(State::Paused);
    client.until_buffers("out.sink", 2);
    until_shown(&mut client);
    producer.change(State::Playing);
    client.until_buffers("out.sink", 4);
    producer.until_buffers("sink.sink", 4);
    let sent = producer.digests("sink.sink");
    assert_eq!(client.digests("out.sink"), sent[..4]);
    let buffers = client.buffers("out.sink");
    let pts: Vec<_> = buffers.iter().map(|buffer| buffer.number("pts")).collect();
    assert_eq!(pts[..4], [0, 2, 4, 6].map(|seconds| seconds * SECOND));
}

#[test]
fn clients_see_each_step_in_pause() {
    let place = Place::new();
    let mut uncut = uncut(&place, MOVING);
    let mut client = Pipeline::play(&place, &["report out.sink"], CLOCKED);
    let mut producer = paused(&place, MOVING, "");
    client.until_buffers("out.sink", 1);
    for count in [1, 3, 10] {
        let mark = client.mark();
        uncut.order(Order::step("out", count));
        assert_eq!(uncut.settled().text("result"), "Success");
        producer.order(Order::step("sink", count));
        assert_eq!(producer.settled().text("result"), "Success");
        let shown = next(&mut client, mark, "out.sink");
        let expected = last(&uncut, "out.sink");
        assert_eq!(shown.text("digest"), expected.text("digest"));
        assert_eq!(shown.text("pts"), expected.text("pts"));
    }
    // No frame is sent twice.
    producer.change(State::Playing);
    client.until_buffers("out.sink", 10);
    let pts: Vec<_> = client
        .buffers("out.sink")
        .iter()
        .map(|buffer| buffer.number("pts"))
        .collect();
    assert!(pts.is_sorted_by(|one, next| one < next), "{pts:?}");
}

#[test]
fn clients_that_join_a_paused_producer_see_its_frame() {
    let place = Place::new();
    let mut producer = paused(&place, MOVING, "");
    for at in [0, 4, 8] {
        seek(&mut producer, Seek::to(at * SECOND));
        let newest = last(&producer, "sink.sink").clone();
        let mut clients = [CLOCKED, CLIENT]
            .map(|description| Pipeline::play(&place, &["report out.sink"], description));
        for client in &mut clients {
            let shown = next(client, 0, "out.sink");
            assert_eq!(shown.text("digest"), newest.text("digest"));
            assert_eq!(shown.number("pts"), at * SECOND);
            until_shown(client);
            until_duration(client, "10000000000");
            client.end();
        }
    }
}

#[test]
fn a_producer_that_waits_for_a_client_shows_it_what_it_has_prerolled() {
    let place = Place::new();
    let settings = format!("{BLOCKING} wait-for-connection=true");
    let mut producer = paused(&place, MOVING, &settings);
    assert_eq!(producer.stats("sink").number("published"), 0);
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    client.until_buffers("out.sink", 1);
    assert_eq!(client.digests("out.sink"), producer.digests("sink.sink"));
    producer.change(State::Playing);
    producer.until_eos();
    client.until_eos();
    assert_eq!(client.digests("out.sink"), producer.digests("sink.sink"));
}

#[test]
fn a_seek_in_pause_does_not_wait_for_a_stopped_client() {
    for source in [MOVING, &format!("{MOVING} ! identity drop-allocation=true")] {
        let place = Place::new();
        let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
        let mut producer = paused(&place, source, BLOCKING);
        client.until_buffers("out.sink", 1);
        client.stop();
        for at in 1..9 {
            seek(&mut producer, Seek::to(at * SECOND));
        }
        client.resume();
        client.until("the last frame is shown", |line| {
            line.word == "buffer" && line.number("pts") == 8 * SECOND
        });
        producer.change_promptly(State::Null);
    }
}

/// Whatever the order in which a producer is told to play and to pause: in PAUSED its frame is
/// shown.
#[test]
fn a_producer_that_is_paused_before_it_plays_shows_its_frame() {
    use State::{Paused, Playing};
    for path in [
        vec![Playing, Paused],
        vec![Paused, Playing, Paused],
        vec![Playing, Paused, Playing, Paused],
    ] {
        let place = Place::new();
        let source = format!("{PICTURES},framerate=1/1");
        let mut producer = Pipeline::start(
            &place,
            &["report sink.sink"],
            &format!("{source} ! xmemsink name=sink channel=cam0"),
        );
        let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
        for _ in 0..10 {
            producer.change(State::Ready);
            let mark = client.mark();
            producer.order(Order::walk(std::slice::from_ref(&path)));
            next(&mut client, mark, "out.sink");
        }
    }
}

#[test]
fn what_was_shown_in_pause_does_not_come_back_with_the_next_run() {
    let place = Place::new();
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    let mut producer = Pipeline::start(
        &place,
        &["report sink.sink"],
        &format!("{MOVING} ! xmemsink name=sink channel=cam0"),
    );
    for round in 1..10 {
        producer.change(State::Ready);
        producer.settle(State::Paused);
        client.until_buffers("out.sink", round);
    }
    producer.change(State::Ready);
    assert_eq!(producer.stats("sink").number("published"), 9);
    assert_eq!(client.buffers("out.sink").len(), 9);
}

/// A producer that accepts seeks, and a client of it that plays.
fn taking_seeks(place: &Place, source: &str, state: State) -> (Pipeline, Pipeline) {
    let mut client = Pipeline::play(place, &["report out.sink"], CLOCKED);
    let mut producer = paused(place, source, "upstream-events=seek");
    client.until_buffers("out.sink", 1);
    producer.settle(state);
    (producer, client)
}

#[test]
fn a_clients_seek_reaches_the_producer_if_that_allows_it() {
    let place = Place::new();
    let path = file(&place, "matroskamux", 2);
    let source = format!("{path} ! matroskademux ! h264parse ! avdec_h264");
    for state in [State::Paused, State::Playing] {
        let peers = taking_seeks(&place, &source, state);
        seek_in_all_ways(peers);
    }
}

fn seek_in_all_ways((mut producer, mut client): (Pipeline, Pipeline)) {
    for (order, sought, rate, pts) in [
        (
            Seek::to(5 * SECOND).with(SeekFlags::ACCURATE),
            "start=5000000000",
            "1",
            5 * SECOND,
        ),
        (
            Seek::to(2500 * MS).with(SeekFlags::KEY_UNIT),
            "start=2500000000",
            "1",
            2 * SECOND,
        ),
        (
            Seek::to(6 * SECOND).rate(2.0).with(SeekFlags::ACCURATE),
            "start=6000000000",
            "2",
            6 * SECOND,
        ),
        (
            Seek::before_end(2 * SECOND).with(SeekFlags::ACCURATE),
            "start=-2000000000",
            "1",
            8 * SECOND,
        ),
    ] {
        let marks = [client.mark(), producer.mark()];
        assert_eq!(client.order(order).text("done"), "true");
        let sent = client.until_since(marks[0], "the event is sent", |line| {
            line.get("type") == Some("seek")
        });
        let taken = producer.until_since(marks[1], "it crosses", |line| {
            line.get("type") == Some("seek")
        });
        for key in ["rate", "flags", "start", "stop", "text"] {
            assert_eq!(taken.text(key), sent.text(key), "{key} of {order:?}");
        }
        assert!(taken.to_string().contains(sought), "{taken}");
        let segment = client.until_since(marks[0], "its segment arrives", |line| {
            line.get("type") == Some("segment") && line.number("seqnum") == sent.number("seqnum")
        });
        assert_eq!(segment.text("rate"), rate);
        let shown = client.until_since(marks[0], "its frame arrives", |line| {
            line.word == "buffer" && line.number("pts") >= pts.saturating_sub(SECOND / 10)
        });
        assert!(
            shown.number("pts").abs_diff(pts) < SECOND / 10,
            "{order:?}: {shown}"
        );
    }
    let seeking = client.order(Order::seeking("out", Format::Time));
    assert_eq!(seeking.text("seekable"), "true", "{seeking}");
    client.end();
    producer.end();
}

#[test]
fn a_client_plays_backwards_where_the_producer_does() {
    let place = Place::new();
    let (_producer, mut client) = taking_seeks(&place, MOVING, State::Playing);
    let mark = client.mark();
    let order = Seek::to(SECOND).stop(1400 * MS).rate(-1.0);
    assert_eq!(client.order(order).text("done"), "true");
    client.until_since(mark, "the stream has reached the start", |line| {
        line.word == "buffer" && line.number("pts") == SECOND
    });
    let log = client.log()[mark..].iter();
    let seen: Vec<_> = log
        .skip_while(|line| line.get("type") != Some("flush-stop"))
        .filter(|line| line.word == "buffer")
        .map(|line| line.number("pts"))
        .collect();
    assert!(seen.len() > 5, "{seen:?}");
    assert!(seen.is_sorted_by(|one, next| one > next), "{seen:?}");
}

#[test]
fn a_seek_that_no_producer_takes_fails() {
    let place = Place::new();
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    // There is no producer yet.
    for seek in [Seek::to(0).into(), Order::seek("src", Seek::to(0))] {
        assert_eq!(client.order(seek).text("done"), "false");
    }
    let mut producer = paused(&place, MOVING, "");
    client.until_buffers("out.sink", 1);
    let mark = client.mark();
    for seek in [
        Seek::to(0).into(),
        Order::seek("src", Seek::to(0)),
        Order::seek("out", Seek::to(0)),
    ] {
        assert_eq!(client.order(seek).text("done"), "false");
    }
    until("the seeking query is answered", || {
        client
            .order(Order::seeking("out", Format::Time))
            .text("start")
            == "0"
    });
    assert_eq!(
        client
            .order(Order::seeking("out", Format::Time))
            .text("seekable"),
        "false"
    );
    producer.order(Order::Post);
    let is_of_seek =
        |line: &Line| ["seek", "flush-start"].contains(&line.get("type").unwrap_or(""));
    assert!(!producer.log().iter().any(is_of_seek));
    assert!(
        !client.log()[mark..]
            .iter()
            .any(|line| line.get("type") == Some("flush-start"))
    );
    // A seek that cannot cross is refused where it is sent.
    producer.end();
    let _producer = paused(&place, MOVING, "upstream-events=seek");
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    client.until_buffers("out.sink", 1);
    assert_eq!(client.order(Seek::to(0).rate(5000.0)).text("done"), "false");
    assert_eq!(
        client.order(Seek::to(5_000_000_000 * SECOND)).text("done"),
        "false"
    );
}

#[test]
fn a_client_does_not_wait_for_a_producer_that_does_not_answer() {
    let place = Place::new();
    let (producer, mut client) = taking_seeks(&place, MOVING, State::Paused);
    producer.stop();
    for order in [
        Seek::to(SECOND).into(),
        Order::duration("out", Format::Time),
        Order::seeking("out", Format::Time),
        Order::Position("out".into()),
    ] {
        let answer = client.order(order);
        assert!(
            u128::from(answer.number("ms")) < PROMPT.as_millis(),
            "{answer}"
        );
    }
    use State::{Null, Paused, Playing, Ready};
    for state in [Paused, Playing, Ready, Playing, Null] {
        client.change_promptly(state);
    }
    producer.resume();
}

#[test]
fn positions_and_durations_are_those_of_an_uncut_pipeline() {
    let place = Place::new();
    let description = format!("{MOVING} ! fakesink name=out sync=false");
    let mut uncut = Pipeline::start(&place, &[], &description);
    uncut.settle(State::Paused);
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    let mut producer = paused(&place, MOVING, "upstream-events=seek");
    client.until_buffers("out.sink", 1);
    for at in [0, 3, 7] {
        let mark = client.mark();
        let order = Seek::to(at * SECOND);
        seek(&mut uncut, order);
        seek(&mut producer, order);
        next(&mut client, mark, "out.sink");
        for query in [
            Order::Position("out".into()),
            Order::duration("out", Format::Time),
            Order::duration("out", Format::Default),
            Order::duration("out", Format::Bytes),
            Order::duration("out", Format::Percent),
            Order::seeking("out", Format::Time),
            Order::seeking("out", Format::Default),
        ] {
            let told = |line: Line| {
                let keys = ["ns", "answered", "value", "seekable", "start", "end"];
                keys.map(|key| line.get(key).map(str::to_owned))
            };
            let expected = told(uncut.order(query.clone()));
            until(&format!("{query:?}"), || {
                told(client.order(query.clone())) == expected
            });
        }
    }
}

#[test]
fn a_changed_duration_is_answered_while_playing() {
    let place = Place::new();
    let mut client = Pipeline::play(&place, &["report out.sink"], CLIENT);
    let source = "appsrc name=src format=time";
    let settings = "sync=false";
    let description = format!("{source} ! xmemsink name=sink channel=cam0 {settings}");
    let mut producer = Pipeline::start(&place, &[], &description);
    producer.change(State::Playing);
    for (seconds, duration) in [(0, "7000000000"), (2, "9000000000")] {
        producer.order(Order::set("src", "duration", duration));
        let pts = seconds * SECOND;
        producer.order(Push::bytes(100).pts(pts));
        until_duration(&mut client, duration);
    }
}
