//! Where a stream begins for a client: nothing is pushed with a running time below zero, nor, after a pause
//! or from another producer, with one that goes back. Pure.
//!
//! A client that joins gets frames that were due before its pipeline has started; so it does after a
//! pause that came soon. An uncut pipeline has no such frames, and elements fail at them. What is left
//! of them is what GStreamer's own clipping leaves, but for the picture that is there when a client
//! joins: that is shown at once, however old it is.
//!
//! Frames that others need to be decoded are all pushed. Their times are squeezed into a moment after the
//! start: elements fail at times that are equal, too.

use gst_audio::AudioInfo;

use super::timeline::Place;
use crate::timestamps::{LAST_TIME, time};

mod sound;

use sound::Samples;

/// A picture that has been over for longer than that is a still one, in nanoseconds: of a producer that
/// is paused, for example.
const STILL: i64 = 1_000_000_000;

/// By how much times before the start are squeezed. A group of pictures of two seconds is over after 0.13.
const SQUEEZE: i64 = 16;

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

/// From when to when something is shown: in nanoseconds of the stream since the start, the way that it
/// plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    begin: i64,
    end: Option<i64>,
}

/// The start, as a position in a segment.
#[derive(Clone, Copy, Debug)]
struct Start {
    at: i64,
    /// The running time there.
    running_time: i64,
    rate: f64,
}

impl Default for Beginning {
    fn default() -> Beginning {
        Beginning {
            content: Content::Other(None),
            has_all: false,
            is_still: false,
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
    }

    /// The pipeline plays again, at this running time, which may have been set back.
    pub(super) fn resume(&mut self, now: i64) {
        self.start = match self.next_start > now.saturating_add(AHEAD) {
            true => now.max(0),
            false => self.next_start,
        };
        (self.next_start, self.first) = (self.start, None);
    }

    /// Downstream was flushed: its running time starts from zero, and it shows nothing.
    pub(super) fn flush(&mut self) {
        (self.start, self.next_start, self.first) = (0, 0, None);
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

    /// The running time before which nothing is pushed, in nanoseconds.
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    /// Whether a first frame from before the start is shown there, and its time is no measure for this
    /// pipeline: a still picture, or a frame of a producer that has waited for this client, as one has
    /// whose first frame it is (`is_start`).
    pub(super) fn is_at(
        &self,
        place: Place,
        segment: &gst::Segment,
        (is_newest, is_start): (bool, bool),
    ) -> bool {
        let (Some(start), Some(pts)) = (Start::of(segment, self.start), place.pts) else {
            return false;
        };
        let span = start.span(pts, place.duration.or(self.duration()));
        if !self.is_first || span.begin >= 0 {
            return false;
        }
        if self.is_still && is_newest {
            return true;
        }
        let over_for = span.over_for();
        let is_picture = matches!(self.content, Content::Pictures(_));
        match self.has_all {
            true => is_start || over_for > STILL,
            false if is_picture && is_newest => {
                over_for > STILL || (over_for >= 0 && !start.is_inside(segment))
            }
            false => false,
        }
    }

    /// Whether the producer's times are disregarded for the frames after the first one, too.
    pub(super) fn has_all(&self) -> bool {
        self.has_all
    }

    /// What is left of a buffer from the start on, with its times; none of one that comes too early.
    pub(super) fn clip(
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
        let first = self.first.get_or_insert_with(|| match is_early {
            true => decoded.min(span.begin),
            false => 0,
        });
        let first = *first;
        let squeeze = Squeeze { first };
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

/// Moves times from before the start to after it, in their order.
struct Squeeze {
    /// The first of them; zero where there are none.
    first: i64,
}

impl Squeeze {
    /// From then on times are what they were.
    fn end(&self) -> i64 {
        -self.first / (SQUEEZE - 1)
    }

    fn of(&self, time: i64) -> i64 {
        match time < self.end() {
            true => time.saturating_sub(self.first).max(0) / SQUEEZE,
            false => time,
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

impl Span {
    /// For how long it has been over at running time 0, below zero where it is not. What has no end that
    /// is known is over when it begins.
    fn over_for(self) -> i64 {
        self.end.unwrap_or(self.begin).saturating_neg()
    }
}

impl Start {
    /// Where a running time is. None in a segment without running times.
    fn of(segment: &gst::Segment, running_time: i64) -> Option<Start> {
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

    fn is_backwards(self) -> bool {
        self.rate < 0.0
    }

    fn is_inside(self, segment: &gst::Segment) -> bool {
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
    fn since(self, position: i64) -> i64 {
        match self.is_backwards() {
            false => position.saturating_sub(self.at),
            true => self.at.saturating_sub(position),
        }
    }

    /// The position that is so long after the start.
    fn position(self, since: i64) -> i64 {
        match self.is_backwards() {
            false => self.at.saturating_add(since),
            true => self.at.saturating_sub(since),
        }
    }

    /// The running time so long after the start, or a bit later.
    fn running_time(self, since: i64) -> i64 {
        let since = match self.rate.abs() {
            1.0 => since,
            rate => (since as f64 / rate).ceil() as i64,
        };
        self.running_time.saturating_add(since)
    }

    fn span(self, pts: i64, duration: Option<i64>) -> Span {
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
    fn place(self, span: Span) -> (i64, Option<i64>) {
        let pts = match self.is_backwards() {
            false => self.position(span.begin),
            true => self.position(span.end.unwrap_or(span.begin)),
        };
        let duration = span.end.map(|end| end.saturating_sub(span.begin));
        (pts.max(0), duration)
    }

    /// The same place, with no timestamp from before the start.
    fn clamp(self, place: Place) -> Place {
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

fn set_times(buffer: &mut gst::Buffer, place: Place) {
    let usable = |nseconds: Option<i64>| nseconds.filter(|time| *time <= LAST_TIME as i64);
    let buffer = buffer.make_mut();
    buffer.set_pts(usable(place.pts).map(time));
    buffer.set_dts(usable(place.dts).map(time));
    buffer.set_duration(usable(place.duration).map(time));
}

#[cfg(test)]
mod tests;
