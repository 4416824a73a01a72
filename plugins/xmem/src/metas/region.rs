//! GstVideoRegionOfInterestMeta: what somebody has seen in a picture, and where.
#![allow(unsafe_code)]

use gst::MetaRef;
use gst::glib;
use gst_video::video_meta::VideoRegionOfInterestMeta;
use xmem_media::meta::Region;
use xmem_media::value::Text;

use super::unfit::{NotRead, Result, Unfit};
use crate::values::{DecodeError, Rules, from_gst, to_gst};

/// Most structures of a region: GStreamer looks for the last of them to add another.
const MAX_PARAMS: usize = 256;

pub(super) fn write(meta: &MetaRef<'_, VideoRegionOfInterestMeta>) -> Option<Region> {
    let (x, y, width, height) = meta.rect();
    let params = meta.params().take(MAX_PARAMS);
    let region = Region {
        kind: Text::new(roi_type(meta)?).ok()?,
        id: meta.id(),
        parent_id: meta.parent_id(),
        x,
        y,
        width,
        height,
        params: params.filter_map(from_gst::structure).collect(),
    };
    Some(region).filter(Region::has_end)
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

pub(super) fn read(buffer: &mut gst::BufferRef, region: Region, rules: Rules<'_>) -> Result {
    if !region.has_end() {
        return Err(Unfit::Value("its rectangle has no end below 2^32").into());
    }
    let mut params = Vec::new();
    for param in region.params {
        match to_gst::structure(param, rules) {
            Ok(param) => params.push(param),
            Err(DecodeError::Unsupported(_)) => {}
            Err(DecodeError::Invalid(_)) => return Err(NotRead::Broken),
        }
    }
    let rect = (region.x, region.y, region.width, region.height);
    let mut meta = if region.kind.is_empty() {
        without_type(buffer, rect)
    } else if rules.names.admit(&region.kind) {
        VideoRegionOfInterestMeta::add(buffer, &region.kind, rect)
    } else {
        return Err(NotRead::Unknown);
    };
    meta.set_id(region.id);
    meta.set_parent_id(region.parent_id);
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
