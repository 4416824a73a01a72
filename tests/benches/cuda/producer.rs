//! The producer: writes frames on the device and publishes them after that.

use std::path::Path;
use std::time::{Duration, Instant};

use cudarc::driver::CudaContext;
use cudarc::driver::result::memset_d8_async;
use xmem_core::cuda::{Device, Work};
use xmem_core::{Channel, Publisher, Storage};
use xmem_tests::roles::parent::{orders, tell};
use xmem_tests::roles::{PATIENCE, Usage, monotonic_ns};
use xmem_tests::samples::to_text;

use crate::Result;

/// Frames before the first window.
pub const WARMUP: usize = 20;
/// The time between two frames: longer than any process takes to fall asleep.
const INTERVAL: Duration = Duration::from_micros(500);

/// Publishes frames of a size in two windows of `frames`. Reports `open`, then for the first window
/// `written` (when the device was seen to have written each frame) and `calls` (ns), and for the second
/// its `bill`.
pub fn main(arguments: &[&str]) -> Result<()> {
    let [socket, size, clients, frames] = arguments else {
        return Err("producer SOCKET SIZE CLIENTS FRAMES".into());
    };
    let (size, clients): (usize, usize) = (size.parse()?, clients.parse()?);
    let frames: usize = frames.parse()?;
    let device = Device::get(0)?;
    let context = CudaContext::new(device.ordinal() as usize)?;
    let stream = context.new_stream()?;
    let seen = context.new_event(None)?;
    let publisher = Publisher::builder(Channel::path(Path::new(socket)))
        .storage(Storage::Cuda(device.clone()))
        .slots(4)
        .max_clients(clients.max(1) as u32)
        .open()?;
    drop(publisher.acquire(size)?);
    tell("open", "");
    publisher.wait_for_clients(clients, Some(PATIENCE))?;

    let (mut written, mut calls) = (Vec::new(), Vec::new());
    let mut opened = None;
    let mut due = Instant::now();
    for number in 0..WARMUP + 2 * frames {
        let is_billed = number >= WARMUP + frames;
        if is_billed {
            opened.get_or_insert_with(Usage::now);
        }
        let frame = publisher.acquire(size)?;
        let address = frame.device_address().ok_or("a slot without an address")?;
        // SAFETY: the slot has so many bytes, and only this work writes them.
        unsafe { memset_d8_async(address, number as u8, size, stream.cu_stream()) }?;
        seen.record(&stream)?;
        // SAFETY: the stream is of the primary context, and outlives the work.
        let work = unsafe { Work::on_stream(&device, stream.cu_stream().cast()) };
        let called = monotonic_ns();
        let published = frame.publish_after(&work);
        let returned = monotonic_ns();
        published.map_err(|unpublished| unpublished.reason)?;
        if !is_billed {
            // Where it has ended by now, that was before the call or within it.
            let mut ended = called;
            while !seen.try_is_complete()? {
                std::hint::spin_loop();
                ended = monotonic_ns();
            }
            if number >= WARMUP {
                written.push(ended);
                calls.push(returned - called);
            }
        }
        due += INTERVAL;
        match due.checked_duration_since(Instant::now()) {
            Some(left) => std::thread::sleep(left),
            // The device takes longer than that.
            None => due = Instant::now(),
        }
        while publisher.stats().pending > 2 {
            std::thread::yield_now();
        }
    }
    stream.synchronize()?;
    let bill = opened.ok_or("no frame was billed")?.bill(frames as u64);
    publisher.end_stream();
    tell("written", to_text(&written));
    tell("calls", to_text(&calls));
    tell("bill", bill);
    // The clients have what was published until the parent has their reports.
    orders().for_each(drop);
    Ok(())
}
