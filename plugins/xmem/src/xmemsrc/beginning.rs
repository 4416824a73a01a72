//! Determines where a stream begins for a client. Nothing is pushed with a running time below zero;
//! after a pause or a change of producer, nothing is pushed with a running time below that of what
//! was pushed before. Pure.
//!
//! A client that joins receives frames that were due before its pipeline started. The same happens
//! after a short pause. A pipeline that is not cut by xmem has no such frames, and elements fail on
//! them. So this module clips them as GStreamer's own clipping would, with one exception: the
//! picture that is current when a client joins is shown at once, however old it is.
//!
//! Frames that others need to be decoded are all pushed. Their times are squeezed into a short time
//! after the start, because elements also fail on equal times. This does not delay frames that are
//! due later.
//!
//! A producer may be behind its own clock, so that all of its frames are over when they arrive.
//! Then its times are not used, and its stream begins when that is detected.

use gst_audio::AudioInfo;

use super::timeline::Place;
use crate::timestamps::{LAST_TIME, time};

mod late;
mod sound;
mod squeeze;
mod start;

use late::Late;
use sound::Samples;
use squeeze::Squeeze;
use start::{Span, Start};

/// A picture that has been over for longer than this is a still picture, for example of a paused
/// producer. In nanoseconds.
const STILL: i64 = 1_000_000_000;

/// The minimum time from the last frame before a new start to the first frame after it, in
/// nanoseconds. Most containers can distinguish times that differ by this.
const NEXT: i64 = 1_000_000;

/// If a frame would be ahead of the running time by more than this, the running time was set back.
/// In nanoseconds.
const AHEAD: i64 = 1_000_000_000;

/// The start of a stream for a client, and what decides about it.
pub(super) struct Beginning {
    content: Content,
    /// The producer waits for its clients, so they must receive every frame.
    has_all: bool,
    /// The producer is paused and shows a frame.
    is_still: bool,
    /// The latency with which the producer forwards its frames, in nanoseconds.
    latency: i64,
    late: Late,
    /// The next frame is shown at the start, and those after it at their own times.
    is_alone: bool,
    /// Nothing was shown since the client joined.
    is_first: bool,
    /// The start: the running time before which nothing is pushed.
    start: i64,
    /// The time of the first buffer since the start, relative to the start: its DTS or PTS, if one
    /// is before the start; else 0.
    first: Option<i64>,
    /// The value of `start` after the next pause or change of producer, at least.
    next_start: i64,
}

/// The kind of frames, which determines whether they can be cut or left out.
enum Content {
    /// Each frame is shown by itself. With the duration of frames whose buffer has none.
    Pictures(Option<i64>),
    /// Raw audio.
    Sound(Box<AudioInfo>),
    /// Other frames may depend on a frame, so none is left out. With the duration, as for pictures.
    Other(Option<i64>),
}

/// A frame that begins at another time than that of the producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shift {
    /// The running time at which the frame begins.
    pub(super) at: i64,
    /// The frames after it are shifted by the same time.
    pub(super) is_lasting: bool,
}

/// The position of a frame among the frames of the producer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Which {
    /// No newer frame exists yet.
    pub(super) is_newest: bool,
    /// It is the first frame of the producer.
    pub(super) is_start: bool,
    /// It was published after this client had requested the stream.
    pub(super) is_fresh: bool,
}

impl Default for Beginning {
    fn default() -> Beginning {
        Beginning {
            content: Content::Other(None),
            has_all: false,
            is_still: false,
            latency: 0,
            late: Late::default(),
            is_alone: false,
            is_first: true,
            start: 0,
            first: None,
            next_start: 0,
        }
    }
}

impl Beginning {
    /// Notes that the client has joined another producer, at this running time.
    pub(super) fn join(&mut self, now: i64) {
        self.resume(now);
        (self.is_first, self.has_all, self.is_still) = (true, false, false);
        self.latency = 0;
    }

    /// Notes that the pipeline plays again, at this running time, which may have been set back.
    pub(super) fn resume(&mut self, now: i64) {
        self.start = if self.next_start > now.saturating_add(AHEAD) {
            now.max(0)
        } else {
            self.next_start
        };
        (self.next_start, self.first) = (self.start, None);
        (self.late, self.is_alone) = (Late::default(), false);
    }

    /// Notes that downstream was flushed: its running time starts from zero, and it shows nothing.
    pub(super) fn flush(&mut self) {
        (self.start, self.next_start, self.first) = (0, 0, None);
        (self.late, self.is_alone) = (Late::default(), false);
        self.is_first = true;
    }

