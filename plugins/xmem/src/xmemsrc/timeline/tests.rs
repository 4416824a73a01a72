use super::*;
use crate::timestamps::record_time;

/// No time.
const NONE: u64 = u64::MAX;

fn frame(stream_pts: u64, pts: u64) -> BufferMeta {
    let mut frame = BufferMeta::bytes(1);
    frame.set_stream_pts(record_time(stream_pts));
    frame.set_pts(record_time(pts));
    frame
}

fn segment(start: u64, rate: f64) -> gst::Segment {
    gst::init().unwrap();
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_rate(rate);
    segment.set_start(gst::ClockTime::from_nseconds(start));
    segment.set_time(gst::ClockTime::from_nseconds(start));
    if rate < 0.0 {
        segment.set_stop(gst::ClockTime::from_nseconds(start + 1_000_000_000));
    }
    segment.upcast()
}

/// A segment that ends.
fn finite(start: u64) -> gst::Segment {
    let mut segment = segment(start, 1.0);
    let times = segment.downcast_mut::<gst::ClockTime>().unwrap();
    times.set_stop(gst::ClockTime::from_seconds(1000));
    segment
}

/// The timeline of a live stream.
fn live(segment: gst::Segment) -> Timeline {
    let mut timeline = Timeline::new(segment, 0);
    timeline.set_live(true);
    timeline
}

/// Follows a frame. Returns whether the segment must be pushed before it, and pushes it.
fn changes(timeline: &mut Timeline, frame: &BufferMeta, offset: Option<MonotonicOffset>) -> bool {
    timeline.follow(frame, offset);
    let is_due = timeline.is_due();
    timeline.push();
    is_due
}

#[test]
fn a_frame_gets_the_running_time_at_which_it_is_due() {
    let offset = Some(MonotonicOffset::from_nseconds(1_000_000_000));
    for rate in [1.0, 2.0, -1.0] {
        for due in [1_700_000_000, 1_200_000_000, 900_000_000] {
            let mut timeline = Timeline::new(segment(5_000_000_000, rate), 0);
            timeline.follow(&frame(5_400_000_000, due), offset);
            let expected = due as i64 - 1_000_000_000;
            assert_eq!(
                running_time(timeline.segment(), 5_400_000_000),
                Some(expected),
                "{rate}"
            );
            // The stream time does not change.
            let ours = timeline.segment().downcast_ref::<gst::ClockTime>().unwrap();
            let time = gst::ClockTime::from_nseconds(5_400_000_000);
            assert_eq!(ours.to_stream_time(time), Some(time));
        }
    }
}

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

/// Follows a frame, and returns its running time in this pipeline.
fn shown(timeline: &mut Timeline, frame: &BufferMeta) -> i64 {
    timeline.follow(frame, Some(MonotonicOffset::from_nseconds(0)));
    let pts = timeline.place(frame).pts.unwrap();
    running_time(timeline.segment(), pts as u64).unwrap()
}

#[test]
fn frames_of_the_same_clock_keep_their_times() {
    let offset = Some(MonotonicOffset::from_nseconds(123));
    for rate in [1.0, 2.0, 0.3, -1.0, -0.7] {
        let mut timeline = Timeline::new(segment(SECOND, rate), 0);
        for number in 0..1000 {
            let stream = SECOND + number * 33_333;
            let theirs = running_time(&timeline.theirs, stream).unwrap();
            let frame = frame(stream, (theirs + 700_000_123) as u64);
            assert_eq!(
                changes(&mut timeline, &frame, offset),
                number == 0,
                "{rate}"
            );
            assert_eq!(timeline.place(&frame).pts, Some(stream as i64));
        }
    }
}

