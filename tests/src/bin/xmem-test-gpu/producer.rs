//! The producer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cudarc::driver::result::{memcpy_htod_async, memset_d8_async};
use cudarc::driver::sys::cuMemsetD32Async;
use cudarc::driver::{CudaContext, CudaStream};
use xmem_core::cuda::{Device, Work};
use xmem_core::{
    BufferMeta, Canceller, Channel, Error, EventKind, FrameMut, Item, Overflow, Publisher,
    QueuedSlot, Storage, Subscriber,
};
use xmem_media::meta::MetaWriter;
use xmem_media::{Caps, VideoInfo, VideoLayout};
use xmem_tests::Line;
use xmem_tests::forked::in_child;
use xmem_tests::gpu::{CHANNEL, Picture, Produce};

use super::acting::{Acted, Acting};
use super::settings::Settings;
use super::{Result, Role};

pub struct Producer {
    publisher: Option<Arc<Publisher>>,
    device: Device,
    stream: Arc<CudaStream>,
    /// The value of the next frame of a run.
    next: u8,
    /// What an [`Acting`] has reported.
    acted: Acted,
    /// The position of the next frame of numbered ones.
    number: u32,
    /// How many [`Counted`] were dropped.
    dropped: Arc<AtomicU64>,
    /// Slots that were published with one.
    queued: VecDeque<QueuedSlot>,
}

