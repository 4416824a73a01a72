use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_src::CreateSuccess;
use gst_base::subclass::prelude::*;
use xmem_core::{Canceller, Channel, Error, Upstream};

use super::downstream::Notice;
use super::eventfilter::EventFilter;
use super::keeping::Keeping;
use super::outofband::OutOfBand;
use super::plan::Plan;
use super::received::{Figures, NotPushed, Received};
use super::receiver::{Change, Receiver};
use super::refusal;
use super::same_pipeline::{Progress, SamePipeline};
use super::settings::{Delivery, OnStarved, PROPERTIES, Settings};
use crate::events::extent::Extent;
use crate::events::upstream::{self, UpstreamEvents};
use crate::timestamps::Timekeeper;
use crate::{CAT, bindings, errors, framememory};

mod channel;
mod queries;

/// Of the streaming thread, the shortest there is: it waits for frames most of the time. With the
/// kernel's own slice, a frame that comes while another thread computes on its processor (the
/// producer's does, the next frame) waits for a millisecond.
const TIME_SLICE: Duration = Duration::from_micros(100);

#[derive(Default)]
pub struct XmemSrc {
    settings: Mutex<Settings>,
    state: Mutex<State>,
    threads: Mutex<Threads>,
    pub(super) filter: Arc<EventFilter>,
    same_pipeline: SamePipeline,
}

/// Who calls `unlock` and `unlock_stop`. From GStreamer 1.24 on a pause unlocks, and what undoes
/// that comes on the streaming thread, as late as it likes: it would undo the unlock of a flush
/// that came meanwhile, and that of a pause that is over already would end the stream. No pause
/// waits for the streaming thread: one leaves its waits alone, as before 1.24.
#[derive(Default)]
struct Threads {
    streaming: Option<ThreadId>,
    /// In a change from PLAYING to PAUSED.
    pausing: Option<ThreadId>,
}

#[derive(Default)]
struct State {
    /// Ends the waits of the streaming thread; there from start to stop.
    canceller: Option<Canceller>,
    /// From the begin of a pause to its end. A frame that comes meanwhile waits: the pipeline's running time
    /// is another one after that.
    is_paused: bool,
    /// It was paused since frames were missed last.
    was_paused: bool,
    /// The channel to go on with.
    next_channel: Option<Channel>,
    /// What the producer keeps for this source; there from start to stop.
    keeping: Option<Keeping>,
    /// There from start to stop, but while the streaming thread has it.
    receiver: Option<Box<Receiver>>,
    /// What was handed to the base class and may not have been pushed.
    unpushed: Option<gst::Buffer>,
    /// The base class drops what comes while it pauses, and asks again: so from 1.24 on.
    asks_again: bool,
    /// As of the last frame, or of what has happened to the connection since.
    figures: Figures,
    /// How late the producer passes on its buffers.
    latency: gst::ClockTime,
    /// How often it has changed.
    latency_changes: u64,
    /// The upstream events that the producer takes, and what takes them there.
    accepts: UpstreamEvents,
    /// How long its stream is, where it says so.
    extent: Option<Extent>,
    upstream: Option<Upstream>,
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

