//! Checks whether pictures and sound at the end of a pipeline are those of the test sources.

use gst::prelude::*;
use gst_video::prelude::*;
use gst_video::{VideoFrameRef, VideoInfo};
use xmem_tests::roles::Result;

use crate::streams::PATTERN;

/// Width and height of a block in pixels.
const BLOCK: usize = 16;

/// How much the worst block of a picture may differ from what the source has drawn, on average over
/// its pixels. Grey instead of a bar differs by more; the effect of an encoder on an edge is less.
pub const TOLERANCE: u32 = 30;

/// The luma that the test source draws.
#[derive(Debug)]
pub struct Reference {
    width: usize,
    height: usize,
    luma: Vec<u8>,
}

impl Reference {
    /// Has the test source draw its picture.
    ///
    /// # Errors
    /// If GStreamer fails to draw it.
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
        let (width, height, luma) = luma?.ok_or("the test source has not drawn a picture")?;
        Ok(Reference {
            width,
            height,
            luma,
        })
    }

    /// The difference of the worst block of a picture; `None` if the buffer is not a picture of
    /// that size.
    pub fn difference(&self, pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<u32> {
        let (width, height, luma) = luma(pad, buffer)?;
        if (width, height) != (self.width, self.height) {
            return None;
        }
        let blocks = (0..height.div_ceil(BLOCK))
            .flat_map(|row| (0..width.div_ceil(BLOCK)).map(move |column| (row, column)));
        blocks.map(|block| self.block(&luma, block)).max()
    }

    /// The mean difference of the pixels of a block.
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

/// Sound, of which a part is compared.
#[derive(Debug, Default)]
pub struct Listener {
    samples: Vec<i16>,
}

/// What audiotestsrc plays by default: a sine of 440 Hz at 0.8 of the full scale.
const FREQUENCY: f64 = 440.0;
const LEVEL: f64 = 0.8 * 32768.0 / std::f64::consts::SQRT_2;
/// Number of samples of one channel that are skipped at the start, because a decoder needs some
/// time to start, uncut too.
const SKIPPED: usize = 4800;
/// Number of samples that are compared.
const HEARD: usize = 9600;

impl Listener {
    /// Adds a buffer of S16LE in two channels. Once there is enough sound, returns whether it is
    /// that of the source.
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
    if is_near(level, LEVEL) && is_near(frequency, FREQUENCY) {
        Ok(())
    } else {
        Err(format!("a level of {level:.0} at {frequency:.0} Hz"))
    }
}
