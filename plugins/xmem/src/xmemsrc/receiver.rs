//! One run of the source, from start to stop: its connection, and how a frame becomes a buffer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gst::glib::object::IsA;
use xmem_core::{Canceller, Channel, Error, Frame, Result, Subscriber};

use super::{Delivery, OnDisconnect};
use crate::allocator::frame_memory;
use crate::caps::{self, Format};
use crate::framememory;
use crate::metas;
use crate::record::Recorder;
use crate::timestamps::Timekeeper;

/// Between two connections where the first ended for want of memory or descriptors.
const LACKING_PAUSE: Duration = Duration::from_millis(100);

/// Receives frames. Used by the streaming thread alone.
pub(super) struct Receiver {
    channel: Channel,
    name: String,
    delivery: Delivery,
    leases: u32,
    canceller: Canceller,
    /// Told when downstream holds every frame that there may be.
    on_starved: Arc<dyn Fn() + Send + Sync>,
    subscriber: Option<Subscriber>,
    format: Option<Current>,
    /// The next buffer does not follow the one before it.
    discontinuous: bool,
    figures: Figures,
    /// Since when connections have ended for want of memory or descriptors, without a frame.
    lacking_since: Option<Instant>,
    timekeeper: Timekeeper,
    recorder: Recorder,
    /// Whether downstream is given memory with a descriptor.
    fd_memory: bool,
}

/// The format of the last frame.
struct Current {
    text: Arc<str>,
    format: Format,
}

/// What the source counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) received: u64,
    pub(super) missed: u64,
    pub(super) starved: u64,
    pub(super) connections: u64,
    pub(super) connected: bool,
}

/// A frame, with the caps it has from now on where they have changed.
pub(super) type Received = (Frame, Option<gst::Caps>);

impl Receiver {
    pub(super) fn new(
        channel: Channel,
        name: String,
        (delivery, leases): (Delivery, u32),
        canceller: Canceller,
        on_starved: impl Fn() + Send + Sync + 'static,
    ) -> Receiver {
        Receiver {
            channel,
            name,
            delivery,
            leases,
            canceller,
            on_starved: Arc::new(on_starved),
            subscriber: None,
            format: None,
            discontinuous: true,
            figures: Figures::default(),
            lacking_since: None,
            timekeeper: Timekeeper::default(),
            recorder: Recorder::default(),
            fd_memory: true,
        }
    }

    pub(super) fn figures(&self) -> Figures {
        let mut figures = self.figures;
        if let Some(subscriber) = &self.subscriber {
            figures.connected = true;
            figures.missed += subscriber.missed();
            figures.starved += subscriber.starved();
        }
        figures
    }

    /// Whether downstream is given memory with a descriptor from now on.
    pub(super) fn set_fd_memory(&mut self, fd_memory: bool) {
        self.fd_memory = fd_memory;
    }

    /// Does for the next buffer what can be done before its frame is there: it waits no longer
    /// than it must.
    pub(super) fn prepare(&mut self) {
        self.recorder.prepare();
    }

