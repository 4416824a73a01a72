//! Receives NV12 pictures, of `video_publisher` or of a pipeline, and prints how bright their regions of
//! interest are.
//!
//!     cargo run --release --bin video_subscriber -- boxes
//!     gst-launch-1.0 videotestsrc ! video/x-raw,format=NV12 ! xmemsink channel=boxes

use xmem_core::{Channel, Frame, Subscriber};
use xmem_media::meta::{Meta, MetaReader};
use xmem_media::{Caps, VideoInfo, VideoLayout};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let channel = std::env::args().nth(1).unwrap_or("boxes".into());
    let mut subscriber = Subscriber::builder(Channel::name(channel))
        .name("video_subscriber")
        .connect_timeout(None) // Waits for a publisher without a limit.
        .connect()?;
    loop {
        print(&subscriber.receive(None)?)?;
    }
}

fn print(frame: &Frame) -> Result<()> {
    // What the frame is. A program that receives many frames keeps this until the bytes change.
    let caps = Caps::from_bytes(frame.format().ok_or("the producer has set no format")?)?;
    let video = VideoInfo::from_caps(&caps).ok_or("the caps are not those of raw video")?;
    if video.format.name != "NV12" {
        return Err(format!("pictures in {}, not in NV12", video.format.name).into());
    }
    // Where its planes lie, and what was seen in it.
    let mut layout = VideoLayout::from(&video);
    let mut regions = Vec::new();
    for meta in MetaReader::new(&frame.extra()?) {
        match meta? {
            Meta::Video(said) => layout = said,
            Meta::Region(region) => regions.push(region),
            _ => {}
        }
    }
    layout.check(&video, frame.meta().size())?;
    println!("frame {:5}  {}x{}", frame.seq(), video.width, video.height);
    let payload = frame.payload()?;
    for region in regions {
        // The producer is another process: its numbers can be any.
        let end = |start: u32, length, most| start.saturating_add(length).min(most);
        let columns = region.x..end(region.x, region.width, video.width);
        let rows = region.y..end(region.y, region.height, video.height);
        let mut row_bytes = vec![0; columns.len()];
        let mut sum = 0;
        for row in rows.clone() {
            let start = layout.offset[0] + u64::from(row) * layout.stride[0] as u64;
            payload.read(start as usize + columns.start as usize, &mut row_bytes);
            sum += row_bytes.iter().map(|&luma| u64::from(luma)).sum::<u64>();
        }
        let mean = sum / (columns.len() * rows.len()).max(1) as u64;
        println!("  {} at {columns:?}, {rows:?}: {mean}", region.kind);
    }
    Ok(())
}
