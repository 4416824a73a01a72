use gst_audio::{AudioCapsBuilder, AudioFormat, AudioLayout, AudioMeta};

use super::*;

const MS: i64 = 1_000_000;
const SECOND: i64 = 1000 * MS;
/// The position of running time 0 in the segments of these tests.
const ZERO: i64 = 10 * SECOND;
const RATES: [f64; 6] = [1.0, 2.0, 0.3, -1.0, -1.7, -0.5];

fn init() {
    gst::init().unwrap();
}

/// A segment in which running time 0 is at 10 s, with 8 s before it and 40 s after it.
fn segment(rate: f64) -> gst::Segment {
    init();
    let seconds = gst::ClockTime::from_seconds;
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_rate(rate);
    if rate > 0.0 {
        segment.set_start(seconds(2));
        segment.set_stop(seconds(50));
    } else {
        segment.set_start(seconds(0));
        segment.set_stop(seconds(18));
    }
    segment.set_offset(seconds(8));
    segment.upcast()
}

/// Returns a `Beginning` for these caps.
fn beginning(caps: &str) -> Beginning {
    init();
    let mut beginning = Beginning::default();
    beginning.set_caps(&caps.parse::<gst::Caps>().unwrap());
    beginning
}

/// A frame of a live stream that is the newest, or the first of the producer.
fn which((is_newest, is_start): (bool, bool)) -> Which {
    Which {
        is_newest,
        is_start,
        is_fresh: true,
    }
}

/// A frame is shifted to the start, with the frames after it or without them.
const LASTING: Option<bool> = Some(true);
const ALONE: Option<bool> = Some(false);

/// Returns whether a frame is shifted to the start at running time 0.
fn shifted(
    beginning: &mut Beginning,
    place: Place,
    segment: &gst::Segment,
    which: Which,
) -> Option<bool> {
    let shift = beginning.shift(place, (segment, true), which, || 0)?;
    assert_eq!(shift.at, beginning.start);
    Some(shift.is_lasting)
}

const PICTURES: &str = "video/x-raw,format=GRAY8,width=8,height=8,framerate=50/1";
const CODED: &str = "video/x-h264,framerate=50/1";

/// Returns the place of a frame of this length that begins `begin` milliseconds after running time
/// 0, in stream time.
fn place(rate: f64, begin: i64, length: Option<i64>) -> Place {
    let (begin, length) = (begin * MS, length.map(|length| length * MS));
    let pts = if rate < 0.0 {
        ZERO - begin - length.unwrap_or(0)
    } else {
        ZERO + begin
    };
    Place {
        pts: Some(pts),
        dts: None,
        duration: length,
    }
}

/// Returns begin and end of a buffer, in milliseconds of the stream after running time 0.
fn shown(rate: f64, buffer: &gst::BufferRef) -> (i64, Option<i64>) {
    let running_time = segment(rate)
        .downcast_ref::<gst::ClockTime>()
        .unwrap()
        .to_running_time(buffer.pts());
    assert!(running_time.is_some(), "{buffer:?} at rate {rate}");
    let nseconds = |time: gst::ClockTime| time.nseconds() as i64;
    let pts = nseconds(buffer.pts().unwrap());
    let length = buffer.duration().map(nseconds);
    let begin = if rate < 0.0 {
        ZERO - pts - length.unwrap_or(0)
    } else {
        pts - ZERO
    };
    assert_eq!(begin % MS, 0);
    let end = length.map(|length| (begin + length) / MS);
    (begin / MS, end)
}

fn is_decode_only(buffer: &gst::BufferRef) -> bool {
    buffer.flags().contains(gst::BufferFlags::DECODE_ONLY)
}

