//! The clip that is shown: made by the demo, with the distribution's encoder.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gst::prelude::*;

use crate::report::Report;
use crate::{Result, elements, parent, pipeline};

/// Frames of the clip.
pub const FRAMES: u64 = 840;
/// Frames a second.
pub const RATE: u64 = 60;
/// The frame that a picture is made of.
pub const PICTURED: u64 = FRAMES / 3;
/// Pixels of a row.
pub const WIDTH: u64 = 1280;
/// Rows.
pub const HEIGHT: u64 = 720;
/// Bytes of a decoded frame: brightness, and two planes of colour at a quarter of the size.
pub const FRAME_BYTES: u64 = WIDTH * HEIGHT * 3 / 2;

/// Writes the clip to a file.
///
/// A test card that scrolls, with noise in its corners, so that no two pictures are the same. It
/// is quick to encode, but refers forth and back, so that the decoder has to keep pictures that it
/// has handed out already.
pub fn encode(clip: &Path) -> Result<()> {
    elements::init()?;
    let pipeline = pipeline::launch(&format!(
        "videotestsrc num-buffers={FRAMES} pattern=smpte horizontal-speed=8 \
         ! video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate={RATE}/1 \
         ! x264enc name=encoder speed-preset=ultrafast bframes=2 b-adapt=false ref=3 \
         ! matroskamux ! filesink name=file"
    ))?;
    pipeline::element(&pipeline, "file")?.set_property("location", clip);
    let encoded = count_buffers(&pipeline::element(&pipeline, "encoder")?)?;
    let tell_progress = || parent::tell(&Report::Encoded(encoded.load(Ordering::Relaxed)));
    parent::tell(&Report::Started);
    pipeline::play(&pipeline, tell_progress)?;
    parent::tell(&Report::Ended);
    Ok(())
}

/// The number of buffers that have left the element, from now on.
fn count_buffers(element: &gst::Element) -> Result<Arc<AtomicU64>> {
    let pad = element.static_pad("src").ok_or("the encoder has no pad")?;
    let buffers = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&buffers);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        gst::PadProbeReturn::Ok
    });
    Ok(buffers)
}
