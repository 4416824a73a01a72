//! Clocks that drift, on either side: timestamps follow, and nothing else changes.
//!
//! Some seconds with the worst drift, or ten minutes with all kinds of drift with `make torture`.

use xmem_tests::pipeline::{Clock, Order, Pipeline, State};
use xmem_tests::sync::{CLIENT, PADS, PRODUCER, assert_in_sync, await_last, receive};
use xmem_tests::{Line, Place, is_torture, until};

/// How much faster the clocks of producer and client are than the clock of the machine, in
/// millionths.
type Drift = (i64, i64);

fn drifts() -> Vec<Drift> {
    let ppm: &[i64] = if is_torture() {
        &[30, 100, 1000]
    } else {
        &[1000]
    };
    let both = ppm.iter().flat_map(|ppm| [*ppm, -ppm]);
    both.flat_map(|ppm| [(ppm, 0), (0, ppm)]).collect()
}

fn seconds() -> u64 {
    if is_torture() { 600 } else { 8 }
}

/// A pipeline with a clock of its own.
fn start(place: &Place, watches: &[&str], description: &str, clock: Clock) -> Pipeline {
    let mut pipeline = Pipeline::start(place, watches, description);
    pipeline.order(clock);
    pipeline
}

/// A pipeline with a clock that differs from `CLOCK_MONOTONIC` by this drift.
fn play(place: &Place, watches: &[&str], description: &str, ppm: i64) -> Pipeline {
    let is_realtime = false;
    let mut pipeline = start(place, watches, description, Clock { is_realtime, ppm });
    pipeline.change(State::Playing);
    pipeline
}

/// The number of segment events that have arrived at a pad.
fn segments(pipeline: &Pipeline, at: &str) -> usize {
    let is_segment = |line: &&Line| {
        line.word == "event" && line.text("at") == at && line.text("type") == "segment"
    };
    pipeline.log().iter().filter(is_segment).count()
}

#[test]
fn a_clock_that_drifts_is_followed_without_an_event() {
    // All frames differ, so that single frames can be compared on both sides.
    let producer = PRODUCER.replace("audiotestsrc", "audiotestsrc wave=white-noise");
    let watches = ["sample video.sink", "sample audio.sink"];
    let mut pairs: Vec<_> = drifts()
        .into_iter()
        .map(|drift| {
            let place = Place::new();
            let client = play(&place, &watches, CLIENT, drift.1);
            let producer = play(&place, &watches, &producer, drift.0);
            (drift, producer, client, place)
        })
        .collect();
    let windows = (seconds() / 60).max(2);
    let mut since = vec![[0, 0]; pairs.len()];
    for window in 1..=windows {
        for ((drift, producer, client, _), since) in pairs.iter_mut().zip(&mut since) {
            let frames = 50 * seconds() * window / windows;
            for (pad, since) in PADS.iter().zip(*since) {
                until("more frames arrive", || {
                    client.watched(pad).number("count") >= frames
                });
                // The last window may have been read late.
                client.until_buffers(pad, since + 10);
                await_last(producer, client, pad);
            }
            let what = format!("{drift:?} ppm, {window} of {windows}");
            assert_in_sync(producer, client, *since, &what);
            *since = PADS.map(|pad| client.buffers(pad).len());
        }
    }
    for (drift, _, client, _) in &mut pairs {
        for pad in PADS {
            assert_eq!(segments(client, pad), 1, "{drift:?} ppm, {pad}");
        }
        assert_eq!(client.messages(), [""; 0], "{drift:?} ppm");
    }
}

/// The name of a codec, the codec, and the bytes of one of its frames when it is decoded.
const CODECS: [(&str, &str, u64); 3] = [
    ("aac", "avenc_aac ! avdec_aac", 1024 * 4 * 2),
    ("opus", "opusenc ! opusdec", 960 * 2 * 2),
    ("flac", "flacenc ! flacparse ! flacdec", 4608 * 2 * 2),
];

