//! One run of the source, from start to stop: what it receives, and when it connects again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use gst::prelude::*;
use gst_base::BaseSrc;
use gst_base::prelude::*;
use xmem_core::{
    Cancellation, Canceller, Channel, Error, Frame, Item, Result, Subscriber, UpstreamSender,
};

use super::cuda::CudaFrames;
use super::downstream::{Downstream, running_time};
use super::gate::Gate;
use super::headers::Headers;
use super::keeping::Keeping;
use super::lasting::Lasting;
use super::outofband::OutOfBand;
use super::received::{Figures, FrameKind, Received, Unusable};
use super::reconnect::Reconnect;
use super::settings::{Delivery, OnDisconnect, Settings};
use crate::caps::Format;
use crate::log::CAT;
use crate::memory::recorder::Recorder;
use crate::timestamps::{Timekeeper, milliseconds};
use crate::values::Names;

mod buffers;
mod connecting;
mod events;
mod leading;

/// The pause before the next connection if one ended for lack of memory or descriptors.
const LACKING_PAUSE: Duration = Duration::from_millis(100);

/// The backlog to connect with, for small frames, until the need is known.
const FIRST_BACKLOG: u32 = 256;

/// The maximum number of leading frames that wait for the frame after them: each may have a lease.
const MAX_KEPT: usize = 16;

/// A change that the element is told of, on any thread.
pub(super) enum Change {
    /// A producer is connected; the sender is for requests and events to it.
    Connected(UpstreamSender),
    /// Downstream holds as many frames as it may.
    Starved,
    /// The producer keeps frames for a latency that differs from the one before.
    Covered,
}

/// What belongs to the element that receives.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) cuda: CudaFrames,
    pub(super) settings: Settings,
}

/// Receives frames. Only the streaming thread uses it.
pub(super) struct Receiver {
    channel: Channel,
    name: String,
    /// The settings at the start of the run; some of the properties change later.
    settings: Settings,
    canceller: Canceller,
    keeping: Keeping,
    observer: Arc<dyn Fn(Change) + Send + Sync>,
    out_of_band: OutOfBand,
    subscriber: Option<Subscriber>,
    /// The names that processes of the producer's user have introduced here.
    names: &'static Names,
    format: Option<Current>,
    /// The caps that were received last.
    caps: Option<gst::Caps>,
    /// The number of the producer's flushes before the item that was received last.
    flushes: u64,
    /// The next buffer does not follow the last one.
    discontinuous: bool,
    gate: Gate,
    headers: Headers,
    /// Leading frames that wait for the frame after them.
    kept: VecDeque<gst::Buffer>,
    /// Buffers that are pushed before another item is received.
    due: VecDeque<gst::Buffer>,
    /// A key unit must be requested.
    wants_key_unit: bool,
    figures: Figures,
    /// Since when connections have ended for lack of memory or descriptors, without a frame.
    lacking_since: Option<Instant>,
    reconnect: Reconnect,
    timekeeper: Timekeeper,
    downstream: Downstream,
    lasting: Lasting,
    recorder: Recorder,
    cuda: CudaFrames,
    /// Buffers get memory with a descriptor.
    fd_memory: bool,
    /// An xmemsink downstream publishes the memory of the frames, so copying a frame saves nothing.
    is_forwarded: bool,
    /// A frame was missed before.
    has_missed: bool,
    /// An item that was received, and is pushed after a flush that is not finished.
    put_back: Option<Received>,
    /// The user was told that the channel has no room for another client.
    has_told_refusal: Arc<AtomicBool>,
    /// The kinds of unusable frames that the user was told of.
    refused: Vec<FrameKind>,
}

/// The format of the frames.
struct Current {
    bytes: Arc<[u8]>,
    format: Format,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.out_of_band.end();
    }
}

