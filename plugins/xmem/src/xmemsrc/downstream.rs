//! What goes downstream between the buffers, in the order in which the producer said it.

use gst::glib;
use gst::prelude::*;
use gst_base::prelude::*;
use xmem_core::BufferMeta;

use super::drain::Drain;
use super::guard::Guard;
use super::receiver::Received;
use super::timeline::Timeline;
use crate::events::Said;
use crate::events::upstream::UpstreamEvents;
use crate::timestamps::MonotonicOffset;

/// Most events that wait for a frame, and most bytes that were told of them.
const MAX_HELD: usize = 128;
const MAX_HELD_BYTES: usize = 32 << 20;

/// What waits to be pushed: a segment can't be before a frame tells where it belongs in this
/// pipeline's running time.
#[derive(Clone)]
pub(super) enum Held {
    Caps(gst::Caps),
    Said(Said),
}

/// What the element itself has to know of what was said.
pub(super) enum Notice {
    Latency(gst::ClockTime),
    Accepts(UpstreamEvents),
}

/// Pushes events. Used by the streaming thread alone.
#[derive(Default)]
pub(super) struct Downstream {
    held: Vec<Held>,
    /// Bytes that were told of what is held.
    held_bytes: usize,
    timeline: Option<Timeline>,
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
    pub(super) fn hold(&mut self, held: Held, size: usize) {
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
        let is_segment = |held: &Held| matches!(held, Held::Said(Said::Segment(..)));
        once.max(held.iter().position(is_segment).unwrap_or(held.len()))
    }

    /// The producer's segment as it is here, where it has said one.
    pub(super) fn timeline(&self) -> Option<&Timeline> {
        self.timeline.as_ref()
    }

    /// Another producer speaks from now on: its buffers are in a segment of its own, or of ours.
    pub(super) fn restart(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
        self.is_flushed |= self.timeline.take().is_some();
    }

    /// Downstream was flushed.
    pub(super) fn flush(&mut self) {
        self.is_flushed = true;
    }

    /// The producer has flushed: what it has said once until then is void.
    pub(super) fn forget_once(&mut self) {
        self.held.retain(|held| !is_once(held));
    }

    /// Pushes what is held before what was received. Tells the caps, where they have changed.
    ///
    /// # Errors
    /// Where downstream refuses the caps.
    pub(super) fn push(
        &mut self,
        element: &super::XmemSrc,
        guard: &Guard,
        received: &Received,
        offset: Option<MonotonicOffset>,
        mut notice: impl FnMut(Notice),
    ) -> Result<Option<gst::Caps>, glib::BoolError> {
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
        for held in held {
            match held {
                Held::Caps(caps) => {
                    self.start(element, guard);
                    if let Err(error) = element.set_caps(&caps)
                        && !is_flushing(element)
                    {
                        return Err(error);
                    }
                    changed = Some(caps);
                }
                Held::Said(Said::Segment(segment, theirs)) => {
                    self.start(element, guard);
                    let mut timeline = Timeline::new(segment, self.shift(theirs, offset));
                    if theirs.and(offset).is_none() {
                        timeline = timeline.guessed();
                    }
                    if let Some(frame) = frame {
                        timeline.follow(frame, offset);
                    }
                    guard.push_segment(element, timeline.segment());
                    self.timeline = Some(timeline);
                    self.is_flushed = false;
                }
                Held::Said(Said::Gap(event, theirs)) => {
                    self.start(element, guard);
                    let shift = self.shift(theirs, offset);
                    if let Some(timeline) = &mut self.timeline
                        && (timeline.shift_to(shift) || self.is_flushed)
                    {
                        guard.push_segment(element, timeline.segment());
                        self.is_flushed = false;
                    }
                    push(element, event);
                }
                Held::Said(Said::Event(event)) if event.type_() == gst::EventType::StreamStart => {
                    self.started = true;
                    guard.push_stream_start(element, event);
                }
                Held::Said(Said::Event(event)) => {
                    self.start(element, guard);
                    push(element, event);
                }
                Held::Said(Said::Latency(latency)) => notice(Notice::Latency(latency)),
                Held::Said(Said::Accepts(accepts)) => notice(Notice::Accepts(accepts)),
                Held::Said(Said::Drain) => {
                    if !std::mem::replace(&mut self.is_drained, true) {
                        self.drain.push(element.src_pad());
                    }
                }
                // Was seen to when it was told.
                Held::Said(Said::Flush) => {}
            }
        }
        if let Some(frame) = frame {
            self.begin(element, guard, frame, offset);
        }
        if has_news && is_flushing(element) {
            // A pad that flushes does not even keep what is sticky.
            self.held.splice(..0, lasting);
            self.started = started;
            self.is_flushed = true;
        }
        Ok(changed)
    }

    /// Pushes what has to come before a frame in any case.
    fn begin(
        &mut self,
        element: &super::XmemSrc,
        guard: &Guard,
        frame: &BufferMeta,
        offset: Option<MonotonicOffset>,
    ) {
        self.is_drained = false;
        self.start(element, guard);
        if let Some(timeline) = &mut self.timeline {
            if timeline.follow(frame, offset) || self.is_flushed {
                guard.push_segment(element, timeline.segment());
            }
        } else if self.is_flushed {
            let segment = gst::FormattedSegment::<gst::ClockTime>::new();
            guard.push_segment(element, segment.upcast_ref());
        }
        self.is_flushed = false;
    }

