//! GstVideoCodecAlphaMeta: the alpha channel of an encoded picture, encoded by itself.
#![allow(unsafe_code)]

use gst::MetaRef;
use gst::glib::translate::IntoGlibPtr;
use gst_video::video_meta::VideoCodecAlphaMeta;

use super::Result;
use crate::values::{EncodeGst, Encoder, Reader};

/// A value: the buffer.
pub(super) fn write(meta: &MetaRef<'_, VideoCodecAlphaMeta>, body: &mut Encoder<'_>) -> Option<()> {
    body.buffer(meta.alpha_buffer())
}

pub(super) fn read(buffer: &mut gst::BufferRef, body: &mut Reader<'_>) -> Result {
    let alpha = body.buffer()?;
    add(buffer, alpha);
    Ok(())
}

/// Attaches it: the binding frees the buffer that it gives away.
pub(super) fn add(buffer: &mut gst::BufferRef, alpha: gst::Buffer) {
    // SAFETY: the buffer can be written, for it is borrowed so, and the other one becomes the meta's.
    unsafe {
        gst_video::ffi::gst_buffer_add_video_codec_alpha_meta(
            buffer.as_mut_ptr(),
            alpha.into_glib_ptr(),
        );
    }
}