#[test]
fn a_clock_that_drifts_moves_the_frames_and_not_the_segment() {
    for rate in [1.0, 2.0, 0.5, -1.0, -2.0] {
        for ppm in [-1000, -100, -30, 30, 100, 1000] {
            let mut theirs = segment(SECOND, rate);
            if rate < 0.0 {
                let stop = gst::ClockTime::from_seconds(2000);
                theirs
                    .downcast_mut::<gst::ClockTime>()
                    .unwrap()
                    .set_stop(stop);
            }
            let mut timeline = Timeline::new(theirs, 0);
            let mut last = (i64::MIN, i64::MIN);
            for number in 0..600 * 50 {
                let running = number * 20 * MS;
                let played = (running as f64 * rate.abs()) as u64;
                let stream = if rate < 0.0 {
                    2000 * SECOND - played
                } else {
                    SECOND + played
                };
                let due = running as i64 + running as i64 / 1_000_000 * ppm + 5;
                let mut frame = frame(stream, due as u64);
                frame.set_duration(record_time(20 * MS));
                let offset = Some(MonotonicOffset::from_nseconds(0));
                let changed = changes(&mut timeline, &frame, offset);
                assert_eq!(
                    changed,
                    number == 0,
                    "{ppm} ppm, rate {rate}, frame {number}"
                );
                let place = timeline.place(&frame);
                let shown = running_time(timeline.segment(), place.pts.unwrap() as u64);
                let off = shown.unwrap() - due;
                assert!(
                    off.abs() < 200_000,
                    "{off} ns off at {ppm} ppm, rate {rate}"
                );
                assert!(shown.unwrap() > last.0, "{ppm} ppm, rate {rate}");
                last.0 = shown.unwrap();
            }
            let moved = timeline.shift() - 5;
            let drifted = 600_000_000_000 / 1_000_000 * ppm;
            assert!((moved - drifted).abs() < MS as i64, "{moved}, {drifted}");
        }
    }
}

#[test]
fn a_step_shifts_the_segment_and_frames_have_their_own_times_again() {
    let mut timeline = Timeline::new(finite(0), 1000);
    timeline.push();
    let offset = Some(MonotonicOffset::from_nseconds(0));
    assert!(!changes(&mut timeline, &frame(0, 1000), offset));
    // The drift becomes larger than a step.
    for number in 1..5000 {
        let frame = frame(number * 20 * MS, number * 20 * MS + number * 20_000);
        assert!(!changes(&mut timeline, &frame, offset));
    }
    assert!(timeline.shift() > 90 * MS as i64);
    // The producer has paused.
    let resumed = frame(100 * SECOND, 103 * SECOND);
    assert!(changes(&mut timeline, &resumed, offset));
    assert_eq!(timeline.shift(), 3 * SECOND as i64);
    assert_eq!(timeline.place(&resumed).pts, Some(100 * SECOND as i64));
    assert!(!changes(&mut timeline, &frame(NONE, NONE), offset));
    assert!(!changes(&mut timeline, &frame(0, 900 * SECOND), None));
}

#[test]
fn what_is_pushed_again_starts_with_no_adjustment() {
    let mut timeline = Timeline::new(segment(0, 1.0), 0);
    for number in 0..1000 {
        shown(
            &mut timeline,
            &frame(number * 20 * MS, number * 20 * MS + number * 20_000),
        );
    }
    let (before, pts) = (timeline.shift(), 20 * SECOND);
    assert_ne!(timeline.place(&frame(pts, 0)).pts, Some(pts as i64));
    timeline.restart();
    assert_eq!(timeline.shift(), before);
    assert_eq!(timeline.place(&frame(pts, 0)).pts, Some(pts as i64));
    // The frame has its exact place at once.
    assert_eq!(
        shown(&mut timeline, &frame(pts, pts + 7 * MS)),
        (pts + 7 * MS) as i64
    );
}

#[test]
fn what_was_only_a_guess_is_as_the_first_frame_wants_it() {
    let offset = Some(MonotonicOffset::from_nseconds(0));
    let mut timeline = Timeline::new(finite(0), 0);
    assert!(changes(&mut timeline, &frame(0, 300_000), None));
    assert!(changes(&mut timeline, &frame(0, 300_000), offset));
    assert_eq!(timeline.shift(), 300_000);
    let mut told = Timeline::new(finite(0), 0);
    told.push();
    told.settle();
    assert!(!changes(&mut told, &frame(0, 300_000), offset));
    // Until the received shift is no longer valid.
    told.open();
    assert!(changes(&mut told, &frame(0, 300_000), offset));
}

