//! When the frames of a stream are shown: by the clock in PLAYING, at once in PAUSED.

use gst::prelude::*;
use gst_base::BaseSink;
use gst_base::prelude::*;
use xmem_media::event::EventContent;

use super::announcer::Announcer;
use super::reporter::Outbox;
use crate::events;
use crate::timestamps::{MonotonicOffset, Timekeeper, Times, TimesInPause};

/// The clock of the pipeline, and how the last frame was shown.
#[derive(Default)]
pub(in crate::xmemsink) struct Timing {
    timekeeper: Timekeeper,
    last_frame: LastFrame,
    /// Clients were told that frames are shown in PAUSED.
    is_still: bool,
}

/// How the last frame of the current segment was published.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum LastFrame {
    /// No frame yet.
    #[default]
    None,
    /// In PLAYING, with its time by this base time.
    By(gst::ClockTime),
    /// In PAUSED, at once.
    InPause,
}

impl Timing {
    /// Returns the offset of the pipeline at this moment.
    pub(super) fn offset(&mut self, sink: &BaseSink) -> Option<MonotonicOffset> {
        self.timekeeper.offset(sink)
    }

    /// A segment begins: none of its frames was published.
    pub(in crate::xmemsink) fn begin_segment(&mut self) {
        self.last_frame = LastFrame::None;
    }

    /// Returns the times of a frame that is shown in PLAYING. Tells the clients before what applies
    /// to it.
    pub(super) fn in_play(
        &mut self,
        sink: &BaseSink,
        buffer: &gst::BufferRef,
        announcer: &Announcer,
        outbox: &mut Outbox<'_>,
    ) -> Times {
        self.update_segment(sink, announcer, outbox);
        self.say_still(false, announcer, outbox);
        announcer.tell_latency(sink.latency(), outbox);
        self.timekeeper.times(sink, buffer)
    }

    /// Returns the times of a frame that is shown in PAUSED. Sends the segment again if an earlier
    /// frame of it was published, because that frame was shown at another moment.
    pub(super) fn in_pause(
        &mut self,
        sink: &BaseSink,
        times: TimesInPause,
        announcer: &Announcer,
        outbox: &mut Outbox<'_>,
    ) -> Times {
        let (times, offset) = times.now();
        let before = std::mem::replace(&mut self.last_frame, LastFrame::InPause);
        if before != LastFrame::None {
            send_segment(sink, offset, announcer, outbox);
        }
        self.say_still(true, announcer, outbox);
        times
    }

    /// Sends the segment again if its running times are reached at other moments than before:
    /// after a frame in PAUSED, or with another base time. Clients cannot distinguish a short pause
    /// from a clock that drifts.
    fn update_segment(&mut self, sink: &BaseSink, announcer: &Announcer, outbox: &mut Outbox<'_>) {
        let Some(base_time) = sink.base_time() else {
            return;
        };
        let now = LastFrame::By(base_time);
        let before = std::mem::replace(&mut self.last_frame, now);
        if ![LastFrame::None, now].contains(&before) {
            send_segment(sink, self.offset(sink), announcer, outbox);
        }
    }

    /// Tells the clients whether the following frames are shown in PAUSED, if that has changed.
    fn say_still(&mut self, is_still: bool, announcer: &Announcer, outbox: &mut Outbox<'_>) {
        if std::mem::replace(&mut self.is_still, is_still) != is_still {
            announcer.say_own(EventContent::Still(is_still), outbox);
        }
    }
}

/// Sends the segment again, for a pipeline with this offset.
fn send_segment(
    sink: &BaseSink,
    offset: Option<MonotonicOffset>,
    announcer: &Announcer,
    outbox: &mut Outbox<'_>,
) {
    let segment = sink.sink_pad().sticky_event::<gst::event::Segment>(0);
    let segment = segment.filter(|event| event.segment().format() == gst::Format::Time);
    let said = segment.map(|event| events::encode(&event, offset));
    if let Some(Ok(Some(said))) = said {
        announcer.say_event(gst::EventType::Segment, said, outbox);
    }
}
