use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_src::CreateSuccess;
use gst_base::subclass::prelude::*;
use xmem_core::{Canceller, Error, Upstream};

use super::downstream::Notice;
use super::guard::Guard;
use super::receiver::{Figures, Received, Receiver, Wanted};
use super::settings::{PROPERTIES, Settings};
use super::urgent::Urgent;
use crate::events::upstream::{self, UpstreamEvents};
use crate::timestamps::Timekeeper;
use crate::{CAT, bindings, errors, framememory};

/// Of the streaming thread, the shortest there is: it waits for frames most of the time. With the
/// kernel's own slice, a frame that comes while another thread computes on its processor (the
/// producer's does, the next frame) waits for a millisecond.
const TIME_SLICE: Duration = Duration::from_micros(100);

#[derive(Default)]
pub struct XmemSrc {
    settings: Mutex<Settings>,
    state: Mutex<State>,
    threads: Mutex<Threads>,
    guard: Guard,
}

/// What watches over the pad of a source.
pub(super) fn guard(source: &XmemSrc) -> &Guard {
    &source.guard
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
    /// The upstream events that the producer takes, and what takes them there.
    accepts: UpstreamEvents,
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

    /// The next buffer; what comes before it was pushed.
    fn next(&self, receiver: &mut Receiver) -> Result<gst::Buffer, gst::FlowError> {
        let (timeout, on_disconnect) = {
            let settings = self.settings();
            (settings.connection_timeout(), settings.on_disconnect)
        };
        let observe = |figures| self.state().figures = figures;
        loop {
            receiver.prepare();
            let obj = self.obj();
            let received = receiver.receive(&obj, timeout, on_disconnect, observe);
            observe(receiver.figures());
            let received = received
                .and_then(|received| receiver.await_flush(received))
                .map_err(|error| self.failed(error))?;
            let notice = |notice| self.take_notice(notice);
            let caps = receiver
                .push_events(&obj, &self.guard, &received, notice)
                .map_err(|error| {
                    gst::warning!(CAT, imp = self, "Downstream refused the caps: {error}");
                    gst::FlowError::NotNegotiated
                })?;
            if let Some(caps) = caps {
                gst::info!(CAT, imp = self, "Caps are {caps}");
                let wanted = self.settings().fd_memory;
                receiver.set_fd_memory(wanted && framememory::is_taken(&*obj, &caps));
            }
            match received {
                Received::Frame(frame) => {
                    let buffer = receiver.buffer(frame, &*obj);
                    observe(receiver.figures());
                    match buffer.map_err(|error| self.failed(error))? {
                        Ok(buffer) => {
                            self.guard.keep_times(&obj, &buffer);
                            return Ok(buffer);
                        }
                        Err(unusable) => {
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

    /// Takes in what the producer says to the element itself.
    fn take_notice(&self, notice: Notice) {
        match notice {
            Notice::Latency(latency) => {
                let before = std::mem::replace(&mut self.state().latency, latency);
                if before != latency {
                    gst::info!(CAT, imp = self, "The producer's latency is {latency}");
                    let obj = self.obj();
                    let message = gst::message::Latency::builder().src(&*obj).build();
                    let _ = obj.post_message(message);
                }
            }
            Notice::Accepts(accepts) => self.state().accepts = accepts,
        }
    }

    /// Nanoseconds that this process's `CLOCK_MONOTONIC` is ahead of the producer's.
    pub(super) fn clock_offset(&self) -> i64 {
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

    /// Says, once a run, that downstream holds every frame that there may be.
    fn warn_starved(&self) {
        let leases = self.settings().max_leases;
        gst::element_imp_warning!(
            self,
            gst::ResourceError::Busy,
            ("Downstream holds all {leases} frames that this source may have at once, so it \
                 waits and may miss some: raise max-leases, or hold fewer buffers")
        );
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

    fn stats(&self) -> gst::Structure {
        let figures = self.state().figures;
        gst::Structure::builder("application/x-xmemsrc-stats")
            .field("received", figures.received)
            .field("missed", figures.missed)
            .field("starved", figures.starved)
            .field("connections", figures.connections)
            .field("connected", figures.connected)
            .build()
    }
}

#[glib::object_subclass]
impl ObjectSubclass for XmemSrc {
    const NAME: &'static str = "GstXmemSrc";
    type Type = super::XmemSrc;
    type ParentType = gst_base::PushSrc;
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
        Guard::install(&obj);
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        self.settings().set(pspec.name(), value);
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => self.stats().to_value(),
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
        self.parent_post_message(message)
    }

    fn send_event(&self, event: gst::Event) -> bool {
        // Else the base class takes those of the application that go upstream no further.
        (event.is_upstream() && self.send_upstream(&event)) || self.parent_send_event(event)
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
        }
        if transition == gst::StateChange::PlayingToPaused {
            self.threads().pausing = Some(std::thread::current().id());
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
        let receiver = Receiver::new(
            channel,
            self.obj().name().to_string(),
            Wanted {
                delivery: settings.delivery,
                leases: settings.max_leases,
                unsealed_memory: settings.unsealed_memory,
            },
            canceller.clone(),
            {
                let weak = self.obj().downgrade();
                let told = AtomicBool::new(false);
                move || {
                    let Some(obj) = weak.upgrade() else { return };
                    // The receiver's own figures come when it has something to give.
                    obj.imp().state().figures.starved += 1;
                    if !told.swap(true, Ordering::Relaxed) {
                        obj.imp().warn_starved();
                    }
                }
            },
            {
                let weak = self.obj().downgrade();
                move |upstream| {
                    let Some(obj) = weak.upgrade() else { return };
                    let mut state = obj.imp().state();
                    // Until this producer has said what it takes.
                    state.accepts = UpstreamEvents::default();
                    state.upstream = Some(upstream);
                }
            },
            Urgent::new(&self.obj()),
        );
        self.guard.reset();
        *self.state() = State {
            canceller: Some(canceller),
            receiver: Some(Box::new(receiver)),
            asks_again: gst::version() >= (1, 24, 0, 0),
            ..State::default()
        };
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        gst::info!(CAT, imp = self, "Stopping: {}", self.stats());
        let state = std::mem::take(&mut *self.state());
        // Not under the lock: it ends the connection.
        drop(state);
        Ok(())
    }

    fn is_seekable(&self) -> bool {
        false
    }

    fn event(&self, event: &gst::Event) -> bool {
        // The base class wants some for itself as well.
        let sent = self.send_upstream(event);
        match event.type_() {
            gst::EventType::Seek if sent => true,
            _ => BaseSrcImplExt::parent_event(self, event) || sent,
        }
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
            // on; and it can be kept for as long as there are leases, which no time limits.
            latency.set(true, self.state().latency, gst::ClockTime::NONE);
            return true;
        }
        BaseSrcImplExt::parent_query(self, query)
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