#[test]
fn times_for_decoding_and_for_showing_move_alike() {
    // Decoding order: I, P, B, B, P, B, B.
    let order = [0, 3, 1, 2, 6, 4, 5];
    for slope in [-45, 45] {
        let mut timeline = Timeline::new(segment(0, 1.0), 0);
        let (mut last_dts, mut shown) = (i64::MIN, Vec::new());
        for number in 0..700u64 {
            let pts = SECOND + (number / 7 * 7 + order[number as usize % 7]) * 20 * MS;
            let dts = SECOND + number * 20 * MS - 40 * MS;
            let drift = number as i64 * 20 * MS as i64 / 1000 * slope;
            let due = |time: u64| (time as i64 + 40 * SECOND as i64 + drift) as u64;
            let mut frame = frame(pts, due(pts));
            frame.set_stream_dts(record_time(dts));
            frame.set_dts(record_time(due(dts)));
            timeline.follow(&frame, Some(MonotonicOffset::from_nseconds(0)));
            let place = timeline.place(&frame);
            let by = place.pts.unwrap() - pts as i64;
            assert_eq!(place.dts.unwrap() - dts as i64, by);
            assert!(place.dts.unwrap() > last_dts);
            last_dts = place.dts.unwrap();
            shown.push((pts, place.pts.unwrap()));
        }
        assert_ne!(timeline.shift(), 40 * SECOND as i64);
        shown.sort_unstable();
        assert!(shown.windows(2).all(|pair| pair[0].1 < pair[1].1));
    }
}

/// A stream from 1 to 11 s that has drifted by this much at its end, in steps of 20 ms. Returns the
/// places of its frames, and how often the segment has changed since the first.
fn near_the_end(by: i64) -> (Vec<i64>, usize) {
    let mut theirs = segment(SECOND, 1.0);
    let stop = gst::ClockTime::from_seconds(11);
    theirs
        .downcast_mut::<gst::ClockTime>()
        .unwrap()
        .set_stop(stop);
    let mut timeline = Timeline::new(theirs, 0);
    let offset = Some(MonotonicOffset::from_nseconds(0));
    let (mut places, mut changed) = (Vec::new(), 0);
    for number in 0..500 {
        let stream = SECOND + number * 20 * MS;
        let mut frame = frame(
            stream,
            stream.saturating_add_signed(by * number as i64 / 500),
        );
        frame.set_duration(record_time(20 * MS));
        frame.set_stream_dts(record_time(stream));
        frame.set_dts(frame.pts());
        changed += usize::from(changes(&mut timeline, &frame, offset));
        let place = timeline.place(&frame);
        assert_eq!(place.pts, place.dts);
        places.push(place.pts.unwrap());
    }
    (places, changed - 1)
}

#[test]
fn what_is_inside_the_segment_stays_there() {
    let (start, last) = (SECOND as i64, 11 * SECOND as i64 - 20 * MS as i64);
    for by in [-300, -30, -1, 1, 30] {
        let (places, changes) = near_the_end(by * MS as i64);
        assert!(places.iter().all(|place| (start..=last).contains(place)));
        assert!(places.is_sorted());
        assert_eq!(changes, 0, "{by}");
    }
    // As long as the drift is not a step.
    let (places, changes) = near_the_end(300 * MS as i64);
    assert!(places.iter().all(|place| (start..=last).contains(place)));
    assert_eq!(changes, 1);
}

