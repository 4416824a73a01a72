use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_src::CreateSuccess;
use gst_base::subclass::prelude::*;
use xmem_core::{Canceller, Channel, UpstreamSender};
use xmem_media::event::Extent;

use super::eventfilter::EventFilter;
use super::keeping::Keeping;
use super::received::Figures;
use super::receiver::Receiver;
use super::refusal;
use super::same_pipeline::{Progress, SamePipeline};
use super::settings::{PROPERTIES, Settings};
use crate::bindings;
use crate::cuda::ElementContext;
use crate::events::upstream::UpstreamEvents;
use crate::log::CAT;

mod channel;
mod creating;
mod producer;
mod queries;
mod reports;
mod starting;
mod upstream;

/// The time slice of the streaming thread: the shortest that the kernel offers, because the thread
/// mostly waits for frames. With the kernel's default slice, a frame that arrives while another
/// thread computes on the same processor (for example the producer, on its next frame) waits for a
/// millisecond.
const TIME_SLICE: Duration = Duration::from_micros(100);

#[derive(Default)]
pub struct XmemSrc {
    settings: Mutex<Settings>,
    state: Mutex<State>,
    threads: Mutex<Threads>,
    pub(super) filter: Arc<EventFilter>,
    same_pipeline: SamePipeline,
    /// The CUDA context, if frames in CUDA memory have come, or one was set.
    cuda: Arc<ElementContext>,
}

/// Identifies the threads that call `unlock` and `unlock_stop`. Since 1.24, PLAYING→PAUSED calls
/// `unlock()`, and the matching `unlock_stop()` runs later on the streaming thread, where it could
/// cancel the `unlock()` of a concurrent flush. An `unlock()` that takes effect after its pause is
/// over would end the stream. A pause does not wait for the streaming thread, so both calls are
/// ignored for pauses, as before 1.24.
#[derive(Default)]
struct Threads {
    streaming: Option<ThreadId>,
    /// Set during a change from PLAYING to PAUSED.
    pausing: Option<ThreadId>,
}

#[derive(Default)]
struct State {
    /// Ends the waits of the streaming thread. Set from `start` to `stop`.
    canceller: Option<Canceller>,
    /// Set from the beginning to the end of a pause. A frame that arrives in a pause waits, because
    /// the pipeline has another base time after it.
    is_paused: bool,
    /// The source was paused since it last missed frames.
    was_paused: bool,
    /// The channel to switch to.
    next_channel: Option<Channel>,
    /// What the producer keeps for this source. Set from `start` to `stop`.
    keeping: Option<Keeping>,
    /// Set from `start` to `stop`, except while the streaming thread uses it.
    receiver: Option<Box<Receiver>>,
    /// A buffer that was returned to the base class and may not have been pushed.
    unpushed: Option<gst::Buffer>,
    /// Since 1.24, the base class drops the buffer that it gets while it pauses, and asks again.
    asks_again: bool,
    /// The counters as of the last frame, with later changes of the connection.
    figures: Figures,
    /// The latency with which the producer forwards its buffers.
    latency: gst::ClockTime,
    /// The number of changes of `latency`.
    latency_changes: u64,
    /// The upstream events that the producer accepts.
    accepts: UpstreamEvents,
    /// The extent of the producer's stream, if the producer sends it.
    extent: Option<Extent>,
    /// Sends upstream events to the producer.
    upstream: Option<UpstreamSender>,
}

impl XmemSrc {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn threads(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) -> Progress {
        let socket_path = self.socket_path();
        let state = self.state();
        Progress {
            socket_path,
            figures: state.figures,
            latency: state.latency,
            latency_changes: state.latency_changes,
        }
    }

    /// Continues with the frame that has waited for the end of a pause. The base time is set by
    /// now.
    fn resume(&self) {
        let (was_paused, canceller) = {
            let mut state = self.state();
            let was_paused = std::mem::take(&mut state.is_paused);
            (was_paused, state.canceller.clone())
        };
        if let Some(canceller) = canceller.filter(|_| was_paused) {
            canceller.interrupt();
        }
    }

