use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use glib::subclass::Signal;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;
use xmem_core::Error;
use xmem_media::event::EventContent;

use super::preroll;
use super::settings::{PROPERTIES, Settings};
use super::statistics;
use super::stream::Stream;
use crate::caps;
use crate::cuda::ElementContext;
use crate::errors;
use crate::log::CAT;
use crate::memory::kind::CapsMemory;

mod context;
mod notices;
mod opening;
mod paused;
mod rendering;

#[derive(Default)]
pub struct XmemSink {
    state: Mutex<State>,
    /// The sink was in PAUSED since it last rendered.
    was_paused: AtomicBool,
    /// The CUDA context, if caps with CUDA memory have come, or one was set.
    cuda: ElementContext,
    /// The memory may have grown since it was compared with shm-size.
    size_is_due: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Replaced when a property is set.
    settings: Arc<Settings>,
    /// Set from `start` to `stop`.
    stream: Option<Arc<Stream>>,
}

/// The run of the sink, and the settings at this moment.
struct Run {
    stream: Arc<Stream>,
    settings: Arc<Settings>,
}

impl XmemSink {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self) -> Arc<Settings> {
        self.state().settings.clone()
    }

    fn stream(&self) -> Option<Arc<Stream>> {
        self.state().stream.clone()
    }

    fn run(&self) -> Option<Run> {
        let state = self.state();
        Some(Run {
            stream: state.stream.clone()?,
            settings: state.settings.clone(),
        })
    }

    pub(super) fn socket_path(&self) -> Option<PathBuf> {
        let stream = self.stream()?;
        Some(stream.publisher.socket_path().into())
    }

    fn stats(&self) -> gst::Structure {
        let mut stats = self.obj().stats();
        stats.set_name("application/x-xmemsink-stats");
        if let Some(stream) = self.stream() {
            statistics::add(&mut stats, &stream);
        }
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
        let (waits, stream) = {
            let mut state = self.state();
            let settings = Arc::make_mut(&mut state.settings);
            let before = settings.waits();
            settings.set(pspec.name(), value);
            let waits = settings.waits();
            ((waits != before).then_some(waits), state.stream.clone())
        };
        if let Some((waits, stream)) = waits.zip(stream) {
            stream.say_own(EventContent::Waits(waits));
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

    fn set_context(&self, context: &gst::Context) {
        let device = self.settings().cuda_device();
        self.cuda.set(self.obj().upcast_ref(), context, device);
        self.parent_set_context(context);
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
            let settings = self.settings();
            if let Err(message) = settings.channel.channel() {
                self.post_error_message(message);
                return Err(gst::StateChangeError);
            }
            let notes = settings.notes();
            notes.iter().for_each(|note| note.post(&*self.obj()));
        }
        let stream = self.stream();
        if let Some(stream) = &stream
            && transition == gst::StateChange::ReadyToPaused
        {
            stream.offer.set_flushing(false);
        }
        if transition == gst::StateChange::ReadyToPaused {
            self.was_paused.store(true, Ordering::Relaxed);
        }
        let changed = self.parent_change_state(transition)?;
        if transition == gst::StateChange::ReadyToNull {
            self.cuda.clear();
        }
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
            stream.leave();
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
        self.open()
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        gst::info!(CAT, imp = self, "Stopping: {}", self.stats());
        let stream = self.state().stream.take();
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
                stream.offer.set_flushing(true);
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
        // Accept all caps except those with memory that other processes cannot map.
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
        let gpu = self.gpu(&stream, &format).map_err(refused)?;
        self.size_is_due.store(true, Ordering::Relaxed);
        stream.set_caps(caps, &bytes, format, gpu).map_err(|error| {
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
            Some(stream) => stream.offer.propose(query, max_buffers),
            None => Err(gst::loggable_error!(CAT, "Not started")),
        }
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        if self.cuda.answer(self.obj().upcast_ref(), query) {
            return true;
        }
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
        let Some(stream) = self.stream() else {
            return self.parent_event(event);
        };
        let mut said = stream.take_event(self.obj().upcast_ref(), &event);
        let handled = self.parent_event(event);
        match kind {
            gst::EventType::Eos if handled => {
                gst::debug!(CAT, imp = self, "The stream ends");
                if let Some(said) = said.take() {
                    stream.say_event(kind, said);
                }
                stream.end();
            }
            // The streaming thread has left the sink.
            gst::EventType::FlushStart => stream.flush(seqnum),
            gst::EventType::FlushStop => stream.finish_flush(seqnum),
            gst::EventType::Segment => stream.streaming().streaming.timing.begin_segment(),
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
        let run = self.run().ok_or(gst::FlowError::Flushing)?;
        let checked = run.stream.check(buffer);
        checked.map_err(|reason| self.refuse(&reason))?;
        match self.show(&run, buffer) {
            // The frame was flushed, or `render()` publishes it in PLAYING.
            Ok(())
            | Err(Error::Cancelled | Error::Exhausted { .. } | Error::ResourceExhausted { .. }) => {
                Ok(gst::FlowSuccess::Ok)
            }
            Err(error) => self.go_on_after(&run.stream, &error),
        }
    }

    fn render(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.publish_rendered(buffer)
    }
}