#[test]
fn gaps_move_with_the_frames() {
    let mut timeline = Timeline::new(finite(0), 0);
    let gap = |pts: u64| Place {
        pts: Some(pts as i64),
        dts: None,
        duration: Some(20 * MS as i64),
    };
    let changes = |timeline: &mut Timeline, gap, shift| {
        timeline.follow_gap(gap, shift);
        let is_due = timeline.is_due();
        timeline.push();
        is_due
    };
    assert!(changes(&mut timeline, gap(0), 5));
    for number in 1..5000 {
        let shift = 5 + number as i64 * 20_000;
        assert!(!changes(&mut timeline, gap(number * 20 * MS), shift));
    }
    let moved = timeline.moved(gap(100 * SECOND)).pts.unwrap() - 100 * SECOND as i64;
    assert!((moved - 100 * MS as i64).abs() < MS as i64, "{moved}");
    assert!(changes(&mut timeline, gap(100 * SECOND), SECOND as i64));
    assert_eq!(timeline.moved(gap(100 * SECOND)), gap(100 * SECOND));
}

#[test]
fn a_producer_without_a_segment_is_followed_too() {
    let mut timeline = Timeline::untold();
    timeline.push();
    assert_eq!(timeline.place(&frame(NONE, 5 * SECOND)), Place::default());
    for number in 0..5000u64 {
        let pts = 5 * SECOND + number * 20 * MS;
        let offset = 7 * SECOND as i64 - number as i64 * 20_000;
        let offset = MonotonicOffset::from_nseconds(offset);
        let frame = frame(NONE, pts);
        assert!(!changes(&mut timeline, &frame, Some(offset)));
        let off = timeline.place(&frame).pts.unwrap() - offset.to_running_time(pts);
        assert!(off.abs() < 100_000, "{off}");
    }
    // A step causes no event either.
    let offset = MonotonicOffset::from_nseconds(3 * SECOND as i64);
    let frame = frame(NONE, 200 * SECOND);
    assert!(!changes(&mut timeline, &frame, Some(offset)));
    assert_eq!(timeline.place(&frame).pts, Some(197 * SECOND as i64));
}

/// Returns the running time of the frame, which must not need another segment.
fn stays(timeline: &mut Timeline, stream: u64, due: u64) -> i64 {
    let (frame, offset) = (frame(stream, due), MonotonicOffset::from_nseconds(0));
    assert!(!changes(timeline, &frame, Some(offset)));
    let pts = timeline.place(&frame).pts.unwrap();
    running_time(timeline.segment(), pts as u64).unwrap()
}

#[test]
fn a_live_stream_goes_on_in_its_segment() {
    let seconds = |seconds: i64| seconds * SECOND as i64;
    // Streams of encoders start anywhere.
    let endless = |start: u64| {
        let mut segment = segment(start * SECOND, 1.0);
        let times = segment.downcast_mut::<gst::ClockTime>().unwrap();
        times.set_time(gst::ClockTime::ZERO);
        segment
    };
    let mut timeline = live(endless(100));
    // The producer is ahead, and the client has joined in the middle of the stream.
    assert!(changes(
        &mut timeline,
        &frame(107 * SECOND, 2 * SECOND),
        Some(MonotonicOffset::from_nseconds(0))
    ));
    assert_eq!(stays(&mut timeline, 108 * SECOND, 3 * SECOND), seconds(3));
    // A pause of the producer, and a pause of the client, after which the next frame sets the
    // shift.
    assert_eq!(stays(&mut timeline, 109 * SECOND, 9 * SECOND), seconds(9));
    timeline.open();
    assert_eq!(stays(&mut timeline, 110 * SECOND, 5 * SECOND), seconds(5));
    assert_eq!(timeline.segment(), &{
        let mut expected = endless(100);
        let times = expected.downcast_mut::<gst::ClockTime>().unwrap();
        times.set_offset(gst::ClockTime::from_seconds(5));
        expected
    });
    // Another producer, and a producer that sends no segment.
    let mut other = live(endless(900)).after(&timeline);
    assert_eq!(stays(&mut other, 900 * SECOND, 6 * SECOND), seconds(6));
    assert_eq!(stays(&mut other, 901 * SECOND, 7 * SECOND), seconds(7));
    let mut untold = Timeline::untold().after(&other);
    assert_eq!(stays(&mut untold, NONE, 8 * SECOND), seconds(8));
    // After a flush, the segment that is pushed is the producer's own.
    other.restart();
    assert!(other.is_due());
    assert_eq!(shown(&mut other, &frame(902 * SECOND, SECOND)), seconds(1));
    assert_eq!(other.place(&frame(902 * SECOND, 0)).pts, Some(seconds(902)));
}

