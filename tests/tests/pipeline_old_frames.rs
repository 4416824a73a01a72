//! Clients of producers whose newest frames are old: idle for long, waiting, or behind their own
//! clock.

use std::collections::HashSet;

use xmem_tests::pipeline::{CLIENT, Order, Pipeline, Push, running_time};
use xmem_tests::{Line, Place, until};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
const LIVE: &str = "appsrc name=src is-live=true format=time";

fn coded() -> Push {
    Push::of("video/x-h264,framerate=50/1").size(100)
}

fn now() -> u64 {
    xmem_core::monotonic_time().as_nanos() as u64
}

/// A producer whose buffers a test pushes, and whose clock has jumped ahead.
struct Old {
    producer: Pipeline,
    /// The time of its running time 0 on the monotonic clock, less what the clock has jumped ahead.
    zero: i128,
    place: Place,
}

impl Old {
    fn new(source: &str, sink: &str) -> Old {
        let place = Place::new();
        let description = format!("{source} ! xmemsink name=sink channel=cam0 sync=false {sink}");
        let producer = Pipeline::play(&place, &["report sink.sink"], &description);
        Old {
            producer,
            zero: 0,
            place,
        }
    }

    /// Makes everything that began at its running time 0 older by `by`.
    fn age(&mut self, by: u64) {
        let base_time = self.producer.order(Order::BaseTime).number("ns");
        self.zero = i128::from(base_time) - i128::from(by);
        self.producer.order(Order::Calibrate { ppm: 0, ahead: by });
    }

    /// Pushes `frames` frames of 20 ms, all of which need the first one.
    fn push_group(&mut self, frames: u64) {
        for number in 0..frames {
            let frame = coded().duration(20 * MS).pts(20 * MS * number);
            self.producer
                .push(if number == 0 { frame } else { frame.delta() });
        }
        self.producer
            .until_stats("sink", "the group is published", |stats| {
                stats.number("published") == frames
            });
    }

    /// Pushes a frame that is due when the client has played for `after`. Returns the frame as it
    /// arrives.
    fn push_live(&mut self, client: &mut Pipeline, after: u64) -> Line {
        let base_time = client.order(Order::BaseTime).number("ns");
        let count = client.buffers("out.sink").len();
        let pts = i128::from(base_time + after) - self.zero;
        let pts = u64::try_from(pts).expect("the frame is after the start of the producer");
        self.producer
            .push(coded().pts(pts).duration(20 * MS).delta());
        client.until_buffers("out.sink", count + 1);
        client.buffers("out.sink")[count].clone()
    }

    fn client(&self) -> Pipeline {
        Pipeline::play(&self.place, &["report out.sink"], CLIENT)
    }
}

/// The clocks are compared, so times differ by some microseconds.
fn is_near(buffer: &Line, time: u64) {
    let off = running_time(buffer).abs_diff(i128::from(time));
    assert!(off < u128::from(5 * MS), "{off} off: {buffer}");
}

fn rise(buffers: &[&Line]) {
    for pair in buffers.windows(2) {
        let [one, next] = [pair[0], pair[1]].map(running_time);
        assert!(one < next, "{pair:#?}");
    }
}

fn is_decode_only(buffer: &Line) -> bool {
    buffer.text("flags").contains("DECODE_ONLY")
}

#[test]
fn an_old_group_of_an_idle_producer_delays_nothing() {
    for age in [60, 600] {
        let mut old = Old::new(LIVE, "");
        old.age(age * SECOND);
        old.push_group(50);
        let mut client = old.client();
        client.until_buffers("out.sink", 50);
        let group = client.buffers("out.sink");
        rise(&group);
        let last = group[49];
        assert!(
            (0..=100 * i128::from(MS)).contains(&running_time(last)),
            "{last}"
        );
        let shown = group.iter().filter(|buffer| !is_decode_only(buffer));
        assert_eq!(shown.count(), 1);
        assert!(!is_decode_only(last));
        for after in [130 * MS, 500 * MS] {
            is_near(&old.push_live(&mut client, after), after);
        }
    }
}

