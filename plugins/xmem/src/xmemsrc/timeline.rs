//! Converts the producer's time to the time of this pipeline. Pure.
//!
//! Buffers keep the producer's segment, so that positions in the stream mean the same on both
//! sides. The running times differ, because the two pipelines have different base times and may
//! have different clocks. So the segment is shifted until its first frame is shown at the point on
//! `CLOCK_MONOTONIC` at which the producer's pipeline shows it. If a clock drifts afterwards, the
//! timestamps of the buffers follow it. If both pipelines use the same clock, buffers keep their
//! timestamps.
//!
//! After a jump (a pause, another producer) a live stream stays in the segment that was pushed, and
//! its timestamps jump as those of a live source do, because elements can fail on a segment in the
//! middle of a stream. In other streams positions count, so their segment is shifted again.

use std::ops::RangeInclusive;
use std::time::Duration;

use xmem_core::BufferMeta;

use super::drift::{Drift, STEP};
use crate::timestamps::{LAST_TIME, MonotonicOffset, nanoseconds};

/// The segment of the producer, and the same segment in this pipeline's running time.
pub(crate) struct Timeline {
    theirs: gst::Segment,
    ours: gst::Segment,
    /// The times in `ours` that are safe to give to elements.
    usable: RangeInclusive<u64>,
    /// The nanoseconds that are added to the producer's running times, without the drift.
    shift: i64,
    /// The part of `shift` that is in the segment. The timestamps of the buffers have the rest.
    in_segment: i64,
    /// Whether `ours` was pushed.
    is_pushed: bool,
    /// Whether the stream is live, so that its timestamps may jump.
    is_live: bool,
    drift: Drift,
    /// The time of the next frame sets the shift exactly.
    is_open: bool,
    /// The producer has sent no segment, so its times are points on `CLOCK_MONOTONIC`. The segment
    /// is then the default TIME segment, and timestamps are moved by the shift, too.
    is_untold: bool,
    /// The shift that follows from the producer's times, while these are not used.
    disregarded: Option<i64>,
    /// The last DTS, of the producer and in this pipeline.
    last_dts: Option<(i64, i64)>,
}

/// The times of a frame or a gap in the segment, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) pts: Option<i64>,
    pub(crate) dts: Option<i64>,
    pub(crate) duration: Option<i64>,
}

impl Timeline {
    /// Returns the timeline of a segment, with the shift that is known before the first frame.
    pub(crate) fn new(segment: gst::Segment, shift: i64) -> Timeline {
        let ours = shifted(&segment, shift);
        Timeline {
            usable: usable_times(&ours),
            ours,
            theirs: segment,
            shift,
            in_segment: shift,
            is_pushed: false,
            is_live: false,
            drift: Drift::default(),
            is_open: true,
            is_untold: false,
            disregarded: None,
            last_dts: None,
        }
    }

    /// Returns the timeline of a producer that has sent no segment.
    pub(crate) fn untold() -> Timeline {
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        Timeline {
            is_untold: true,
            is_live: true,
            ..Timeline::new(segment.upcast(), 0)
        }
    }

    /// Sets whether the stream is live.
    pub(crate) fn set_live(&mut self, is_live: bool) {
        self.is_live = is_live;
    }

    /// Returns whether the stream is live, as far as known.
    pub(crate) fn is_live(&self) -> bool {
        self.is_live
    }

    /// Continues in the segment of the previous timeline, if that was pushed and the stream is
    /// live.
    pub(crate) fn after(mut self, before: &Timeline) -> Timeline {
        if before.is_pushed
            && self.is_live
            && let Some(theirs) = zero_of_endless(&self.theirs)
            && let Some(ours) = zero_of_endless(&before.ours)
        {
            self.ours = before.ours.clone();
            self.usable = before.usable.clone();
            self.in_segment = theirs.saturating_sub(ours);
            self.is_pushed = true;
        }
        self
    }

    /// Returns whether the segment must be pushed before the next buffer.
    pub(crate) fn is_due(&self) -> bool {
        !self.is_pushed
    }

    /// Marks the segment as pushed, and returns it.
    pub(crate) fn push(&mut self) -> &gst::Segment {
        self.is_pushed = true;
        &self.ours
    }

    /// Makes the shift final, because it was received and not estimated: a frame with another shift
    /// is treated as drift.
    pub(crate) fn settle(&mut self) {
        self.is_open = false;
    }

    /// Lets the next frame set the shift again, for example after a pause of this pipeline.
    pub(crate) fn open(&mut self) {
        self.is_open = true;
    }

    /// Prepares for pushing the segment again: the drift becomes part of the shift.
    pub(crate) fn restart(&mut self) {
        self.is_pushed = false;
        self.set_shift(self.shift(), Drift::default());
        self.open();
    }

    /// Returns the segment of the buffers, in this pipeline's running time.
    pub(crate) fn segment(&self) -> &gst::Segment {
        &self.ours
    }

    /// Returns the nanoseconds that are added to the producer's running times.
    pub(crate) fn shift(&self) -> i64 {
        self.shift.saturating_add(self.drift.adjustment())
    }