    /// The next buffer; what comes before it was pushed.
    fn next(&self, receiver: &mut Receiver) -> Result<gst::Buffer, gst::FlowError> {
        let (timeout, on_disconnect) = {
            let settings = self.settings();
            (settings.connection_timeout(), settings.on_disconnect)
        };
        let observe = |figures| self.state().figures = figures;
        let canceller = self.state().canceller.clone();
        let canceller = canceller.ok_or(gst::FlowError::Flushing)?;
        loop {
            // Before the look at the channel: another one ends what has begun.
            let cancel = canceller.begin().map_err(|error| self.failed(error))?;
            let next_channel = self.state().next_channel.take();
            if let Some(channel) = next_channel {
                gst::info!(CAT, imp = self, "Going on with {channel:?}");
                receiver.switch_to(channel);
            }
            if let Some(buffer) = receiver.take_due() {
                self.filter.keep_times(self.obj().upcast_ref(), &buffer);
                return Ok(buffer);
            }
            receiver.prepare();
            let obj = self.obj();
            let obj = obj.upcast_ref();
            let limits = (timeout, on_disconnect);
            let received = receiver.receive(obj, &cancel, limits, observe);
            let figures = receiver.figures();
            let is_paused = {
                let mut state = self.state();
                state.figures = figures;
                state.is_paused
            };
            let received = received.and_then(|received| match received {
                Received::Frame(_) if is_paused => {
                    receiver.put_back(received);
                    cancel.pause(Duration::MAX).map(|()| Received::Nothing)
                }
                received => receiver.await_flush(received),
            });
            // By another channel, or the end of a pause.
            if matches!(received, Err(Error::Cancelled)) && cancel.is_interrupted() {
                continue;
            }
            let received = received.map_err(|error| self.failed(error))?;
            let notice = |notice| self.take_notice(notice);
            let caps = receiver
                .push_events(obj, &self.filter, &received, notice)
                .map_err(|error| {
                    gst::warning!(CAT, imp = self, "Downstream refused the caps: {error}");
                    gst::FlowError::NotNegotiated
                })?;
            if let Some(caps) = caps {
                gst::info!(CAT, imp = self, "Caps are {caps}");
                let fd_memory = self.settings().fd_memory;
                let usage = framememory::usage(obj, &caps);
                receiver.set_usage(fd_memory && usage.takes_descriptors, usage.is_forwarded);
            }
            match received {
                Received::Frame(frame) => {
                    // In PAUSED a live source is expected to miss what comes.
                    if frame.missed() > 0
                        && !std::mem::take(&mut self.state().was_paused)
                        && let Some(why) = receiver.first_missed(&frame)
                    {
                        gst::element_imp_warning!(
                            self,
                            gst::StreamError::Failed,
                            (
                                "Missed {} frames: {why}. Later ones are counted only (missed in \
                                 stats)",
                                frame.missed()
                            )
                        );
                    }
                    let buffer = receiver.take_frame(frame);
                    observe(receiver.figures());
                    if receiver.wants_key_unit()
                        && self.request_key_unit(receiver.takes_all_headers())
                    {
                        receiver.key_unit_requested();
                    }
                    if let Some(skipped) = receiver.overdue_key_frame() {
                        self.tell_overdue(skipped);
                    }
                    match buffer.map_err(|error| self.failed(error))? {
                        Ok(buffer) => {
                            self.filter.keep_times(obj, &buffer);
                            return Ok(buffer);
                        }
                        Err(NotPushed::Kept) => {}
                        Err(NotPushed::Skipped) => {
                            gst::debug!(CAT, imp = self, "Skipped a frame before a key frame");
                        }
                        Err(NotPushed::Early) => {
                            gst::debug!(CAT, imp = self, "Left out a frame that is over");
                        }
                        Err(NotPushed::Unusable(unusable)) => {
                            gst::debug!(CAT, imp = self, "Missed a frame: {unusable}");
                            if receiver.is_first(&unusable) {
                                gst::element_imp_warning!(
                                    self,
                                    gst::StreamError::Format,
                                    ("Missed a frame: {unusable}. The others like it are \
                                         counted only (missed in stats)")
                                );
                            }
                        }
                    }
                }
                Received::Nothing => {}
                Received::End => return Err(gst::FlowError::Eos),
            }
        }
    }

    /// Goes on with the frame that has waited for the end of a pause: the base time is set by now.
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

    /// Takes in what the producer says to the element itself.
    fn take_notice(&self, notice: Notice) {
        match notice {
            Notice::Latency(latency) => {
                let before = {
                    let mut state = self.state();
                    let before = std::mem::replace(&mut state.latency, latency);
                    state.latency_changes += u64::from(before != latency);
                    before
                };
                if before != latency {
                    gst::info!(CAT, imp = self, "The producer's latency is {latency}");
                    self.ask_for_latency();
                }
            }
            Notice::Accepts(accepts) => self.state().accepts = accepts,
            Notice::Extent(extent) => self.set_extent(extent),
        }
    }

    /// Has the pipeline look at the latencies of its elements again.
    fn ask_for_latency(&self) {
        let obj = self.obj();
        let message = gst::message::Latency::builder().src(&*obj).build();
        let _ = obj.post_message(message);
    }

    /// Nanoseconds that this process's `CLOCK_MONOTONIC` is ahead of the producer's.
    fn clock_offset(&self) -> i64 {
        let state = self.state();
        state.upstream.as_ref().map_or(0, Upstream::clock_offset)
    }