/// Other clients were connected before: the producer does not wait for this one.
#[test]
fn a_client_that_joins_later_shows_a_live_stream_when_others_do() {
    for (frames, sink) in [
        (50, "wait-for-connection=true"),
        (1, "wait-for-connection=true"),
        (50, "overflow=block block-timeout=3600000000000"),
    ] {
        let mut old = Old::new(LIVE, sink);
        let mut first = old.client();
        old.producer.until_clients("sink", 1);
        old.age(60 * SECOND);
        old.push_group(frames);
        first.until_buffers("out.sink", frames as usize);
        let mut later = old.client();
        later.until_buffers("out.sink", frames as usize);
        assert!(running_time(later.buffers("out.sink")[0]) <= i128::from(MS));
        for after in [300 * MS, 500 * MS] {
            is_near(&old.push_live(&mut later, after), after);
        }
        let received = later.buffers("out.sink");
        rise(&received);
        assert!(!received.iter().any(|buffer| is_decode_only(buffer)));
    }
}

#[test]
fn frames_of_a_producer_behind_its_own_clock_are_shown_as_they_arrive() {
    let sound = Push::of("audio/x-raw,format=U8,layout=interleaved,rate=8000,channels=1");
    let sound = sound.size(80).duration(10 * MS);
    let picture = Push::of("video/x-raw,format=GRAY8,width=8,height=8,framerate=100/1");
    for kind in [coded(), sound, picture] {
        // Not live: a file that is decoded and filtered too slowly.
        let mut old = Old::new("appsrc name=src format=time", "");
        old.producer.push(kind.clone().pts(0));
        old.producer.settled();
        old.age(0);
        let start = old.zero;
        old.age(400 * SECOND);
        let mut number: u64 = 1;
        let mut push = |old: &mut Old| {
            let pts = u64::try_from(i128::from(now()) - start).expect("it plays");
            number += 1;
            old.producer
                .push(kind.clone().pts(pts).seed(number).delta());
        };
        let mut client = old.client();
        old.producer.until_clients("sink", 1);
        let base_time = i128::from(client.order(Order::BaseTime).number("ns"));
        let is_late = |buffer: &&&Line| {
            // Shown once the stream is known to be behind, and not at the start of the client.
            !is_decode_only(buffer) && running_time(buffer) > i128::from(500 * MS)
        };
        until("frames are shown as they arrive", || {
            push(&mut old);
            client.stats("src");
            client.buffers("out.sink").iter().filter(is_late).count() >= 20
        });
        let received = client.buffers("out.sink");
        rise(&received);
        let first = received.iter().position(|buffer| is_late(&buffer));
        let shown = &received[first.expect("20 frames arrive")..];
        assert!(shown.iter().all(|buffer| is_late(&buffer)), "{shown:#?}");
        // Each has its distance from the one before it.
        for pair in shown.windows(2) {
            let apart = running_time(pair[1]) - running_time(pair[0]);
            let pushed = i128::from(pair[1].number("pts")) - i128::from(pair[0].number("pts"));
            assert!(apart.abs_diff(pushed) < u128::from(MS), "{pair:#?}");
        }
        // None of them is missing.
        let digests: Vec<_> = old.producer.digests("sink.sink");
        let from = digests
            .iter()
            .position(|one| *one == shown[0].text("digest"));
        let sent = &digests[from.expect("the frame was sent")..][..shown.len().min(15)];
        let got: HashSet<_> = shown.iter().map(|buffer| buffer.text("digest")).collect();
        assert!(sent.iter().all(|one| got.contains(one)), "{sent:?} {got:?}");
        assert!(running_time(shown[0]) < i128::from(now()) - base_time);
    }
}