    /// Follows the producer's clock with a frame. Afterwards the segment may be
    /// [due](Timeline::is_due).
    pub(crate) fn follow(&mut self, frame: &BufferMeta, offset: Option<MonotonicOffset>) {
        let Some(offset) = offset else { return };
        let theirs = self.theirs(frame);
        let (place, monotonic) = match (theirs.pts, frame.pts()) {
            (None, _) | (_, None) => (theirs.dts, frame.dts()),
            times => times,
        };
        let running_time = |place: Option<i64>| self.running_time(place?);
        let monotonic = monotonic.map(nanoseconds);
        let Some((shown, monotonic)) = running_time(place).zip(monotonic) else {
            return;
        };
        let shift = offset.to_running_time(monotonic).saturating_sub(shown);
        let at = running_time(theirs.dts).unwrap_or(shown);
        self.shift_to(shift, at, theirs);
    }

    /// Follows the producer's clock with a gap, which has the shift `shift`.
    pub(crate) fn follow_gap(&mut self, gap: Place, shift: i64) {
        if let Some(at) = gap.pts.and_then(|pts| self.running_time(pts)) {
            self.shift_to(shift, at, gap);
        }
    }

    /// Shifts the segment so that a frame with this duration, which was followed before, begins at
    /// the running time `start`. With `lasting`, the frames after it are shifted too, until the
    /// producer's times jump.
    pub(crate) fn begin_with(
        &mut self,
        frame: &BufferMeta,
        duration: Option<i64>,
        (start, lasting): (i64, bool),
    ) {
        let begin = self.theirs(frame).pts.map(|pts| {
            if self.theirs.rate() < 0.0 {
                pts.saturating_add(duration.unwrap_or(0))
            } else {
                pts
            }
        });
        if let Some(running_time) = begin.and_then(|begin| self.running_time(begin)) {
            let shift = self.shift();
            self.set_shift(start.saturating_sub(running_time), Drift::default());
            self.disregarded = lasting.then_some(shift);
        }
    }

    /// Returns the times for the buffer of a frame, without those that are not safe to give to
    /// elements.
    pub(crate) fn place(&mut self, frame: &BufferMeta) -> Place {
        if self.is_untold && self.is_open {
            return Place::default();
        }
        let theirs = self.theirs(frame);
        let mut place = self.moved(theirs);
        // Near the end of the segment there is less and less room, but no DTS goes back because of
        // that.
        if let Some((theirs, ours)) = theirs.dts.zip(place.dts.as_mut()) {
            if let Some((before, last)) = self.last_dts
                && theirs >= before
            {
                *ours = last.max(*ours);
            }
            self.last_dts = Some((theirs, *ours));
        }
        place
    }

    /// Converts times in the producer's segment. They become `None` if no time in the segment is
    /// usable.
    pub(crate) fn moved(&self, theirs: Place) -> Place {
        let by = self.room(theirs);
        let first = if self.is_untold {
            i64::MIN
        } else {
            *self.usable.start() as i64
        };
        let last = *self.usable.end() as i64;
        // A segment that is too far from its running time 0 has no usable times.
        let moved = |time: i64| (first <= last).then(|| time.saturating_add(by).clamp(first, last));
        Place {
            pts: theirs.pts.and_then(moved),
            dts: theirs.dts.and_then(moved),
            duration: theirs.duration,
        }
    }

    /// Returns the times of a frame in the producer's segment.
    fn theirs(&self, frame: &BufferMeta) -> Place {
        let usable = |time: Option<Duration>| {
            let time = nanoseconds(time?);
            self.usable.contains(&time).then_some(time as i64)
        };
        let (pts, dts) = if self.is_untold {
            (frame.pts(), frame.dts())
        } else {
            (frame.stream_pts(), frame.stream_dts())
        };
        let duration = frame.duration().map(nanoseconds);
        Place {
            pts: usable(pts),
            dts: usable(dts),
            duration: duration
                .filter(|&duration| duration <= LAST_TIME)
                .map(|duration| duration as i64),
        }
    }

    /// Returns how far timestamps should be moved.
    fn wanted(&self) -> i64 {
        let beyond = self.shift().saturating_sub(self.in_segment);
        match self.theirs.rate() {
            1.0 => beyond,
            // In reverse playback they move the other way.
            rate => (beyond as f64 * rate) as i64,
        }
    }

    /// Returns how far they can be moved if what is inside the segment stays inside.
    fn room(&self, place: Place) -> i64 {
        let wanted = self.wanted();
        let segment = self.ours.downcast_ref::<gst::ClockTime>();
        let Some((segment, pts)) = segment.zip(place.pts).filter(|_| !self.is_untold) else {
            return wanted;
        };
        let time = |time: Option<gst::ClockTime>| time.map(|time| time.nseconds() as i64);
        let start = time(segment.start()).unwrap_or(0);
        if self.shift != self.in_segment {
            // The timestamps come from another part of the stream.
            return wanted.max(start.saturating_sub(pts));
        }
        let last = time(segment.stop()).map_or(i64::MAX, |stop| {
            stop.saturating_sub(place.duration.unwrap_or(0))
        });
        wanted.clamp((start - pts).min(0), last.saturating_sub(pts).max(0))
    }

