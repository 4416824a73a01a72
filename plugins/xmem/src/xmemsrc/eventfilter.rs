//! Filters the events that the base class pushes, and numbers those that go downstream.
//!
//! `GstBaseSrc` starts every stream itself, with a stream id of this pipeline, and pushes a segment
//! only with the next buffer. Here the producer's stream-start and segment events go downstream
//! instead, each in its place, with the producer's sequence numbers. Since 1.24,
//! `gst_base_src_push_segment` pushes a TIME segment at once, but with a new sequence number; so
//! does the base class with EOS.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use glib::translate::IntoGlib;
use gst::prelude::*;
use gst_base::BaseSrc;
use gst_base::prelude::*;

/// The sequence numbers of the events that the source itself has pushed; 0 for none. Only the
/// streaming thread writes them.
#[derive(Default)]
pub(super) struct EventFilter {
    stream_start: AtomicU32,
    /// The sequence number of a segment that the base class is going to push again, or to replace
    /// by its own.
    segment: AtomicU32,
    /// The number of buffers that were returned to the base class.
    buffers: Arc<AtomicU64>,
    numbers: Mutex<Numbers>,
}

/// The sequence numbers for the next events, and for the sticky events when the pad is linked
/// again.
#[derive(Default)]
struct Numbers {
    /// For the segment. `None` before the first segment.
    segment: Option<gst::Seqnum>,
    /// For EOS. `None` if the EOS is not the producer's.
    end: Option<gst::Seqnum>,
}

impl EventFilter {
    /// Installs the probe that filters what the base class pushes on the source pad.
    pub(super) fn install(self: &Arc<Self>, element: &BaseSrc) {
        let filter = self.clone();
        let events = gst::PadProbeType::EVENT_DOWNSTREAM;
        element.src_pad().add_probe(events, move |_, info| {
            if let Some(gst::PadProbeData::Event(event)) = &mut info.data {
                if filter.is_of_base_class(event) {
                    // Not Drop: the bindings have taken the event, and GStreamer 1.22 would free it
                    // again.
                    return gst::PadProbeReturn::Handled;
                }
                filter.number(event);
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the events of an earlier stream.
    pub(super) fn reset(&self) {
        self.stream_start.store(0, Ordering::Relaxed);
        self.segment.store(0, Ordering::Relaxed);
        *self.numbers() = Numbers::default();
    }

    /// Sets the sequence number of an event that goes downstream.
    fn number(&self, event: &mut gst::Event) {
        let number = match event.type_() {
            gst::EventType::Segment => {
                let mut numbers = self.numbers();
                // The number of the base class, if the producer has sent no segment.
                *numbers.segment.get_or_insert(event.seqnum())
            }
            gst::EventType::Eos => match self.numbers().end {
                Some(number) => number,
                None => return,
            },
            _ => return,
        };
        if event.seqnum() != number {
            event.make_mut().set_seqnum(number);
        }
    }

    /// Sets the sequence number of the following EOS: this number, or the number of its segment.
    pub(super) fn end(&self, number: Option<gst::Seqnum>) {
        let mut numbers = self.numbers();
        numbers.end = number.or(numbers.segment);
    }

    fn is_of_base_class(&self, event: &gst::EventRef) -> bool {
        let seqnum = event.seqnum().into_glib();
        match event.type_() {
            gst::EventType::StreamStart => seqnum != self.stream_start.load(Ordering::Relaxed),
            // The copy of a segment that was pushed already.
            gst::EventType::Segment => {
                let ours = self.segment.load(Ordering::Relaxed);
                let is_copy = ours != 0 && seqnum != ours;
                if is_copy {
                    self.segment.store(0, Ordering::Relaxed);
                }
                is_copy
            }
            _ => false,
        }
    }

    pub(super) fn push_stream_start(&self, element: &BaseSrc, event: gst::Event) {
        self.stream_start
            .store(event.seqnum().into_glib(), Ordering::Relaxed);
        // If downstream refuses the event, it refuses the next buffer, too, which reports the
        // reason.
        let _ = element.src_pad().push_event(event);
    }

    /// Preserves the timestamps of a buffer that is returned to the base class. If a buffer has no
    /// PTS, the base class would set one: the DTS, or the start of the segment for the first buffer
    /// of a stream. Must be called for all buffers, by the streaming thread.
    pub(super) fn keep_times(&self, element: &BaseSrc, buffer: &gst::BufferRef) {
        let number = self.buffers.fetch_add(1, Ordering::Relaxed) + 1;
        if buffer.pts().is_some() {
            return;
        }
        let (pts, dts) = (buffer.pts(), buffer.dts());
        let pad = element.src_pad();
        let buffers = self.buffers.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            // A flush may have dropped the buffer before it reached the probe.
            let is_it = buffers.load(Ordering::Relaxed) == number;
            if is_it && let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data {
                let buffer = buffer.make_mut();
                buffer.set_pts(pts);
                buffer.set_dts(dts);
            }
            gst::PadProbeReturn::Remove
        });
    }

    pub(super) fn push_segment(
        &self,
        element: &BaseSrc,
        segment: &gst::Segment,
        number: gst::Seqnum,
    ) {
        self.segment.store(0, Ordering::Relaxed);
        *self.numbers() = Numbers {
            segment: Some(number),
            end: None,
        };
        // Only TIME segments: the base class is used with no other format here.
        #[cfg(feature = "v1_24")]
        if element.push_segment(segment) {
            return;
        }
        let event = gst::event::Segment::builder(segment).seqnum(number).build();
        self.segment
            .store(event.seqnum().into_glib(), Ordering::Relaxed);
        let _ = element.src_pad().push_event(event);
        // For the base class's own state: positions, and the events before the first buffer.
        if let Err(error) = element.new_segment(segment) {
            gst::debug!(crate::log::CAT, obj = element, "{error}");
        }
    }
}
