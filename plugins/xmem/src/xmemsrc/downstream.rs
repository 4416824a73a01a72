//! Pushes events between the buffers, in the order in which the producer sent them.

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
use crate::timestamps::{MonotonicOffset, milliseconds, time};

/// The maximum number of events that wait for a frame, and the maximum size of their encoded form.
const MAX_HELD: usize = 128;
const MAX_HELD_BYTES: usize = 32 << 20;

/// An event that waits to be pushed. A segment waits for a frame, which determines the running time
/// of the segment in this pipeline.
#[derive(Clone)]
pub(super) enum QueuedEvent {
    Caps(gst::Caps),
    Decoded(DecodedEvent),
}

/// An event for the element itself.
pub(super) enum ElementUpdate {
    Latency(gst::ClockTime),
    Accepts(UpstreamEvents),
    Extent(Extent),
}

/// Pushes events. Only the streaming thread uses it.
#[derive(Default)]
pub(super) struct Downstream {
    held: Vec<QueuedEvent>,
    /// The size of the encoded form of the events in `held`.
    held_bytes: usize,
    timeline: Option<Timeline>,
    /// The timeline of the previous producer.
    before: Option<Timeline>,
    /// The stream is live. After a change of producer, the value of the previous one counts until
    /// the new one sends it.
    is_live: bool,
    beginning: Beginning,
    /// When this client asked for the stream, in milliseconds since the Unix epoch.
    asked: u64,
    /// The sequence number of the segment.
    seqnum: Option<gst::Seqnum>,
    /// The sequence number of the end of the stream, if the end comes next.
    end: Option<gst::Seqnum>,
    /// A stream-start was pushed.
    started: bool,
    /// A flush downstream has removed the segment.
    is_flushed: bool,
    drain: Drain,
    /// No frame was pushed since the last drain.
    is_drained: bool,
}

impl Downstream {
    /// Queues an event whose encoded form has `size` bytes.
    pub(super) fn hold(&mut self, held: QueuedEvent, size: usize) {
        // These take effect at once, because they also apply to the queued segment.
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

    /// Returns whether there are events that can be pushed now.
    pub(super) fn is_holding(&self) -> bool {
        self.due() > 0
    }

    /// Returns how many of the queued events can be pushed without a frame: those before the first
    /// segment, which needs a frame to place it. Events after the segment wait with it, unless a
    /// flush makes them void, or too many wait.
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

    /// Returns the times of a frame in the segment that was pushed before it.
    pub(super) fn place(&mut self, frame: &BufferMeta) -> Place {
        let timeline = self.timeline.as_mut();
        timeline.map_or(Place::default(), |timeline| timeline.place(frame))
    }

    /// Clips a buffer with these times to what is shown, and sets its times. Returns `None` for a
    /// buffer that ends before the pipeline starts. `is_newest`: there is no newer frame yet.
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

    /// Another producer sends from the running time `now` on. Its buffers are in a segment of its
    /// own, or in the default segment. This client asked for its stream at `asked`, in milliseconds
    /// since the Unix epoch.
    pub(super) fn restart(&mut self, now: i64, asked: u64) {
        self.asked = asked;
        self.held.clear();
        self.held_bytes = 0;
        self.before = self.timeline.take().or(self.before.take());
        (self.seqnum, self.end) = (None, None);
        self.beginning.join(now);
    }

    /// This pipeline has another base time or clock, for example after a pause, and the running
    /// time `now`.
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

    /// The producer has flushed: removes the queued events that are void after a flush.
    pub(super) fn forget_once(&mut self) {
        self.held.retain(|held| !is_once(held));
        self.end = None;
    }

    /// Pushes the queued events that come before an item. Returns the caps, if they have changed.
    ///
    /// # Errors
    /// Downstream refuses the caps.
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
        // Without the events that are void after a flush.
        let lasting: Vec<_> = held.iter().filter(|held| !is_once(held)).cloned().collect();
        let mut held = held.into_iter();
        // The segment was shifted for this frame already.
        let mut is_aimed = false;
        while let Some(next) = held.next() {
            match next {
                // The segment may be from before the flush, and nothing in the queue belongs to it.
                QueuedEvent::Decoded(DecodedEvent::Segment(..))
                    if self.is_flushed && is_replaced(held.as_slice()) => {}
                // Downstream has these caps. A change of producer alone must not cause another
                // ALLOCATION query, which a queue answers only after it has pushed all that it
                // holds.
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
                    // The segment of another producer, or the same segment again because the
                    // producer was paused.
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
                // Took effect when the event was received.
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
            // A flushing pad does not even keep sticky events, so they are pushed again.
            self.held.splice(..0, lasting);
            self.started = started;
            self.is_flushed = true;
        }
        Ok(changed)
    }

    /// Pushes the stream-start and the segment that must come before a frame, if there are none
    /// yet. Shifts the segment for `frame`, if it was not shifted already.
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
            // A producer that sends no segment does not say either whether it waits for its
            // clients.
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

    /// Returns a gap event with its time in this pipeline's segment, after pushing the segment if
    /// necessary. Returns `None` if the gap ends before the pipeline starts, or if its time is out
    /// of the range that elements can compute with. `shift` is the distance of the producer's
    /// running time from this pipeline's, if it is known.
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

    /// Pushes a stream-start if there was none: a producer without GStreamer sends none.
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
        is_start: frame.seq() == 0,
        is_fresh: milliseconds(frame.timestamp()) >= asked,
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

/// Returns the current running time, in nanoseconds; 0 if the pipeline has none.
pub(super) fn running_time(offset: Option<MonotonicOffset>) -> i64 {
    let now = xmem_core::monotonic_time().as_nanos() as u64;
    offset.map_or(0, |offset| offset.to_running_time(now))
}

/// Returns how far the producer's running time is behind this pipeline's, from the two offsets to
/// `CLOCK_MONOTONIC`; `None` if one of them is unknown.
fn shift(theirs: Option<MonotonicOffset>, ours: Option<MonotonicOffset>) -> Option<i64> {
    let (theirs, ours) = theirs.zip(ours)?;
    Some(theirs.nseconds().saturating_sub(ours.nseconds()))
}

/// Returns whether the pad has these caps, and downstream has not asked to renegotiate.
fn is_current(element: &BaseSrc, caps: &gst::Caps) -> bool {
    let pad = element.src_pad();
    let asks = pad.pad_flags().contains(gst::PadFlags::NEED_RECONFIGURE);
    pad.current_caps().as_ref() == Some(caps) && !asks
}

/// Returns whether the next segment comes before any gap, so that nothing is in the first segment.
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

/// Returns whether an event is void after a flush: it is not sticky.
fn is_once(held: &QueuedEvent) -> bool {
    match held {
        QueuedEvent::Decoded(
            DecodedEvent::Gap(..) | DecodedEvent::Drain | DecodedEvent::End(_),
        ) => true,
        QueuedEvent::Decoded(DecodedEvent::Event(event)) => !event.is_sticky(),
        _ => false,
    }
}

/// Returns whether the pad is flushing, so that pushed events are lost. Flushing ends only after
/// the streaming thread has returned from all that it does.
fn is_flushing(element: &BaseSrc) -> bool {
    let flags = element.src_pad().pad_flags();
    flags.contains(gst::PadFlags::FLUSHING)
}

fn push(element: &BaseSrc, event: gst::Event) {
    // If downstream refuses the event, it refuses the next buffer, too, which reports the reason.
    let _ = element.src_pad().push_event(event);
}

#[cfg(test)]
mod tests;
