//! What these tests share, and a test of everything at once.

use gst_audio::AudioLayout;

use super::*;

mod clips;
mod shifts;
mod sound;

use sound::sound;

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
