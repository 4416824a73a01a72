//! Frames that are shifted to the start, or are not.

use super::*;

#[test]
fn the_first_picture_may_be_one_of_long_ago() {
    for rate in RATES {
        let segment = segment(rate);
        let still = |beginning: &mut Beginning, begin, is_newest| {
            let place = place(rate, begin, Some(20));
            shifted(beginning, place, &segment, which((is_newest, false)))
        };
        let mut beginning = beginning(PICTURES);
        assert_eq!(still(&mut beginning, -5000, false), None);
        assert_eq!(still(&mut beginning, -1000, true), None);
        assert_eq!(still(&mut beginning, -5, true), None);
        assert_eq!(still(&mut beginning, -5000, true), ALONE);
        // Only once.
        let place = place(rate, 0, Some(20));
        beginning.clip(gst::Buffer::new(), place, &segment, true);
        assert_eq!(still(&mut beginning, -5000, true), None);
        beginning.join(0);
        assert_eq!(still(&mut beginning, -5000, true), ALONE);
    }
    // The segment has no place for the frame any more.
    let mut over = segment(1.0);
    let over = over.downcast_mut::<gst::ClockTime>().unwrap();
    over.set_stop(gst::ClockTime::from_nseconds(ZERO as u64 - 1));
    let place = place(1.0, -50, Some(20));
    for (caps, expected) in [(PICTURES, ALONE), (CODED, None)] {
        let which = which((true, true));
        let shifted = shifted(&mut beginning(caps), place, over.upcast_ref(), which);
        assert_eq!(shifted, expected, "{caps}");
    }
}

#[test]
fn clients_that_are_waited_for_have_everything() {
    for rate in RATES {
        for caps in [PICTURES, CODED] {
            let (segment, mut beginning) = (segment(rate), beginning(caps));
            beginning.set_has_all(true);
            for (begin, shown_at) in [(-500, 0), (-484, 1), (-292, 13), (-20, 30)] {
                let place = place(rate, begin, Some(20));
                let left = beginning.clip(gst::Buffer::new(), place, &segment, false);
                let left = left.unwrap();
                assert_eq!(shown(rate, &left), (shown_at, Some(shown_at + 20)));
                assert!(!is_decode_only(&left));
            }
            // The first frame of a producer that waits is shifted. Other frames keep their times.
            beginning.flush();
            beginning.join(0);
            let shift = |beginning: &mut Beginning, begin, (is_newest, is_start)| {
                let place = place(rate, begin, Some(20));
                shifted(beginning, place, &segment, which((is_newest, is_start)))
            };
            assert_eq!(shift(&mut beginning, -5, (false, true)), None);
            beginning.set_has_all(true);
            assert_eq!(shift(&mut beginning, -5, (false, true)), LASTING);
            assert_eq!(shift(&mut beginning, -500, (true, false)), None);
            assert_eq!(shift(&mut beginning, 5, (true, true)), None);
            // A kept group is not shifted. Its newest frame is, alone: later frames are on time.
            assert_eq!(shift(&mut beginning, -1500, (false, false)), None);
            assert_eq!(shift(&mut beginning, -1500, (true, false)), ALONE);
        }
    }
}

#[test]
fn a_producer_that_has_waited_goes_on_from_where_it_stood() {
    let segment = segment(1.0);
    let place = place(1.0, -1500, Some(20));
    // The producer waits, the stream is not live, and the frame was published after the client
    // joined.
    for (has_all, is_live, is_fresh, expected) in [
        (true, false, true, LASTING),
        (true, false, false, None),
        (true, true, true, None),
        (false, false, true, None),
    ] {
        let mut beginning = beginning(CODED);
        beginning.set_has_all(has_all);
        let which = Which {
            is_fresh,
            ..which((false, false))
        };
        let mut shifted = |which| {
            let shift = beginning.shift(place, (&segment, is_live), which, || 0);
            shift.map(|shift| shift.is_lasting)
        };
        assert_eq!(shifted(which), expected);
        // A wait for another client does not count.
        let which = Which {
            is_start: true,
            ..which
        };
        let is_waited_for = has_all && is_fresh;
        let expected = is_waited_for.then_some(true);
        assert_eq!(shifted(which), expected);
    }
}

#[test]
fn a_frame_on_time_is_over_by_the_latency() {
    for (latency, expected) in [(0, ALONE), (1, None)] {
        let (segment, mut beginning) = (segment(1.0), beginning(CODED));
        beginning.set_has_all(true);
        beginning.set_latency(gst::ClockTime::from_seconds(latency));
        let place = place(1.0, -1500, Some(20));
        let shifted = shifted(&mut beginning, place, &segment, which((true, false)));
        assert_eq!(shifted, expected);
    }
}