impl Receiver {
    pub(super) fn new(
        channel: Channel,
        source: Source,
        canceller: Canceller,
        keeping: Keeping,
        observer: impl Fn(Change) + Send + Sync + 'static,
        out_of_band: OutOfBand,
    ) -> Receiver {
        let Source {
            name,
            cuda,
            settings,
        } = source;
        Receiver {
            channel,
            name,
            gate: Gate::new(settings.wait_for_keyframe, settings.request_keyframe),
            headers: Headers::default(),
            kept: VecDeque::new(),
            due: VecDeque::new(),
            wants_key_unit: false,
            settings,
            canceller,
            keeping,
            observer: Arc::new(observer),
            out_of_band,
            subscriber: None,
            names: Names::known(),
            format: None,
            caps: None,
            flushes: 0,
            discontinuous: true,
            figures: Figures::default(),
            lacking_since: None,
            reconnect: Reconnect::default(),
            timekeeper: Timekeeper::default(),
            downstream: Downstream::default(),
            lasting: Lasting::default(),
            recorder: Recorder::default(),
            cuda,
            fd_memory: true,
            is_forwarded: false,
            has_missed: false,
            put_back: None,
            has_told_refusal: Arc::default(),
            refused: Vec::new(),
        }
    }

    pub(super) fn figures(&self) -> Figures {
        let mut figures = self.figures;
        if let Some(subscriber) = &self.subscriber {
            figures.connected = true;
            figures.missed += subscriber.missed();
            figures.starved += subscriber.starved();
            figures.grant = subscriber.granted();
        }
        figures
    }

    /// Sets whether buffers get memory with a descriptor, and whether an xmemsink downstream
    /// publishes that memory.
    pub(super) fn set_usage(&mut self, fd_memory: bool, is_forwarded: bool) {
        (self.fd_memory, self.is_forwarded) = (fd_memory, is_forwarded);
    }

    /// Switches to another channel.
    pub(super) fn switch_to(&mut self, channel: Channel) {
        self.disconnect();
        self.channel = channel;
        self.put_back = None;
        self.due.clear();
        self.lacking_since = None;
        self.reconnect = Reconnect::default();
    }

    /// Prepares the next buffer before its frame has arrived, so that the frame is pushed sooner.
    pub(super) fn prepare(&mut self) {
        self.recorder.prepare();
    }