#[test]
fn pictures_before_running_time_0_are_cut_or_left_out() {
    for rate in RATES {
        let segment = segment(rate);
        let mut beginning = beginning(PICTURES);
        let mut clip = |begin, length, is_newest| {
            let place = place(rate, begin, length);
            let left = beginning.clip(gst::Buffer::new(), place, &segment, is_newest);
            left.map(|buffer| shown(rate, &buffer))
        };
        // Newer frames exist.
        assert_eq!(clip(-500, Some(20), false), None);
        assert_eq!(clip(-20, Some(20), false), None);
        // This frame is the newest and the first.
        assert_eq!(clip(-80, Some(20), true), Some((0, Some(20))));
        assert_eq!(clip(-60, Some(20), true), None);
        assert_eq!(clip(-20, Some(20), true), None);
        // The following frames are shown after it.
        assert_eq!(clip(-16, Some(20), true), Some((4, Some(5))));
        assert_eq!(clip(0, Some(20), true), Some((5, Some(20))));
        assert_eq!(clip(500, Some(20), false), Some((500, Some(520))));
        if rate > 0.0 {
            // The duration is that of the caps.
            assert_eq!(clip(-20, None, true), None);
            assert_eq!(clip(-16, None, true), Some((4, Some(5))));
            assert_eq!(clip(15, None, true), Some((15, None)));
        }
    }
}

#[test]
fn pictures_of_which_no_length_is_known_last_until_the_next() {
    for caps in [
        "image/jpeg",
        "video/x-raw,format=GRAY8,width=8,height=8,framerate=0/1",
    ] {
        for rate in RATES {
            let mut beginning = beginning(caps);
            for (begin, is_newest, expected) in [
                (-900, false, None),
                (-800, true, Some(0)),
                (-700, false, None),
                (-640, true, Some(10)),
                (16, true, Some(51)),
                (80, true, Some(80)),
            ] {
                let place = place(rate, begin, None);
                let left = beginning.clip(gst::Buffer::new(), place, &segment(rate), is_newest);
                let left = left.map(|buffer| shown(rate, &buffer).0);
                assert_eq!(left, expected, "{begin} of {caps}");
            }
        }
    }
}

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
fn of_coded_streams_nothing_is_left_out() {
    for rate in RATES {
        let (segment, mut beginning) = (segment(rate), beginning(CODED));
        let mut clip = |begin, length, is_newest| {
            let mut place = place(rate, begin, length);
            let decoded = (begin - 48) * MS;
            place.dts = Some(if rate < 0.0 {
                ZERO - decoded
            } else {
                ZERO + decoded
            });
            let mut buffer = gst::Buffer::new();
            buffer.make_mut().set_flags(gst::BufferFlags::DELTA_UNIT);
            let buffer = beginning.clip(buffer, place, &segment, is_newest).unwrap();
            let dts = buffer.dts().unwrap().nseconds() as i64;
            let after = if rate < 0.0 { ZERO - dts } else { dts - ZERO };
            assert!(after >= 0, "{after}");
            (shown(rate, &buffer), is_decode_only(&buffer))
        };
        assert_eq!(clip(-512, Some(20), false), ((3, Some(4)), true));
        assert_eq!(clip(-480, Some(20), false), ((5, Some(6)), true));
        // The newest picture is shown.
        assert_eq!(clip(-464, Some(20), true), ((6, Some(26)), false));
        assert_eq!(clip(-448, Some(20), true), ((7, Some(8)), true));
        assert_eq!(clip(-16, Some(20), true), ((34, Some(35)), false));
        assert_eq!(clip(16, Some(20), true), ((36, Some(37)), false));
        assert_eq!(clip(48, Some(20), true), ((48, Some(68)), false));
    }
}

#[test]
fn a_stream_whose_first_picture_is_decoded_before_the_start_stays_as_it_is() {
    for rate in RATES {
        let (segment, mut beginning) = (segment(rate), beginning(CODED));
        for number in 0..5 {
            let mut place = place(rate, 20 * number, Some(20));
            let decoded = (20 * number - 40) * MS;
            place.dts = Some(if rate < 0.0 {
                ZERO - decoded
            } else {
                ZERO + decoded
            });
            let left = beginning.clip(gst::Buffer::new(), place, &segment, true);
            let left = left.unwrap();
            let nseconds = |time: gst::ClockTime| time.nseconds() as i64;
            assert_eq!(left.pts().map(nseconds), place.pts);
            assert_eq!(left.dts().map(nseconds), place.dts);
            assert_eq!(left.duration().map(nseconds), place.duration);
        }
    }
}