    pub(super) fn set_caps(&mut self, caps: &gst::CapsRef) {
        self.content = Content::of(caps);
    }

    pub(super) fn set_has_all(&mut self, has_all: bool) {
        self.has_all = has_all;
    }

    pub(super) fn set_still(&mut self, is_still: bool) {
        self.is_still = is_still;
    }

    pub(super) fn set_latency(&mut self, latency: gst::ClockTime) {
        self.latency = i64::try_from(latency.nseconds()).unwrap_or(i64::MAX);
    }

    /// Returns where a frame begins whose time cannot be used in this pipeline, `None` for other
    /// frames. This is the case for a first frame from before the start, if it is a still picture
    /// or if the producer has waited for this client. It is also the case for a frame of a producer
    /// that is behind its own clock, as its newest frames have shown repeatedly.
    pub(super) fn shift(
        &mut self,
        place: Place,
        (segment, is_live): (&gst::Segment, bool),
        which: Which,
        now: impl FnOnce() -> i64,
    ) -> Option<Shift> {
        self.is_alone = false;
        let (start, pts) = Start::of(segment, self.start).zip(place.pts)?;
        let span = start.span(pts, place.duration.or(self.duration()));
        let over_for = span.over_for();
        let is_before = span.begin < 0;
        let is_newest = which.is_newest;
        // A frame of a live stream that is on time is over by the latency.
        let is_over = is_before && over_for > STILL.saturating_add(self.latency);
        let lasting = |at| Shift {
            at,
            is_lasting: true,
        };
        // The producer stood still until this client joined.
        if self.has_all && which.is_fresh && !is_live && is_over {
            return Some(lasting(if self.is_first {
                self.start
            } else {
                self.next_start.max(now())
            }));
        }
        if is_newest && !is_over {
            self.late.forget();
        } else if is_newest
            && let now = now()
            && self
                .late
                .take_in(start.running_time(span.begin), now, STILL)
        {
            return Some(lasting(self.next_start.max(now)));
        }
        if !self.is_first || !is_before {
            return None;
        }
        let is_lasting = self.has_all && which.is_fresh && which.is_start;
        let is_picture = matches!(self.content, Content::Pictures(_)) && !self.has_all;
        let is_ended = over_for >= 0 && !start.is_inside(segment);
        let is_old = is_picture && (over_for > STILL || is_ended);
        let is_alone = is_newest && (self.is_still || (self.has_all && is_over) || is_old);
        if !is_lasting && !is_alone {
            return None;
        }
        self.is_alone = !is_lasting;
        Some(Shift {
            at: self.start,
            is_lasting,
        })
    }

    /// Returns what is left of a buffer from the start on, with its times. `None` if the buffer is
    /// too early.
    pub(super) fn clip(
        &mut self,
        buffer: gst::Buffer,
        place: Place,
        segment: &gst::Segment,
        is_newest: bool,
    ) -> Option<gst::Buffer> {
        let left = self.cut(buffer, place, segment, is_newest);
        if std::mem::take(&mut self.is_alone) {
            (self.start, self.first) = (self.next_start, None);
        }
        left
    }