    /// A producer without GStreamer says no stream-start.
    fn start(&mut self, element: &super::XmemSrc, guard: &Guard) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let pad = element.src_pad();
        let id = pad.create_stream_id(element, Option::<&str>::None);
        let start = gst::event::StreamStart::builder(&id).group_id(gst::GroupId::next());
        guard.push_stream_start(element, start.build());
    }

    /// How far a producer's running time, ahead of which `CLOCK_MONOTONIC` is by `theirs`, is behind
    /// ours; as far as before where it can't be told.
    fn shift(&self, theirs: Option<MonotonicOffset>, ours: Option<MonotonicOffset>) -> i64 {
        match theirs.zip(ours) {
            Some((theirs, ours)) => theirs.nseconds().saturating_sub(ours.nseconds()),
            None => self.timeline.as_ref().map_or(0, Timeline::shift),
        }
    }
}

/// Whether something is said once, and void after a flush.
fn is_once(held: &Held) -> bool {
    match held {
        Held::Said(Said::Gap(..) | Said::Drain) => true,
        Held::Said(Said::Event(event)) => !event.is_sticky(),
        _ => false,
    }
}

/// Whether what is pushed now does not arrive. That is over only when the streaming thread has come
/// out of all it does.
fn is_flushing(element: &super::XmemSrc) -> bool {
    let flags = element.src_pad().pad_flags();
    flags.contains(gst::PadFlags::FLUSHING)
}

fn push(element: &super::XmemSrc, event: gst::Event) {
    // Where it is refused, the next buffer is, too, and tells why.
    let _ = element.src_pad().push_event(event);
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use gst::subclass::prelude::*;

    use super::super::{XmemSrc, imp};
    use super::*;

    /// What has arrived downstream of a source: events, and the times of buffers.
    type Arrived = Arc<Mutex<Vec<String>>>;

    /// A source that waits to play, so that its pad is the test's, and what follows it.
    fn linked() -> (XmemSrc, gst::Pad, Arrived) {
        gst::init().unwrap();
        let element: XmemSrc = glib::Object::builder()
            .property("socket-path", "/nonexistent/xmem")
            .build();
        let arrived = Arrived::default();
        let [events, buffers] = [arrived.clone(), arrived.clone()];
        let pad = gst::Pad::builder(gst::PadDirection::Sink)
            .event_function(move |_, _, event| {
                events.lock().unwrap().push(event.type_().to_string());
                true
            })
            .chain_function(move |_, _, buffer| {
                buffers.lock().unwrap().push(format!("{:?}", buffer.pts()));
                Ok(gst::FlowSuccess::Ok)
            })
            .build();
        element.src_pad().link(&pad).unwrap();
        pad.set_active(true).unwrap();
        element.set_state(gst::State::Paused).unwrap();
        (element, pad, arrived)
    }

    fn taken(arrived: &Arrived) -> Vec<String> {
        std::mem::take(&mut *arrived.lock().unwrap())
    }

    fn tags() -> Held {
        Held::Said(Said::Event(gst::event::Tag::new(gst::TagList::new())))
    }

    #[test]
    fn what_is_pushed_while_the_pad_flushes_is_pushed_once_more() {
        let (element, _pad, arrived) = linked();
        let guard =
            super::super::imp::guard(gst::subclass::prelude::ObjectSubclassIsExt::imp(&element));
        let mut downstream = Downstream::default();
        let caps = gst::Caps::new_empty_simple("application/x-test");
        downstream.hold(Held::Caps(caps), 1);
        downstream.hold(tags(), 1);
        element.src_pad().push_event(gst::event::FlushStart::new());
        let nothing = Received::Nothing;
        let push =
            |downstream: &mut Downstream| downstream.push(&element, guard, &nothing, None, |_| ());
        push(&mut downstream).expect("a flush is no refusal");
        assert_eq!(taken(&arrived), ["flush-start"]);
        element
            .src_pad()
            .push_event(gst::event::FlushStop::new(true));
        push(&mut downstream).unwrap();
        let expected = ["flush-stop", "stream-start", "caps", "tag"];
        assert_eq!(taken(&arrived), expected);
        assert!(!downstream.is_holding());
        element.set_state(gst::State::Null).unwrap();
    }

    #[test]
    fn a_buffer_that_is_dropped_does_not_leave_its_times_to_the_next() {
        let (element, _pad, arrived) = linked();
        let guard = imp::guard(element.imp());
        guard.push_stream_start(&element, gst::event::StreamStart::new("test"));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        guard.push_segment(&element, segment.upcast_ref());
        let mut buffer = gst::Buffer::new();
        guard.keep_times(&element, &buffer);
        buffer.get_mut().unwrap().set_pts(gst::ClockTime::SECOND);
        guard.keep_times(&element, &buffer);
        element.src_pad().push(buffer).unwrap();
        let pts = format!("{:?}", Some(gst::ClockTime::SECOND));
        assert_eq!(taken(&arrived).last(), Some(&pts));
        element.set_state(gst::State::Null).unwrap();
    }

    #[test]
    fn a_producer_that_only_talks_fills_no_memory() {
        gst::init().unwrap();
        let waiting = || {
            let segment = gst::FormattedSegment::<gst::ClockTime>::new();
            let mut downstream = Downstream::default();
            downstream.hold(Held::Said(Said::Segment(segment.upcast(), None)), 100);
            downstream
        };
        let mut many = waiting();
        for _ in 1..MAX_HELD {
            many.hold(tags(), 100);
        }
        assert_eq!(many.due(), 0);
        many.hold(tags(), 100);
        assert_eq!(many.due(), MAX_HELD + 1);
        let mut large = waiting();
        large.hold(tags(), MAX_HELD_BYTES - 100);
        assert_eq!(large.due(), 0);
        large.hold(tags(), 1);
        assert_eq!(large.due(), 3);
    }
}
