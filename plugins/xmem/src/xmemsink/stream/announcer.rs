//! Sends the events of a stream to the clients.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xmem_core::{EventKind, Publisher};
use xmem_media::event::{EventContent, Extent};

use super::reporter::Outbox;
use crate::events;
use crate::values::{DecodeError, Names, Told};

/// An encoded event.
pub(in crate::xmemsink) type Encoded = (EventKind, Vec<u8>);

/// Used on any thread.
pub(in crate::xmemsink) struct Announcer {
    publisher: Arc<Publisher>,
    /// The latency that clients were told last, in nanoseconds.
    latency: AtomicU64,
    /// The number of frames that were published when upstream began to flush.
    flushed_at: AtomicU64,
    /// The kinds of the sticky events that were sent.
    sticky: Mutex<Vec<EventKind>>,
}

impl Announcer {
    pub(super) fn new(publisher: &Arc<Publisher>) -> Announcer {
        Announcer {
            publisher: publisher.clone(),
            latency: AtomicU64::new(0),
            flushed_at: AtomicU64::new(0),
            sticky: Mutex::default(),
        }
    }

    fn sticky(&self) -> MutexGuard<'_, Vec<EventKind>> {
        self.sticky.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends an event to the clients, before the next frame.
    pub(in crate::xmemsink) fn say(&self, (kind, content): Encoded, outbox: &mut Outbox<'_>) {
        if let Err(error) = self.publisher.send_event(kind, &content) {
            outbox.report_unsent(error);
        }
    }

    /// Sends an event of the sink itself.
    pub(in crate::xmemsink) fn say_own(&self, content: EventContent, outbox: &mut Outbox<'_>) {
        self.say(events::encode_own(content), outbox);
    }

    /// Sends an event of the stream, before the next frame.
    pub(in crate::xmemsink) fn say_event(
        &self,
        event: gst::EventType,
        said: Encoded,
        outbox: &mut Outbox<'_>,
    ) {
        if event == gst::EventType::StreamStart {
            self.take_back(events::ends_with_stream, outbox);
        }
        let read = events::decode(Told::new(&said.1, Names::own()), None, 0);
        if matches!(read, Err(DecodeError::Invalid(_))) {
            Self::refuse(event, outbox);
            return;
        }
        self.add_sticky(said.0);
        self.say(said, outbox);
    }

    /// Tells the application of an event that clients cannot use.
    pub(super) fn refuse(event: gst::EventType, outbox: &mut Outbox<'_>) {
        let event = event.name();
        outbox.warn_once((event, None), || {
            format!(
                "Clients cannot use a {event} event: it has too many parts, or times or rates \
                 that are out of range. The stream continues without it"
            )
        });
    }

    /// Notes that a sticky event was sent: it is taken back when the stream ends.
    fn add_sticky(&self, kind: EventKind) {
        let EventKind::Sticky(_) = kind else { return };
        let mut sticky = self.sticky();
        if !sticky.contains(&kind) {
            sticky.push(kind);
        }
    }

    /// Takes back the sticky events for which `is_over` is true: clients that join later do not get
    /// them.
    pub(in crate::xmemsink) fn take_back(
        &self,
        is_over: impl Fn(EventKind) -> bool,
        outbox: &mut Outbox<'_>,
    ) {
        let over: Vec<_> = self
            .sticky()
            .extract_if(.., |kind| is_over(*kind))
            .collect();
        for kind in over {
            self.say((kind, Vec::new()), outbox);
        }
    }

    /// Sends the duration of the stream. Posts no message, so it may be called with a lock held.
    pub(super) fn say_extent(&self, extent: &Extent) {
        let (kind, content) = events::encode_own(EventContent::Extent(extent.clone()));
        self.add_sticky(kind);
        if let Err(error) = self.publisher.send_event(kind, &content) {
            gst::debug!(
                crate::log::CAT,
                "Cannot send the duration of the stream: {error}"
            );
        }
    }

    /// Tells the clients the latency of the frames, if it has changed.
    pub(in crate::xmemsink) fn tell_latency(
        &self,
        latency: gst::ClockTime,
        outbox: &mut Outbox<'_>,
    ) {
        let nseconds = latency.nseconds();
        if self.latency.swap(nseconds, Ordering::Relaxed) != nseconds {
            self.say_own(EventContent::Latency(Some(nseconds)), outbox);
        }
    }

    /// Flushes the clients: frames that they have not received yet are void.
    pub(in crate::xmemsink) fn flush(&self, seqnum: gst::Seqnum, outbox: &mut Outbox<'_>) {
        let published = self.publisher.stats().published;
        self.flushed_at.store(published, Ordering::Relaxed);
        self.say(events::encode_flush(seqnum), outbox);
    }

    /// Ends a flush of upstream. If a frame was published during the flush, clients flush again, so
    /// that this frame is void, too.
    pub(super) fn finish_flush(&self, seqnum: gst::Seqnum, outbox: &mut Outbox<'_>) {
        let published = self.publisher.stats().published;
        if published != self.flushed_at.load(Ordering::Relaxed) {
            self.flush(seqnum, outbox);
        }
    }

    /// Asks the clients to release imported frames: a client's sink copies a frame that it keeps.
    /// Returns whether there are imported frames.
    pub(super) fn say_drain(&self, outbox: &mut Outbox<'_>) -> bool {
        let owes_memory = self.publisher.owes_memory();
        if owes_memory {
            self.say_own(EventContent::Drain, outbox);
        }
        owes_memory
    }
}