    fn cut(
        &mut self,
        mut buffer: gst::Buffer,
        place: Place,
        segment: &gst::Segment,
        is_newest: bool,
    ) -> Option<gst::Buffer> {
        let Some(start) = Start::of(segment, self.start) else {
            set_times(&mut buffer, place);
            return Some(buffer);
        };
        if let Content::Sound(info) = &self.content
            && let Some(pts) = place.pts
            && let Some(samples) = Samples::of(&buffer, info)
        {
            set_times(&mut buffer, start.clamp(place));
            let left = samples.cut(buffer, pts, start, self.has_all)?;
            self.next_start = start.running_time(samples.end(pts, start).max(0));
            self.is_first = false;
            return Some(left);
        }
        let Some(pts) = place.pts.or(place.dts) else {
            set_times(&mut buffer, place);
            self.is_first = false;
            return Some(buffer);
        };
        let span = start.span(pts, place.duration.or(self.duration()));
        let decoded = place.dts.map_or(span.begin, |dts| start.since(dts));
        // A pipeline that is not cut would show the frame until the next one arrives.
        let is_there = is_newest && (self.is_first || span.end.is_none());
        let is_over = span.begin < 0 && span.over_for() >= 0;
        let is_shown = !is_over || is_there || self.has_all;
        let is_picture = matches!(self.content, Content::Pictures(_));
        if !is_shown && is_picture && !buffer.flags().intersects(NEEDED) {
            return None;
        }
        // A stream that is not cut also decodes before running time 0.
        let is_early = span.begin < 0 || (decoded < 0 && self.start > 0);
        let earliest = if is_early { decoded.min(span.begin) } else { 0 };
        let first = *self.first.get_or_insert(earliest);
        if earliest < first.saturating_sub(STILL) {
            // The producer's clock was set back, for example. This frame still comes after what was
            // pushed.
            (self.start, self.first) = (self.next_start, None);
            return self.cut(buffer, place, segment, is_newest);
        }
        let squeeze = Squeeze::new(first);
        let mut ours = place;
        if span.begin < 0 || (first < 0 && span.begin.min(decoded) < squeeze.end()) {
            let begin = squeeze.of(span.begin);
            let end = if is_over && is_shown {
                span.end.map(|end| begin + (end - span.begin))
            } else {
                span.end.map(|end| squeeze.of(end))
            };
            let (at, duration) = start.place(Span { begin, end });
            let is_moved = begin != span.begin;
            if place.pts.is_some() && is_moved {
                (ours.pts, ours.duration) = (Some(at), duration);
            }
            if first < 0 {
                let dts = place.dts.map(|_| start.position(squeeze.of(decoded)));
                ours.dts = dts.map(|dts| dts.max(0));
            }
        }
        set_times(&mut buffer, ours);
        if !is_shown {
            buffer.make_mut().set_flags(gst::BufferFlags::DECODE_ONLY);
        }
        let last = start.running_time(squeeze.of(decoded.min(span.begin)));
        self.next_start = last.saturating_add(NEXT).max(self.next_start);
        self.is_first &= !is_shown;
        Some(buffer)
    }

    /// Returns what is left of a gap from the start on.
    pub(super) fn clip_gap(&self, place: Place, segment: &gst::Segment) -> Option<Place> {
        let (Some(start), Some(pts)) = (Start::of(segment, self.start), place.pts) else {
            return Some(place);
        };
        let span = start.span(pts, place.duration);
        if span.begin >= 0 {
            return Some(place);
        }
        if span.end.is_some_and(|end| end <= 0) {
            return None;
        }
        let (pts, duration) = start.place(Span { begin: 0, ..span });
        Some(Place {
            pts: Some(pts),
            duration,
            ..place
        })
    }

    /// Returns how long a frame is shown if its buffer has no duration.
    pub(super) fn duration(&self) -> Option<i64> {
        match self.content {
            Content::Pictures(duration) | Content::Other(duration) => duration,
            Content::Sound(_) => None,
        }
    }
}

/// Other frames may depend on a frame with one of these flags.
const NEEDED: gst::BufferFlags = gst::BufferFlags::DELTA_UNIT.union(gst::BufferFlags::HEADER);

impl Content {
    fn of(caps: &gst::CapsRef) -> Content {
        let Some(structure) = caps.structure(0) else {
            return Content::Other(None);
        };
        let name = structure.name().as_str();
        if name == "audio/x-raw"
            && let Ok(info) = AudioInfo::from_caps(caps)
        {
            return Content::Sound(Box::new(info));
        }
        let duration = structure.get::<gst::Fraction>("framerate").ok();
        let duration = duration.filter(|rate| rate.numer() > 0 && rate.denom() > 0);
        let duration = duration.map(|rate| {
            let second = i128::from(gst::ClockTime::SECOND.nseconds());
            (second * i128::from(rate.denom()) / i128::from(rate.numer())) as i64
        });
        let is_picture = [
            "video/x-raw",
            "video/x-bayer",
            "other/tensor",
            "other/tensors",
        ]
        .contains(&name)
            || name.starts_with("image/");
        if is_picture {
            Content::Pictures(duration)
        } else {
            Content::Other(duration)
        }
    }
}

fn set_times(buffer: &mut gst::Buffer, place: Place) {
    let usable = |nseconds: Option<i64>| nseconds.filter(|time| *time <= LAST_TIME as i64);
    let buffer = buffer.make_mut();
    buffer.set_pts(usable(place.pts).map(time));
    buffer.set_dts(usable(place.dts).map(time));
    buffer.set_duration(usable(place.duration).map(time));
}

#[cfg(test)]
mod tests;
