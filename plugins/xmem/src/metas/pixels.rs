//! The pictures that metas hold: their sides, and their pixels row by row without gaps.

use gst_video::{VideoFormat, VideoFrameFlags, VideoMeta};

use super::unfit::{Result, Unfit};
use crate::values::{Decoder, Encoder};

/// Pixels wide and high.
pub(super) const SIDES: std::ops::RangeInclusive<u32> = 1..=32767;

/// Bytes of a pixel, of the formats that such pictures have.
fn pixel(format: VideoFormat) -> usize {
    match format {
        VideoFormat::Gray8 => 1,
        VideoFormat::Gray16Le | VideoFormat::Gray16Be => 2,
        _ => 4,
    }
}

/// `u32` width, height; the pixels.
pub(super) fn write(picture: &gst::BufferRef, body: &mut Encoder<'_>) -> Option<()> {
    let (format, width, height, offset, stride) = {
        let meta = picture.meta::<VideoMeta>()?;
        let (offset, stride) = (*meta.offset().first()?, *meta.stride().first()?);
        let offset = i64::try_from(offset).ok()?;
        (meta.format(), meta.width(), meta.height(), offset, stride)
    };
    if !SIDES.contains(&width) || !SIDES.contains(&height) {
        return None;
    }
    body.u32(width);
    body.u32(height);
    let bytes = picture.map_readable().ok()?;
    for row in 0..i64::from(height) {
        let start = offset.checked_add(row * i64::from(stride))?;
        let rest = bytes.get(usize::try_from(start).ok()?..)?;
        body.raw(rest.get(..width as usize * pixel(format))?);
    }
    Some(())
}

/// A picture of this format, with its video meta.
pub(super) fn read(format: VideoFormat, body: &mut Decoder<'_>) -> Result<gst::Buffer> {
    let unfit = Unfit::Value("a picture in it has sides that are not 1 to 32767 pixels long");
    let (width, height) = (body.u32()?, body.u32()?);
    if !SIDES.contains(&width) || !SIDES.contains(&height) {
        return Err(unfit.into());
    }
    let row = width as usize * pixel(format);
    let bytes = body.raw(row * height as usize)?;
    let mut picture = gst::Buffer::from_slice(bytes.to_vec());
    // Without gaps, whatever GStreamer would have made of the rows.
    let (none, stride) = (VideoFrameFlags::empty(), [row as i32]);
    VideoMeta::add_full(
        picture.make_mut(),
        none,
        format,
        width,
        height,
        &[0],
        &stride,
    )
    .map_err(|_| unfit)?;
    Ok(picture)
}
