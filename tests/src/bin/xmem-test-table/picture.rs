//! Whether pictures and sound at the end of a pipeline are those of the test sources.

use gst::prelude::*;
use gst_video::prelude::*;
use gst_video::{VideoFrameRef, VideoInfo};
use xmem_tests::roles::Result;

use crate::streams::PATTERN;

/// How many pixels a block has in each direction.
const BLOCK: usize = 16;

/// How much the worst block of a picture may differ, on average over its pixels, from what the source has drawn. Grey
/// in the place of a bar differs by more, and what an encoder does to an edge by less.
pub const TOLERANCE: u32 = 30;

/// The luma that the test source draws.
#[derive(Debug)]
pub struct Reference {
    width: usize,
    height: usize,
    luma: Vec<u8>,
}

impl Reference {
    /// Has the test source draw it.
    ///
    /// # Errors
    /// When GStreamer does not.
    pub fn draw(width: usize, height: usize) -> Result<Reference> {
        let pipeline = gst::parse::launch(&format!(
            "videotestsrc num-buffers=1 pattern={PATTERN} ! \
             video/x-raw,format=I420,width={width},height={height} ! \
             fakesink name=drawn sync=false"
        ))?;
        let pipeline = pipeline
            .downcast::<gst::Pipeline>()
            .map_err(|_| "one element")?;
        let pad = xmem_tests::roles::pipeline::pad(&pipeline, "drawn", "sink")?;
        let (give, drawn) = std::sync::mpsc::channel();
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let luma = info.buffer().and_then(|buffer| luma(pad, buffer));
            let _ = give.send(luma);
            gst::PadProbeReturn::Ok
        });
        pipeline.set_state(gst::State::Playing)?;
        let luma = drawn.recv_timeout(xmem_tests::roles::PATIENCE);
        pipeline.set_state(gst::State::Null)?;
        let (width, height, luma) = luma?.ok_or("the test source has drawn no picture")?;
        Ok(Reference {
            width,
            height,
            luma,
        })
    }

    /// How much the worst block of a picture differs; `None` for what is no such picture.
    pub fn difference(&self, pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<u32> {
        let (width, height, luma) = luma(pad, buffer)?;
        if (width, height) != (self.width, self.height) {
            return None;
        }
        let blocks = (0..height.div_ceil(BLOCK))
            .flat_map(|row| (0..width.div_ceil(BLOCK)).map(move |column| (row, column)));
        blocks.map(|block| self.block(&luma, block)).max()
    }

    /// The mean difference of a block's pixels.
    fn block(&self, luma: &[u8], (row, column): (usize, usize)) -> u32 {
        let columns = column * BLOCK..((column + 1) * BLOCK).min(self.width);
        let rows = row * BLOCK..((row + 1) * BLOCK).min(self.height);
        let pixels = (columns.len() * rows.len()) as u32;
        let lines =
            rows.map(|row| row * self.width + columns.start..row * self.width + columns.end);
        let differences = lines.map(|line| {
            let pairs = luma[line.clone()].iter().zip(&self.luma[line]);
            pairs
                .map(|(one, other)| u32::from(one.abs_diff(*other)))
                .sum::<u32>()
        });
        differences.sum::<u32>() / pixels
    }
}

/// The size of a picture, and its luma without padding.
fn luma(pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<(usize, usize, Vec<u8>)> {
    let caps = pad.current_caps()?;
    let info = VideoInfo::from_caps(&caps).ok()?;
    let frame = VideoFrameRef::from_buffer_ref_readable(buffer, &info).ok()?;
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let stride = frame.plane_stride()[0] as usize;
    let rows = frame.plane_data(0).ok()?.chunks(stride).take(height);
    let luma = rows.flat_map(|row| &row[..width]).copied().collect();
    Some((width, height, luma))
}

/// A stretch of sound, of which a part is looked at.
#[derive(Debug, Default)]
pub struct Listener {
    samples: Vec<i16>,
}

/// What audiotestsrc plays by default: a sine of 440 Hz at 0.8 of the full scale.
const FREQUENCY: f64 = 440.0;
const LEVEL: f64 = 0.8 * 32768.0 / std::f64::consts::SQRT_2;
/// Samples of one channel that are skipped at the start: a decoder has to find its feet, uncut, too.
const SKIPPED: usize = 4800;
/// Those that are looked at.
const HEARD: usize = 9600;

impl Listener {
    /// Hears a buffer of S16LE in two channels; once there is enough of it, whether it is that sound.
    pub fn hear(&mut self, buffer: &gst::BufferRef) -> Option<std::result::Result<(), String>> {
        if self.samples.len() >= SKIPPED + HEARD {
            return None;
        }
        let map = buffer.map_readable().ok()?;
        let frames = map.chunks_exact(4);
        self.samples
            .extend(frames.map(|frame| i16::from_le_bytes([frame[0], frame[1]])));
        let heard = self.samples.get(SKIPPED..SKIPPED + HEARD)?;
        Some(judge(heard))
    }
}

fn judge(samples: &[i16]) -> std::result::Result<(), String> {
    let squares = samples.iter().map(|&sample| f64::from(sample).powi(2));
    let level = (squares.sum::<f64>() / samples.len() as f64).sqrt();
    let crossings = samples
        .windows(2)
        .filter(|pair| (pair[0] < 0) != (pair[1] < 0));
    let frequency = crossings.count() as f64 / 2.0 * 48000.0 / samples.len() as f64;
    let is_near = |value: f64, wanted: f64| (value / wanted - 1.0).abs() < 0.1;
    match is_near(level, LEVEL) && is_near(frequency, FREQUENCY) {
        true => Ok(()),
        false => Err(format!("a level of {level:.0} at {frequency:.0} Hz")),
    }
}
