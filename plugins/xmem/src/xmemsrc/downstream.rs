//! What goes downstream between the buffers, in the order in which the producer said it.

use gst::glib;
use gst::prelude::*;
use gst_base::BaseSrc;
use gst_base::prelude::*;
use xmem_core::BufferMeta;
use xmem_media::event::Extent;

use super::beginning::{Beginning, Which};
use super::drain::Drain;
use super::eventfilter::EventFilter;
use super::received::Received;
use super::timeline::{Place, Timeline};
use crate::events::DecodedEvent;
use crate::events::upstream::UpstreamEvents;
use crate::timestamps::{MonotonicOffset, time};

/// Most events that wait for a frame, and most bytes that were told of them.
const MAX_HELD: usize = 128;
const MAX_HELD_BYTES: usize = 32 << 20;

/// An event that waits to be pushed. A segment waits for a frame, which tells where the segment stands
/// in this pipeline's running time.
#[derive(Clone)]
pub(super) enum QueuedEvent {
    Caps(gst::Caps),
    Decoded(DecodedEvent),
}

/// What an event tells the element itself.
pub(super) enum ElementUpdate {
    Latency(gst::ClockTime),
    Accepts(UpstreamEvents),
    Extent(Extent),
}

/// Pushes events. Used by the streaming thread alone.
#[derive(Default)]
pub(super) struct Downstream {
    held: Vec<QueuedEvent>,
    /// Bytes that were told of what is held.
    held_bytes: usize,
    timeline: Option<Timeline>,
    /// That of the producer before.
    before: Option<Timeline>,
    /// The stream is live, as far as is known: another producer's is as the one before.
    is_live: bool,
    beginning: Beginning,
    /// When this client has asked for the stream, in milliseconds since the Unix epoch.
    asked: u64,
    /// The number of its segment.
    seqnum: Option<gst::Seqnum>,
    /// That of the end, if that comes next.
    end: Option<gst::Seqnum>,
    /// A stream-start was pushed.
    started: bool,
    /// Downstream has lost the segment.
    is_flushed: bool,
    drain: Drain,
    /// No frame has followed since it was last asked to let go.
    is_drained: bool,
}

impl Downstream {
    /// Keeps what `size` bytes told until it is pushed.
    pub(super) fn hold(&mut self, held: QueuedEvent, size: usize) {
        // It is for what comes before it, too: the segment.
        if let QueuedEvent::Decoded(DecodedEvent::Waits(waits)) = held {
            self.beginning.set_has_all(waits);
            return;
        }
        if let QueuedEvent::Decoded(DecodedEvent::Still(is_still)) = held {
            self.beginning.set_still(is_still);
            return;
        }
        if let QueuedEvent::Decoded(DecodedEvent::Latency(latency)) = held {
            self.beginning.set_latency(latency);
        }
        if let QueuedEvent::Decoded(DecodedEvent::Extent(extent)) = &held {
            self.is_live = extent.is_live;
            if let Some(timeline) = &mut self.timeline {
                timeline.set_live(extent.is_live);
            }
        }
        self.held.push(held);
        self.held_bytes += size;
    }

    /// Whether there is something that can be pushed now.
    pub(super) fn is_holding(&self) -> bool {
        self.due() > 0
    }

    /// How much can be pushed where no frame tells yet where a segment belongs: all before that.
    /// What comes after it waits with it, unless it is said once, or there is too much of it.
    fn due(&self) -> usize {
        let held = &self.held;
        if held.len() > MAX_HELD || self.held_bytes > MAX_HELD_BYTES {
            return held.len();
        }
        let once = held.iter().rposition(is_once).map_or(0, |at| at + 1);
        let is_segment =
            |held: &QueuedEvent| matches!(held, QueuedEvent::Decoded(DecodedEvent::Segment(..)));
        once.max(held.iter().position(is_segment).unwrap_or(held.len()))
    }

    /// Where a frame stands in the segment that was pushed before it.
    pub(super) fn place(&mut self, frame: &BufferMeta) -> Place {
        let timeline = self.timeline.as_mut();
        timeline.map_or(Place::default(), |timeline| timeline.place(frame))
    }