#[test]
fn a_segment_is_left_for_one_of_another_kind() {
    let mut before = live(segment(0, 1.0));
    assert!(live(segment(0, 1.0)).after(&before).is_due());
    before.push();
    assert!(!live(segment(0, 1.0)).after(&before).is_due());
    let mut faster = segment(0, 1.0);
    faster
        .downcast_mut::<gst::ClockTime>()
        .unwrap()
        .set_applied_rate(2.0);
    let mut bytes = gst::Segment::new();
    bytes.set_format(gst::Format::Bytes);
    for other in [finite(0), segment(5, 1.0), segment(0, 2.0), faster, bytes] {
        let mut after = live(other).after(&before);
        assert!(after.is_due());
        after.push();
        assert!(live(segment(0, 1.0)).after(&after).is_due());
    }
    // In a stream that is not live, positions count.
    let mut other = Timeline::new(segment(0, 1.0), 0).after(&before);
    assert!(other.is_due());
    other.push();
    assert!(changes(
        &mut other,
        &frame(0, SECOND),
        Some(MonotonicOffset::from_nseconds(0))
    ));
    // The segment has no place before its start.
    let offset = Some(MonotonicOffset::from_nseconds(0));
    let mut timeline = live(segment(0, 1.0));
    assert!(changes(&mut timeline, &frame(0, 50 * SECOND), offset));
    assert!(changes(&mut timeline, &frame(SECOND, SECOND), offset));
}

#[test]
fn elements_can_add_the_times_that_they_get() {
    // Rounded down when it is converted to a double.
    let down = (1 << 60) + 100;
    let numbers = [0, 1, down, LAST_TIME - 1, LAST_TIME, u64::MAX >> 1];
    for (start, rate) in numbers[..4].iter().flat_map(|start| {
        let rates = [1.0, -1.0, 1024.0, -1024.0, 1.0 / 1024.0, -1.0 / 1024.0];
        rates.map(|rate| (*start, rate))
    }) {
        for shift in [i64::MIN + 1, -1, 0, 1, i64::MAX] {
            let mut timeline = Timeline::new(segment(start, rate), shift);
            let place = |timeline: &mut Timeline, stream| {
                let pts = timeline.place(&frame(stream, NONE)).pts?;
                Some(gst::ClockTime::from_nseconds(pts as u64))
            };
            let times = numbers.map(|stream| place(&mut timeline, stream));
            let ours = timeline.segment().downcast_ref::<gst::ClockTime>().unwrap();
            let known = |time: Option<gst::ClockTime>| time.map_or(0, gst::ClockTime::nseconds);
            assert!(known(ours.base()) <= LAST_TIME);
            if rate < 0.0 {
                let rounded = known(ours.stop()) as f64 as u64;
                assert!(known(ours.offset()) <= rounded, "{ours:?}");
            }
            for time in times.into_iter().flatten() {
                let running_time = ours.to_running_time_full(time).unwrap();
                assert!(running_time.abs().nseconds() <= 3 * LAST_TIME + 1024);
                let stream_time = ours.to_stream_time_full(time).unwrap();
                assert!(stream_time.abs().nseconds() <= 3 * LAST_TIME + 1024);
            }
        }
    }
}

#[test]
fn in_a_segment_that_is_too_far_from_its_running_times_nothing_has_a_time() {
    let last = gst::ClockTime::from_nseconds(LAST_TIME);
    let mut segment = segment(LAST_TIME, 0.25);
    let times = segment.downcast_mut::<gst::ClockTime>().unwrap();
    times.set_offset(last);
    let mut timeline = Timeline::new(segment, 0);
    let gap = Place {
        pts: Some(LAST_TIME as i64),
        dts: Some(0),
        duration: Some(1),
    };
    timeline.follow_gap(gap, i64::MAX);
    let moved = timeline.moved(gap);
    assert_eq!(
        (moved.pts, moved.dts, moved.duration),
        (None, None, Some(1))
    );
    let place = timeline.place(&frame(LAST_TIME, 0));
    assert_eq!((place.pts, place.dts), (None, None));
}

