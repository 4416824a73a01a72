use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use gst::glib;
use gst::glib::subclass::Signal;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;
use xmem_core::{Canceller, Error, Publisher, PublisherEvent};
use xmem_media::event::EventContent;

use super::preroll;
use super::settings::{PROPERTIES, Settings};
use super::stream::Stream;
use super::upstream::Forwarder;
use crate::CAT;
use crate::caps;
use crate::memory::kind::CapsMemory;
use crate::timestamps::{MonotonicOffset, Timekeeper, TimesInPause};
use crate::{errors, events};

mod paused;

/// The minimum number of slots: two for the pool, one for the newest frame.
const MIN_BUFFERS: u32 = 3;

#[derive(Default)]
pub struct XmemSink {
    settings: Mutex<Settings>,
    /// Set from `start` to `stop`.
    stream: Mutex<Option<Arc<Stream>>>,
    timekeeper: Mutex<Timekeeper>,
    last_frame: Mutex<LastFrame>,
    /// The sink was in PAUSED since it last rendered.
    was_paused: AtomicBool,
    /// The memory may have grown since it was compared with shm-size.
    size_is_due: AtomicBool,
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

impl XmemSink {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stream(&self) -> Option<Arc<Stream>> {
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.clone()
    }

    pub(super) fn socket_path(&self) -> Option<PathBuf> {
        let stream = self.stream()?;
        Some(stream.publisher.socket_path().into())
    }

    /// Reports an event of the channel. Called from the control thread or the streaming thread,
    /// with no lock held.
    fn on_event(&self, event: PublisherEvent) {
        let obj = self.obj();
        match event {
            PublisherEvent::ClientConnected(id) => {
                gst::info!(CAT, imp = self, "Client {id} has connected");
                self.size_is_due.store(true, Ordering::Relaxed);
                obj.emit_by_name::<()>("client-connected", &[&(id.get() as i32)]);
                obj.notify("num-clients");
            }
            PublisherEvent::ClientDisconnected(id) => {
                gst::info!(CAT, imp = self, "Client {id} has disconnected");
                obj.emit_by_name::<()>("client-disconnected", &[&(id.get() as i32)]);
                obj.notify("num-clients");
            }
            PublisherEvent::ClientRefused { pid, reason } => {
                let (pid, reason) = (pid.unwrap_or(0), errors::refused(&reason));
                gst::warning!(CAT, imp = self, "Refused process {pid}: {reason}");
            }
            PublisherEvent::ClientLagging {
                client,
                stalled,
                held,
                behind,
            } => {
                gst::element_imp_warning!(
                    self,
                    gst::ResourceError::Busy,
                    ("Client {client} has neither received nor released a frame for \
                         {stalled:.1?}. It holds {held} frames and has {behind} frames to receive. \
                         xmemsink no longer waits for it, so it may miss frames until it has caught \
                         up. Raise block-timeout, or make the client faster.")
                );
            }
            PublisherEvent::ClientCaughtUp(id) => {
                gst::info!(CAT, imp = self, "Client {id} has caught up");
            }
            PublisherEvent::Upstream { uid, content, .. } => {
                if let Some(stream) = self.stream() {
                    stream.forwarder.forward(uid, content);
                }
            }
            _ => {}
        }
    }

    /// Warns if there is more memory than shm-size, which does not limit it.
    fn compare_size(&self, stream: &Stream) {
        let is_due = &self.size_is_due;
        if !is_due.load(Ordering::Relaxed) || !is_due.swap(false, Ordering::Relaxed) {
            return;
        }
        let bytes = stream.publisher.stats().bytes;
        let note = self.settings().habits.size_note(bytes);
        if let Some(note) = note {
            note.post(&*self.obj());
        }
    }

    fn timekeeper(&self) -> MutexGuard<'_, Timekeeper> {
        let timekeeper = self.timekeeper.lock();
        timekeeper.unwrap_or_else(PoisonError::into_inner)
    }

    fn last_frame(&self) -> MutexGuard<'_, LastFrame> {
        let last_frame = self.last_frame.lock();
        last_frame.unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the segment again if its running times are reached at other moments than before:
    /// after a frame in PAUSED, or with another base time. Clients cannot distinguish a short pause
    /// from a clock that drifts.
    fn update_segment(&self, stream: &Stream) {
        let obj = self.obj();
        let Some(base_time) = obj.base_time() else {
            return;
        };
        let now = LastFrame::By(base_time);
        let before = std::mem::replace(&mut *self.last_frame(), now);
        if ![LastFrame::None, now].contains(&before) {
            let offset = self.timekeeper().offset(&*obj);
            self.send_segment(stream, offset);
        }
    }

