//! GstVideoOverlayCompositionMeta: pictures to be drawn over a picture, with their pixels.

use gst::MetaRef;
use gst_video::video_meta::VideoOverlayCompositionMeta;
use gst_video::{
    VideoFormat, VideoMeta, VideoOverlayComposition, VideoOverlayFormatFlags as Flags,
    VideoOverlayRectangle, VideoOverlayRectangleRef,
};

use super::pixels;
use super::unfit::{NotRead, Result, Unfit};
use crate::values::{Decoder, Encoder, Rules};

/// Most rectangles of a composition.
const MAX_RECTANGLES: usize = 1024;
/// Most pixels that a rectangle is drawn as: whoever draws it makes a picture of so many.
const MAX_DRAWN: u64 = 1 << 26;
/// Furthest from the frame's corner that one is drawn.
const MAX_DISTANCE: u32 = 1 << 24;
/// As GStreamer wants them: with 8 bits a component, in the machine's order.
const RGB: VideoFormat = match cfg!(target_endian = "little") {
    true => VideoFormat::Bgra,
    false => VideoFormat::Argb,
};
const YUV: VideoFormat = VideoFormat::Ayuv;

/// `u32` rectangles. For each: `u32` 0 for BGRA (ARGB where the machine is big-endian), 1 for AYUV;
/// `u32` flags; `f32` alpha of the whole; `i32` x, y, `u32` width, height that it is drawn at; `u32`
/// width, height that it has; its pixels, row by row without gaps.
pub(super) fn write(
    meta: &MetaRef<'_, VideoOverlayCompositionMeta>,
    body: &mut Encoder<'_>,
) -> Option<()> {
    let overlay = meta.overlay();
    body.u32(overlay.n_rectangles());
    (overlay.n_rectangles() as usize <= MAX_RECTANGLES).then_some(())?;
    overlay
        .iter()
        .try_for_each(|rectangle| write_rectangle(&rectangle, body))
}

fn write_rectangle(rectangle: &VideoOverlayRectangleRef, body: &mut Encoder<'_>) -> Option<()> {
    let flags = rectangle.flags();
    // As they are: nothing is converted where the same is asked for that there is.
    let picture = rectangle.pixels_unscaled_raw(flags);
    body.u32(match picture.meta::<VideoMeta>()?.format() {
        RGB => 0,
        YUV => 1,
        _ => return None,
    });
    let alpha = rectangle.global_alpha();
    if !(0.0..=1.0).contains(&alpha) {
        return None;
    }
    body.u32(flags.bits());
    body.f32(alpha);
    let (x, y, drawn_width, drawn_height) = rectangle.render_rectangle();
    if !is_drawable((x, y), (drawn_width, drawn_height)) {
        return None;
    }
    body.i32(x);
    body.i32(y);
    body.u32(drawn_width);
    body.u32(drawn_height);
    pixels::write(&picture, body)
}

fn is_drawable((x, y): (i32, i32), (width, height): (u32, u32)) -> bool {
    pixels::SIDES.contains(&width)
        && pixels::SIDES.contains(&height)
        && u64::from(width) * u64::from(height) <= MAX_DRAWN
        && x.unsigned_abs() <= MAX_DISTANCE
        && y.unsigned_abs() <= MAX_DISTANCE
}

pub(super) fn read(buffer: &mut gst::BufferRef, body: &mut Decoder<'_>, _: Rules<'_>) -> Result {
    let mut rectangles = Vec::new();
    let count = body.count(40)?;
    if count > MAX_RECTANGLES {
        return Err(NotRead::Broken);
    }
    for _ in 0..count {
        rectangles.push(read_rectangle(body)?);
    }
    let overlay = VideoOverlayComposition::new(&rectangles).map_err(|_| NotRead::Broken)?;
    VideoOverlayCompositionMeta::add(buffer, &overlay);
    Ok(())
}

fn read_rectangle(body: &mut Decoder<'_>) -> Result<VideoOverlayRectangle> {
    let unfit = Unfit::Value("a rectangle is too large, too far away, or of no such alpha");
    let format = match body.bool()? {
        false => RGB,
        true => YUV,
    };
    let flags = body.u32()?;
    let alpha = body.f32()?;
    let (x, y) = (body.i32()?, body.i32()?);
    let (drawn_width, drawn_height) = (body.u32()?, body.u32()?);
    if !is_drawable((x, y), (drawn_width, drawn_height)) || !(0.0..=1.0).contains(&alpha) {
        return Err(unfit.into());
    }
    // A later version may have more of them.
    let flags = Flags::from_bits(flags).ok_or(NotRead::Unknown)?;
    let picture = pixels::read(format, body)?;
    let mut rectangle =
        VideoOverlayRectangle::new_raw(&picture, x, y, drawn_width, drawn_height, flags);
    if alpha < 1.0 {
        rectangle.get_mut().ok_or(unfit)?.set_global_alpha(alpha);
    }
    Ok(rectangle)
}
