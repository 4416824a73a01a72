//! GstVideoOverlayCompositionMeta: pictures that are drawn over a picture, with their pixels.

use gst::MetaRef;
use gst_video::video_meta::VideoOverlayCompositionMeta;
use gst_video::{
    VideoFormat, VideoMeta, VideoOverlayComposition, VideoOverlayFormatFlags as Flags,
    VideoOverlayRectangle, VideoOverlayRectangleRef,
};
use xmem_media::meta::{Overlay, OverlayRectangle};

use super::pixels;
use super::unfit::{NotRead, Result, Unfit};
use crate::values::Rules;

/// The format that GStreamer expects: 8 bits a component, in the machine's byte order.
const RGB: VideoFormat = if cfg!(target_endian = "little") {
    VideoFormat::Bgra
} else {
    VideoFormat::Argb
};
const YUV: VideoFormat = VideoFormat::Ayuv;

pub(super) fn write(meta: &MetaRef<'_, VideoOverlayCompositionMeta>) -> Option<Overlay> {
    let rectangles = meta.overlay().iter().map(|one| write_rectangle(&one));
    let rectangles = rectangles.collect::<Option<_>>()?;
    Some(Overlay { rectangles })
}

fn write_rectangle(rectangle: &VideoOverlayRectangleRef) -> Option<OverlayRectangle> {
    let flags = rectangle.flags();
    // As they are: nothing is converted where the same is asked for that there is.
    let picture = rectangle.pixels_unscaled_raw(flags);
    let format = picture.meta::<VideoMeta>()?.format();
    [RGB, YUV].contains(&format).then_some(())?;
    let (x, y, width, height) = rectangle.render_rectangle();
    let rectangle = OverlayRectangle {
        is_ayuv: format == YUV,
        flags: flags.bits(),
        alpha: rectangle.global_alpha(),
        x,
        y,
        width,
        height,
        pixels: pixels::write(&picture, 4)?,
    };
    Some(rectangle).filter(OverlayRectangle::is_drawable)
}

pub(super) fn read(buffer: &mut gst::BufferRef, meta: Overlay, _: Rules<'_>) -> Result {
    let rectangles = meta.rectangles.into_iter().map(read_rectangle);
    let rectangles = rectangles.collect::<Result<Vec<_>>>()?;
    let overlay = VideoOverlayComposition::new(&rectangles).map_err(|_| NotRead::Broken)?;
    VideoOverlayCompositionMeta::add(buffer, &overlay);
    Ok(())
}

fn read_rectangle(from: OverlayRectangle) -> Result<VideoOverlayRectangle> {
    let unfit = Unfit::Value("a rectangle is too large, too far away, or of no such alpha");
    from.is_drawable().then_some(()).ok_or(unfit)?;
    // A later version may have more of them.
    let flags = Flags::from_bits(from.flags).ok_or(NotRead::Unknown)?;
    let picture = pixels::read(if from.is_ayuv { YUV } else { RGB }, from.pixels)?;
    let (x, y, width, height) = (from.x, from.y, from.width, from.height);
    let mut rectangle = VideoOverlayRectangle::new_raw(&picture, x, y, width, height, flags);
    if from.alpha < 1.0 {
        let rectangle = rectangle.get_mut().ok_or(unfit)?;
        rectangle.set_global_alpha(from.alpha);
    }
    Ok(rectangle)
}