    /// Takes an upstream event to the producer. False where that does not take such.
    fn send_upstream(&self, event: &gst::EventRef) -> bool {
        let Some(which) = upstream::which(event) else {
            return false;
        };
        let to_producer = {
            let state = self.state();
            let accepted = state.accepts.contains(which);
            state.upstream.clone().filter(|_| accepted)
        };
        let Some(to_producer) = to_producer else {
            return false;
        };
        let ahead = to_producer.clock_offset();
        let offset = Timekeeper::default().offset(&*self.obj());
        let offset = offset.map(|offset| offset.on_clock_ahead(-ahead));
        let sent = upstream::encode(event, offset).map(|bytes| to_producer.send(&bytes));
        gst::debug!(CAT, imp = self, "Sent to the producer, {sent:?}: {event:?}");
        matches!(sent, Some(Ok(true)))
    }

    /// Asks the producer for a key frame. False where it is worth another try: its socket had no room.
    fn request_key_unit(&self, all_headers: bool) -> bool {
        if !self
            .state()
            .accepts
            .contains(UpstreamEvents::FORCE_KEY_UNIT)
        {
            return true;
        }
        let event = gst_video::UpstreamForceKeyUnitEvent::builder();
        self.send_upstream(&event.all_headers(all_headers).build())
    }

    /// Takes in what has happened to the connection. `is_told` is of the messages that are posted once.
    fn take_change(&self, change: Change, is_told: &AtomicBool) {
        match change {
            Change::Connected(upstream) => {
                let mut state = self.state();
                // Until this producer has said what it takes.
                state.accepts = UpstreamEvents::default();
                state.extent = None;
                state.upstream = Some(upstream);
            }
            Change::Starved => {
                // The receiver's own figures come when it has something to give.
                self.state().figures.starved += 1;
                if !is_told.swap(true, Ordering::Relaxed) {
                    self.tell_starved();
                }
            }
            Change::Covered => self.ask_for_latency(),
        }
    }

    /// Says that frames are skipped because no key frame comes.
    fn tell_overdue(&self, skipped: u64) {
        let requests = self.settings().request_keyframe;
        let requests = requests && {
            let accepts = self.state().accepts;
            accepts.contains(UpstreamEvents::FORCE_KEY_UNIT)
        };
        let why = match requests {
            true => "though key frames are requested",
            false => "and none is requested (request-keyframe, and upstream-events of xmemsink)",
        };
        gst::element_imp_warning!(
            self,
            gst::StreamError::Decode,
            ("Skipped {skipped} frames since no key frame has come, {why}: set \
                 wait-for-keyframe=false to have all frames, or raise group-time of xmemsink so \
                 that it keeps the last key frame and the frames after it")
        );
    }

    /// Says, once a run, that downstream holds every frame that it may.
    fn tell_starved(&self) {
        let Settings {
            max_leases,
            on_starved,
            ..
        } = *self.settings();
        let advice = match max_leases {
            0 => "raise max-bytes (and max-buffers, if set) of xmemsink",
            _ => "raise max-leases",
        };
        match on_starved {
            OnStarved::Copy => gst::element_imp_info!(
                self,
                gst::ResourceError::Busy,
                ("Downstream holds all frames that this source may have at once, so further \
                     ones are copied: {advice}, or hold fewer buffers")
            ),
            OnStarved::Wait => gst::element_imp_warning!(
                self,
                gst::ResourceError::Busy,
                ("Downstream holds all frames that this source may have at once, so it waits and \
                     may miss some: {advice}, hold fewer buffers, or set on-starved=copy")
            ),
        }
    }

    /// Tells the bus what went wrong and what can be done.
    fn failed(&self, error: Error) -> gst::FlowError {
        if matches!(error, Error::Cancelled) {
            return gst::FlowError::Flushing;
        }
        self.post_error_message(errors::message(&error, gst::ResourceError::Read));
        gst::FlowError::Error
    }

