//! GstVideoAffineTransformationMeta: the transformation with which to show a picture.

use gst::MetaRef;
use gst_video::video_meta::VideoAffineTransformationMeta;
use xmem_media::meta::Affine;

use super::unfit::Result;
use crate::values::Rules;

pub(super) fn write(meta: &MetaRef<'_, VideoAffineTransformationMeta>) -> Option<Affine> {
    let matrix = meta.matrix().as_flattened().try_into().ok()?;
    Some(Affine { matrix })
}

pub(super) fn read(buffer: &mut gst::BufferRef, meta: Affine, _: Rules<'_>) -> Result {
    let (rows, _) = meta.matrix.as_chunks();
    let matrix = rows.try_into().ok();
    VideoAffineTransformationMeta::add(buffer, matrix);
    Ok(())
}