    /// What is left of a buffer that stands there, with its times: none of one that comes before the
    /// pipeline starts. `is_newest`: there is no newer frame yet.
    pub(super) fn clip(
        &mut self,
        buffer: gst::Buffer,
        place: Place,
        is_newest: bool,
    ) -> Option<gst::Buffer> {
        match &self.timeline {
            Some(timeline) => self
                .beginning
                .clip(buffer, place, timeline.segment(), is_newest),
            None => Some(buffer),
        }
    }

    /// Another producer speaks from `now` on, a running time: its buffers are in a segment of its own, or of
    /// ours. It was asked for its stream at a time in milliseconds since the Unix epoch.
    pub(super) fn restart(&mut self, now: i64, asked: u64) {
        self.asked = asked;
        self.held.clear();
        self.held_bytes = 0;
        self.before = self.timeline.take().or(self.before.take());
        (self.seqnum, self.end) = (None, None);
        self.beginning.join(now);
    }

    /// This pipeline has another base time, or another clock, and this running time: it was paused, for
    /// example.
    pub(super) fn restart_clock(&mut self, now: i64) {
        if let Some(timeline) = &mut self.timeline {
            timeline.open();
        }
        self.beginning.resume(now);
    }

    /// Downstream was flushed.
    pub(super) fn flush(&mut self) {
        self.is_flushed = true;
        self.beginning.flush();
    }

    /// The producer has flushed: what it has said once until then is void.
    pub(super) fn forget_once(&mut self) {
        self.held.retain(|held| !is_once(held));
        self.end = None;
    }

    /// Pushes what is held before what was received. Tells the caps, where they have changed.
    ///
    /// # Errors
    /// Where downstream refuses the caps.
    pub(super) fn push(
        &mut self,
        element: &BaseSrc,
        filter: &EventFilter,
        received: (&Received, bool),
        offset: Option<MonotonicOffset>,
        mut notice: impl FnMut(ElementUpdate),
    ) -> Result<Option<gst::Caps>, glib::BoolError> {
        let (received, is_newest) = received;
        let mut changed = None;
        let due = match received {
            Received::Nothing => self.due(),
            Received::Frame(_) | Received::End => self.held.len(),
        };
        let rest = self.held.split_off(due);
        let held = std::mem::replace(&mut self.held, rest);
        if self.held.is_empty() {
            self.held_bytes = 0;
        }
        let frame = match received {
            Received::Frame(frame) => Some(frame.meta()),
            Received::Nothing | Received::End => None,
        };
        let (started, has_news) = (self.started, !held.is_empty() || !self.started);
        // Not what is said once: that is void after a flush.
        let lasting: Vec<_> = held.iter().filter(|held| !is_once(held)).cloned().collect();
        let mut held = held.into_iter();
        // The segment was shifted for the frame.
        let mut is_aimed = false;
        while let Some(next) = held.next() {
            match next {
                // It may be from before the flush, and nothing is in it.
                QueuedEvent::Decoded(DecodedEvent::Segment(..))
                    if self.is_flushed && is_replaced(held.as_slice()) => {}
                // Downstream has them. A producer that was replaced is no reason for another allocation
                // query: a queue answers that when all that it holds has gone on.
                QueuedEvent::Caps(caps) if is_current(element, &caps) => {
                    self.beginning.set_caps(&caps)
                }
                QueuedEvent::Caps(caps) => {
                    self.start(element, filter);
                    if let Err(error) = element.set_caps(&caps)
                        && !is_flushing(element)
                    {
                        return Err(error);
                    }
                    self.beginning.set_caps(&caps);
                    changed = Some(caps);
                }
                QueuedEvent::Decoded(DecodedEvent::Segment(segment, theirs, seqnum)) => {
                    self.start(element, filter);
                    let told = shift(theirs, offset);
                    let before = self.timeline.as_ref().map_or(0, Timeline::shift);
                    let mut timeline = Timeline::new(segment, told.unwrap_or(before));
                    timeline.set_live(self.is_live);
                    // Another producer's, or the same once more: the producer was paused.
                    let is_same = self.seqnum == Some(seqnum);
                    let last = match self.timeline.take() {
                        Some(last) => is_same.then_some(last),
                        None => self.before.take(),
                    };
                    if let Some(last) = last.filter(|_| !self.is_flushed) {
                        timeline = timeline.after(&last);
                    }
                    if let Some(frame) = frame {
                        let which = which(frame, is_newest, self.asked);
                        aim(&mut timeline, &mut self.beginning, (frame, which), offset);
                        is_aimed = true;
                    }
                    if told.is_some() {
                        timeline.settle();
                    }
                    if timeline.is_due() {
                        filter.push_segment(element, timeline.push(), seqnum);
                    }
                    (self.timeline, self.seqnum) = (Some(timeline), Some(seqnum));
                    self.is_flushed = false;
                }
                QueuedEvent::Decoded(DecodedEvent::Gap(event, theirs)) => {
                    self.start(element, filter);
                    is_aimed = false;
                    let event = self.place_gap(element, filter, event, shift(theirs, offset));
                    if let Some(event) = event {
                        push(element, event);
                    }
                }
                QueuedEvent::Decoded(DecodedEvent::Event(event))
                    if event.type_() == gst::EventType::StreamStart =>
                {
                    self.started = true;
                    filter.push_stream_start(element, event);
                }
                QueuedEvent::Decoded(DecodedEvent::Event(event)) => {
                    self.start(element, filter);
                    push(element, event);
                }
                QueuedEvent::Decoded(DecodedEvent::Latency(latency)) => {
                    notice(ElementUpdate::Latency(latency))
                }
                QueuedEvent::Decoded(DecodedEvent::Accepts(accepts)) => {
                    notice(ElementUpdate::Accepts(accepts))
                }
                QueuedEvent::Decoded(DecodedEvent::Extent(extent)) => {
                    notice(ElementUpdate::Extent(extent))
                }
                QueuedEvent::Decoded(DecodedEvent::Drain) => {
                    if !std::mem::replace(&mut self.is_drained, true) {
                        self.drain.push(element.src_pad());
                    }
                }
                QueuedEvent::Decoded(DecodedEvent::End(seqnum)) => self.end = Some(seqnum),
                // Was seen to when it was told.
                QueuedEvent::Decoded(
                    DecodedEvent::Flush(_) | DecodedEvent::Waits(_) | DecodedEvent::Still(_),
                ) => {}
            }
        }
        match received {
            Received::Frame(frame) => {
                let which = which(frame.meta(), is_newest, self.asked);
                let aim = (!is_aimed).then_some((frame.meta(), which));
                self.begin(element, filter, aim, offset);
            }
            Received::End => filter.end(self.end.take()),
            Received::Nothing => {}
        }
        if has_news && is_flushing(element) {
            // A pad that flushes does not even keep what is sticky.
            self.held.splice(..0, lasting);
            self.started = started;
            self.is_flushed = true;
        }
        Ok(changed)
    }