    /// Sets the time slice of the calling thread, where that can be done.
    fn set_time_slice(&self, slice: Option<Duration>) {
        if let Err(error) = xmem_core::set_time_slice(slice) {
            gst::debug!(CAT, imp = self, "No time slice was set: {error}");
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
        // The producer says where the stream ends, and not the segment's stop.
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
                        ("{name} can't be changed while the source runs: the new value counts from \
                             the next start (set it in NULL or READY)")
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

    /// Passes by here on the streaming thread, when that begins and ends.
    fn post_message(&self, message: gst::Message) -> bool {
        // Before the application hears of it: what it sets stays.
        match bindings::stream_status(&message) {
            Some(gst::StreamStatusType::Enter) => {
                self.threads().streaming = Some(std::thread::current().id());
                self.set_time_slice(Some(TIME_SLICE));
            }
            // Threads are used again, for other elements.
            Some(gst::StreamStatusType::Leave) => {
                self.threads().streaming = None;
                self.set_time_slice(None);
            }
            _ => {}
        }
        let message = refusal::explained(self.obj().upcast_ref(), message);
        self.parent_post_message(message)
    }

    fn send_event(&self, event: gst::Event) -> bool {
        // Else the base class takes those of the application that go upstream no further.
        if event.is_upstream() && self.send_upstream(&event) {
            return true;
        }
        // The base class would seek in its own segment, now or when it starts.
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
        self.parent_change_state(transition)
    }
}

impl BaseSrcImpl for XmemSrc {
    /// Connecting is left to the streaming thread: it may take as long as a producer does.
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings().clone();
        let channel = settings.channel.channel()?;
        let canceller = Canceller::new();
        let keeping = Keeping::new(Plan::new(
            settings.max_leases,
            settings.on_starved == OnStarved::Copy,
            settings.delivery == Delivery::Latest,
        ));
        let receiver = Receiver::new(
            channel,
            self.obj().name().to_string(),
            settings,
            canceller.clone(),
            keeping.clone(),
            {
                let weak = self.obj().downgrade();
                let is_told = AtomicBool::new(false);
                move |change| {
                    if let Some(obj) = weak.upgrade() {
                        obj.imp().take_change(change, &is_told);
                    }
                }
            },
            OutOfBand::new(self.obj().upcast_ref(), {
                let weak = self.obj().downgrade();
                move || {
                    weak.upgrade()
                        .map_or(0, |source| source.imp().clock_offset())
                }
            }),
        );
        self.filter.reset();
        *self.state() = State {
            canceller: Some(canceller),
            keeping: Some(keeping),
            receiver: Some(Box::new(receiver)),
            asks_again: gst::version() >= (1, 24, 0, 0),
            ..State::default()
        };
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        gst::info!(
            CAT,
            imp = self,
            "Stopping: {}",
            self.state().figures.stats()
        );
        let state = std::mem::take(&mut *self.state());
        // Not under the lock: it ends the connection.
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
        // The base class wants some for itself as well, but no seeks.
        let sent = self.send_upstream(event);
        let is_seek = event.type_() == gst::EventType::Seek;
        (!is_seek && BaseSrcImplExt::parent_event(self, event)) || sent
    }

    fn unlock(&self) -> Result<(), gst::ErrorMessage> {
        if self.threads().pausing == Some(std::thread::current().id()) {
            return Ok(());
        }
        // Not under the lock: it wakes threads up.
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
        // What a flush has met goes with it.
        let flushed = state.unpushed.take();
        drop(state);
        drop(flushed);
        Ok(())
    }

    /// The base class asks for the times of a buffer that it goes on with.
    fn times(&self, _buffer: &gst::BufferRef) -> (Option<gst::ClockTime>, Option<gst::ClockTime>) {
        let pushed = self.state().unpushed.take();
        drop(pushed);
        (None, None)
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        if let gst::QueryViewMut::Latency(latency) = query.view_mut() {
            // A frame is handed over as soon as it is there, which is as late as the producer passes it
            // on. After that it can be kept for as long as the producer has slots for this source.
            let (least, keeping) = {
                let state = self.state();
                (state.latency, state.keeping.clone())
            };
            let covered = keeping.and_then(|keeping| keeping.covered());
            let covered = covered.and_then(|time| gst::ClockTime::try_from(time).ok());
            latency.set(true, least, covered.map(|time| least + time));
            return true;
        }
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
        // Taken out while it waits, so that no lock is held meanwhile.
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
        // Stopped meanwhile? It can't be: stopping waits for the streaming thread.
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
