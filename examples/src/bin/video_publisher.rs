//! Publishes NV12 pictures of a box that moves, and says where the box is, 30 times a second.
//!
//!     cargo run --release --bin video_publisher -- boxes
//!     cargo run --release --bin video_subscriber -- boxes       # in another terminal, any number
//!     gst-launch-1.0 xmemsrc channel=boxes ! videoconvert ! autovideosink

use std::time::{Duration, Instant};

use xmem_core::{BufferMeta, Channel, Publisher};
use xmem_media::meta::{MetaWriter, Region};
use xmem_media::{Caps, VideoInfo, VideoLayout};

const PERIOD: Duration = Duration::from_nanos(1_000_000_000 / 30);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let channel = std::env::args().nth(1).unwrap_or("boxes".into());
    let caps: Caps = "video/x-raw, format=NV12, width=640, height=480, framerate=30/1".parse()?;
    let video = VideoInfo::from_caps(&caps).ok_or("the caps are not those of raw video")?;
    // Where the planes lie, if not where the caps alone say: with rows of 768 bytes, as from a device.
    let (stride, height) = (768, 480);
    let mut layout = VideoLayout::from(&video);
    layout.offset[1] = stride * height;
    layout.stride[..2].fill(stride as i32);
    let size = stride * height * 3 / 2;
    layout.check(&video, size)?;

    let publisher = Publisher::builder(Channel::name(channel))
        .producer_name("video_publisher")
        .open()?;
    println!("publishing at {}", publisher.socket_path().display());
    publisher.set_format(caps.to_bytes()?)?;

    let mut due = Instant::now();
    for number in 0.. {
        let (x, y, side) = (number * 4 % 576, 208, 64);
        let mut frame = publisher.acquire(size as usize)?;
        // Your picture. Here it is grey, and the box is white.
        let payload = frame.payload()?;
        payload.fill(128);
        for row in u64::from(y)..u64::from(y + side) {
            payload.write((row * stride) as usize + x as usize, &[235; 64]);
        }
        *frame.meta_mut() = BufferMeta::bytes(size as usize);
        // What the frame carries beside its bytes.
        let region = Region {
            x,
            y,
            width: side,
            height: side,
            ..Region::named("box")?
        };
        let mut extra = Vec::new();
        let mut metas = MetaWriter::new(&mut extra);
        metas.write(&layout.into())?;
        metas.write(&region.into())?;
        frame.set_extra(&extra)?;
        frame.publish()?;
        due += PERIOD;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
