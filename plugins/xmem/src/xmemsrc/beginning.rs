//! Where a stream begins for a client: nothing is pushed with a running time below zero, nor, after a pause
//! or from another producer, with one that goes back. Pure.
//!
//! A client that joins gets frames that were due before its pipeline has started; so it does after a
//! pause that came soon. An uncut pipeline has no such frames, and elements fail at them. What is left
//! of them is what GStreamer's own clipping leaves, but for the picture that is there when a client
//! joins: that is shown at once, however old it is.
//!
//! Frames that others need to be decoded are all pushed. Their times are squeezed into a moment after the
//! start: elements fail at times that are equal, too. What is due later is not delayed by that.
//!
//! A producer may be behind its own clock, so that all of its frames are over when they come. Its times are no
//! measure then, and its stream begins when that is seen.

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

/// A picture that has been over for longer than that is a still one, in nanoseconds: of a producer that
/// is paused, for example.
const STILL: i64 = 1_000_000_000;

/// From the last frame before another start to the first one after it, at least, in nanoseconds: most
/// containers can tell such times apart.
const NEXT: i64 = 1_000_000;

/// No frame is further ahead of the running time than that, in nanoseconds: it was set back.
const AHEAD: i64 = 1_000_000_000;

/// What begins.
pub(super) struct Beginning {
    content: Content,
    /// The producer waits for its clients: they want to have all.
    has_all: bool,
    /// The producer is paused, and shows a frame.
    is_still: bool,
    /// How late the producer passes on its frames, in nanoseconds.
    latency: i64,
    late: Late,
    /// The next frame is shown at the start, and those after it in their own places.
    is_alone: bool,
    /// Nothing was shown since the client has joined.
    is_first: bool,
    /// The running time before which nothing is pushed.
    start: i64,
    /// When the first buffer after the start would be decoded, where it would be shown before the start; else
    /// the start.
    first: Option<i64>,
    /// The running time before which nothing may come after the next start.
    next_start: i64,
}

/// What frames are, as far as they can be cut or left out.
enum Content {
    /// Each is shown by itself; and for how long, where its buffer does not say.
    Pictures(Option<i64>),
    /// Raw.
    Sound(Box<AudioInfo>),
    /// One may be needed for another: nothing is left out. The same duration.
    Other(Option<i64>),
}

/// A frame that begins at another time than the producer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shift {
    /// The running time at which it begins.
    pub(super) at: i64,
    /// The frames after it follow.
    pub(super) is_lasting: bool,
}

/// Which frame one is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Which {
    /// There is no newer one yet.
    pub(super) is_newest: bool,
    /// It is the producer's first.
    pub(super) is_start: bool,
    /// It was published after this client had asked for the stream.
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
    /// The client has joined another producer, at this running time.
    pub(super) fn join(&mut self, now: i64) {
        self.resume(now);
        (self.is_first, self.has_all, self.is_still) = (true, false, false);
        self.latency = 0;
    }

    /// The pipeline plays again, at this running time, which may have been set back.
    pub(super) fn resume(&mut self, now: i64) {
        self.start = match self.next_start > now.saturating_add(AHEAD) {
            true => now.max(0),
            false => self.next_start,
        };
        (self.next_start, self.first) = (self.start, None);
        (self.late, self.is_alone) = (Late::default(), false);
    }

    /// Downstream was flushed: its running time starts from zero, and it shows nothing.
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

    /// Where a frame begins whose time is no measure for this pipeline; none of another one. That is a first
    /// frame from before the start: a still picture, or one of a producer that has waited for this client. And
    /// it is one of a producer that is behind its own clock, as its newest frames show again and again.
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
        // A frame of a live stream is over by the latency where it is on time.
        let is_over = is_before && over_for > STILL.saturating_add(self.latency);
        let lasting = |at| Shift {
            at,
            is_lasting: true,
        };
        // It has stood still until this client came.
        if self.has_all && which.is_fresh && !is_live && is_over {
            return Some(lasting(match self.is_first {
                true => self.start,
                false => self.next_start.max(now()),
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

    /// What is left of a buffer from the start on, with its times; none of one that comes too early.
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
        // An uncut pipeline would show it until the next one comes.
        let is_there = is_newest && (self.is_first || span.end.is_none());
        let is_over = span.begin < 0 && span.over_for() >= 0;
        let is_shown = !is_over || is_there || self.has_all;
        let is_picture = matches!(self.content, Content::Pictures(_));
        if !is_shown && is_picture && !buffer.flags().intersects(NEEDED) {
            return None;
        }
        // Before running time 0 an uncut stream decodes, too.
        let is_early = span.begin < 0 || (decoded < 0 && self.start > 0);
        let earliest = if is_early { decoded.min(span.begin) } else { 0 };
        let first = *self.first.get_or_insert(earliest);
        if earliest < first.saturating_sub(STILL) {
            // The producer's clock was set back, for example. This comes after what was pushed, all the same.
            (self.start, self.first) = (self.next_start, None);
            return self.cut(buffer, place, segment, is_newest);
        }
        let squeeze = Squeeze::new(first);
        let mut ours = place;
        if span.begin < 0 || (first < 0 && span.begin.min(decoded) < squeeze.end()) {
            let begin = squeeze.of(span.begin);
            let end = match is_over && is_shown {
                true => span.end.map(|end| begin + (end - span.begin)),
                false => span.end.map(|end| squeeze.of(end)),
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

    /// What is left of a gap.
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

    /// For how long a frame is shown whose buffer does not say.
    pub(super) fn duration(&self) -> Option<i64> {
        match self.content {
            Content::Pictures(duration) | Content::Other(duration) => duration,
            Content::Sound(_) => None,
        }
    }
}

/// Other frames may need one with such a flag.
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
        match is_picture {
            true => Content::Pictures(duration),
            false => Content::Other(duration),
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
