//! One run of the sink, from start to stop: the publisher, and the publication of buffers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gst_base::BaseSink;
use xmem_core::cuda::{Device, Uuid};
use xmem_core::{Cancellation, Canceller, Error, Publisher, Result, Storage};
use xmem_media::event::{EventContent, Extent};

use super::extent::Asked;
use super::settings::Settings;
use super::still::Still;
use super::upstream::Forwarder;
use crate::caps::Format;
use crate::events::{self, Oversized};
use crate::memory::kind::CapsMemory;
use crate::timestamps::{Timekeeper, Times, TimesInPause};

mod announcer;
mod counters;
mod crossing;
mod current;
mod device;
mod offer;
mod on_device;
mod publication;
mod publishing;
mod reporter;
mod streaming;
mod timing;

use announcer::{Announcer, Encoded};
use counters::Counters;
pub(super) use device::Gpu;
use offer::Offer;
use reporter::{Outbox, Reporter};
use streaming::{Locked, Streaming};

/// How long the sink waits in a drain for clients to receive and release imported frames, whose
/// memory upstream wants back.
const DRAINING: Duration = Duration::from_millis(500);

/// The parts that other threads use have locks of their own, which are held for a look or a change.
pub(super) struct Stream {
    pub(super) publisher: Arc<Publisher>,
    /// Ends the waits of the streaming thread.
    pub(super) canceller: Canceller,
    pub(super) still: Arc<Still>,
    pub(super) asked: Arc<Asked>,
    pub(super) counters: Counters,
    pub(super) forwarder: Forwarder,
    pub(super) offer: Offer,
    pub(super) announcer: Announcer,
    reporter: Reporter,
    /// The memory of the frames.
    memory: Mutex<Memory>,
    /// Groups of frames are kept for clients that join.
    keeps_groups: bool,
    /// What the thread uses that publishes. Locked while that thread waits, so no other thread may
    /// lock it unless it ends that wait first, see [`streaming`](Stream::streaming).
    streaming: Mutex<Streaming>,
}

/// Which memory frames are in.
#[derive(Clone, Copy)]
pub(super) struct Memory {
    pub(super) caps: CapsMemory,
    pub(super) device: Option<Uuid>,
}

/// Why a buffer was not published.
pub(super) enum NotPublished {
    /// It does not match its caps; a sentence for the user.
    Misfit(String),
    Failed(Error),
}

impl From<Error> for NotPublished {
    fn from(error: Error) -> NotPublished {
        NotPublished::Failed(error)
    }
}

impl Stream {
    pub(super) fn new(
        sink: &BaseSink,
        publisher: Publisher,
        canceller: Canceller,
        settings: &Settings,
        on_failure: impl Fn(&Error) + Send + Sync + 'static,
    ) -> Stream {
        let publisher = Arc::new(publisher);
        Stream {
            offer: Offer::new(&publisher, &canceller, Arc::new(on_failure)),
            announcer: Announcer::new(&publisher),
            publisher,
            canceller,
            still: Arc::default(),
            asked: Arc::default(),
            counters: Counters::default(),
            forwarder: Forwarder::new(sink, settings.upstream_events),
            reporter: Reporter::new(sink),
            memory: Mutex::new(Memory {
                caps: CapsMemory::System,
                device: None,
            }),
            keeps_groups: settings.group_time > Duration::ZERO,
            streaming: Mutex::new(Streaming::new(settings.import_memory)),
        }
    }

