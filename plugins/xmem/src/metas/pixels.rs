//! The pictures that metas hold: their sides, and their pixels row by row without gaps.

use gst_video::prelude::*;
use gst_video::{VideoFormat, VideoFrameFlags, VideoFrameRef, VideoInfo, VideoMeta};

use super::Result;
use crate::values::{Reader, Unreadable, Writer};

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
pub(super) fn write(picture: &gst::BufferRef, body: &mut Writer<'_>) -> Option<()> {
    let (format, width, height) = {
        let meta = picture.meta::<VideoMeta>()?;
        (meta.format(), meta.width(), meta.height())
    };
    if !SIDES.contains(&width) || !SIDES.contains(&height) {
        return None;
    }
    body.u32(width);
    body.u32(height);
    let info = VideoInfo::builder(format, width, height).build().ok()?;
    let frame = VideoFrameRef::from_buffer_ref_readable(picture, &info).ok()?;
    let stride = usize::try_from(frame.plane_stride()[0]).ok()?;
    let rows = frame.plane_data(0).ok()?.chunks(stride);
    for row in rows.take(height as usize) {
        body.raw(row.get(..width as usize * pixel(format))?);
    }
    Some(())
}

/// A picture of this format, with its video meta.
pub(super) fn read(format: VideoFormat, body: &mut Reader<'_>) -> Result<gst::Buffer> {
    let broken = Unreadable::Broken;
    let (width, height) = (body.u32()?, body.u32()?);
    if !SIDES.contains(&width) || !SIDES.contains(&height) {
        return Err(broken);
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
    .map_err(|_| broken)?;
    Ok(picture)
}
