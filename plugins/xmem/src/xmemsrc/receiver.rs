//! One run of the source, from start to stop: the connection, and the buffers made of frames.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use gst::prelude::*;
use gst_base::BaseSrc;
use gst_base::prelude::*;
use xmem_core::{
    Cancellation, Canceller, Channel, Error, EventKind, Frame, Item, Result, StreamEvent,
    Subscriber, UpstreamSender,
};

use super::downstream::{Downstream, ElementUpdate, QueuedEvent, running_time};
use super::eventfilter::EventFilter;
use super::gate::{Gate, Verdict};
use super::headers::Headers;
use super::keeping::Keeping;
use super::lasting::Lasting;
use super::outofband::OutOfBand;
use super::received::{Figures, FrameKind, NotPushed, Received, Unusable};
use super::reconnect::Reconnect;
use super::settings::{Delivery, OnDisconnect, OnStarved, Settings};
use crate::caps::Format;
use crate::events::{self, DecodedEvent};
use crate::log::CAT;
use crate::memory::kind::{CapsMemory, memory_of};
use crate::memory::recorder::Recorder;
use crate::metas;
use crate::timestamps::{Timekeeper, milliseconds};
use crate::values::{DecodeError, Names, Told};

mod connecting;
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
        name: String,
        settings: Settings,
        canceller: Canceller,
        keeping: Keeping,
        observer: impl Fn(Change) + Send + Sync + 'static,
        out_of_band: OutOfBand,
    ) -> Receiver {
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

    /// Queues an event until it is pushed in its place in the stream.
    fn take_in(&mut self, event: &StreamEvent, element: &BaseSrc) -> Result<()> {
        if event.kind() == EventKind::Format {
            return self.take_in_caps(event.content());
        }
        if event.content().is_empty() {
            // A sticky event was taken back: this matters only to clients that join later.
            return Ok(());
        }
        let offset = self.timekeeper.offset(element);
        let ahead = self.subscriber.as_ref().map_or(0, Subscriber::clock_offset);
        let content = Told::new(event.content(), self.names);
        match events::decode(content, offset, ahead) {
            Ok(Some(said)) => {
                let size = event.content().len();
                if let DecodedEvent::Event(event) = &said
                    && let Err(why) = self.lasting.add(event, size)
                {
                    if why.is_first {
                        gst::element_warning!(
                            element,
                            gst::ResourceError::NoSpaceLeft,
                            ("Dropped an event of the producer: {why}. Further events are dropped \
                              without a message")
                        );
                    }
                    gst::info!(CAT, obj = element, "Dropped: {event:?}");
                    return Ok(());
                }
                self.downstream.hold(QueuedEvent::Decoded(said), size);
            }
            Ok(None) | Err(DecodeError::Unsupported(_)) => {
                gst::debug!(CAT, "Ignored an event of an unknown kind");
            }
            Err(DecodeError::Invalid(_)) => {
                let what = "an event that cannot be decoded";
                return Err(Error::Protocol(what.into()));
            }
        }
        Ok(())
    }

    fn take_in_caps(&mut self, bytes: &[u8]) -> Result<()> {
        let is_same = |format: &Current| *format.bytes == *bytes;
        if self.format.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        let (caps, format) = Format::from_bytes(bytes, self.names).map_err(Error::Protocol)?;
        self.headers.set_caps(&caps, &format.headers);
        self.format = Some(Current {
            bytes: bytes.into(),
            format,
        });
        if self.caps.as_ref() == Some(&caps) {
            // Only parts of the format that downstream does not see have changed.
            return Ok(());
        }
        self.caps = Some(caps.clone());
        self.downstream.hold(QueuedEvent::Caps(caps), bytes.len());
        Ok(())
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

    /// Pushes the events that come before an item. Returns the caps, if they have changed.
    ///
    /// # Errors
    /// Downstream refuses the caps.
    pub(super) fn push_events(
        &mut self,
        element: &BaseSrc,
        filter: &EventFilter,
        received: &Received,
        notice: impl FnMut(ElementUpdate),
    ) -> std::result::Result<Option<gst::Caps>, glib::BoolError> {
        let offset = self.timekeeper.offset(element);
        if self.timekeeper.has_restarted() {
            self.downstream.restart_clock(running_time(offset));
        }
        let received = (received, self.is_newest());
        self.downstream
            .push(element, filter, received, offset, notice)
    }

    /// Returns whether no frame newer than the last received one is available.
    fn is_newest(&self) -> bool {
        let subscriber = self.subscriber.as_ref();
        subscriber.is_none_or(|subscriber| !subscriber.has_next())
    }

    /// Returns a buffer with the bytes of the frame. The frame is given back when its memory is
    /// freed.
    fn buffer(
        &mut self,
        frame: Frame,
        verdict: Verdict,
    ) -> Result<std::result::Result<gst::Buffer, NotPushed>> {
        let record = frame.meta();
        let is_copied = self.takes_copy(&frame, verdict == Verdict::Keep);
        let extra = frame.extra()?;
        let extra = Told::new(&extra, self.names);
        let mut buffer = self.recorder.buffer(record);
        let content = buffer.make_mut();
        let place = self.downstream.place(record);
        content.set_offset(record.offset().unwrap_or(gst::ffi::GST_BUFFER_OFFSET_NONE));
        content.set_offset_end(
            record
                .offset_end()
                .unwrap_or(gst::ffi::GST_BUFFER_OFFSET_NONE),
        );
        let mut flags = gst::BufferFlags::from_bits_retain(record.flags());
        if std::mem::take(&mut self.discontinuous) || frame.missed() > 0 {
            flags |= gst::BufferFlags::DISCONT;
        }
        content.set_flags(flags);
        let (size, seq) = (record.size(), record.seq());
        let format = self.format.as_ref().map(|current| &current.format);
        if size > 0 {
            let told = || metas::read_memories(extra.bytes);
            let parts = format.and_then(|format| format.memories(size as usize, told));
            let memory = if is_copied {
                self.figures.copied += 1;
                gst::Memory::from_mut_slice(frame.payload()?.to_vec())
            } else {
                memory_of(frame, self.fd_memory)?
            };
            match parts {
                // GStreamer merges these parts without a copy when the whole buffer is mapped.
                Some(sizes) => append_parts(content, &memory, &sizes),
                None => content.append_memory(memory),
            }
        }
        let info = format.and_then(|format| format.video.as_ref());
        match metas::attach(content, extra, info) {
            Ok(()) => match self.downstream.clip(buffer, place, self.is_newest()) {
                Some(buffer) => {
                    self.figures.received += 1;
                    Ok(Ok(buffer))
                }
                None => {
                    self.figures.early += 1;
                    self.discontinuous = true;
                    Ok(Err(NotPushed::Early))
                }
            },
            Err(metas::Refused::Unfit(meta, why)) => {
                Ok(Err(NotPushed::Unusable(self.miss(Unusable(meta, why)))))
            }
            Err(metas::Refused::Broken) => Err(Error::Protocol(format!(
                "the metas of frame {seq} cannot be decoded"
            ))),
        }
    }

    /// Returns whether a frame is copied, so that its lease is free for the next frame. That
    /// applies to all small frames; to others if downstream holds as many as it may; and to a frame
    /// that is kept until the next frame arrives, if that one would need its lease.
    fn takes_copy(&mut self, frame: &Frame, is_kept: bool) -> bool {
        let Some(subscriber) = &self.subscriber else {
            return false;
        };
        let free = subscriber.free_leases();
        let format = self.format.as_ref().map(|current| &current.format);
        let by_caps = format.and_then(Format::frame_duration);
        self.keeping.take_frame(frame.meta(), by_caps, free);
        if !CapsMemory::of_frame(frame).can_be_copied() {
            return false;
        }
        if frame.meta().size() < u64::from(self.settings.copy_below) && !self.is_forwarded {
            return true;
        }
        let is_starved = free == 0 && self.settings.on_starved == OnStarved::Copy;
        if is_starved {
            self.figures.starved += 1;
            if !self.keeping.may_grow() {
                (self.observer)(Change::Starved);
            }
        }
        is_starved || (is_kept && free == 0)
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

/// Appends the memory of a frame in parts. The frame is given back when the last part is freed.
fn append_parts(buffer: &mut gst::BufferRef, memory: &gst::MemoryRef, sizes: &[usize]) {
    let mut at = 0;
    for size in sizes {
        buffer.append_memory(memory.share(at..at + size));
        at += size;
    }
}
