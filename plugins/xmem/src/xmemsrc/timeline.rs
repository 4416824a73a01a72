//! The producer's time in this pipeline. Pure.
//!
//! Buffers keep their timestamps and the producer's segment, so that positions in the stream mean
//! the same on both sides. What differs are the running times: the two pipelines have different base
//! times, and may have different clocks. So the segment is shifted, until a frame is shown at the
//! point on `CLOCK_MONOTONIC` at which the producer's pipeline shows it.

use std::ops::RangeInclusive;

use xmem_core::{BufferMeta, NONE};

use crate::timestamps::{LAST_TIME, MonotonicOffset};

/// How far a frame's running time may be from where it belongs before the segment is shifted again,
/// in nanoseconds. Two pipelines on the same clock are never off at all; others drift apart by some
/// tens of microseconds in a second.
const TOLERANCE: u64 = 500_000;

/// A producer's segment, and the same in this pipeline's running time.
pub(crate) struct Timeline {
    theirs: gst::Segment,
    ours: gst::Segment,
    /// The times in it with which elements can reckon.
    usable: RangeInclusive<u64>,
    /// What is added to the producer's running times, in nanoseconds.
    shift: i64,
    /// That was not told: the first frame tells it.
    is_guess: bool,
}

impl Timeline {
    /// The timeline of a segment, shifted by what is known before there is a frame.
    pub(crate) fn new(segment: gst::Segment, shift: i64) -> Timeline {
        let ours = shifted(&segment, shift);
        Timeline {
            usable: usable_times(&ours),
            ours,
            theirs: segment,
            shift,
            is_guess: false,
        }
    }

    /// The same, with a shift that is not to be relied on: as far as the first frame wants it, and no
    /// nanosecond further.
    pub(crate) fn guessed(self) -> Timeline {
        Timeline {
            is_guess: true,
            ..self
        }
    }

    /// The segment of the buffers, in this pipeline's running time.
    pub(crate) fn segment(&self) -> &gst::Segment {
        &self.ours
    }

    pub(crate) fn shift(&self) -> i64 {
        self.shift
    }

    /// A frame's time in the segment, for its buffer; none for one with which elements can't reckon.
    pub(crate) fn time(&self, stream: u64) -> Option<gst::ClockTime> {
        let is_usable = self.usable.contains(&stream);
        is_usable.then(|| gst::ClockTime::from_nseconds(stream))
    }

    /// Shifts the segment where the frame's time demands it. Says whether it has changed.
    pub(crate) fn follow(&mut self, frame: &BufferMeta, offset: Option<MonotonicOffset>) -> bool {
        let Some(offset) = offset else { return false };
        let (stream, monotonic) = match (frame.stream_pts, frame.pts) {
            (NONE, _) | (_, NONE) => (frame.stream_dts, frame.dts),
            times => times,
        };
        if stream == NONE || monotonic == NONE {
            return false;
        }
        let Some(theirs) = running_time(&self.theirs, stream) else {
            return false;
        };
        self.shift_to(offset.to_running_time(monotonic).saturating_sub(theirs))
    }

    /// Shifts the segment, where that is off by more than a frame may be. Says whether it has changed.
    pub(crate) fn shift_to(&mut self, shift: i64) -> bool {
        let tolerance = if self.is_guess { 0 } else { TOLERANCE };
        let error = shift.saturating_sub(self.shift);
        if error.unsigned_abs() <= tolerance || self.theirs.format() != gst::Format::Time {
            return false;
        }
        self.ours = shifted(&self.theirs, shift);
        self.usable = usable_times(&self.ours);
        self.shift = shift;
        self.is_guess = false;
        true
    }
}

/// The times in a segment with which elements can reckon: these, their running times and their stream
/// times fit into 64 bits with a sign, twice.
fn usable_times(segment: &gst::Segment) -> RangeInclusive<u64> {
    let Some(segment) = segment.downcast_ref::<gst::ClockTime>() else {
        return 0..=LAST_TIME;
    };
    let known = |time: Option<gst::ClockTime>| time.map_or(0, gst::ClockTime::nseconds);
    let start = known(segment.start());
    let from = match segment.rate() < 0.0 {
        true => known(segment.stop()) - known(segment.offset()),
        false => start + known(segment.offset()),
    };
    let furthest = 2.0 * LAST_TIME as f64;
    let running = (furthest * segment.rate().abs()) as u64;
    let in_stream = (furthest / segment.applied_rate().abs()) as u64;
    let first = from
        .saturating_sub(running)
        .max(start.saturating_sub(in_stream));
    let last = from
        .saturating_add(running)
        .min(start.saturating_add(in_stream));
    first..=last.min(LAST_TIME)
}

/// The running time of a timestamp, in nanoseconds.
fn running_time(segment: &gst::Segment, timestamp: u64) -> Option<i64> {
    let segment = segment.downcast_ref::<gst::ClockTime>()?;
    let time = gst::ClockTime::from_nseconds(timestamp);
    let running_time = segment.to_running_time_full(time)?;
    let nseconds = i64::try_from(running_time.abs().nseconds()).ok()?;
    Some(match running_time.is_negative() {
        true => -nseconds,
        false => nseconds,
    })
}