#[test]
fn what_other_frames_need_is_not_left_out() {
    for flag in [gst::BufferFlags::DELTA_UNIT, gst::BufferFlags::HEADER] {
        let mut buffer = gst::Buffer::new();
        buffer.make_mut().set_flags(flag);
        let place = place(1.0, -500, Some(20));
        let left = beginning("image/x-jpc").clip(buffer, place, &segment(1.0), false);
        assert!(is_decode_only(&left.unwrap()));
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

#[test]
fn what_has_no_time_passes_as_it_is() {
    for caps in [
        PICTURES,
        CODED,
        "audio/x-raw,format=S16LE,rate=8000,channels=1,layout=interleaved",
    ] {
        let buffer = gst::Buffer::from_slice([0; 100]);
        let mut beginning = beginning(caps);
        let left = beginning
            .clip(buffer, Place::default(), &segment(1.0), true)
            .unwrap();
        assert_eq!(
            (left.pts(), left.dts(), left.duration(), left.size()),
            (None, None, None, 100)
        );
        // A segment in bytes has no running times.
        let mut bytes = gst::Segment::new();
        bytes.set_format(gst::Format::Bytes);
        let place = place(1.0, -5000, Some(20));
        let left = beginning
            .clip(gst::Buffer::new(), place, &bytes, false)
            .unwrap();
        assert_eq!(left.pts().map(|pts| pts.nseconds() as i64), place.pts);
        assert_eq!(beginning.clip_gap(place, &bytes), Some(place));
    }
}

#[test]
fn a_position_outside_of_the_segment_stays_there() {
    init();
    // Before the start of the segment, which has a base, so that the running time is positive.
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(gst::ClockTime::from_seconds(5));
    segment.set_base(gst::ClockTime::from_seconds(3));
    let place = Place {
        pts: Some(4 * SECOND),
        dts: Some(3 * SECOND),
        duration: Some(20 * MS),
    };
    let left = beginning(CODED).clip(gst::Buffer::new(), place, segment.upcast_ref(), false);
    let left = left.unwrap();
    assert_eq!(left.pts(), Some(gst::ClockTime::from_seconds(4)));
    assert_eq!(left.dts(), Some(gst::ClockTime::from_seconds(3)));
    assert!(!is_decode_only(&left));
}

/// Makes a buffer of stereo audio at 8000 Hz. 1 ms has 8 samples, and each byte of a sample is its
/// number.
fn sound(milliseconds: u8, layout: AudioLayout) -> (Beginning, gst::Buffer) {
    init();
    let caps = AudioCapsBuilder::new()
        .format(AudioFormat::U8)
        .rate(8000)
        .channels(2);
    let caps = caps.layout(layout).build();
    let mut beginning = Beginning::default();
    beginning.set_caps(&caps);
    let samples = 8 * milliseconds;
    let bytes: Vec<u8> = match layout {
        AudioLayout::Interleaved => (0..samples).flat_map(|sample| [sample; 2]).collect(),
        _ => (0..samples).chain(0..samples).collect(),
    };
    let mut buffer = gst::Buffer::from_slice(bytes);
    let info = AudioInfo::from_caps(&caps).unwrap();
    if layout == AudioLayout::NonInterleaved {
        AudioMeta::add(buffer.make_mut(), &info, samples.into(), &[]).unwrap();
    }
    (beginning, buffer)
}

/// Returns the samples of a buffer, as an element reads them.
fn heard(buffer: &gst::BufferRef) -> Vec<u8> {
    let map = buffer.map_readable().unwrap();
    match buffer.meta::<AudioMeta>() {
        Some(meta) => {
            let [left, right] = [0, 1].map(|channel| {
                let offset = meta.offsets()[channel];
                map[offset..offset + meta.samples()].to_vec()
            });
            assert_eq!(left, right);
            left
        }
        None => {
            let samples = map.chunks(2);
            samples
                .map(|sample| {
                    assert_eq!(sample[0], sample[1]);
                    sample[0]
                })
                .collect()
        }
    }
}

#[test]
fn sound_is_cut_to_the_sample() {
    for layout in [AudioLayout::Interleaved, AudioLayout::NonInterleaved] {
        for rate in RATES {
            let segment = segment(rate);
            let clip = |begin, has_duration: bool| {
                let (mut beginning, buffer) = sound(10, layout);
                let mut place = place(rate, begin, Some(10));
                if !has_duration {
                    place.duration = None;
                }
                let pointer = buffer.peek_memory(0).as_mut_ptr();
                let left = beginning.clip(buffer, place, &segment, true)?;
                let parent = left
                    .peek_memory(0)
                    .parent()
                    .map_or(left.peek_memory(0).as_mut_ptr(), |parent| {
                        parent.as_mut_ptr()
                    });
                assert_eq!(parent, pointer, "it was copied");
                assert_eq!(left.duration().is_some(), has_duration);
                Some(left)
            };
            for has_duration in [true, false] {
                assert!(clip(-1000, has_duration).is_none());
                assert!(clip(-10, has_duration).is_none());
                let whole = clip(0, has_duration).unwrap();
                assert_eq!(heard(&whole), (0..80).collect::<Vec<_>>());
                let part = clip(-4, has_duration).unwrap();
                // In reverse playback the end is shown first.
                let expected = if rate < 0.0 { 0..48 } else { 32..80 };
                assert_eq!(heard(&part), expected.collect::<Vec<_>>());
                if has_duration {
                    assert_eq!(shown(rate, &part), (0, Some(6)));
                }
            }
        }
    }
}

#[test]
fn samples_stay_where_they_are_in_time() {
    for rate in [1.0, -1.0] {
        let (segment, length) = (segment(rate), 10 * MS);
        // One sample takes 125 us.
        for (begin, cut) in [
            (-1, 1),
            (-124_999, 1),
            (-125_000, 1),
            (-125_001, 2),
            (-9_874_999, 79),
        ] {
            let (mut beginning, buffer) = sound(10, AudioLayout::Interleaved);
            let pts = if rate < 0.0 {
                ZERO - begin - length
            } else {
                ZERO + begin
            };
            let place = Place {
                pts: Some(pts),
                dts: None,
                duration: Some(length),
            };
            let left = beginning.clip(buffer, place, &segment, true).unwrap();
            assert_eq!(left.size(), 2 * (80 - cut));
            let nseconds = |time: Option<gst::ClockTime>| time.unwrap().nseconds() as i64;
            let (start, duration) = (nseconds(left.pts()), nseconds(left.duration()));
            assert_eq!(duration, (80 - cut as i64) * 125_000);
            if rate < 0.0 {
                assert_eq!(start, pts)
            } else {
                assert_eq!(start + duration, pts + length)
            }
        }
        // No sample is left.
        let (mut beginning, buffer) = sound(10, AudioLayout::Interleaved);
        let place = Place {
            pts: Some(if rate < 0.0 {
                ZERO - 1
            } else {
                ZERO - length + 1
            }),
            dts: None,
            duration: Some(length),
        };
        assert!(beginning.clip(buffer, place, &segment, true).is_none());
    }
}

#[test]
fn sound_for_clients_that_are_waited_for_is_not_left_out() {
    let (mut beginning, buffer) = sound(10, AudioLayout::Interleaved);
    beginning.set_has_all(true);
    let left = beginning
        .clip(buffer, place(1.0, -500, Some(10)), &segment(1.0), true)
        .unwrap();
    assert_eq!(heard(&left).len(), 80);
    assert_eq!(shown(1.0, &left), (0, Some(10)));
}

#[test]
fn planes_that_nothing_is_said_of_are_not_cut() {
    let (mut beginning, _) = sound(10, AudioLayout::NonInterleaved);
    let buffer = gst::Buffer::from_slice([0; 160]);
    let left = beginning
        .clip(buffer, place(1.0, -4, Some(10)), &segment(1.0), true)
        .unwrap();
    assert_eq!(left.size(), 160);
    assert_eq!(shown(1.0, &left).0, 0);
}

#[test]
fn another_stream_begins_where_the_last_one_was() {
    // At rate 1, milliseconds of the stream are milliseconds of running time.
    let segment = segment(1.0);
    for (caps, first) in [(PICTURES, 101), (CODED, 101)] {
        let mut beginning = beginning(caps);
        let clip = |beginning: &mut Beginning, begin, is_newest| {
            let place = place(1.0, begin, Some(20));
            let left = beginning.clip(gst::Buffer::new(), place, &segment, is_newest);
            left.map(|buffer| shown(1.0, &buffer).0)
        };
        assert_eq!(clip(&mut beginning, 100, true), Some(100));
        beginning.join(1000 * MS);
        assert_eq!(clip(&mut beginning, 61, true), Some(first));
        assert_eq!(clip(&mut beginning, 93, true), Some(first + 2));
        assert_eq!(clip(&mut beginning, 113, true), Some(113));
        // A pause.
        beginning.resume(1000 * MS);
        assert_eq!(clip(&mut beginning, 117, false), Some(117));
        // The running time was set back.
        assert_eq!(clip(&mut beginning, 2000, false), Some(2000));
        beginning.resume(10 * MS);
        assert_eq!(clip(&mut beginning, 10, false), Some(10));
        beginning.flush();
        assert_eq!(clip(&mut beginning, 2, false), Some(2));
    }
}

#[test]
fn other_sound_goes_on_with_the_next_sample() {
    for rate in RATES {
        let segment = segment(rate);
        let (mut beginning, buffer) = sound(10, AudioLayout::Interleaved);
        beginning.clip(buffer, place(rate, 50, Some(10)), &segment, true);
        beginning.join(1000 * MS);
        let mut clip = |begin| {
            let (_, buffer) = sound(10, AudioLayout::Interleaved);
            let left = beginning.clip(buffer, place(rate, begin, Some(10)), &segment, true);
            left.map(|left| heard(&left).len())
        };
        assert_eq!(clip(50), None);
        let left = clip(56).unwrap();
        // If the rate is not an integer, times are rounded.
        assert!((47..=48).contains(&left), "{left}");
        assert_eq!(clip(66), Some(80));
    }
}

#[test]
fn gaps_are_cut_or_left_out() {
    for rate in RATES {
        let beginning = beginning(PICTURES);
        let clip = |begin, length| {
            let left = beginning.clip_gap(place(rate, begin, length), &segment(rate))?;
            let mut buffer = gst::Buffer::new();
            set_times(&mut buffer, left);
            Some(shown(rate, &buffer))
        };
        assert_eq!(clip(-50, Some(50)), None);
        assert_eq!(clip(-50, Some(60)), Some((0, Some(10))));
        assert_eq!(clip(5, Some(60)), Some((5, Some(65))));
        assert_eq!(clip(-5, None), Some((0, None)));
    }
}

#[test]
fn no_numbers_make_it_panic() {
    let most = LAST_TIME as i64;
    for rate in [1.0, -1.0, 1024.0, -1.0 / 1024.0] {
        for (offset, base) in [(0, 0), (8, 0), (0, LAST_TIME), (8, LAST_TIME)] {
            let mut segment = segment(rate);
            let numbers = segment.downcast_mut::<gst::ClockTime>().unwrap();
            numbers.set_offset(gst::ClockTime::from_seconds(offset));
            numbers.set_base(gst::ClockTime::from_nseconds(base));
            for pts in [i64::MIN, -1, 0, ZERO, most] {
                for duration in [None, Some(0), Some(1), Some(most)] {
                    let place = Place {
                        pts: Some(pts),
                        dts: Some(pts),
                        duration,
                    };
                    for layout in [AudioLayout::Interleaved, AudioLayout::NonInterleaved] {
                        let (mut beginning, buffer) = sound(10, layout);
                        beginning.clip(buffer, place, &segment, true);
                        beginning.clip_gap(place, &segment);
                    }
                    for caps in [PICTURES, CODED, "video/x-raw,framerate=1/2147483647"] {
                        let mut beginning = beginning(caps);
                        beginning.shift(place, (&segment, false), which((true, true)), || pts);
                        beginning.clip(gst::Buffer::new(), place, &segment, true);
                    }
                }
            }
        }
    }
}