    /// Sends the segment again, for a pipeline with this offset.
    fn send_segment(&self, stream: &Stream, offset: Option<MonotonicOffset>) {
        let segment = self.obj().sink_pad().sticky_event::<gst::event::Segment>(0);
        let segment = segment.filter(|event| event.segment().format() == gst::Format::Time);
        let said = segment.and_then(|event| events::encode(&event, offset));
        if let Some(said) = said {
            stream.say_event(gst::EventType::Segment, said);
        }
    }

    /// Waits for a client if wait-for-connection is set, then publishes.
    fn publish(&self, stream: &Arc<Stream>, buffer: &gst::Buffer) -> xmem_core::Result<()> {
        let is_paused = self.is_paused();
        if stream.still.is_published(buffer, is_paused) {
            return Ok(());
        }
        // Begin while the PREROLL_LOCK is held. What ends this wait changes the state under that
        // lock, or later, so it cannot be missed.
        let cancellation = stream.canceller.begin()?;
        let times = if is_paused {
            self.show_at_once(stream, TimesInPause::new(&*self.obj(), buffer))
        } else {
            self.update_segment(stream);
            stream.say_still(false);
            stream.tell_latency(self.obj().latency());
            self.timekeeper().times(&*self.obj(), buffer)
        };
        stream.ask_extent_again(self.obj().upcast_ref(), times.stream_pts);
        let wait_for_client = self.settings().wait_for_connection;
        preroll::without_lock(&*self.obj(), || {
            if wait_for_client {
                stream.wait_for_client(&cancellation)?;
            }
            stream.publish(buffer, times, &cancellation)
        })?;
        if is_paused {
            // A step has ended: the base class prerolls this buffer and then renders it again.
            stream.still.set_published(buffer);
        }
        Ok(())
    }

    /// Posts an error if a buffer does not fit its caps.
    fn check(&self, stream: &Stream, buffer: &gst::Buffer) -> Result<(), gst::FlowError> {
        stream.check(buffer).map_err(|reason| {
            gst::element_imp_error!(self, gst::StreamError::Format, ("{reason}"));
            gst::FlowError::Error
        })
    }

    /// Decides whether the stream goes on after a frame that was not published. Not for an
    /// interruption.
    fn go_on_after(
        &self,
        stream: &Stream,
        error: &Error,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        match error {
            Error::Stopped => Err(gst::FlowError::Flushing),
            // Drop this frame: the next frame may be smaller, or there may be more memory by then.
            Error::Exhausted { .. } | Error::ResourceExhausted { .. } if !stream.is_stuck() => {
                if stream.counters.drop_for(error) {
                    gst::element_imp_warning!(
                        self,
                        gst::ResourceError::NoSpaceLeft,
                        ("Dropped a frame: {}", errors::text(error)),
                        ["{error:?}"]
                    );
                }
                Ok(gst::FlowSuccess::Ok)
            }
            error => {
                self.post_error_message(errors::message(error, gst::ResourceError::Write));
                Err(gst::FlowError::Error)
            }
        }
    }

