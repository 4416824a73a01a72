//! GstVideoOverlayCompositionMeta: pictures to be drawn over a picture, with their pixels.

use gst::MetaRef;
use gst_video::prelude::*;
use gst_video::video_meta::VideoOverlayCompositionMeta;
use gst_video::{
    VideoFormat, VideoFrameFlags, VideoFrameRef, VideoInfo, VideoMeta, VideoOverlayComposition,
    VideoOverlayFormatFlags as Flags, VideoOverlayRectangle, VideoOverlayRectangleRef,
};

use super::Result;
use crate::values::{Reader, Unreadable, Writer};

/// Most rectangles of a composition.
const MAX_RECTANGLES: usize = 1024;
/// Most pixels wide and high, of a rectangle and of what it is drawn as.
const MAX_SIDE: u32 = 32767;
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
    body: &mut Writer<'_>,
) -> Option<()> {
    let overlay = meta.overlay();
    body.u32(overlay.n_rectangles());
    (overlay.n_rectangles() as usize <= MAX_RECTANGLES).then_some(())?;
    overlay
        .iter()
        .try_for_each(|rectangle| write_rectangle(&rectangle, body))
}

fn write_rectangle(rectangle: &VideoOverlayRectangleRef, body: &mut Writer<'_>) -> Option<()> {
    let flags = rectangle.flags();
    // As they are: nothing is converted where the same is asked for that there is.
    let pixels = rectangle.pixels_unscaled_raw(flags);
    let (format, width, height) = {
        let meta = pixels.meta::<VideoMeta>()?;
        (meta.format(), meta.width(), meta.height())
    };
    body.u32(match format {
        RGB => 0,
        YUV => 1,
        _ => return None,
    });
    body.u32(flags.bits());
    body.f32(rectangle.global_alpha());
    let (x, y, drawn_width, drawn_height) = rectangle.render_rectangle();
    if !is_drawable((x, y), (drawn_width, drawn_height)) {
        return None;
    }
    body.i32(x);
    body.i32(y);
    for number in [drawn_width, drawn_height, width, height] {
        body.u32(number);
    }
    let info = VideoInfo::builder(format, width, height).build().ok()?;
    let frame = VideoFrameRef::from_buffer_ref_readable(&pixels, &info).ok()?;
    let stride = usize::try_from(frame.plane_stride()[0]).ok()?;
    let rows = frame.plane_data(0).ok()?.chunks(stride);
    for row in rows.take(height as usize) {
        body.raw(row.get(..width as usize * 4)?);
    }
    Some(())
}

fn is_drawable((x, y): (i32, i32), (width, height): (u32, u32)) -> bool {
    let sides = 1..=MAX_SIDE;
    sides.contains(&width)
        && sides.contains(&height)
        && u64::from(width) * u64::from(height) <= MAX_DRAWN
        && x.unsigned_abs() <= MAX_DISTANCE
        && y.unsigned_abs() <= MAX_DISTANCE
}

pub(super) fn read(buffer: &mut gst::BufferRef, body: &mut Reader<'_>) -> Result {
    let mut rectangles = Vec::new();
    let count = body.count(40)?;
    if count > MAX_RECTANGLES {
        return Err(Unreadable::Broken);
    }
    for _ in 0..count {
        rectangles.push(read_rectangle(body)?);
    }
    let overlay = VideoOverlayComposition::new(&rectangles).map_err(|_| Unreadable::Broken)?;
    VideoOverlayCompositionMeta::add(buffer, &overlay);
    Ok(())
}

fn read_rectangle(body: &mut Reader<'_>) -> Result<VideoOverlayRectangle> {
    let broken = Unreadable::Broken;
    let format = match body.bool()? {
        false => RGB,
        true => YUV,
    };
    let flags = Flags::from_bits(body.u32()?).ok_or(broken)?;
    let alpha = body.f32()?;
    let (x, y) = (body.i32()?, body.i32()?);
    let (drawn_width, drawn_height) = (body.u32()?, body.u32()?);
    let (width, height) = (body.u32()?, body.u32()?);
    let sides = 1..=MAX_SIDE;
    if !is_drawable((x, y), (drawn_width, drawn_height))
        || !sides.contains(&width)
        || !sides.contains(&height)
        || !(0.0..=1.0).contains(&alpha)
    {
        return Err(broken);
    }
    let pixels = body.raw(width as usize * height as usize * 4)?;
    let mut pixels = gst::Buffer::from_slice(pixels.to_vec());
    let none = VideoFrameFlags::empty();
    VideoMeta::add(pixels.make_mut(), none, format, width, height).map_err(|_| broken)?;
    let mut rectangle =
        VideoOverlayRectangle::new_raw(&pixels, x, y, drawn_width, drawn_height, flags);
    if alpha < 1.0 {
        rectangle.get_mut().ok_or(broken)?.set_global_alpha(alpha);
    }
    Ok(rectangle)
}
