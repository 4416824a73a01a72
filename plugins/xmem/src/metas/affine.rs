//! GstVideoAffineTransformationMeta: how a picture is to be turned.

use gst::MetaRef;
use gst_video::video_meta::VideoAffineTransformationMeta;

use super::Result;
use crate::values::{Encoder, Reader};

/// `f32[16]`: four rows of four.
pub(super) fn write(
    meta: &MetaRef<'_, VideoAffineTransformationMeta>,
    body: &mut Encoder<'_>,
) -> Option<()> {
    for &number in meta.matrix().iter().flatten() {
        body.f32(number);
    }
    Some(())
}

pub(super) fn read(buffer: &mut gst::BufferRef, body: &mut Reader<'_>) -> Result {
    let mut matrix = [[0.0; 4]; 4];
    for number in matrix.iter_mut().flatten() {
        *number = body.f32()?;
    }
    VideoAffineTransformationMeta::add(buffer, Some(&matrix));
    Ok(())
}
