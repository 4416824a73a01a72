//! Receives the pictures that `cuda_publisher` publishes, and copies each within the GPU, in place of
//! inference. Prints how many had another number than their own.
//!
//!     cargo run --release --features cuda --bin cuda_subscriber -- gpu0

#![allow(unsafe_code)]

use cudarc::driver::{CudaContext, result::memcpy_dtod_async};
use xmem_core::cuda::Work;
use xmem_core::{Channel, Error, Subscriber};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let channel = std::env::args().nth(1).unwrap_or("gpu0".into());
    let mut subscriber = Subscriber::builder(Channel::name(channel))
        .name("cuda_subscriber")
        .connect_timeout(None)
        .connect()?;

    // Made for the device that the first frame is on.
    let mut gpu = None;
    let (mut received, mut missed, mut wrong) = (0u64, 0, 0u64);
    loop {
        let frame = match subscriber.receive(None) {
            Ok(frame) => frame,
            Err(Error::EndOfStream) => break,
            Err(error) => return Err(error.into()),
        };
        received += 1;
        missed += frame.missed();
        let Some((device, address)) = frame.device().cloned().zip(frame.device_address()) else {
            return Err("these frames are in memory of the CPU".into());
        };
        let size = frame.meta().size() as usize;
        if gpu.is_none() {
            let context = CudaContext::new(device.ordinal() as usize)?;
            let stream = context.new_stream()?;
            // SAFETY: it is written by the copies below, and not read.
            let picture = unsafe { stream.alloc::<u8>(size) }?;
            gpu = Some((stream, picture));
        }
        let (stream, picture) = gpu.as_mut().expect("it was made above");
        // A look at the first and the last bytes. To copy them waits for the device; your program would
        // not.
        let mut ends = [[0; 8]; 2];
        frame.copy_to_host(0, &mut ends[0])?;
        frame.copy_to_host(size - 8, &mut ends[1])?;
        wrong += u64::from(ends.as_flattened() != [frame.seq() as u8; 16]);
        // Your work. The frame is complete, so any stream may read it.
        let to = {
            use cudarc::driver::DevicePtrMut;
            picture.device_ptr_mut(stream).0
        };
        // SAFETY: as many bytes are there on both sides; the frame stays until this work is done.
        unsafe { memcpy_dtod_async(to, address, size, stream.cu_stream()) }?;
        // SAFETY: the stream is of the device's primary context, and lives longer than this call.
        let work = unsafe { Work::on_stream(&device, stream.cu_stream().cast()) };
        frame.release_after(&work)?;
    }
    println!("received {received} frames, missed {missed}, {wrong} wrong");
    if wrong > 0 {
        return Err("frames had another number than their own".into());
    }
    Ok(())
}
