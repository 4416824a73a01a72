//! A client: times each frame on arrival, reads some of it on the device, and releases it after that.

use std::path::Path;
use std::time::Duration;

use cudarc::driver::CudaContext;
use cudarc::driver::result::{free_sync, malloc_sync, memcpy_dtod_async};
use xmem_core::cuda::{Device, Work};
use xmem_core::{Channel, Error, Frame, Subscriber};
use xmem_tests::roles::parent::tell;
use xmem_tests::roles::{PATIENCE, Usage, monotonic_ns};
use xmem_tests::samples::to_text;

use crate::Result;
use crate::producer::WARMUP;

/// Bytes that a client copies of each frame.
const LOOK: usize = 4096;

/// Receives until the stream ends. Reports `positions` and `arrivals` of the frames of the first window,
/// and the `bill` of the second.
pub fn main(arguments: &[&str]) -> Result<()> {
    let [socket, frames, wait] = arguments else {
        return Err("client SOCKET FRAMES WAIT".into());
    };
    let (frames, is_spinning): (usize, bool) = (frames.parse()?, *wait == "spinning");
    let device = Device::get(0)?;
    let context = CudaContext::new(device.ordinal() as usize)?;
    let stream = context.new_stream()?;
    // SAFETY: it is freed once, below.
    let own = unsafe { malloc_sync(LOOK) }?;
    let mut subscriber = Subscriber::builder(Channel::path(Path::new(socket)))
        .leases(2)
        .connect_timeout(Some(PATIENCE))
        .connect()?;

    let window = WARMUP as u64..(WARMUP + frames) as u64;
    let (mut positions, mut arrivals) = (Vec::new(), Vec::new());
    let mut billed: Option<(Usage, u64)> = None;
    loop {
        let frame = match receive(&mut subscriber, is_spinning) {
            Ok(frame) => frame,
            Err(Error::EndOfStream) => break,
            Err(error) => return Err(error.into()),
        };
        let arrived = monotonic_ns();
        if window.contains(&frame.seq()) {
            positions.push(frame.seq() - window.start);
            arrivals.push(arrived);
        } else if frame.seq() >= window.end {
            billed.get_or_insert_with(|| (Usage::now(), 0)).1 += 1;
        }
        let address = frame.device_address().ok_or("a frame without an address")?;
        let len = LOOK.min(frame.meta().size() as usize);
        // SAFETY: both have so many bytes, and the frame stays until this work is done.
        unsafe { memcpy_dtod_async(own, address, len, stream.cu_stream()) }?;
        // SAFETY: the stream is of the primary context, and outlives the work.
        let work = unsafe { Work::on_stream(&device, stream.cu_stream().cast()) };
        frame.release_after(&work)?;
    }
    stream.synchronize()?;
    // SAFETY: it was allocated once, and the stream does nothing with it any more.
    unsafe { free_sync(own) }?;
    let (opened, count) = billed.ok_or("no frame of the second window came")?;
    tell("positions", to_text(&positions));
    tell("arrivals", to_text(&arrivals));
    tell("bill", opened.bill(count));
    Ok(())
}

fn receive(subscriber: &mut Subscriber, is_spinning: bool) -> xmem_core::Result<Frame> {
    if !is_spinning {
        return subscriber.receive(None);
    }
    loop {
        match subscriber.receive(Some(Duration::ZERO)) {
            Err(Error::TimedOut | Error::Starved { .. }) => std::hint::spin_loop(),
            other => return other,
        }
    }
}