    /// Sets the time slice of the calling thread, if the kernel allows it.
    fn set_time_slice(&self, slice: Option<Duration>) {
        if let Err(error) = xmem_core::set_time_slice(slice) {
            gst::debug!(CAT, imp = self, "Cannot set the time slice: {error}");
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for XmemSrc {
    const NAME: &'static str = "GstXmemSrc";
    type Type = super::XmemSrc;
    type ParentType = gst_base::PushSrc;
    type Interfaces = (gst::URIHandler,);
}

impl ObjectImpl for XmemSrc {
    fn properties() -> &'static [glib::ParamSpec] {
        &PROPERTIES
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        obj.set_live(true);
        obj.set_format(gst::Format::Time);
        // The producer's EOS ends the stream, not the stop of the segment.
        obj.set_automatic_eos(false);
        self.filter.install(obj.upcast_ref());
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        match pspec.name() {
            name @ ("channel" | "socket-path" | "address") => {
                self.set_channel_property(name, value)
            }
            name => {
                let is_late = pspec.flags().contains(gst::PARAM_FLAG_MUTABLE_READY);
                if is_late && self.state().canceller.is_some() {
                    gst::element_imp_warning!(
                        self,
                        gst::ResourceError::Settings,
                        ("{name} cannot be changed while the source runs: the new value takes \
                             effect at the next start (set it in NULL or READY)")
                    );
                }
                self.settings().set(name, value);
            }
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => self.state().figures.stats().to_value(),
            setting => {
                let value = self.settings().get(setting);
                value.unwrap_or_else(|| pspec.default_value().clone())
            }
        }
    }
}

impl GstObjectImpl for XmemSrc {}

impl ElementImpl for XmemSrc {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Shared memory frame source",
                "Source",
                "Receives the frames of an xmemsink in another process, without copying them",
                "The xmem developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let template = gst::PadTemplate::new(
                "src",
                gst::PadDirection::Src,
                gst::PadPresence::Always,
                &gst::Caps::new_any(),
            );
            vec![template.expect("a template of ANY caps")]
        });
        &TEMPLATES
    }

    /// The streaming thread posts a message here when it begins and when it ends.
    fn post_message(&self, message: gst::Message) -> bool {
        // Set it before the application receives the message, so that a value that the application
        // sets remains.
        match bindings::stream_status(&message) {
            Some(gst::StreamStatusType::Enter) => {
                self.threads().streaming = Some(std::thread::current().id());
                self.set_time_slice(Some(TIME_SLICE));
            }
            // GStreamer reuses threads for other elements.
            Some(gst::StreamStatusType::Leave) => {
                self.threads().streaming = None;
                self.set_time_slice(None);
            }
            _ => {}
        }
        let message = refusal::explained(self.obj().upcast_ref(), message);
        self.parent_post_message(message)
    }

    fn set_context(&self, context: &gst::Context) {
        let device = self.settings().cuda_device();
        self.cuda.set(self.obj().upcast_ref(), context, device);
        self.parent_set_context(context);
    }

    fn send_event(&self, event: gst::Event) -> bool {
        // Otherwise the base class would take the upstream events of the application and drop them.
        if event.is_upstream() && self.send_upstream(&event) {
            return true;
        }
        // The base class would seek in its own segment, now or at the start.
        event.type_() != gst::EventType::Seek && self.parent_send_event(event)
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
        if transition == gst::StateChange::PausedToPlaying {
            let progress = |source: &super::XmemSrc| source.imp().progress();
            self.same_pipeline.begin(&*self.obj(), progress);
            self.resume();
        }
        if transition == gst::StateChange::PlayingToPaused {
            self.same_pipeline.end();
            self.threads().pausing = Some(std::thread::current().id());
            {
                let mut state = self.state();
                (state.is_paused, state.was_paused) = (true, true);
            }
            let changed = self.parent_change_state(transition);
            self.threads().pausing = None;
            return changed;
        }
        let changed = self.parent_change_state(transition);
        if transition == gst::StateChange::ReadyToNull {
            self.cuda.clear();
        }
        changed
    }
}

impl BaseSrcImpl for XmemSrc {
    /// Leaves connecting to the streaming thread, because it waits for a producer.
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        self.begin()
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        gst::info!(
            CAT,
            imp = self,
            "Stopping: {}",
            self.state().figures.stats()
        );
        let state = std::mem::take(&mut *self.state());
        // Drop it without the lock, because the drop ends the connection.
        drop(state);
        Ok(())
    }

    fn is_seekable(&self) -> bool {
        false
    }

    fn event(&self, event: &gst::Event) -> bool {
        if let gst::EventView::Latency(event) = event.view() {
            let keeping = self.state().keeping.clone();
            if let Some(keeping) = keeping {
                keeping.set_latency(event.latency());
            }
        }
        // The base class handles some events too, but must not get seeks.
        let sent = self.send_upstream(event);
        let is_seek = event.type_() == gst::EventType::Seek;
        (!is_seek && BaseSrcImplExt::parent_event(self, event)) || sent
    }

    fn unlock(&self) -> Result<(), gst::ErrorMessage> {
        if self.threads().pausing == Some(std::thread::current().id()) {
            return Ok(());
        }
        // Cancel without the lock, because this wakes other threads.
        let canceller = self.state().canceller.clone();
        if let Some(canceller) = canceller {
            canceller.cancel();
        }
        Ok(())
    }

    fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
        if self.threads().streaming == Some(std::thread::current().id()) {
            return Ok(());
        }
        let mut state = self.state();
        if let Some(canceller) = &state.canceller {
            canceller.reset();
        }
        // A flush drops this buffer, too.
        let flushed = state.unpushed.take();
        drop(state);
        drop(flushed);
        Ok(())
    }

    /// The base class calls this when it is about to push a buffer, so the buffer need not be kept.
    fn times(&self, _buffer: &gst::BufferRef) -> (Option<gst::ClockTime>, Option<gst::ClockTime>) {
        let pushed = self.state().unpushed.take();
        drop(pushed);
        (None, None)
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        match self.answer(query) {
            Some(is_answered) => is_answered,
            None => BaseSrcImplExt::parent_query(self, query),
        }
    }
}

impl PushSrcImpl for XmemSrc {
    fn create(
        &self,
        _buffer: Option<&mut gst::BufferRef>,
    ) -> Result<CreateSuccess, gst::FlowError> {
        // Take it out while it waits, so that no lock is held.
        let mut receiver = {
            let mut state = self.state();
            if let Some(buffer) = &state.unpushed {
                return Ok(CreateSuccess::NewBuffer(buffer.clone()));
            }
            let receiver = state.receiver.take();
            receiver.ok_or(gst::FlowError::Flushing)?
        };
        let result = self.next(&mut receiver);
        let mut state = self.state();
        // Still started: stopping waits for the streaming thread.
        if state.canceller.is_some() {
            state.receiver = Some(receiver);
            if state.asks_again {
                state.unpushed = result.as_ref().ok().cloned();
            }
        }
        drop(state);
        result.map(CreateSuccess::NewBuffer)
    }
}
