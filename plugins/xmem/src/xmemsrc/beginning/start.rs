//! The start of a stream, and times relative to it, in either direction of playback.

use super::super::timeline::Place;

/// The time span in which something is shown, in nanoseconds of the stream since the start, in the
/// direction of playback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) begin: i64,
    pub(super) end: Option<i64>,
}

/// The start as a position in a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    at: i64,
    /// The running time at the start.
    running_time: i64,
    rate: f64,
}

impl Span {
    /// Returns how long the span has been over at the start, negative if it is not over. A span
    /// without a known end is over when it begins.
    pub(super) fn over_for(self) -> i64 {
        self.end.unwrap_or(self.begin).saturating_neg()
    }
}

impl Start {
    /// Returns the position of a running time. `None` in a segment without running times.
    pub(super) fn of(segment: &gst::Segment, running_time: i64) -> Option<Start> {
        let segment = segment.downcast_ref::<gst::ClockTime>()?;
        let known = |time: Option<gst::ClockTime>| time.map_or(0, |time| time.nseconds() as i64);
        let rate = segment.rate();
        // Round so that the position has no lower running time.
        let base = known(segment.base()).saturating_sub(running_time);
        let base = match rate.abs() {
            1.0 => base,
            rate => (base as f64 * rate).floor() as i64,
        };
        let at = if rate < 0.0 {
            (known(segment.stop()) - known(segment.offset())).saturating_add(base)
        } else {
            (known(segment.start()) + known(segment.offset())).saturating_sub(base)
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
        if self.is_backwards() {
            segment
                .start()
                .is_none_or(|start| self.at > nseconds(start))
        } else {
            segment.stop().is_none_or(|stop| self.at < nseconds(stop))
        }
    }

    /// Returns how long after the start a position is.
    pub(super) fn since(self, position: i64) -> i64 {
        if self.is_backwards() {
            self.at.saturating_sub(position)
        } else {
            position.saturating_sub(self.at)
        }
    }

    /// Returns the position that is `since` after the start.
    pub(super) fn position(self, since: i64) -> i64 {
        if self.is_backwards() {
            self.at.saturating_sub(since)
        } else {
            self.at.saturating_add(since)
        }
    }

    /// Returns the running time at `since` after the start, rounded up.
    pub(super) fn running_time(self, since: i64) -> i64 {
        let since = match self.rate.abs() {
            1.0 => since,
            rate => (since as f64 / rate).ceil() as i64,
        };
        self.running_time.saturating_add(since)
    }

    pub(super) fn span(self, pts: i64, duration: Option<i64>) -> Span {
        let end = duration.map(|duration| pts.saturating_add(duration));
        if self.is_backwards() {
            Span {
                begin: self.since(end.unwrap_or(pts)),
                end: end.map(|_| self.since(pts)),
            }
        } else {
            Span {
                begin: self.since(pts),
                end: end.map(|end| self.since(end)),
            }
        }
    }

    /// Returns the timestamp and duration for a span.
    pub(super) fn place(self, span: Span) -> (i64, Option<i64>) {
        let pts = if self.is_backwards() {
            self.position(span.end.unwrap_or(span.begin))
        } else {
            self.position(span.begin)
        };
        let duration = span.end.map(|end| end.saturating_sub(span.begin));
        (pts.max(0), duration)
    }

    /// Returns the place with its timestamps limited to the start and later.
    pub(super) fn clamp(self, place: Place) -> Place {
        let clamp = |time: i64| {
            if self.is_backwards() {
                time.min(self.at)
            } else {
                time.max(self.at)
            }
        };
        Place {
            pts: place.pts.map(clamp),
            dts: place.dts.map(clamp),
            duration: place.duration,
        }
    }
}
