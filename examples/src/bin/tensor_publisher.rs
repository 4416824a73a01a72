//! Publishes a batch of images, a float32 tensor [4, 3, 224, 224], ten times a second.
//!
//!     cargo run --release --bin tensor_publisher -- batches
//!     cargo run --release --bin tensor_subscriber -- batches    # in another terminal, any number

use std::time::{Duration, Instant};

use xmem_core::{BufferMeta, Channel, DType, Publisher};
use xmem_media::Caps;

const SHAPE: [u64; 4] = [4, 3, 224, 224];
const PERIOD: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let channel = std::env::args().nth(1).unwrap_or("batches".into());
    // Says what a frame holds, and how large it is.
    let meta = BufferMeta::tensor(DType::Float32, &SHAPE)?;
    let publisher = Publisher::builder(Channel::name(channel))
        .producer_name("tensor_publisher")
        .on_event(|event| println!("{event:?}"))
        .open()?;
    println!("publishing at {}", publisher.socket_path().display());
    // Optional: with these caps GStreamer clients (xmemsrc) can receive the frames, too. Caps give
    // the innermost dimension first.
    let caps: Caps = "other/tensors, format=static, num_tensors=1, \
                      dimensions=(string)224:224:3:4, types=float32, framerate=10/1"
        .parse()?;
    publisher.set_format(caps.to_bytes()?)?;

    let mut batch = vec![0.0f32; SHAPE.iter().product::<u64>() as usize];
    let mut due = Instant::now();
    for number in 0.. {
        // Your data. Here each element is the batch's number.
        batch.fill(number as f32);
        // A free slot of shared memory: write it, describe it, publish it.
        let mut frame = publisher.acquire(meta.size() as usize)?;
        frame.payload()?.write_elements(&batch);
        *frame.meta_mut() = meta;
        frame.publish()?;
        due += PERIOD;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
