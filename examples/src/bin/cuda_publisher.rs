//! Publishes pictures in the memory of a GPU. They are written by work on a stream, and published when
//! that is done, without a wait here.
//!
//!     cargo run --release --features cuda --bin cuda_publisher -- gpu0 10000
//!     cargo run --release --features cuda --bin cuda_subscriber -- gpu0     # in another terminal, any number

#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use cudarc::driver::{CudaContext, result::memset_d8_async};
use xmem_core::cuda::{Device, Work};
use xmem_core::{BufferMeta, Channel, DType, Overflow, Publisher, Storage};

/// 1080 rows of 1920 RGBA pixels.
const SHAPE: [u64; 3] = [1080, 1920, 4];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let channel = arguments.next().unwrap_or("gpu0".into());
    let frames: u64 = arguments.next().map_or(Ok(10_000), |count| count.parse())?;

    // Your program's device and stream. xmem uses the same context, the device's primary one.
    let device = Device::get(0)?;
    let context = CudaContext::new(device.ordinal() as usize)?;
    let stream = context.new_stream()?;

    let meta = BufferMeta::tensor(DType::UInt8, &SHAPE)?;
    let publisher = Publisher::builder(Channel::name(channel))
        .producer_name("cuda_publisher")
        .storage(Storage::Cuda(device.clone()))
        // Three that the device writes, and one that is published.
        .slots(4)
        .overflow(Overflow::Block {
            timeout: Duration::from_secs(1),
        })
        .on_event(|event| println!("{event:?}"))
        .open()?;
    println!(
        "publishing on {device:?} at {}",
        publisher.socket_path().display()
    );
    publisher.wait_for_clients(1, None)?;

    let begun = Instant::now();
    for number in 0..frames {
        let mut frame = publisher.acquire(meta.size() as usize)?;
        let address = frame.device_address().expect("a slot of the device");
        // Your work. Here each byte is the frame's number.
        // SAFETY: as many bytes are there, and only this work writes them.
        unsafe {
            memset_d8_async(
                address,
                number as u8,
                meta.size() as usize,
                stream.cu_stream(),
            )
        }?;
        *frame.meta_mut() = meta;
        // SAFETY: the stream is of the device's primary context, and lives longer than this call.
        let work = unsafe { Work::on_stream(&device, stream.cu_stream().cast()) };
        frame
            .publish_after(&work)
            .map_err(|unpublished| unpublished.reason)?;
    }
    publisher.end_stream();
    // Waits for the device, too.
    publisher.close();
    println!("published {frames} frames in {:?}", begun.elapsed());
    Ok(())
}
