//! From bytes to the things that were seen.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use gst::glib::translate::IntoGlibPtr;
use gst_analytics::ffi::{self, GstAnalyticsMtd as Mtd, GstAnalyticsRelationMeta as Meta};

#[cfg(feature = "v1_28")]
use super::TENSOR;
use super::{CLASSES, MASKS, MAX_MTDS, OBJECT, SEGMENTATION, TRACKING};
use crate::metas::pixels;
use crate::metas::tensors::read_name;
#[cfg(feature = "v1_28")]
use crate::metas::tensors::read_tensor;
use crate::metas::unfit::{NotRead, Result};
use crate::values::{Decoder, Rules};

pub(in crate::metas) fn read(
    buffer: &mut gst::BufferRef,
    body: &mut Decoder<'_>,
    rules: Rules<'_>,
) -> Result {
    let broken = NotRead::Broken;
    let count = body.count(8)?;
    if count > MAX_MTDS {
        return Err(broken);
    }
    let mut params = ffi::GstAnalyticsRelationMetaInitParams {
        initial_relation_order: count.max(1),
        initial_buf_size: 1024,
    };
    // SAFETY: the buffer can be written, for it is borrowed so. It has no such meta yet, or one that
    // is its own; nobody else has it while the buffer is borrowed.
    let meta = unsafe {
        ffi::gst_buffer_add_analytics_relation_meta_full(buffer.as_mut_ptr(), &mut params)
    };
    // By the numbers that they have in the producer, those that they have here.
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        // SAFETY: the meta is the buffer's, as above.
        ids.push(
            match body.record(|body, kind| unsafe { read_mtd(meta, body, kind, rules) }) {
                Ok(id) => Some(id),
                Err(NotRead::Unknown) => None,
                Err(why) => return Err(why),
            },
        );
    }
    for _ in 0..body.count(12)? {
        let (first, second) = (body.u32()? as usize, body.u32()? as usize);
        let types = body.u32()?;
        let (first, second) = (
            ids.get(first).ok_or(broken)?,
            ids.get(second).ok_or(broken)?,
        );
        if types > 0xff {
            return Err(broken);
        }
        if let (&Some(first), &Some(second)) = (first, second) {
            // SAFETY: the meta is the buffer's, and has things of these numbers.
            unsafe {
                ffi::gst_analytics_relation_meta_set_relation(meta, types, first, second);
            }
        }
    }
    Ok(())
}

/// Adds a thing, and tells its number.
///
/// # Safety
/// The meta is one of a buffer that nobody else uses.
unsafe fn read_mtd(
    meta: *mut Meta,
    body: &mut Decoder<'_>,
    kind: u32,
    rules: Rules<'_>,
) -> Result<u32> {
    let mut mtd = MaybeUninit::<Mtd>::zeroed();
    // SAFETY: as the caller promises. What is added is copied, but for the buffers, which are given
    // away. A thing of zeros is one, of no meta.
    let added = unsafe {
        match kind {
            OBJECT => {
                let name = read_name(body, rules);
                let (x, y) = (body.i32()?, body.i32()?);
                let (width, height) = (body.i32()?, body.i32()?);
                let (rotation, confidence) = (body.f32()?, body.f32()?);
                ffi::gst_analytics_relation_meta_add_oriented_od_mtd(
                    meta,
                    name?,
                    x,
                    y,
                    width,
                    height,
                    rotation,
                    confidence,
                    mtd.as_mut_ptr().cast(),
                )
            }
            CLASSES => {
                let count = body.count(8)?;
                let (mut levels, mut classes) = (Vec::new(), Vec::new());
                for _ in 0..count {
                    classes.push(read_name(body, rules)?);
                    levels.push(body.f32()?);
                }
                ffi::gst_analytics_relation_meta_add_cls_mtd(
                    meta,
                    count,
                    levels.as_mut_ptr(),
                    classes.as_mut_ptr(),
                    mtd.as_mut_ptr().cast(),
                )
            }
            TRACKING => {
                let number = body.u64()?;
                let (first, last) = (body.u64()?, body.u64()?);
                let is_lost = body.bool()?;
                let added = ffi::gst_analytics_relation_meta_add_tracking_mtd(
                    meta,
                    number,
                    first,
                    mtd.as_mut_ptr().cast(),
                );
                if added != 0 {
                    ffi::gst_analytics_tracking_mtd_update_last_seen(mtd.as_mut_ptr().cast(), last);
                    if is_lost {
                        ffi::gst_analytics_tracking_mtd_set_lost(mtd.as_mut_ptr().cast());
                    }
                }
                added
            }
            SEGMENTATION => {
                let (x, y) = (body.i32()?, body.i32()?);
                let (width, height) = (body.u32()?, body.u32()?);
                let count = body.count(4)?;
                let regions = (0..count).map(|_| body.u32());
                let mut regions = regions.collect::<std::result::Result<Vec<_>, _>>()?;
                let mask = read_mask(body)?;
                ffi::gst_analytics_relation_meta_add_segmentation_mtd(
                    meta,
                    mask.into_glib_ptr(),
                    // GStreamer tells nobody which it was.
                    ffi::GST_SEGMENTATION_TYPE_SEMANTIC,
                    count,
                    regions.as_mut_ptr(),
                    x,
                    y,
                    width,
                    height,
                    mtd.as_mut_ptr().cast(),
                )
            }
            #[cfg(feature = "v1_28")]
            TENSOR => {
                let tensor = read_tensor(body, rules)?;
                let added = ffi::gst_analytics_relation_meta_add_tensor_mtd(
                    meta,
                    tensor.num_dims(),
                    mtd.as_mut_ptr().cast(),
                );
                if added != 0 {
                    // New, with room for its dimensions, and cleared.
                    tensor.fill(ffi::gst_analytics_tensor_mtd_get_tensor(
                        mtd.as_ptr().cast(),
                    ));
                }
                added
            }
            _ => return Err(NotRead::Unknown),
        }
    };
    // SAFETY: filled in, or of zeros.
    let mtd = unsafe { mtd.assume_init() };
    match added == gst::glib::ffi::GFALSE || mtd.meta.is_null() {
        true => Err(NotRead::Unknown),
        false => Ok(mtd.id),
    }
}

fn read_mask(body: &mut Decoder<'_>) -> Result<gst::Buffer> {
    // A later version may have more of them.
    let format = *MASKS.get(body.u32()? as usize).ok_or(NotRead::Unknown)?;
    pixels::read(format, body)
}
