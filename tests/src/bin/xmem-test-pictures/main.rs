//! A client of raw video, as a test tells it: see `xmem_tests::pipeline::cuda`. It reads caps and layouts
//! as a program without GStreamer does, and pictures in the memory of a device by a copy.

#[path = "../xmem-test-pipeline/digest.rs"]
mod digest;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use gst_video::{VideoFrameFlags, VideoInfo, VideoMeta};
use xmem_core::cuda::Device;
use xmem_core::{Channel, Error, Frame, Item, Subscriber};
use xmem_media::meta::{Meta, MetaReader};
use xmem_media::{Caps, VideoLayout};
use xmem_tests::Line;
use xmem_tests::order::{self, Order};
use xmem_tests::pipeline::cuda::Pictures;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() {
    gst::init().expect("GStreamer starts");
    let mut client = match connect() {
        Ok(subscriber) => Client {
            subscriber,
            kept: VecDeque::new(),
        },
        Err(error) => return println!("{}", failed(&*error)),
    };
    println!("{}", Pictures::GREETING);
    for order in order::received::<Pictures>() {
        let mut line = client.obey(&order).unwrap_or_else(|error| failed(&*error));
        if line.word.is_empty() {
            line.word = order.answer().into();
        }
        println!("{line}");
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Line {
    let kind = error
        .downcast_ref::<Error>()
        .map_or("other", |error| error.kind().name());
    Line::new("failed").with("kind", kind).with("text", error)
}

fn connect() -> Result<Subscriber> {
    let settings: Vec<_> = std::env::args().skip(1).collect();
    let setting = |key: &str| {
        let pairs = settings.iter().filter_map(|word| word.split_once('='));
        pairs
            .into_iter()
            .find(|pair| pair.0 == key)
            .map(|pair| pair.1)
    };
    let mut builder = Subscriber::builder(Channel::name(setting("channel").unwrap_or("cam0")))
        .device_memory(setting("device_memory") != Some("no"));
    if let Some(leases) = setting("leases") {
        builder = builder.leases(leases.parse()?);
    }
    Ok(builder.connect()?)
}

struct Client {
    subscriber: Subscriber,
    kept: VecDeque<Frame>,
}

impl Client {
    fn obey(&mut self, order: &Pictures) -> Result<Line> {
        let line = Line::default();
        let oldest = || -> Box<dyn std::error::Error> { "no frame is kept".into() };
        match order {
            Pictures::Next(milliseconds) => {
                let frame = self.receive(Some(Duration::from_millis(*milliseconds)))?;
                let device = frame.device().map(Device::uuid);
                let device = device.map_or("none".into(), |uuid| uuid.to_string());
                let format = frame.format().ok_or("a frame without caps")?;
                let line = line
                    .with("seq", frame.seq())
                    .with("missed", frame.missed())
                    .with("size", frame.meta().size())
                    .with("digest", digest(&frame)?)
                    .with("address", frame.device_address().unwrap_or(0))
                    .with("device", device)
                    .with("text", Caps::from_bytes(format)?);
                self.kept.push_back(frame);
                Ok(line)
            }
            Pictures::Again => {
                let frame = self.kept.front().ok_or_else(oldest)?;
                Ok(line.with("digest", digest(frame)?))
            }
            Pictures::Drop => {
                self.kept.pop_front().ok_or_else(oldest)?;
                Ok(line)
            }
            Pictures::Run(count) => {
                let (mut digests, mut missed) = (Vec::new(), 0);
                while (digests.len() as u64) < *count {
                    match self.receive(None) {
                        Ok(frame) => {
                            missed += frame.missed();
                            digests.push(digest(&frame)?);
                        }
                        Err(error) => match error.downcast_ref::<Error>() {
                            Some(Error::EndOfStream) => break,
                            _ => return Err(error),
                        },
                    }
                }
                let line = line.with("count", digests.len()).with("missed", missed);
                Ok(line.with("digests", digests.join(",")))
            }
        }
    }

    fn receive(&mut self, patience: Option<Duration>) -> Result<Frame> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if let Item::Frame(frame) = self.subscriber.receive_item(left)? {
                return Ok(frame);
            }
        }
    }
}

/// The digest of the picture in a frame.
fn digest(frame: &Frame) -> Result<String> {
    let format = frame.format().ok_or("a frame without caps")?;
    let caps = Caps::from_bytes(format)?;
    let video = xmem_media::VideoInfo::from_caps(&caps).ok_or("no raw video")?;
    let extra = frame.extra()?;
    let mut layout = VideoLayout::from(&video);
    for meta in MetaReader::new(&extra) {
        if let Meta::Video(said) = meta? {
            layout = said;
        }
    }
    let size = frame.meta().size();
    layout.check(&video, size)?;
    let mut bytes = vec![0; size as usize];
    match frame.device() {
        Some(_) => frame.copy_to_host(0, &mut bytes)?,
        None => bytes = frame.payload()?.to_vec(),
    }
    let format = gst_video::VideoFormat::from_string(video.format.name);
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    VideoMeta::add_full(
        buffer.make_mut(),
        VideoFrameFlags::empty(),
        format,
        layout.width,
        layout.height,
        &layout.offset.map(|offset| offset as usize)[..layout.planes],
        &layout.stride[..layout.planes],
    )?;
    let info = VideoInfo::builder(format, video.width, video.height).build()?;
    Ok(format!("{:016x}", digest::digest(&buffer, Some(&info))))
}