/// Counts its drop.
struct Counted(Arc<AtomicU64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Producer {
    pub fn open(settings: &Settings) -> Result<Producer> {
        let device = Device::get(settings.number("device").unwrap_or(0) as u32)?;
        let context = CudaContext::new(device.ordinal() as usize)?;
        let stream = context.new_stream()?;
        let name = settings.text("channel").unwrap_or(CHANNEL);
        let mut builder = Publisher::builder(Channel::name(name))
            .storage(Storage::Cuda(device.clone()))
            .slots(settings.number("slots").unwrap_or(4) as u32)
            .max_bytes(settings.number("bytes"));
        if let Some(block) = settings.number("block") {
            builder = builder.overflow(Overflow::Block {
                timeout: Duration::from_millis(block),
            });
        }
        Ok(Producer {
            publisher: Some(Arc::new(builder.open()?)),
            device,
            stream,
            next: 0,
            acted: Acted::default(),
            number: 0,
            dropped: Arc::default(),
            queued: VecDeque::new(),
        })
    }

    fn publisher(&self) -> Result<&Arc<Publisher>> {
        Ok(self.publisher.as_ref().ok_or("it was dropped")?)
    }

    fn acquire(&self, size: usize) -> Result<FrameMut> {
        let canceller = Canceller::new();
        let patience = Some(Duration::from_secs(10));
        let publisher = self.publisher()?;
        Ok(publisher.acquire_timeout(size, patience, &canceller.begin()?)?)
    }

    fn fill(&self, size: usize, value: u8) -> Result<FrameMut> {
        let frame = self.acquire(size)?;
        let address = frame.device_address().ok_or("a slot without an address")?;
        // SAFETY: the slot has so many bytes, and only this work writes them.
        unsafe { memset_d8_async(address, value, size, self.stream.cu_stream()) }?;
        Ok(frame)
    }

    fn work(&self) -> Work<'_> {
        // SAFETY: the stream is of the primary context, and lives as long as this.
        unsafe { Work::on_stream(&self.device, self.stream.cu_stream().cast()) }
    }

    fn store(&self, device: Option<u32>) -> Result<()> {
        let storage = match device {
            Some(ordinal) => Storage::Cuda(Device::get(ordinal)?),
            None => Storage::Cpu,
        };
        Ok(self.publisher()?.set_storage(storage)?)
    }

    /// Publishes numbered frames for a time. Returns how many.
    fn number(&mut self, size: usize, time: Duration) -> Result<u32> {
        let (begun, first) = (Instant::now(), self.number);
        while begun.elapsed() < time {
            let frame = self.acquire(size)?;
            let address = frame.device_address().ok_or("a slot without an address")?;
            let stream = self.stream.cu_stream();
            // SAFETY: the slot has so many bytes, and only this work writes them.
            unsafe { cuMemsetD32Async(address, self.number, size / 4, stream) }.result()?;
            self.publish_after(frame)?;
            self.number += 1;
        }
        Ok(self.number - first)
    }

    /// Returns the number of the slot.
    fn publish(&self, size: usize, value: u8) -> Result<u32> {
        let frame = self.fill(size, value)?;
        self.publish_after(frame)
    }

    fn publish_after(&self, frame: FrameMut) -> Result<u32> {
        let slot = frame.slot();
        let published = frame.publish_after(&self.work());
        published.map_err(|unpublished| unpublished.reason)?;
        Ok(slot)
    }

    /// Returns the number of the slot.
    fn keep(&mut self, size: usize, value: u8) -> Result<u32> {
        let frame = self.fill(size, value)?;
        let slot = frame.slot();
        let counted = Counted(self.dropped.clone());
        let queued = frame.publish_after_with(&self.work(), counted);
        self.queued
            .push_back(queued.map_err(|unpublished| unpublished.reason)?);
        Ok(slot)
    }

    /// Returns whether a child can use nothing of what it has.
    fn fork_and_drop(&mut self, size: usize) -> Result<bool> {
        let [frame, other] = [self.acquire(size)?, self.acquire(size)?];
        let well = in_child(|| {
            let publisher = self.publisher.take().expect("it is open");
            let acquired = publisher.acquire(size);
            let published = frame.publish_after(&Work::default_stream(&self.device));
            let is_refused = published.is_err();
            let is_discarded = other
                .discard_after(&Work::default_stream(&self.device))
                .is_ok();
            drop(publisher);
            matches!(acquired, Err(Error::Forked)) && is_refused && !is_discarded
        });
        Ok(well)
    }

    fn publish_picture(&self, picture: &Picture) -> Result<()> {
        let caps: Caps = format!("video/x-raw, {}", picture.caps).parse()?;
        let info = VideoInfo::from_caps(&caps).ok_or("no raw video")?;
        let mut layout = VideoLayout::from(&info);
        layout.format = picture.format.unwrap_or(layout.format);
        layout.planes = picture.stride.len();
        layout.offset[..layout.planes].copy_from_slice(&picture.offset);
        layout.stride[..layout.planes].copy_from_slice(&picture.stride);
        let mut extra = Vec::new();
        MetaWriter::new(&mut extra).write(&layout.into())?;
        let mut frame = self.acquire(picture.size)?;
        *frame.meta_mut() = BufferMeta::bytes(picture.size);
        frame.set_extra(&extra)?;
        let bytes = picture.bytes();
        let Some(address) = frame.device_address() else {
            frame.payload()?.write(0, &bytes);
            frame.publish()?;
            return Ok(());
        };
        // SAFETY: the slot has so many bytes, and only this work writes them.
        unsafe { memcpy_htod_async(address, &bytes, self.stream.cu_stream()) }?;
        let published = frame.publish_after(&self.work());
        Ok(published.map_err(|unpublished| unpublished.reason)?)
    }

    /// Publishes the frames of a channel in memory of this device in its own.
    fn forward(&self, from: &str) -> Result<u64> {
        let mut subscriber = Subscriber::builder(Channel::name(from)).connect()?;
        let mut count = 0;
        loop {
            // Frames that its clients have passed are given back.
            while !self.publisher()?.reclaim(|| subscriber.free_leases() > 0) {
                std::thread::yield_now();
            }
            let frame = match subscriber.receive_item(None) {
                Ok(Item::Frame(frame)) => frame,
                Ok(_) => continue,
                Err(xmem_core::Error::EndOfStream) => return Ok(count),
                Err(error) => return Err(error.into()),
            };
            let memory = frame.memory().ok_or("memory without a descriptor")?;
            let range = frame.offset()..frame.offset() + frame.meta().size() as usize;
            self.publisher()?
                .import_frame(&memory, range, frame)?
                .publish()?;
            count += 1;
        }
    }
}