#[test]
fn a_time_of_this_world_stays() {
    const YEAR: u64 = 365 * 24 * 3600 * 1_000_000_000;
    // A stream whose timestamps are the time of day, and a stream that has run for years.
    for (start, stream) in [
        (0, 60 * YEAR),
        (56 * YEAR, 57 * YEAR),
        (0, 10 * YEAR),
        (5, 0),
    ] {
        for rate in [1.0, 64.0, 0.5] {
            let mut timeline = Timeline::new(segment(start, rate), 0);
            assert_eq!(
                timeline.place(&frame(stream, NONE)).pts,
                Some(stream as i64)
            );
        }
    }
    let none = Timeline::new(segment(0, 1.0), 0).place(&frame(NONE, NONE));
    assert_eq!(none, Place::default());
}

#[test]
fn no_numbers_make_it_panic() {
    let numbers = [0, 1, u64::MAX >> 3, u64::MAX >> 1, u64::MAX - 1, u64::MAX];
    for start in [0, u64::MAX >> 3] {
        for (stream, due) in numbers.iter().flat_map(|a| numbers.map(|b| (*a, b))) {
            for offset in [i64::MIN + 1, 0, i64::MAX] {
                for mut timeline in [
                    Timeline::new(segment(start, 1.0), offset),
                    Timeline::new(segment(start, -3.0), offset),
                    Timeline::untold(),
                ] {
                    let offset = Some(MonotonicOffset::from_nseconds(offset));
                    for due in [due, due.wrapping_add(30_000_000)] {
                        timeline.follow(&frame(stream, due), offset);
                        timeline.place(&frame(stream, due));
                    }
                    timeline.restart();
                }
            }
        }
    }
}

#[test]
fn a_producer_that_has_waited_is_followed_from_its_first_frame_on() {
    for rate in [1.0, 2.0, -0.3] {
        let theirs = if rate == 1.0 {
            finite(0)
        } else {
            segment(0, rate)
        };
        let mut timeline = Timeline::new(theirs, 0);
        let stream = |number: u64| {
            if rate < 0.0 {
                SECOND - number * 20 * MS
            } else {
                number * 20 * MS
            }
        };
        let played = |number: u64| (number as f64 * 20e6 / rate.abs()) as u64;
        // The producer's pipeline is 5 s older than this one.
        let offset = Some(MonotonicOffset::from_nseconds(5 * SECOND as i64));
        let follow = |timeline: &mut Timeline, number, late| {
            let frame = frame(stream(number), played(number) + late);
            let changed = changes(timeline, &frame, offset);
            let pts = timeline.place(&frame).pts.unwrap();
            (
                changed,
                pts,
                running_time(timeline.segment(), pts as u64).unwrap(),
            )
        };
        timeline.follow(&frame(stream(0), 0), offset);
        let early = running_time(timeline.segment(), stream(0)).unwrap();
        assert!(early < -3 * SECOND as i64);
        timeline.begin_with(&frame(stream(0), 0), None, (0, true));
        timeline.push();
        for number in 0..40 {
            let (changed, pts, running_time) = follow(&mut timeline, number, 0);
            assert!(!changed);
            assert_eq!(pts, stream(number) as i64);
            assert!(running_time.abs_diff(played(number) as i64) <= 1);
        }
        // A pause of the producer changes the shift.
        let (changed, _, running_time) = follow(&mut timeline, 41, 20 * SECOND);
        assert!(changed);
        assert!(running_time.abs_diff((played(41) + 15 * SECOND) as i64) <= 1);
        // Without `lasting`, only this frame is shifted.
        timeline.begin_with(&frame(stream(41), 0), None, (0, false));
        assert!(follow(&mut timeline, 42, 20 * SECOND).0);
    }
}
