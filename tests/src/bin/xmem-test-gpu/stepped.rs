//! A client or a producer that tests run instruction by instruction. The stretch is the part between the two
//! marks: for a client `connect`, `receive`, `release` or `disconnect`; for a producer `open`, `acquire`,
//! `publish`, `flush`, `discard` or `close`, with work of frames pending in all but the first.

use std::sync::Arc;
use std::time::Duration;

use cudarc::driver::result::memset_d8_async;
use cudarc::driver::{CudaContext, CudaStream};
use xmem_core::cuda::{Device, Work};
use xmem_core::{Channel, EventKind, FrameMut, Publisher, Storage, Subscriber};
use xmem_tests::gpu::{CHANNEL, SIZE};
use xmem_tests::{steps, until};

use super::Result;
use super::client::Gpu;
use super::settings::Settings;

/// Frames before the stretch.
const BEFORE: u8 = 3;

/// Runs `act`, between marks if `what` is the stretch.
fn act<T>(what: &str, settings: &Settings, act: impl FnOnce() -> T) -> T {
    if settings.text("stretch") != Some(what) {
        return act();
    }
    steps::mark();
    let result = act();
    steps::mark();
    result
}

pub fn client(settings: &Settings) -> Result<()> {
    steps::stepped();
    let builder = Subscriber::builder(Channel::name(CHANNEL)).leases(2);
    let mut subscriber = act("connect", settings, || builder.connect())?;
    let frame = act("receive", settings, || subscriber.receive(None))?;
    let device = frame.device().ok_or("a frame without a device")?;
    let gpu = Gpu::new(device, SIZE)?;
    act("release", settings, || gpu.release(frame))?;
    act("disconnect", settings, || drop(subscriber));
    Ok(())
}

struct Filling {
    publisher: Publisher,
    device: Device,
    stream: Arc<CudaStream>,
}

impl Filling {
    fn work(&self) -> Work<'_> {
        // SAFETY: the stream is of the primary context, and lives as long as this.
        unsafe { Work::on_stream(&self.device, self.stream.cu_stream().cast()) }
    }

    fn fill(&self, frame: FrameMut, value: u8) -> Result<FrameMut> {
        let address = frame.device_address().ok_or("a slot without an address")?;
        // SAFETY: the slot has so many bytes, and only this work writes them.
        unsafe { memset_d8_async(address, value, SIZE, self.stream.cu_stream()) }?;
        Ok(frame)
    }

    fn acquire(&self) -> Result<FrameMut> {
        Ok(self.publisher.acquire(SIZE)?)
    }

    fn publish(&self, frame: FrameMut) -> Result<()> {
        let published = frame.publish_after(&self.work());
        Ok(published.map_err(|unpublished| unpublished.reason)?)
    }
}

pub fn producer(settings: &Settings) -> Result<()> {
    steps::stepped();
    let device = Device::get(0)?;
    let stream = CudaContext::new(device.ordinal() as usize)?.new_stream()?;
    let builder = Publisher::builder(Channel::name(CHANNEL))
        .storage(Storage::Cuda(device.clone()))
        .slots(4)
        .max_slots(64);
    let publisher = act("open", settings, || builder.open())?;
    let filling = Filling {
        publisher,
        device,
        stream,
    };
    let publisher = &filling.publisher;
    publisher.wait_for_clients(1, Some(Duration::from_secs(60)))?;
    for value in 0..BEFORE {
        filling.publish(filling.fill(filling.acquire()?, value)?)?;
    }
    until("the device has written them", || {
        publisher.stats().pending == 0
    });
    // Their values are their positions, also of those that a flush makes void.
    filling.publish(filling.fill(filling.acquire()?, BEFORE)?)?;
    let frame = act("acquire", settings, || filling.acquire())?;
    let frame = filling.fill(frame, BEFORE + 1)?;
    act("publish", settings, || filling.publish(frame))?;
    let frame = filling.fill(filling.acquire()?, BEFORE + 2)?;
    act("discard", settings, || frame.discard_after(&filling.work()))
        .map_err(|unpublished| unpublished.reason)?;
    act("flush", settings, || {
        publisher.send_event(EventKind::Flush, &[])
    })?;
    until("the device has done what was given up", || {
        publisher.stats().pending == 0
    });
    let next = publisher.stats().published as u8;
    filling.publish(filling.fill(filling.acquire()?, next)?)?;
    act("close", settings, || publisher.close());
    Ok(())
}
