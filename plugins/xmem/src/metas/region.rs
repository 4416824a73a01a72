//! GstVideoRegionOfInterestMeta: what somebody has seen in a picture, and where.
#![allow(unsafe_code)]

use gst::MetaRef;
use gst::glib;
use gst_video::video_meta::VideoRegionOfInterestMeta;

use super::Result;
use super::unfit::{NotRead, Unfit};
use crate::values::{DecodeError, EncodeGst, Encoder, Reader};

/// Most structures of a region: GStreamer looks for the last of them to add another.
const MAX_PARAMS: usize = 256;

/// The text of its type, empty where it has none; `i32` number and that of the region that it is
/// part of; `u32` x, y, width, height; `u32` structures, and those.
pub(super) fn write(
    meta: &MetaRef<'_, VideoRegionOfInterestMeta>,
    body: &mut Encoder<'_>,
) -> Option<()> {
    let (x, y, width, height) = meta.rect();
    if !has_end((x, y, width, height)) {
        return None;
    }
    body.text(roi_type(meta)?)?;
    body.i32(meta.id());
    body.i32(meta.parent_id());
    for number in [x, y, width, height] {
        body.u32(number);
    }
    body.counted(|body| {
        let params = meta.params().take(MAX_PARAMS);
        params.filter_map(|param| body.structure(param)).count()
    });
    Some(())
}

/// Whoever looks at one computes its end.
fn has_end((x, y, width, height): (u32, u32, u32, u32)) -> bool {
    x.checked_add(width).is_some() && y.checked_add(height).is_some()
}

/// `None` where it is not UTF-8.
fn roi_type<'a>(meta: &MetaRef<'a, VideoRegionOfInterestMeta>) -> Option<&'a str> {
    // SAFETY: the meta is GStreamer's own, and its type a number of a text that stays for ever, or
    // 0, which has none.
    let text = unsafe {
        let text = glib::ffi::g_quark_to_string((*meta.as_ptr()).roi_type);
        (!text.is_null()).then(|| std::ffi::CStr::from_ptr(text))
    };
    text.map_or(Some(""), |text| text.to_str().ok())
}

pub(super) fn read(buffer: &mut gst::BufferRef, body: &mut Reader<'_>) -> Result {
    let roi_type = body.text()?;
    let (id, parent_id) = (body.i32()?, body.i32()?);
    let rect = (body.u32()?, body.u32()?, body.u32()?, body.u32()?);
    if !has_end(rect) {
        return Err(Unfit::Value("its rectangle has no end below 2^32").into());
    }
    let mut params = Vec::new();
    let count = body.count(8)?;
    if count > MAX_PARAMS {
        return Err(NotRead::Broken);
    }
    for _ in 0..count {
        match body.structure() {
            Ok(param) => params.push(param),
            Err(DecodeError::Unsupported(_)) => {}
            Err(DecodeError::Invalid(_)) => return Err(NotRead::Broken),
        }
    }
    if !roi_type.is_empty() && !body.admits(roi_type) {
        return Err(NotRead::Unknown);
    }
    let mut meta = match roi_type.is_empty() {
        false => VideoRegionOfInterestMeta::add(buffer, roi_type, rect),
        true => without_type(buffer, rect),
    };
    meta.set_id(id);
    meta.set_parent_id(parent_id);
    params.into_iter().for_each(|param| meta.add_param(param));
    Ok(())
}

fn without_type(
    buffer: &mut gst::BufferRef,
    (x, y, width, height): (u32, u32, u32, u32),
) -> gst::MetaRefMut<'_, VideoRegionOfInterestMeta, gst::meta::Standalone> {
    // SAFETY: the buffer can be written, for it is borrowed so; the type 0 is none, which GStreamer
    // makes of a text that is null. The new meta is of the buffer and of the type that is named.
    unsafe {
        let meta = gst_video::ffi::gst_buffer_add_video_region_of_interest_meta_id(
            buffer.as_mut_ptr(),
            0,
            x,
            y,
            width,
            height,
        );
        gst::meta::MetaAPIExt::from_mut_ptr(buffer, meta)
    }
}