impl Role for Producer {
    type Order = Produce;

    fn obey(&mut self, order: &Produce) -> Result<Line> {
        let line = Line::default();
        match *order {
            Produce::Publish(size, value) => {
                return Ok(line.with("slot", self.publish(size, value)?));
            }
            Produce::Run(size, count) => {
                for _ in 0..count {
                    self.publish(size, self.next)?;
                    self.next = self.next.wrapping_add(1);
                }
            }
            Produce::Number(size, milliseconds) => {
                let time = Duration::from_millis(milliseconds);
                return Ok(line.with("count", self.number(size, time)?));
            }
            Produce::PublishWritten(size, value) => {
                let frame = self.fill(size, value)?;
                self.stream.synchronize()?;
                frame.publish()?;
            }
            Produce::Keep(size, value) => {
                return Ok(line.with("slot", self.keep(size, value)?));
            }
            Produce::Kept => {
                let dropped = self.dropped.load(Ordering::Relaxed);
                return Ok(line
                    .with("dropped", dropped)
                    .with("queued", self.queued.len()));
            }
            Produce::LetGo => drop(self.queued.pop_front().ok_or("none is kept")?),
            Produce::ForkAndDrop(size) => {
                return Ok(line.with("well", self.fork_and_drop(size)?));
            }
            Produce::Discard(size, value) => {
                let frame = self.fill(size, value)?;
                let discarded = frame.discard_after(&self.work());
                discarded.map_err(|unpublished| unpublished.reason)?;
            }
            Produce::Acquire(size) => {
                let slot = self.publisher()?.acquire(size)?.slot();
                return Ok(line.with("slot", slot));
            }
            Produce::WriteByCpu(size) => self.publisher()?.acquire(size)?.payload()?.fill(1),
            Produce::Store(device) => self.store(device)?,
            Produce::PublishByCpu(size, value) => {
                let mut frame = self.publisher()?.acquire(size)?;
                frame.payload()?.fill(value);
                frame.publish()?;
            }
            Produce::PublishLate(size, value) => {
                let frame = self.fill(size, value)?;
                self.store(None)?;
                let published = frame.publish_after(&self.work());
                published.map_err(|unpublished| unpublished.reason)?;
            }
            Produce::Format(ref caps) => {
                let caps: Caps = caps.parse()?;
                self.publisher()?.set_format(caps.to_bytes()?)?;
            }
            Produce::Picture(ref picture) => self.publish_picture(picture)?,
            Produce::Say(ref what) => self
                .publisher()?
                .send_event(EventKind::Passing, what.as_bytes())?,
            Produce::Urgent => self.publisher()?.send_event(EventKind::Urgent, &[])?,
            Produce::Flush => self.publisher()?.send_event(EventKind::Flush, &[])?,
            Produce::End => self.publisher()?.end_stream(),
            Produce::Forward(ref from) => return Ok(line.with("count", self.forward(from)?)),
            Produce::ImportActing(ref from) => {
                let publisher = self.publisher()?;
                Acting::import(from, publisher, &self.device, &self.acted)?;
            }
            Produce::Acted => return Ok(self.acted.report()),
            Produce::Stats => {
                let stats = self.publisher()?.stats();
                return Ok(line
                    .with("published", stats.published)
                    .with("pending", stats.pending)
                    .with("unpublished", stats.unpublished)
                    .with("slots", stats.slots)
                    .with("segments", stats.segments)
                    .with("bytes", stats.bytes)
                    .with("clients", stats.clients.len())
                    .with(
                        "held",
                        stats.clients.iter().map(|one| one.held).sum::<u32>(),
                    ));
            }
            Produce::Close => self.publisher()?.close(),
            Produce::Drop => self.publisher = None,
        }
        Ok(line)
    }
}
