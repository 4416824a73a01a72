//! What goes downstream between the buffers, in the order in which the producer said it.

use gst::glib;
use gst::prelude::*;
use gst_base::prelude::*;

use super::guard::Guard;
use super::receiver::Received;
use super::timeline::Timeline;
use crate::events::Said;
use crate::events::upstream::UpstreamEvents;
use crate::timestamps::MonotonicOffset;

/// What waits to be pushed: a segment can't be before a frame tells where it belongs in this
/// pipeline's running time.
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
    timeline: Option<Timeline>,
    /// A stream-start was pushed.
    started: bool,
    /// Downstream has lost the segment.
    is_flushed: bool,
}

impl Downstream {
    pub(super) fn hold(&mut self, held: Held) {
        self.held.push(held);
    }

    /// Whether there is something that can be pushed now.
    pub(super) fn is_holding(&self) -> bool {
        due(&self.held) > 0
    }

    /// The producer's segment as it is here, where it has said one.
    pub(super) fn timeline(&self) -> Option<&Timeline> {
        self.timeline.as_ref()
    }

    /// Another producer speaks from now on: its buffers are in a segment of its own, or of ours.
    pub(super) fn restart(&mut self) {
        self.held.clear();
        self.is_flushed |= self.timeline.take().is_some();
    }

    /// Downstream was flushed: what was said once until then is void.
    pub(super) fn flush(&mut self) {
        self.is_flushed = true;
        self.held.retain(|held| match held {
            Held::Said(Said::Gap(..)) => false,
            Held::Said(Said::Event(event)) => event.is_sticky(),
            _ => true,
        });
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
        let mut held = std::mem::take(&mut self.held);
        let frame = match received {
            Received::Frame(frame) => Some(frame.meta()),
            Received::Nothing => {
                self.held = held.split_off(due(&held));
                None
            }
            Received::End => None,
        };
        for held in held {
            match held {
                Held::Caps(caps) => {
                    self.start(element, guard);
                    element.set_caps(&caps)?;
                    changed = Some(caps);
                }
                Held::Said(Said::Segment(segment, theirs)) => {
                    self.start(element, guard);
                    let mut timeline = Timeline::new(segment, self.shift(theirs, offset));
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
                // Was seen to when it was told.
                Held::Said(Said::Flush) => {}
            }
        }
        let Some(frame) = frame else {
            return Ok(changed);
        };
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
        Ok(changed)
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

/// How much can be pushed where no frame tells yet where a segment belongs: all before that. What
/// comes after it waits with it, unless it is said once.
fn due(held: &[Held]) -> usize {
    let is_once = |held: &Held| match held {
        Held::Said(Said::Gap(..)) => true,
        Held::Said(Said::Event(event)) => !event.is_sticky(),
        _ => false,
    };
    let once = held.iter().rposition(is_once).map_or(0, |at| at + 1);
    let is_segment = |held: &Held| matches!(held, Held::Said(Said::Segment(..)));
    once.max(held.iter().position(is_segment).unwrap_or(held.len()))
}

fn push(element: &super::XmemSrc, event: gst::Event) {
    // Where it is refused, the next buffer is, too, and tells why.
    let _ = element.src_pad().push_event(event);
}