    fn stats(&self) -> gst::Structure {
        let mut stats = self.obj().stats();
        stats.set_name("application/x-xmemsink-stats");
        let Some(stream) = self.stream() else {
            return stats;
        };
        let figures = stream.publisher.stats();
        let counters = &stream.counters;
        let late = stats.get::<u64>("dropped").unwrap_or(0);
        let clients = figures.clients.iter().map(|client| {
            gst::Structure::builder("client")
                .field("id", client.id.get())
                .field("name", &client.name)
                .field("pid", client.pid.unwrap_or(0))
                .field("uid", client.uid)
                .field(
                    "delivery",
                    match client.delivery {
                        xmem_core::Delivery::Latest => "latest",
                        _ => "in-order",
                    },
                )
                .field("leases", client.quota.leases)
                .field("backlog", client.quota.backlog)
                .field("held", client.held)
                .field("lag", client.lag)
                .field("missed", client.missed)
                .field("lagging", client.lagging)
                .field("takes-unsealed", client.takes_unsealed)
                .build()
        });
        stats.set("published", figures.published);
        stats.set("zero-copy", counters.zero_copy.load(Ordering::Relaxed));
        stats.set("imported", counters.imported.load(Ordering::Relaxed));
        stats.set("copied", counters.copied.load(Ordering::Relaxed));
        stats.set(
            "copied-bytes",
            counters.copied_bytes.load(Ordering::Relaxed),
        );
        stats.set(
            "copied-for-unsealed",
            counters.unsealed.load(Ordering::Relaxed),
        );
        stats.set("dropped", late + counters.dropped.load(Ordering::Relaxed));
        stats.set(
            "refused-metas",
            counters.refused_metas.load(Ordering::Relaxed),
        );
        stats.set("slots", figures.slots);
        stats.set("slot-size", figures.slot_size.unwrap_or(0) as u64);
        stats.set("memory", figures.bytes + figures.departed_bytes);
        stats.set("clients", gst::Array::new(clients));
        stats
    }
}

#[glib::object_subclass]
impl ObjectSubclass for XmemSink {
    const NAME: &'static str = "GstXmemSink";
    type Type = super::XmemSink;
    type ParentType = gst_base::BaseSink;
}

impl ObjectImpl for XmemSink {
    fn properties() -> &'static [glib::ParamSpec] {
        &PROPERTIES
    }

    fn signals() -> &'static [Signal] {
        static SIGNALS: LazyLock<Vec<Signal>> = LazyLock::new(|| {
            let signal = |name| {
                Signal::builder(name)
                    .param_types([i32::static_type()])
                    .build()
            };
            vec![signal("client-connected"), signal("client-disconnected")]
        });
        &SIGNALS
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        // The settings are read when the channel is opened, from NULL to READY.
        let is_late = pspec.name() != "wait-for-connection" && self.stream().is_some();
        if is_late {
            gst::element_imp_warning!(
                self,
                gst::ResourceError::Settings,
                (
                    "{} can be changed in NULL only: it keeps its old value",
                    pspec.name()
                )
            );
            return;
        }
        let waits = {
            let mut settings = self.settings();
            let before = settings.waits();
            settings.set(pspec.name(), value);
            (settings.waits() != before).then(|| settings.waits())
        };
        if let Some((waits, stream)) = waits.zip(self.stream()) {
            stream.say(events::encode_own(EventContent::Waits(waits)));
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "num-clients" => {
                let stream = self.stream();
                let clients = stream.map_or(0, |stream| stream.publisher.num_clients());
                (clients as u32).to_value()
            }
            "stats" => self.stats().to_value(),
            setting => {
                let value = self.settings().get(setting);
                value.unwrap_or_else(|| pspec.default_value().clone())
            }
        }
    }
}

impl GstObjectImpl for XmemSink {}

impl ElementImpl for XmemSink {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Shared memory frame sink",
                "Sink",
                "Passes frames to any number of xmemsrc in other processes, without copying them",
                "The xmem developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let template = gst::PadTemplate::new(
                "sink",
                gst::PadDirection::Sink,
                gst::PadPresence::Always,
                &gst::Caps::new_any(),
            );
            vec![template.expect("a template of ANY caps")]
        });
        &TEMPLATES
    }

    fn send_event(&self, event: gst::Event) -> bool {
        let is_latency = event.type_() == gst::EventType::Latency;
        let handled = self.parent_send_event(event);
        // Send the latency to the clients now, not with the next frame.
        if is_latency && let Some(stream) = self.stream() {
            stream.tell_latency(self.obj().latency());
        }
        handled
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::NullToReady {
            let channel = self.settings().channel.channel();
            if let Err(message) = channel {
                self.post_error_message(message);
                return Err(gst::StateChangeError);
            }
            let notes = self.settings().notes();
            notes.iter().for_each(|note| note.post(&*self.obj()));
        }
        let stream = self.stream();
        if let Some(stream) = &stream
            && transition == gst::StateChange::ReadyToPaused
        {
            stream.set_flushing(false);
        }
        if transition == gst::StateChange::ReadyToPaused {
            self.was_paused.store(true, Ordering::Relaxed);
        }
        let changed = self.parent_change_state(transition)?;
        if let Some(stream) = &stream
            && transition == gst::StateChange::PlayingToPaused
        {
            // Set this after the change: a frame that is rendered during it has its time by
            // PLAYING.
            self.was_paused.store(true, Ordering::Relaxed);
            self.show_owed(stream);
        }
        if let Some(stream) = &stream
            && transition == gst::StateChange::PausedToReady
        {
            stream.still.clear();
            stream.asked.forget();
            stream.restart();
            // Take back the sticky events, as the pad does. They still apply to the frames that were
            // published before.
            stream.take_back(|_| true);
            // The elements upstream are about to free their memory.
            stream.drain();
        }
        if let Some(stream) = &stream
            && transition == gst::StateChange::PausedToPlaying
        {
            // A thread that waits in PAUSED, to render a step, has to complete the change of state.
            stream.canceller.interrupt();
        }
        Ok(changed)
    }
}