    /// Messages for the application, which are posted when they are dropped.
    pub(super) fn outbox(&self) -> Outbox<'_> {
        self.reporter.outbox()
    }

    fn lock(&self) -> MutexGuard<'_, Streaming> {
        self.streaming
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks what the streaming thread uses. First ends the wait of a thread that publishes the
    /// frame of PAUSED in its place. Called by the streaming thread, and by other threads while
    /// there is none.
    pub(super) fn streaming(&self) -> Locked<'_> {
        Locked {
            streaming: self.still.while_unpublished(|| self.lock()),
            outbox: self.outbox(),
        }
    }

    /// Sends an event of the sink itself to the clients, before the next frame.
    pub(super) fn say_own(&self, content: EventContent) {
        self.announcer.say_own(content, &mut self.outbox());
    }

    /// Sends an event of the stream to the clients, before the next frame.
    pub(super) fn say_event(&self, event: gst::EventType, said: Encoded) {
        self.announcer.say_event(event, said, &mut self.outbox());
    }

    /// Tells the clients the latency of the frames, if it has changed.
    pub(super) fn tell_latency(&self, latency: gst::ClockTime) {
        self.announcer.tell_latency(latency, &mut self.outbox());
    }

    /// Handles an event before the base class does. Returns what the clients get of it.
    pub(super) fn take_event(&self, sink: &BaseSink, event: &gst::EventRef) -> Option<Encoded> {
        let is_flush = event.type_() == gst::EventType::FlushStop;
        let offset = if event.is_serialized() && !is_flush {
            let mut locked = self.streaming();
            let Streaming {
                current, timing, ..
            } = &mut *locked.streaming;
            match event.view() {
                gst::EventView::StreamStart(start) => current.begin(start),
                gst::EventView::CustomDownstream(_) => current.announce(event),
                _ => {}
            }
            timing.offset(sink)
        } else {
            // On any thread, and perhaps while the streaming thread waits.
            Timekeeper::default().offset(sink)
        };
        events::encode(event, offset).unwrap_or_else(|Oversized| {
            Announcer::refuse(event.type_(), &mut self.outbox());
            None
        })
    }

    /// A stream ends: clients get the published frames, then EOS.
    pub(super) fn end(&self) {
        // Before the end, because clients read no events after it, and this sink stops soon.
        self.announcer.say_drain(&mut self.outbox());
        self.publisher.end_stream();
    }

    /// Ends the run of the stream in PAUSED. The streaming thread has stopped.
    pub(super) fn leave(&self) {
        self.still.clear();
        self.asked.forget();
        self.streaming().streaming.current.restart();
        // Take back the sticky events, as the pad does. They still apply to the frames that were
        // published before.
        self.announcer.take_back(|_| true, &mut self.outbox());
        // The elements upstream are about to free their memory.
        self.drain();
    }

    /// Upstream begins to flush. The streaming thread has left the sink.
    pub(super) fn flush(&self, seqnum: gst::Seqnum) {
        self.still.clear();
        self.announcer.flush(seqnum, &mut self.outbox());
    }

    /// Ends a flush of upstream.
    pub(super) fn finish_flush(&self, seqnum: gst::Seqnum) {
        self.announcer.finish_flush(seqnum, &mut self.outbox());
        self.offer.set_flushing(false);
    }

    /// Gives imported frames back to upstream, which wants to free their memory.
    pub(super) fn drain(&self) {
        if let Some(importer) = &mut self.streaming().streaming.importer {
            importer.forget();
        }
        if !self.announcer.say_drain(&mut self.outbox()) {
            return;
        }
        if let Err(error) = self.publisher.drain(DRAINING) {
            gst::info!(
                crate::log::CAT,
                "Clients still hold memory of upstream: {error}"
            );
        }
    }

    /// Queries the duration of the stream upstream, and sends it to the clients.
    pub(super) fn ask_extent(self: &Arc<Self>, sink: &BaseSink) {
        let stream = Arc::downgrade(self);
        self.asked.ask(sink, move |extent: &Extent| {
            let stream = stream.upgrade();
            stream
                .as_ref()
                .inspect(|stream| stream.announcer.say_extent(extent))
                .is_some()
        });
    }

    /// Sets the caps and the format of the following buffers, and for CUDA memory what these need.
    pub(super) fn set_caps(
        &self,
        caps: &gst::CapsRef,
        bytes: &[u8],
        format: Format,
        gpu: Option<Gpu>,
    ) -> Result<()> {
        let mut locked = self.streaming();
        self.set_memory(format.memory, gpu.as_ref())?;
        let current = &mut locked.streaming.current;
        current.set_caps(caps, bytes, format, gpu, &self.publisher)
    }

    /// Has the next slots made of this memory.
    fn set_memory(&self, caps: CapsMemory, gpu: Option<&Gpu>) -> Result<()> {
        let device = gpu.map(|gpu| gpu.device().clone());
        let uuid = device.as_ref().map(Device::uuid);
        self.publisher
            .set_storage(device.map_or(Storage::Cpu, Storage::Cuda))?;
        self.offer.set_context(gpu.map(|gpu| gpu.context().clone()));
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        *memory = Memory { caps, device: uuid };
        Ok(())
    }

    /// Returns the memory of the frames.
    pub(super) fn memory(&self) -> Memory {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a frame for which there is no slot is as large as all later ones: no slot
    /// has that size, so all later frames would be dropped, too.
    pub(super) fn is_stuck(&self) -> bool {
        let size = self.streaming().streaming.current.frame_size();
        size.is_some() && size > self.publisher.slot_size()
    }

    /// Checks that a buffer matches its caps.
    ///
    /// # Errors
    /// A sentence for the user.
    pub(super) fn check(&self, buffer: &gst::BufferRef) -> std::result::Result<(), String> {
        self.streaming().streaming.current.check(buffer)
    }

    /// Waits until there is a client.
    pub(super) fn wait_for_client(&self, cancellation: &Cancellation<'_>) -> Result<()> {
        if self.publisher.num_clients() > 0 {
            return Ok(());
        }
        self.publisher
            .wait_for_clients_cancellable(1, None, cancellation)
    }

    /// Returns the times of a buffer that is rendered. With `in_pause`, it is shown at once.
    pub(super) fn times(
        self: &Arc<Self>,
        locked: &mut Locked<'_>,
        sink: &BaseSink,
        buffer: &gst::BufferRef,
        in_pause: Option<TimesInPause>,
    ) -> Times {
        let Locked { streaming, outbox } = locked;
        let timing = &mut streaming.timing;
        let times = match in_pause {
            Some(times) => timing.in_pause(sink, times, &self.announcer, outbox),
            None => timing.in_play(sink, buffer, &self.announcer, outbox),
        };
        if self.asked.is_due(times.stream_pts) {
            self.ask_extent(sink);
        }
        times
    }

    /// Publishes the frame that is shown in PAUSED. May be called in place of the streaming thread.
    pub(super) fn publish_still(
        &self,
        sink: &BaseSink,
        buffer: &gst::Buffer,
        times: TimesInPause,
        cancellation: &Cancellation<'_>,
    ) -> Result<()> {
        let mut locked = Locked {
            streaming: self.lock(),
            outbox: self.outbox(),
        };
        let Locked { streaming, outbox } = &mut locked;
        let timing = &mut streaming.timing;
        let times = timing.in_pause(sink, times, &self.announcer, outbox);
        self.publish(&mut locked, buffer, times, cancellation)
    }
}