    /// Pushes what has to come before a frame in any case. Shifts the segment for it, where that was not
    /// done already.
    fn begin(
        &mut self,
        element: &BaseSrc,
        filter: &EventFilter,
        frame: Option<(&BufferMeta, Which)>,
        offset: Option<MonotonicOffset>,
    ) {
        self.is_drained = false;
        self.end = None;
        self.start(element, filter);
        let timeline = self.timeline.get_or_insert_with(|| {
            // Nor does it say whether it waits.
            self.beginning.set_has_all(true);
            match self.before.take() {
                Some(before) => Timeline::untold().after(&before),
                None => Timeline::untold(),
            }
        });
        if self.is_flushed {
            timeline.restart();
        }
        if let Some(frame) = frame {
            aim(timeline, &mut self.beginning, frame, offset);
        }
        if timeline.is_due() {
            let seqnum = self.seqnum.unwrap_or_else(gst::Seqnum::next);
            filter.push_segment(element, timeline.push(), seqnum);
        }
        self.is_flushed = false;
    }

    /// A gap where it belongs in the segment, which is pushed before it where that is necessary; none where
    /// it is over before the pipeline starts, or elements can't reckon with its time. The producer's running
    /// time is behind by `shift`, where that is known.
    fn place_gap(
        &mut self,
        element: &BaseSrc,
        filter: &EventFilter,
        event: gst::Event,
        shift: Option<i64>,
    ) -> Option<gst::Event> {
        let (Some(timeline), gst::EventView::Gap(gap)) = (&mut self.timeline, event.view()) else {
            return Some(event);
        };
        let (timestamp, duration) = gap.get();
        let theirs = Place {
            pts: Some(timestamp.nseconds() as i64),
            dts: None,
            duration: duration.map(|duration| duration.nseconds() as i64),
        };
        if self.is_flushed {
            timeline.restart();
        }
        if let Some(shift) = shift {
            timeline.follow_gap(theirs, shift);
        }
        if timeline.is_due() {
            let seqnum = self.seqnum.unwrap_or_else(gst::Seqnum::next);
            filter.push_segment(element, timeline.push(), seqnum);
            self.is_flushed = false;
        }
        let moved = timeline.moved(theirs);
        moved.pts?;
        let ours = self.beginning.clip_gap(moved, timeline.segment())?;
        if ours == theirs {
            return Some(event);
        }
        let timestamp = ours.pts.map_or(timestamp, time);
        let moved = gst::event::Gap::builder(timestamp).duration(ours.duration.map(time));
        let moved = moved.gap_flags(gap.gap_flags());
        Some(moved.seqnum(event.seqnum()).build())
    }

