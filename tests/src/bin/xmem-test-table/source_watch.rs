//! The buffers that leave a source.

use std::sync::{Mutex, PoisonError};

use gst::prelude::*;
use xmem_tests::roles::monotonic_ns;

/// A pad whose buffers have crossed the cut or, uncut, would have.
pub struct SourceWatch {
    pub name: String,
    state: Mutex<State>,
}

/// The observations since the last mark.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub buffers: u64,
    /// When the first buffer left, on `CLOCK_MONOTONIC`.
    pub first_at: Option<u64>,
    /// The running time of the first buffer that has one, in ns.
    pub first_running: Option<i64>,
    pub least_running: Option<i64>,
    /// Number of buffers with a time but no running time, or a negative one.
    pub below_zero: u64,
    /// Number of buffers whose running time is less than that of the buffer before.
    pub backwards: u64,
    /// Number of missed frames, by the frame numbers.
    pub missed: u64,
    pub segments: u64,
    pub last_number: u64,
}

#[derive(Default)]
struct State {
    seen: Seen,
    last_running: Option<i64>,
    /// The producer and the number of the last frame.
    last: Option<(String, u64)>,
    /// Frames of this producer belong to the time before the mark.
    over: Option<String>,
}

impl SourceWatch {
    /// Watches the source pad of an element.
    pub fn start(name: &str, pad: &gst::Pad) -> std::sync::Arc<SourceWatch> {
        let watch = std::sync::Arc::new(SourceWatch {
            name: name.to_owned(),
            state: Mutex::default(),
        });
        let probe = watch.clone();
        let kinds = gst::PadProbeType::BUFFER
            | gst::PadProbeType::BUFFER_LIST
            | gst::PadProbeType::EVENT_DOWNSTREAM;
        pad.add_probe(kinds, move |pad, info| {
            match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => probe.take(pad, buffer),
                Some(gst::PadProbeData::BufferList(list)) => {
                    list.iter().for_each(|buffer| probe.take(pad, buffer));
                }
                Some(gst::PadProbeData::Event(event)) => probe.event(event),
                _ => {}
            }
            gst::PadProbeReturn::Ok
        });
        watch
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The observations since the last mark.
    pub fn seen(&self) -> Seen {
        self.state().seen.clone()
    }

    /// Starts new observations, for the stream of another producer. Frames of the former producer
    /// that are still on their way do not count.
    pub fn mark(&self) {
        let mut state = self.state();
        state.over = state.last.take().map(|(producer, _)| producer);
        state.seen = Seen::default();
    }

    /// The pipeline is in PAUSED. Frames of this time are outdated after it. The source counts
    /// those of them that it dropped.
    pub fn pause(&self) {
        let mut state = self.state();
        state.last = None;
    }

    /// The running time starts at 0 again.
    pub fn forget_time(&self) {
        self.state().last_running = None;
    }

    fn event(&self, event: &gst::Event) {
        let mut state = self.state();
        match event.type_() {
            gst::EventType::Segment => state.seen.segments += 1,
            gst::EventType::FlushStop => state.last_running = None,
            _ => {}
        }
    }

    fn take(&self, pad: &gst::Pad, buffer: &gst::BufferRef) {
        let now = monotonic_ns();
        let record = record(buffer);
        let state = &mut *self.state();
        if let Some(over) = &state.over {
            if record.as_ref().is_none_or(|(producer, _)| producer == over) {
                return;
            }
            state.over = None;
        }
        let seen = &mut state.seen;
        seen.buffers += 1;
        seen.first_at.get_or_insert(now);
        if let Some((producer, number)) = record {
            if let Some((last_producer, last)) = &state.last
                && *last_producer == producer
            {
                seen.missed += number.saturating_sub(last + 1);
            }
            seen.last_number = number;
            state.last = Some((producer, number));
        }
        if let Some(time) = buffer.pts().or(buffer.dts()) {
            match running_time(pad, time) {
                Some(running) => {
                    seen.first_running.get_or_insert(running);
                    let least = seen.least_running.get_or_insert(running);
                    *least = running.min(*least);
                    seen.below_zero += u64::from(running < 0);
                }
                None => seen.below_zero += 1,
            }
        }
        let decoded = buffer.dts().or(buffer.pts());
        if let Some(running) = decoded.and_then(|time| running_time(pad, time)) {
            seen.backwards += u64::from(state.last_running.is_some_and(|last| running < last));
            state.last_running = Some(running);
        }
    }
}

/// The running time of a timestamp in the segment of the pad; it can be negative.
fn running_time(pad: &gst::Pad, time: gst::ClockTime) -> Option<i64> {
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = segment.segment().downcast_ref::<gst::ClockTime>()?;
    let running = segment.to_running_time_full(time)?;
    let sign = if running.is_negative() { -1 } else { 1 };
    Some(sign * running.abs().nseconds() as i64)
}

/// The producer of a frame and the frame number.
pub fn record(buffer: &gst::BufferRef) -> Option<(String, u64)> {
    let meta = gst::meta::CustomMeta::from_buffer(buffer, "XmemBufferMeta").ok()?;
    let record = meta.structure();
    Some((record.get("producer").ok()?, record.get("seq").ok()?))
}