    /// The next frame, `None` at the end of the stream; connects first where there is no connection.
    /// Tells `observe` the figures before each wait that may be a long one.
    ///
    /// The one place that decides about connecting again.
    pub(super) fn receive(
        &mut self,
        timeout: Option<Duration>,
        on_disconnect: OnDisconnect,
        observe: impl Fn(Figures),
    ) -> Result<Option<Received>> {
        loop {
            let subscriber = match &mut self.subscriber {
                Some(subscriber) => subscriber,
                None => {
                    let insists = on_disconnect == OnDisconnect::Reconnect;
                    let subscriber = self.connect(timeout, insists)?;
                    self.figures.connections += 1;
                    self.discontinuous = true;
                    self.subscriber = Some(subscriber);
                    observe(self.figures());
                    continue;
                }
            };
            match subscriber.receive(None) {
                Ok(frame) => {
                    self.figures.received += 1;
                    self.lacking_since = None;
                    let caps = self.new_caps(&frame)?;
                    return Ok(Some((frame, caps)));
                }
                Err(Error::EndOfStream) => return Ok(None),
                Err(error) if error.is_retryable() => {
                    self.disconnect();
                    observe(self.figures());
                    match on_disconnect {
                        OnDisconnect::Error => return Err(error),
                        OnDisconnect::Eos => return Ok(None),
                        OnDisconnect::Reconnect => {}
                    }
                    if let Error::ResourceExhausted { .. } = error {
                        self.wait_for_more(timeout, error)?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits a moment before the next try of a process that had no memory or no descriptors left
    /// for what a producer told. An error once that goes on for as long as connecting may take:
    /// without a frame meanwhile, a connection is not worth more than none.
    fn wait_for_more(&mut self, timeout: Option<Duration>, error: Error) -> Result<()> {
        let since = *self.lacking_since.get_or_insert_with(Instant::now);
        if timeout.is_some_and(|timeout| since.elapsed() >= timeout) {
            return Err(error);
        }
        self.canceller.begin()?.pause(LACKING_PAUSE)
    }

    fn connect(&self, timeout: Option<Duration>, insists: bool) -> Result<Subscriber> {
        Subscriber::builder(self.channel.clone())
            .name(&self.name)
            .leases(self.leases)
            .delivery(match self.delivery {
                Delivery::InOrder => xmem_core::Delivery::InOrder,
                Delivery::Latest => xmem_core::Delivery::Latest,
            })
            .connect_timeout(timeout)
            .retry_refused(insists)
            .canceller(self.canceller.clone())
            .on_starved({
                let on_starved = self.on_starved.clone();
                move || on_starved()
            })
            .connect()
    }

    fn disconnect(&mut self) {
        self.figures = Figures {
            connected: false,
            ..self.figures()
        };
        self.subscriber = None;
    }

    /// The frame's caps, where they are not those of the frame before.
    fn new_caps(&mut self, frame: &Frame) -> Result<Option<gst::Caps>> {
        let Some(text) = frame.format() else {
            return Ok(None);
        };
        // The core hands out the same text as long as it is the same.
        let same = |format: &Current| Arc::ptr_eq(&format.text, text) || format.text == *text;
        if self.format.as_ref().is_some_and(same) {
            return Ok(None);
        }
        let caps = caps::from_text(text).map_err(Error::Protocol)?;
        let format = Format::from_caps(&caps).map_err(Error::Protocol)?;
        self.format = Some(Current {
            text: text.clone(),
            format,
        });
        Ok(Some(caps))
    }

    /// A buffer on the frame, which it gives back in the end.
    pub(super) fn buffer(
        &mut self,
        frame: Frame,
        element: &impl IsA<gst::Element>,
    ) -> Result<gst::Buffer> {
        let offset = self.timekeeper.offset(element);
        let record = frame.meta();
        let extra = frame.extra();
        let mut buffer = self.recorder.buffer(record);
        let content = buffer.make_mut();
        content.set_pts(offset.to_running_time(record.pts));
        content.set_dts(offset.to_running_time(record.dts));
        let duration = (record.duration != xmem_core::NONE)
            .then(|| gst::ClockTime::from_nseconds(record.duration));
        content.set_duration(duration);
        content.set_offset(record.offset);
        content.set_offset_end(record.offset_end);
        // The four lowest bits are not the producer's to set.
        let mut flags = gst::BufferFlags::from_bits_retain(record.flags & !0xf);
        if frame.missed() > 0 || std::mem::take(&mut self.discontinuous) {
            flags |= gst::BufferFlags::DISCONT;
        }
        content.set_flags(flags);
        let (size, seq) = (record.size, record.seq);
        let format = self.format.as_ref().map(|current| &current.format);
        if size > 0 {
            let told = || metas::read_memories(&extra);
            let parts = format.and_then(|format| format.memories(size as usize, told));
            let memory = match self.fd_memory || frame.is_dma_buf() {
                true => framememory::wrap(frame),
                false => frame_memory(frame),
            };
            match parts {
                // Of this memory who maps the whole buffer gets the parts without a copy.
                Some(sizes) => append_parts(content, &memory, &sizes),
                None => content.append_memory(memory),
            }
        }
        let info = format.and_then(|format| format.video.as_ref());
        if !metas::attach(content, &extra, info) {
            return Err(Error::Protocol(format!(
                "the metas of frame {seq} do not fit it"
            )));
        }
        Ok(buffer)
    }
}

/// Appends the parts of a frame's memory, which is given back with the last of them.
fn append_parts(buffer: &mut gst::BufferRef, memory: &gst::MemoryRef, sizes: &[usize]) {
    let mut at = 0;
    for size in sizes {
        buffer.append_memory(memory.share(at..at + size));
        at += size;
    }
}