    /// A producer without GStreamer says no stream-start.
    fn start(&mut self, element: &BaseSrc, filter: &EventFilter) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let pad = element.src_pad();
        let id = pad.create_stream_id(element, Option::<&str>::None);
        let start = gst::event::StreamStart::builder(&id).group_id(gst::GroupId::next());
        filter.push_stream_start(element, start.build());
    }
}

fn which(frame: &BufferMeta, is_newest: bool, asked: u64) -> Which {
    Which {
        is_newest,
        is_start: frame.seq == 0,
        is_fresh: frame.timestamp >= asked,
    }
}

/// Shifts a segment for a frame.
fn aim(
    timeline: &mut Timeline,
    beginning: &mut Beginning,
    (frame, which): (&BufferMeta, Which),
    offset: Option<MonotonicOffset>,
) {
    timeline.follow(frame, offset);
    let place = timeline.place(frame);
    let now = || running_time(offset);
    let is_live = timeline.is_live();
    if let Some(shift) = beginning.shift(place, (timeline.segment(), is_live), which, now) {
        let duration = place.duration.or(beginning.duration());
        timeline.begin_with(frame, duration, (shift.at, shift.is_lasting));
    }
}

/// The running time at this moment, in nanoseconds; 0 where the pipeline has none.
pub(super) fn running_time(offset: Option<MonotonicOffset>) -> i64 {
    let now = xmem_core::monotonic_time().as_nanos() as u64;
    offset.map_or(0, |offset| offset.to_running_time(now))
}

/// How far a producer's running time, ahead of which `CLOCK_MONOTONIC` is by `theirs`, is behind ours;
/// none where it can't be told.
fn shift(theirs: Option<MonotonicOffset>, ours: Option<MonotonicOffset>) -> Option<i64> {
    let (theirs, ours) = theirs.zip(ours)?;
    Some(theirs.nseconds().saturating_sub(ours.nseconds()))
}

/// Whether downstream has these caps, and asks for no others.
fn is_current(element: &BaseSrc, caps: &gst::Caps) -> bool {
    let pad = element.src_pad();
    let asks = pad.pad_flags().contains(gst::PadFlags::NEED_RECONFIGURE);
    pad.current_caps().as_ref() == Some(caps) && !asks
}

/// Whether what follows a segment is another, and nothing that is in the first.
fn is_replaced(rest: &[QueuedEvent]) -> bool {
    let mut rest = rest.iter();
    let next = rest.find(|held| {
        matches!(
            held,
            QueuedEvent::Decoded(DecodedEvent::Segment(..) | DecodedEvent::Gap(..))
        )
    });
    matches!(next, Some(QueuedEvent::Decoded(DecodedEvent::Segment(..))))
}

/// Whether something is said once, and void after a flush.
fn is_once(held: &QueuedEvent) -> bool {
    match held {
        QueuedEvent::Decoded(
            DecodedEvent::Gap(..) | DecodedEvent::Drain | DecodedEvent::End(_),
        ) => true,
        QueuedEvent::Decoded(DecodedEvent::Event(event)) => !event.is_sticky(),
        _ => false,
    }
}

/// Whether what is pushed now does not arrive. That is over only when the streaming thread has come
/// out of all it does.
fn is_flushing(element: &BaseSrc) -> bool {
    let flags = element.src_pad().pad_flags();
    flags.contains(gst::PadFlags::FLUSHING)
}

fn push(element: &BaseSrc, event: gst::Event) {
    // Where it is refused, the next buffer is, too, and tells why.
    let _ = element.src_pad().push_event(event);
}

#[cfg(test)]
mod tests;