    /// Returns the next frame, the end, or nothing. Connects first if there is no connection. Does
    /// not wait if there are events to push. Calls `observe` with the figures when a connection
    /// begins or ends.
    ///
    /// This function alone decides when to reconnect.
    pub(super) fn receive(
        &mut self,
        element: &BaseSrc,
        cancel: &Cancellation<'_>,
        (timeout, on_disconnect): (Option<Duration>, OnDisconnect),
        observe: impl Fn(Figures),
    ) -> Result<Received> {
        if self.out_of_band.was_flushed() {
            self.downstream.flush();
            self.lose();
        }
        self.headers.arrived();
        let is_void = self.subscriber.as_ref().is_some_and(Subscriber::is_flushed);
        if is_void {
            self.downstream.forget_once();
        }
        if let Some(received) = self.put_back.take().filter(|_| !is_void) {
            return Ok(received);
        }
        loop {
            let subscriber = match &mut self.subscriber {
                Some(subscriber) => subscriber,
                None => {
                    let pause = self.reconnect.left(Instant::now());
                    if !pause.is_zero() {
                        cancel.pause(pause)?;
                    }
                    let insists = on_disconnect == OnDisconnect::Reconnect;
                    let asked = milliseconds(SystemTime::now());
                    let subscriber = self.connect(element, timeout, insists, cancel)?;
                    self.reconnect.connected(Instant::now());
                    self.figures.connections += 1;
                    self.lose();
                    self.headers.join();
                    let offset = self.timekeeper.offset(element);
                    self.downstream.restart(running_time(offset), asked);
                    // Forget the caps: the caps that were queued may have been dropped.
                    (self.format, self.caps) = (None, None);
                    self.flushes = 0;
                    self.names = Names::of_user(subscriber.producer_uid());
                    self.keeping.connected(subscriber.upstream());
                    (self.observer)(Change::Connected(subscriber.upstream()));
                    self.subscriber = Some(subscriber);
                    observe(self.figures());
                    continue;
                }
            };
            let wait = self.downstream.is_holding().then_some(Duration::ZERO);
            let received = subscriber.receive_item_cancellable(wait, cancel);
            // The producer has flushed: drop the queued events that a flush makes void. Those that
            // are received from now on follow the flush.
            let flushes = subscriber.flushes();
            if std::mem::replace(&mut self.flushes, flushes) != flushes {
                self.downstream.forget_once();
            }
            match received {
                Ok(Item::Frame(frame)) => {
                    if self.format.is_none() && element.src_pad().has_current_caps() {
                        let what = "frames without caps, although an earlier producer sent caps";
                        return Err(Error::Protocol(what.into()));
                    }
                    self.lacking_since = None;
                    self.reconnect.brought_frame();
                    return Ok(Received::Frame(frame));
                }
                Ok(Item::Event(event)) => self.take_in(&event, element)?,
                Ok(other) => gst::debug!(CAT, obj = element, "Passed over: {other:?}"),
                Err(Error::TimedOut | Error::Starved { .. }) => return Ok(Received::Nothing),
                Err(Error::EndOfStream) => return Ok(Received::End),
                Err(error) if error.is_retryable() => {
                    self.disconnect();
                    observe(self.figures());
                    match on_disconnect {
                        OnDisconnect::Error => return Err(error),
                        OnDisconnect::Eos => return Ok(Received::End),
                        OnDisconnect::Reconnect => {}
                    }
                    if let Error::ResourceExhausted { .. } = error {
                        self.wait_for_more(timeout, error, cancel)?;
                    } else {
                        self.reconnect.ended(Instant::now());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Pauses before the next connection, if this process had no memory or descriptors left for
    /// what the producer announced. Returns the error if that has gone on for `timeout`: a
    /// connection without a frame is worth no more than no connection.
    fn wait_for_more(
        &mut self,
        timeout: Option<Duration>,
        error: Error,
        cancel: &Cancellation<'_>,
    ) -> Result<()> {
        let since = *self.lacking_since.get_or_insert_with(Instant::now);
        if timeout.is_some_and(|timeout| since.elapsed() >= timeout) {
            return Err(error);
        }
        cancel.pause(LACKING_PAUSE)
    }

    fn disconnect(&mut self) {
        self.figures = Figures {
            connected: false,
            ..self.figures()
        };
        self.subscriber = None;
    }

    /// Keeps an item: the next call of `receive` returns it.
    pub(super) fn put_back(&mut self, received: Received) {
        self.put_back = Some(received);
    }

    /// If downstream is about to be flushed, keeps the item and waits: buffers and events that are
    /// pushed during a flush are lost.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when the flush has begun.
    pub(super) fn await_flush(&mut self, received: Received) -> Result<Received> {
        if !self.out_of_band.is_flush_due() && !self.canceller.is_cancelled() {
            return Ok(received);
        }
        // An item from before the flush is void.
        let is_void = self.subscriber.as_ref().is_some_and(Subscriber::is_flushed);
        self.put_back = (!is_void).then_some(received);
        let cancellation = self.canceller.begin()?;
        loop {
            cancellation.pause(Duration::from_secs(3600))?;
        }
    }

    /// Returns whether no frame newer than the last received one is available.
    fn is_newest(&self) -> bool {
        let subscriber = self.subscriber.as_ref();
        subscriber.is_none_or(|subscriber| !subscriber.has_next())
    }

    /// Returns why frames are missed, if this is the first frame before which some are.
    pub(super) fn first_missed(&mut self, frame: &Frame) -> Option<String> {
        let is_missed = frame.missed() > 0 && self.settings.delivery == Delivery::InOrder;
        let is_first = is_missed && !std::mem::replace(&mut self.has_missed, true);
        is_first.then(|| self.keeping.why_missed())
    }

    fn miss(&mut self, unusable: Unusable) -> Unusable {
        self.figures.missed += 1;
        self.discontinuous = true;
        unusable
    }

    /// Returns whether this is the first unusable frame of its kind.
    pub(super) fn is_first(&mut self, unusable: &Unusable) -> bool {
        let kind = unusable.kind();
        let is_first = !self.refused.contains(&kind);
        if is_first {
            self.refused.push(kind);
        }
        is_first
    }
}