impl BaseSinkImpl for XmemSink {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings().clone();
        let channel = settings.channel.channel()?;
        *self.last_frame() = LastFrame::None;
        if (1..MIN_BUFFERS).contains(&settings.max_buffers) {
            return Err(gst::error_msg!(
                gst::ResourceError::Settings,
                (
                    "max-buffers is {}, but must be at least {MIN_BUFFERS}, and 1 more for each lease \
                     of each client; 0 allows as many as needed",
                    settings.max_buffers
                )
            ));
        }
        let weak = self.obj().downgrade();
        let canceller = Canceller::new();
        // A client may connect before this returns. A callback that then reads num-clients waits
        // for this lock.
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let publisher = Publisher::builder(channel)
            .producer_name(self.obj().name())
            .perms(settings.perms)
            .max_clients(settings.max_clients)
            .max_slots((settings.max_buffers > 0).then_some(settings.max_buffers))
            .max_bytes((settings.max_bytes > 0).then_some(settings.max_bytes))
            .keep_group(settings.group_time)
            .overflow(settings.overflow())
            .canceller(canceller.clone())
            .on_event(move |event| {
                if let Some(obj) = weak.upgrade() {
                    obj.imp().on_event(event);
                }
            })
            .open()
            .map_err(|error| errors::message(&error, gst::ResourceError::OpenReadWrite))?;
        gst::info!(
            CAT,
            imp = self,
            "Listening at {}",
            publisher.socket_path().display()
        );
        let weak = self.obj().downgrade();
        let on_failure = move |error: &Error| {
            if let Some(obj) = weak.upgrade() {
                let message = errors::message(error, gst::ResourceError::Write);
                obj.imp().post_error_message(message);
            }
        };
        let forwarder = Forwarder::new(self.obj().upcast_ref(), settings.upstream_events);
        let new = Stream::new(
            self.obj().upcast_ref(),
            publisher,
            canceller,
            forwarder,
            &settings,
            on_failure,
        );
        new.say(events::encode_own(EventContent::Accepts(
            settings.upstream_events.bits(),
        )));
        new.say(events::encode_own(EventContent::Waits(settings.waits())));
        *stream = Some(Arc::new(new));
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        gst::info!(CAT, imp = self, "Stopping: {}", self.stats());
        let stream = self
            .stream
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(stream) = stream {
            stream.publisher.close();
        }
        Ok(())
    }

    fn unlock(&self) -> Result<(), gst::ErrorMessage> {
        if let Some(stream) = self.stream() {
            stream.canceller.cancel();
            // The base class calls this for a pause too, in which upstream continues to wait for a
            // slot.
            let pads = self.obj().sink_pads();
            let flushing = |pad: &gst::Pad| pad.pad_flags().contains(gst::PadFlags::FLUSHING);
            if pads.iter().any(flushing) {
                stream.set_flushing(true);
            }
        }
        Ok(())
    }

    /// Called as soon as the sink's own thread has stopped waiting. Upstream can flush for longer.
    fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
        if let Some(stream) = self.stream() {
            stream.canceller.reset();
        }
        Ok(())
    }

    fn caps(&self, filter: Option<&gst::Caps>) -> Option<gst::Caps> {
        // Accept all caps except those with memory of a device, which other processes cannot map.
        Some(match filter {
            Some(filter) if !filter.is_any() => {
                CapsMemory::accepted(filter, self.settings().import_memory)
            }
            _ => gst::Caps::new_any(),
        })
    }

    fn set_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let refused = |reason: String| {
            gst::element_imp_error!(self, gst::CoreError::Negotiation, ("{reason}"));
            gst::loggable_error!(CAT, "{reason}")
        };
        let (bytes, format) = caps::for_clients(caps).map_err(refused)?;
        let stream = self
            .stream()
            .ok_or_else(|| gst::loggable_error!(CAT, "Not started"))?;
        self.size_is_due.store(true, Ordering::Relaxed);
        stream.set_caps(caps, &bytes, format).map_err(|error| {
            self.post_error_message(errors::message(&error, gst::ResourceError::Write));
            gst::loggable_error!(CAT, "{error}")
        })
    }

    fn propose_allocation(
        &self,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        let max_buffers = self.settings().max_buffers;
        match self.stream() {
            Some(stream) => stream.propose_allocation(query, max_buffers),
            None => Err(gst::loggable_error!(CAT, "Not started")),
        }
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        let is_drain = query.type_() == gst::QueryType::Drain;
        if is_drain {
            // The base class would copy the last sample. That would map memory that is otherwise
            // never mapped. Disabling the last sample drops it first.
            let obj = self.obj();
            let is_enabled = obj.enables_last_sample();
            obj.set_enable_last_sample(false);
            obj.set_enable_last_sample(is_enabled);
        }
        let answered = BaseSinkImplExt::parent_query(self, query);
        if is_drain && let Some(stream) = self.stream() {
            stream.drain();
        }
        answered
    }

    fn event(&self, event: gst::Event) -> bool {
        let (kind, seqnum) = (event.type_(), event.seqnum());
        if let Some(stream) = self.stream() {
            match event.view() {
                gst::EventView::StreamStart(start) => stream.begin(start),
                gst::EventView::CustomDownstream(_) => stream.announce(&event),
                _ => {}
            }
        }
        let mut said = events::encode(&event, self.timekeeper().offset(&*self.obj()));
        let handled = self.parent_event(event);
        let Some(stream) = self.stream() else {
            return handled;
        };
        match kind {
            gst::EventType::Eos if handled => {
                gst::debug!(CAT, imp = self, "The stream ends");
                if let Some(said) = said.take() {
                    stream.say_event(kind, said);
                }
                stream.end();
            }
            gst::EventType::FlushStart => {
                // The streaming thread has left the sink.
                stream.still.clear();
                stream.flush(seqnum);
            }
            gst::EventType::FlushStop => stream.finish_flush(seqnum),
            gst::EventType::Segment => *self.last_frame() = LastFrame::None,
            _ => {}
        }
        // Encoded events keep their order among the frames, because both are sent by the streaming
        // thread.
        if let Some(said) = said.filter(|_| handled) {
            stream.say_event(kind, said);
        }
        if kind == gst::EventType::Segment {
            // A demuxer upstream knows the duration by now.
            stream.ask_extent(self.obj().upcast_ref());
        }
        handled
    }

    /// Called by the base class before it waits in PAUSED with a buffer, and before each
    /// `render()`.
    fn prepare(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        if !preroll::needs_preroll(&*self.obj()) {
            return Ok(gst::FlowSuccess::Ok);
        }
        let stream = self.stream().ok_or(gst::FlowError::Flushing)?;
        self.check(&stream, buffer)?;
        match self.show(&stream, buffer) {
            // The frame was flushed, or `render()` publishes it in PLAYING.
            Ok(())
            | Err(Error::Cancelled | Error::Exhausted { .. } | Error::ResourceExhausted { .. }) => {
                Ok(gst::FlowSuccess::Ok)
            }
            Err(error) => self.go_on_after(&stream, &error),
        }
    }

    fn render(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let stream = self.stream().ok_or(gst::FlowError::Flushing)?;
        self.check(&stream, buffer)?;
        loop {
            match self.publish(&stream, buffer) {
                Ok(()) => {
                    self.compare_size(&stream);
                    return Ok(gst::FlowSuccess::Ok);
                }
                Err(Error::Cancelled) => {
                    gst::debug!(CAT, imp = self, "Interrupted");
                    self.set_owed(&stream, buffer);
                    // A flush ends the wait here. After a pause, the frame is published when the
                    // sink plays again.
                    let wanted = || stream.canceller.is_cancelled();
                    preroll::wait_to_go_on(&*self.obj(), buffer, wanted)?;
                }
                Err(error) => return self.go_on_after(&stream, &error),
            }
        }
    }
}
