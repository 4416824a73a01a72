//! The start, and times counted from there, whichever way a stream plays.

use super::super::timeline::Place;

/// From when to when something is shown: in nanoseconds of the stream since the start, the way that it
/// plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) begin: i64,
    pub(super) end: Option<i64>,
}

/// The start, as a position in a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    at: i64,
    /// The running time there.
    running_time: i64,
    rate: f64,
}

impl Span {
    /// For how long it has been over at running time 0, below zero where it is not. What has no end that
    /// is known is over when it begins.
    pub(super) fn over_for(self) -> i64 {
        self.end.unwrap_or(self.begin).saturating_neg()
    }
}

impl Start {
    /// Where a running time is. None in a segment without running times.
    pub(super) fn of(segment: &gst::Segment, running_time: i64) -> Option<Start> {
        let segment = segment.downcast_ref::<gst::ClockTime>()?;
        let known = |time: Option<gst::ClockTime>| time.map_or(0, |time| time.nseconds() as i64);
        let rate = segment.rate();
        // Rounded to what has no running time below that.
        let base = known(segment.base()).saturating_sub(running_time);
        let base = match rate.abs() {
            1.0 => base,
            rate => (base as f64 * rate).floor() as i64,
        };
        let at = match rate < 0.0 {
            true => (known(segment.stop()) - known(segment.offset())).saturating_add(base),
            false => (known(segment.start()) + known(segment.offset())).saturating_sub(base),
        };
        Some(Start {
            at,
            running_time,
            rate,
        })
    }

    pub(super) fn is_backwards(self) -> bool {
        self.rate < 0.0
    }

    pub(super) fn is_inside(self, segment: &gst::Segment) -> bool {
        let Some(segment) = segment.downcast_ref::<gst::ClockTime>() else {
            return true;
        };
        let nseconds = |time: gst::ClockTime| time.nseconds() as i64;
        match self.is_backwards() {
            true => segment
                .start()
                .is_none_or(|start| self.at > nseconds(start)),
            false => segment.stop().is_none_or(|stop| self.at < nseconds(stop)),
        }
    }

    /// How long after the start a position is.
    pub(super) fn since(self, position: i64) -> i64 {
        match self.is_backwards() {
            false => position.saturating_sub(self.at),
            true => self.at.saturating_sub(position),
        }
    }

    /// The position that is so long after the start.
    pub(super) fn position(self, since: i64) -> i64 {
        match self.is_backwards() {
            false => self.at.saturating_add(since),
            true => self.at.saturating_sub(since),
        }
    }

    /// The running time so long after the start, or a bit later.
    pub(super) fn running_time(self, since: i64) -> i64 {
        let since = match self.rate.abs() {
            1.0 => since,
            rate => (since as f64 / rate).ceil() as i64,
        };
        self.running_time.saturating_add(since)
    }

    pub(super) fn span(self, pts: i64, duration: Option<i64>) -> Span {
        let end = duration.map(|duration| pts.saturating_add(duration));
        match self.is_backwards() {
            false => Span {
                begin: self.since(pts),
                end: end.map(|end| self.since(end)),
            },
            true => Span {
                begin: self.since(end.unwrap_or(pts)),
                end: end.map(|_| self.since(pts)),
            },
        }
    }

    /// Timestamp and duration of what is shown for so long.
    pub(super) fn place(self, span: Span) -> (i64, Option<i64>) {
        let pts = match self.is_backwards() {
            false => self.position(span.begin),
            true => self.position(span.end.unwrap_or(span.begin)),
        };
        let duration = span.end.map(|end| end.saturating_sub(span.begin));
        (pts.max(0), duration)
    }

    /// The same place, with no timestamp from before the start.
    pub(super) fn clamp(self, place: Place) -> Place {
        let clamp = |time: i64| match self.is_backwards() {
            false => time.max(self.at),
            true => time.min(self.at),
        };
        Place {
            pts: place.pts.map(clamp),
            dts: place.dts.map(clamp),
            duration: place.duration,
        }
    }
}
