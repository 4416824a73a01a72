//! GstVideoRegionOfInterestMeta: a detection in a picture, and its place.
#![allow(unsafe_code)]

use glib::ffi::GQuark;
use gst::MetaRef;
use gst::meta::{MetaAPIExt, Standalone};
use gst_video::video_meta::VideoRegionOfInterestMeta;
use xmem_media::meta::Region;

use super::quark::{quark_of, text_of};
use super::unfit::{NotRead, Result, Unfit};
use crate::values::{DecodeError, Rules, from_gst, to_gst};

pub(super) fn write(meta: &MetaRef<'_, VideoRegionOfInterestMeta>) -> Option<Region> {
    let (x, y, width, height) = meta.rect();
    let params = meta.params().take(Region::MAX_PARAMS);
    let region = Region {
        kind: text_of(roi_type(meta))?,
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

/// The quark of its type, 0 for none. The bindings' `Quark` is never 0.
fn roi_type(meta: &MetaRef<'_, VideoRegionOfInterestMeta>) -> GQuark {
    // SAFETY: the meta is GStreamer's own, and lives as long as the reference to it.
    unsafe { (*meta.as_ptr()).roi_type }
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
    let mut meta = add(buffer, quark_of(&region.kind, rules)?, rect);
    meta.set_id(region.id);
    meta.set_parent_id(region.parent_id);
    params.into_iter().for_each(|param| meta.add_param(param));
    Ok(())
}

fn add(
    buffer: &mut gst::BufferRef,
    kind: GQuark,
    (x, y, width, height): (u32, u32, u32, u32),
) -> gst::MetaRefMut<'_, VideoRegionOfInterestMeta, Standalone> {
    // SAFETY: the buffer can be written, for it is borrowed so; the type is the number of a text or 0. The
    // new meta is of the buffer and of the type that is named.
    unsafe {
        let meta = gst_video::ffi::gst_buffer_add_video_region_of_interest_meta_id(
            buffer.as_mut_ptr(),
            kind,
            x,
            y,
            width,
            height,
        );
        MetaAPIExt::from_mut_ptr(buffer, meta)
    }
}
