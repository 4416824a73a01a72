//! Pictures inside metas.

use gst_video::{VideoFormat, VideoFrameFlags, VideoMeta};
use xmem_media::meta::Pixels;

use super::unfit::{Result, Unfit};

/// The pixels of a picture; each has `size` bytes.
pub(super) fn write(picture: &gst::BufferRef, size: usize) -> Option<Pixels> {
    let meta = picture.meta::<VideoMeta>()?;
    let (offset, stride) = (*meta.offset().first()?, *meta.stride().first()?);
    let mut pixels = Pixels {
        width: meta.width(),
        height: meta.height(),
        bytes: Vec::new(),
    };
    pixels.is_picture().then_some(())?;
    let offset = i64::try_from(offset).ok()?;
    let row_bytes = pixels.width as usize * size;
    let bytes = picture.map_readable().ok()?;
    for row in 0..i64::from(pixels.height) {
        let start = offset.checked_add(row * i64::from(stride))?;
        let rest = bytes.get(usize::try_from(start).ok()?..)?;
        pixels.bytes.extend_from_slice(rest.get(..row_bytes)?);
    }
    Some(pixels)
}

/// A picture of this format, with its video meta.
pub(super) fn read(format: VideoFormat, pixels: Pixels) -> Result<gst::Buffer> {
    let unfit = Unfit::Value("a picture in it has sides that are not 1 to 32767 pixels long");
    pixels.is_picture().then_some(()).ok_or(unfit)?;
    let (width, height) = (pixels.width, pixels.height);
    // Without gaps, whatever GStreamer would have made of the rows.
    let stride = [(pixels.bytes.len() / height as usize) as i32];
    let mut picture = gst::Buffer::from_slice(pixels.bytes);
    let none = VideoFrameFlags::empty();
    let content = picture.make_mut();
    VideoMeta::add_full(content, none, format, width, height, &[0], &stride).map_err(|_| unfit)?;
    Ok(picture)
}