#[test]
fn sound_is_as_long_behind_encoders_as_without_a_drift() {
    let producer = format!(
        "audiotestsrc is-live=true samplesperbuffer=960 num-buffers={} \
         ! audio/x-raw,format=S16LE,rate=48000,channels=2 \
         ! xmemsink name=sink channel=sound overflow=block block-timeout=3600000000000",
        seconds() * 50
    );
    let branches = CODECS.map(|(name, codec, _)| {
        format!("t. ! queue ! audioconvert ! {codec} ! fakesink name={name} sync=false")
    });
    let client = format!(
        "xmemsrc channel=sound max-leases=64 ! tee name=t {} t. ! queue ! fakesink name=plain sync=false",
        branches.join(" ")
    );
    let watches = ["aac", "opus", "flac", "plain"].map(|name| format!("count {name}.sink"));
    let watches = watches.each_ref().map(String::as_str);
    let mut drifts = drifts();
    drifts.insert(0, (0, 0));
    let pairs = drifts.into_iter().map(|drift| {
        let place = Place::new();
        let realtime = |ppm| Clock {
            is_realtime: true,
            ppm,
        };
        let mut client = start(&place, &watches, &client, realtime(drift.1));
        client.change(State::Playing);
        let mut producer = start(&place, &[], &producer, realtime(drift.0));
        producer.change(State::Ready);
        producer.until_clients("sink", 1);
        producer.change(State::Playing);
        (drift, producer, client, place)
    });
    let mut undrifted = None;
    for (drift, mut producer, mut client, _place) in pairs.collect::<Vec<_>>() {
        let end =
            |line: &Line| line.word == "message" && ["eos", "error"].contains(&line.text("type"));
        for _ in 0..=seconds() / 60 {
            // Each wait is limited to two minutes.
            let before = client.watched("plain.sink").number("count");
            until("sound or EOS arrives", || {
                let count = client.watched("plain.sink").number("count");
                count >= before + 3000 || client.log().iter().any(end)
            });
        }
        client.until_eos();
        producer.until_eos();
        let mut size = |name: &str| {
            let watched = client.watched(&format!("{name}.sink"));
            watched.number("size")
        };
        assert_eq!(size("plain"), seconds() * 48000 * 4, "{drift:?} ppm");
        let sizes = CODECS.map(|(name, ..)| size(name));
        let expected = undrifted.get_or_insert(sizes);
        for ((size, expected), (name, _, frame)) in sizes.iter().zip(expected).zip(CODECS) {
            let difference = size.abs_diff(*expected);
            assert!(
                difference <= frame,
                "{name}: {size}, not {expected}; {drift:?} ppm"
            );
        }
        assert_eq!(segments(&client, "plain.sink"), 1, "{drift:?} ppm");
    }
}

/// The clock of the machine, unless an application calibrates it.
#[test]
fn a_clock_may_be_calibrated_while_it_plays() {
    const PAD: &str = "video.sink";
    let watches = ["report video.sink", "report audio.sink"];
    for is_theirs in [true, false] {
        let place = Place::new();
        let mut client = play(&place, &watches, CLIENT, 0);
        let mut producer = play(&place, &watches, PRODUCER, 0);
        let mut goes_on = |client: &mut Pipeline, calibration: Option<(i64, u64)>| {
            let pipeline: &mut Pipeline = if is_theirs { &mut producer } else { client };
            if let Some((ppm, ahead)) = calibration {
                pipeline.order(Order::Calibrate { ppm, ahead });
            }
            // Frames in flight, and frames that catch up.
            receive(&mut producer, client, 50);
            let since = receive(&mut producer, client, 20);
            let what = format!("{calibration:?}, the clock is theirs: {is_theirs}");
            assert_in_sync(&producer, client, since, &what);
            segments(client, PAD)
        };
        assert_eq!(goes_on(&mut client, None), 1);
        assert_eq!(goes_on(&mut client, Some((1000, 0))), 1);
        assert_eq!(goes_on(&mut client, Some((-1000, 0))), 1);
        // This jump is small, so timestamps catch up.
        assert_eq!(goes_on(&mut client, Some((0, 20_000_000))), 1);
        // This jump is large, so the timestamps jump.
        assert_eq!(goes_on(&mut client, Some((0, 200_000_000))), 1);
    }
}