/// A segment whose running times are later by `shift` nanoseconds.
///
/// As `gst_segment_offset_running_time` does it, which goes wrong for a stream that plays backwards.
fn shifted(segment: &gst::Segment, shift: i64) -> gst::Segment {
    let Some(segment) = segment.downcast_ref::<gst::ClockTime>() else {
        return segment.clone();
    };
    let mut segment = segment.clone();
    let known = |time: Option<gst::ClockTime>| time.map_or(0, gst::ClockTime::nseconds);
    let base = i128::from(known(segment.base())) + i128::from(shift);
    // What can't be taken off the base was played already, of the segment: in its own time.
    let played = u64::try_from(-base.min(0)).unwrap_or(u64::MAX);
    let played = match segment.rate().abs() {
        1.0 => played,
        rate => (played as f64 * rate) as u64,
    };
    let most = match segment.rate() < 0.0 {
        // Less than the stop also where an element reckons that as a double, as videorate does.
        true => known(segment.stop()) - (known(segment.stop()) >> 50),
        false => LAST_TIME,
    };
    let offset = known(segment.offset()).saturating_add(played).min(most);
    let base = base.clamp(0, i128::from(LAST_TIME)) as u64;
    segment.set_base(gst::ClockTime::from_nseconds(base));
    segment.set_offset(gst::ClockTime::from_nseconds(offset));
    segment.upcast()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream_pts: u64, pts: u64) -> BufferMeta {
        let mut frame = BufferMeta::bytes(1);
        (frame.stream_pts, frame.pts) = (stream_pts, pts);
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
                // The stream's own time stays what it was.
                let ours = timeline.segment().downcast_ref::<gst::ClockTime>().unwrap();
                let time = gst::ClockTime::from_nseconds(5_400_000_000);
                assert_eq!(ours.to_stream_time(time), Some(time));
            }
        }
    }

    #[test]
    fn a_small_difference_changes_nothing_and_a_larger_one_does() {
        let offset = Some(MonotonicOffset::from_nseconds(0));
        let mut timeline = Timeline::new(segment(0, 1.0), 1000);
        assert!(!timeline.follow(&frame(0, 1000), offset));
        assert!(!timeline.follow(&frame(0, 400_000), offset));
        assert!(timeline.follow(&frame(0, 600_000), offset));
        assert_eq!(timeline.shift(), 600_000);
        assert!(!timeline.follow(&frame(NONE, NONE), offset));
        assert!(!timeline.follow(&frame(0, 9_000_000), None));
    }

    #[test]
    fn what_was_only_a_guess_is_as_the_first_frame_wants_it() {
        let offset = Some(MonotonicOffset::from_nseconds(0));
        let mut timeline = Timeline::new(segment(0, 1.0), 0).guessed();
        assert!(!timeline.follow(&frame(0, 300_000), None));
        assert!(timeline.follow(&frame(0, 300_000), offset));
        assert_eq!(timeline.shift(), 300_000);
        assert!(!timeline.follow(&frame(0, 400_000), offset));
        assert_eq!(timeline.shift(), 300_000);
    }

    #[test]
    fn elements_can_reckon_with_what_they_get() {
        // One rounds to a double below it.
        let down = (1 << 60) + 100;
        let numbers = [0, 1, down, LAST_TIME - 1, LAST_TIME, u64::MAX >> 1];
        for (start, rate) in numbers[..4].iter().flat_map(|start| {
            let rates = [1.0, -1.0, 1024.0, -1024.0, 1.0 / 1024.0, -1.0 / 1024.0];
            rates.map(|rate| (*start, rate))
        }) {
            for shift in [i64::MIN + 1, -1, 0, 1, i64::MAX] {
                let timeline = Timeline::new(segment(start, rate), shift);
                let ours = timeline.segment().downcast_ref::<gst::ClockTime>().unwrap();
                let known = |time: Option<gst::ClockTime>| time.map_or(0, gst::ClockTime::nseconds);
                assert!(known(ours.base()) <= LAST_TIME);
                if rate < 0.0 {
                    let rounded = known(ours.stop()) as f64 as u64;
                    assert!(known(ours.offset()) <= rounded, "{ours:?}");
                }
                for stream in numbers {
                    let Some(time) = timeline.time(stream) else {
                        continue;
                    };
                    let running_time = ours.to_running_time_full(time).unwrap();
                    assert!(running_time.abs().nseconds() <= 3 * LAST_TIME + 1024);
                    let stream_time = ours.to_stream_time_full(time).unwrap();
                    assert!(stream_time.abs().nseconds() <= 3 * LAST_TIME + 1024);
                }
            }
        }
    }

    #[test]
    fn a_time_of_this_world_stays() {
        const YEAR: u64 = 365 * 24 * 3600 * 1_000_000_000;
        // Of a stream with the time of the day, and one that has run for years.
        for (start, stream) in [
            (0, 60 * YEAR),
            (56 * YEAR, 57 * YEAR),
            (0, 10 * YEAR),
            (5, 0),
        ] {
            for rate in [1.0, 64.0, 0.5] {
                let timeline = Timeline::new(segment(start, rate), 0);
                let time = gst::ClockTime::from_nseconds(stream);
                assert_eq!(timeline.time(stream), Some(time));
            }
        }
        assert_eq!(Timeline::new(segment(0, 1.0), 0).time(NONE), None);
    }

    #[test]
    fn no_numbers_make_it_panic() {
        let numbers = [0, 1, u64::MAX >> 3, u64::MAX >> 1, u64::MAX - 1, u64::MAX];
        for start in [0, u64::MAX >> 3] {
            for (stream, due) in numbers.iter().flat_map(|a| numbers.map(|b| (*a, b))) {
                for offset in [i64::MIN + 1, 0, i64::MAX] {
                    let mut timeline = Timeline::new(segment(start, 1.0), offset);
                    let offset = Some(MonotonicOffset::from_nseconds(offset));
                    timeline.follow(&frame(stream, due), offset);
                    let _ = timeline.time(stream);
                }
            }
        }
    }
}