/// Frames that have been over for 40 s when they arrive.
#[test]
fn a_stream_that_is_behind_its_clock_begins_when_that_is_seen() {
    for caps in [
        PICTURES,
        CODED,
        "audio/x-raw,format=U8,rate=8000,channels=1,layout=interleaved",
    ] {
        for latency in [0, 3] {
            let (segment, mut beginning) = (segment(1.0), beginning(caps));
            beginning.set_latency(gst::ClockTime::from_seconds(latency));
            let mut first_shift = None;
            let shift = (0..200).find_map(|number| {
                let now = 20 * number;
                let mut place = place(1.0, now - 40_000, Some(20));
                // Nothing can be shown before the start of the segment.
                place.pts = place.pts.map(|pts| pts + 32 * SECOND);
                let mut earlier = segment.clone();
                let times = earlier.downcast_mut::<gst::ClockTime>().unwrap();
                times.set_offset(gst::ClockTime::from_seconds(40));
                let which = which((true, number == 0));
                let shift = beginning.shift(place, (&earlier, false), which, || now * MS);
                let shift = shift.filter(|shift| {
                    first_shift.get_or_insert(*shift);
                    shift.is_lasting
                });
                if shift.is_none() {
                    let buffer = gst::Buffer::from_slice([0; 160]);
                    beginning.clip(buffer, place, &earlier, true);
                }
                shift
            });
            assert_eq!(shift.unwrap().at, SECOND, "{caps}");
            // A picture is shown earlier.
            assert_eq!(first_shift.unwrap().is_lasting, caps != PICTURES);
        }
    }
}

/// The frame that is shown at the start does not affect the times of those after it, nor does an
/// old group.
#[test]
fn what_is_shown_alone_comes_before_the_others() {
    let mut segment = segment(1.0);
    let times = segment.downcast_mut::<gst::ClockTime>().unwrap();
    times.set_offset(gst::ClockTime::ZERO);
    times.set_base(gst::ClockTime::ZERO);
    times.set_start(gst::ClockTime::from_seconds(700));
    times.set_stop(gst::ClockTime::NONE);
    let at = |begin: i64| Place {
        pts: Some(700 * SECOND + begin),
        dts: None,
        duration: Some(20 * MS),
    };
    let mut beginning = beginning(CODED);
    beginning.set_still(true);
    let mut last = -1;
    let mut push = |beginning: &mut Beginning, place, is_newest| {
        let which = which((is_newest, false));
        let place = match beginning.shift(place, (&segment, true), which, || 0) {
            Some(shift) => at(shift.at),
            None => place,
        };
        let left = beginning.clip(gst::Buffer::new(), place, &segment, is_newest);
        let time = left.unwrap().pts().unwrap().nseconds() as i64 - 700 * SECOND;
        assert!(time > last, "{time} after {last}");
        last = time;
        time
    };
    // A group of a producer that was paused 10 minutes ago, and its still picture.
    for number in 0..50 {
        let place = at(20 * MS * number - 600 * SECOND);
        push(&mut beginning, place, number == 49);
    }
    // Later frames are pushed after these, also if the producer's clock was set back.
    push(&mut beginning, at(20 * MS - 599 * SECOND), false);
    push(&mut beginning, at(-690 * SECOND), false);
    push(&mut beginning, at(20 * MS - 690 * SECOND), false);
    assert!(push(&mut beginning, at(10 * MS), true) < 320 * MS);
    assert_eq!(push(&mut beginning, at(340 * MS), true), 340 * MS);
}

#[test]
fn a_group_that_is_old_delays_nothing() {
    for age in [60, 600] {
        let mut beginning = beginning(CODED);
        let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
        segment.set_start(gst::ClockTime::from_seconds(700));
        let mut last = -1;
        let mut clip = |begin: i64, is_newest| {
            let place = Place {
                pts: Some(700 * SECOND + begin),
                dts: Some(700 * SECOND + begin - 20 * MS),
                duration: Some(20 * MS),
            };
            let left = beginning.clip(gst::Buffer::new(), place, segment.upcast_ref(), is_newest);
            let left = left.unwrap();
            let since =
                |time: Option<gst::ClockTime>| time.unwrap().nseconds() as i64 - 700 * SECOND;
            let (decoded, shown) = (since(left.dts()), since(left.pts()));
            assert!(last < decoded && decoded < shown, "{decoded} {shown}");
            last = decoded;
            (shown, is_decode_only(&left))
        };
        // A group of two seconds, and live frames after it.
        for number in 0..100 {
            let (shown, is_over) = clip(20 * MS * number - age * SECOND, number == 99);
            assert!(shown <= 100 * MS);
            assert_eq!(is_over, number != 99);
        }
        let (shown, is_over) = clip(MS, true);
        assert!(!is_over && shown <= 101 * MS, "{shown}");
        for live in [130, 150, 40_000] {
            assert_eq!(clip(live * MS, true), (live * MS, false));
        }
    }
}