    /// Returns a running time of the producer, in nanoseconds.
    fn running_time(&self, place: i64) -> Option<i64> {
        if self.is_untold {
            Some(place)
        } else {
            running_time(&self.theirs, place as u64)
        }
    }

    fn shift_to(&mut self, shift: i64, at: i64, place: Place) {
        if self.theirs.format() != gst::Format::Time {
            return;
        }
        let expected = self.disregarded.unwrap_or(self.shift);
        let error = shift.saturating_sub(expected);
        if !self.is_open && self.drift.follow(error, at) && self.has_room(place) {
            return;
        }
        self.is_open = false;
        if self.disregarded.is_some() && error.unsigned_abs() <= STEP {
            return;
        }
        self.set_shift(shift, Drift::from(at));
        if !self.has_room(place) {
            self.is_pushed = false;
            self.set_shift(shift, Drift::from(at));
        }
    }

    /// Returns whether a frame can be moved in the segment as far as it should be, with a tolerance
    /// of [`STEP`].
    fn has_room(&self, place: Place) -> bool {
        let missing = self.wanted().abs_diff(self.room(place));
        missing as f64 <= STEP as f64 * self.theirs.rate().abs()
    }

    fn set_shift(&mut self, shift: i64, drift: Drift) {
        let is_endless = |segment| zero_of_endless(segment).is_some();
        let stays =
            self.is_pushed && self.is_live && is_endless(&self.theirs) && is_endless(&self.ours);
        if !self.is_untold && !stays {
            let ours = shifted(&self.theirs, shift);
            self.is_pushed &= ours == self.ours;
            self.usable = usable_times(&ours);
            (self.ours, self.in_segment) = (ours, shift);
        }
        (self.shift, self.drift, self.last_dts) = (shift, drift, None);
        self.disregarded = None;
    }
}

/// Returns the position of running time 0 in the segment of an endless stream, whose positions are
/// only the time since its start. `None` for other segments.
fn zero_of_endless(segment: &gst::Segment) -> Option<i64> {
    let segment = segment.downcast_ref::<gst::ClockTime>()?;
    let known = |time: Option<gst::ClockTime>| time.map_or(0, |time| time.nseconds() as i64);
    let is_endless = segment.stop().is_none()
        && known(segment.time()) == 0
        && (segment.rate(), segment.applied_rate()) == (1.0, 1.0);
    let start = known(segment.start()) + known(segment.offset());
    is_endless.then_some(start - known(segment.base()))
}

/// Returns the times in a segment that are safe to give to elements: twice these times, their
/// running times and their stream times fit a signed 64-bit number. The range may be empty.
fn usable_times(segment: &gst::Segment) -> RangeInclusive<u64> {
    let Some(segment) = segment.downcast_ref::<gst::ClockTime>() else {
        return 0..=LAST_TIME;
    };
    let known = |time: Option<gst::ClockTime>| time.map_or(0, gst::ClockTime::nseconds);
    let start = known(segment.start());
    let from = if segment.rate() < 0.0 {
        known(segment.stop()) - known(segment.offset())
    } else {
        start + known(segment.offset())
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

/// Returns the running time of a timestamp, in nanoseconds.
fn running_time(segment: &gst::Segment, timestamp: u64) -> Option<i64> {
    let segment = segment.downcast_ref::<gst::ClockTime>()?;
    let time = gst::ClockTime::from_nseconds(timestamp);
    let running_time = segment.to_running_time_full(time)?;
    let nseconds = i64::try_from(running_time.abs().nseconds()).ok()?;
    Some(if running_time.is_negative() {
        -nseconds
    } else {
        nseconds
    })
}

/// Returns the segment with running times that are later by `shift` nanoseconds.
///
/// `gst_segment_offset_running_time` does the same, but is wrong for reverse playback.
fn shifted(segment: &gst::Segment, shift: i64) -> gst::Segment {
    let Some(segment) = segment.downcast_ref::<gst::ClockTime>() else {
        return segment.clone();
    };
    let mut segment = segment.clone();
    let known = |time: Option<gst::ClockTime>| time.map_or(0, gst::ClockTime::nseconds);
    let base = i128::from(known(segment.base())) + i128::from(shift);
    // The part of a negative shift that exceeds the base was played already. It is added to the
    // offset, in the time of the segment.
    let played = u64::try_from(-base.min(0)).unwrap_or(u64::MAX);
    let played = match segment.rate().abs() {
        1.0 => played,
        rate => (played as f64 * rate) as u64,
    };
    let most = if segment.rate() < 0.0 {
        // Less than the stop even if an element converts it to a double, as videorate does.
        known(segment.stop()) - (known(segment.stop()) >> 50)
    } else {
        LAST_TIME
    };
    let offset = known(segment.offset()).saturating_add(played).min(most);
    let base = base.clamp(0, i128::from(LAST_TIME)) as u64;
    segment.set_base(gst::ClockTime::from_nseconds(base));
    segment.set_offset(gst::ClockTime::from_nseconds(offset));
    segment.upcast()
}

#[cfg(test)]
mod tests;
