//! GstVideoCodecAlphaMeta: the alpha channel of an encoded picture, encoded by itself.
#![allow(unsafe_code)]

use glib::translate::IntoGlibPtr;
use gst::MetaRef;
use gst_video::video_meta::VideoCodecAlphaMeta;
use xmem_media::meta::CodecAlpha;

use super::unfit::Result;
use crate::values::{Rules, from_gst, to_gst};

pub(super) fn write(meta: &MetaRef<'_, VideoCodecAlphaMeta>) -> Option<CodecAlpha> {
    let buffer = from_gst::buffer(meta.alpha_buffer())?;
    Some(CodecAlpha { buffer })
}

pub(super) fn read(buffer: &mut gst::BufferRef, meta: CodecAlpha, _: Rules<'_>) -> Result {
    add(buffer, to_gst::buffer(meta.buffer));
    Ok(())
}

/// Attaches the meta. The binding frees the buffer that it gives away.
pub(super) fn add(buffer: &mut gst::BufferRef, alpha: gst::Buffer) {
    // SAFETY: the buffer can be written, for it is borrowed so, and the other one becomes the meta's.
    unsafe {
        gst_video::ffi::gst_buffer_add_video_codec_alpha_meta(
            buffer.as_mut_ptr(),
            alpha.into_glib_ptr(),
        );
    }
}
