//! From the things that were seen to bytes.
#![allow(unsafe_code)]

use gst::MetaRef;
use gst::glib::translate::from_glib_full;
use gst_analytics::AnalyticsRelationMeta;
use gst_analytics::ffi::{self, GstAnalyticsMtd as Mtd, GstAnalyticsRelationMeta as Meta};
use gst_video::VideoMeta;

#[cfg(feature = "v1_28")]
use super::TENSOR;
use super::{CLASSES, MASKS, MAX_MTDS, OBJECT, SEGMENTATION, TRACKING};
use crate::metas::pixels;
use crate::metas::tensors::name_of;
#[cfg(feature = "v1_28")]
use crate::metas::tensors::write_tensor;
use crate::values::Encoder;

/// `u32` things, a record of each; `u32` relations, for each `u32` first, second, types. A thing's
/// number is how many stand before it.
pub(in crate::metas) fn write(
    meta: &MetaRef<'_, AnalyticsRelationMeta>,
    body: &mut Encoder<'_>,
) -> Option<()> {
    let meta = meta.as_ptr().cast_mut();
    // SAFETY: the meta is GStreamer's own. It is not changed, though it is not called const.
    let count = unsafe { ffi::gst_analytics_relation_get_length(meta) };
    if count > MAX_MTDS {
        return None;
    }
    // The things that cross, by the numbers that they have here.
    let mut written = Vec::new();
    body.counted(|body| {
        for id in 0..count as u32 {
            // SAFETY: as above; there are things of all numbers below their count.
            if unsafe { write_mtd(meta, id, body) }.is_some() {
                written.push(id);
            }
        }
        written.len()
    });
    body.counted(|body| {
        let mut relations = 0;
        for (first, &first_id) in written.iter().enumerate() {
            for (second, &second_id) in written.iter().enumerate() {
                // SAFETY: as above.
                let types = unsafe {
                    ffi::gst_analytics_relation_meta_get_relation(meta, first_id, second_id)
                };
                if types != ffi::GST_ANALYTICS_REL_TYPE_NONE {
                    body.u32(first as u32);
                    body.u32(second as u32);
                    body.u32(types);
                    relations += 1;
                }
            }
        }
        relations
    });
    Some(())
}

/// As GStreamer's C sees it: things of all types are the same structure.
fn of<T>(mtd: &Mtd) -> *const T {
    std::ptr::from_ref(mtd).cast()
}

/// # Safety
/// The meta is one of a buffer that nobody writes meanwhile, and has a thing of this number.
unsafe fn write_mtd(meta: *mut Meta, id: u32, body: &mut Encoder<'_>) -> Option<()> {
    let mtd = Mtd { id, meta };
    // SAFETY: the thing is there, as the caller promises. Each kind is asked only for what things
    // of its type have, and numbers are below the counts that it tells.
    unsafe {
        let kind = ffi::gst_analytics_mtd_get_mtd_type(&mtd);
        if kind == ffi::gst_analytics_od_mtd_get_mtd_type() {
            body.record(OBJECT, |body| write_object(&mtd, body))
        } else if kind == ffi::gst_analytics_cls_mtd_get_mtd_type() {
            body.record(CLASSES, |body| {
                let count = ffi::gst_analytics_cls_mtd_get_length(of(&mtd));
                body.u32(count.try_into().ok()?);
                (0..count).try_for_each(|at| {
                    let class = ffi::gst_analytics_cls_mtd_get_quark(of(&mtd), at);
                    body.text(name_of(class)?)?;
                    body.f32(ffi::gst_analytics_cls_mtd_get_level(of(&mtd), at));
                    Some(())
                })
            })
        } else if kind == ffi::gst_analytics_tracking_mtd_get_mtd_type() {
            body.record(TRACKING, |body| {
                let (mut number, mut first, mut last, mut lost) = (0, 0, 0, 0);
                ffi::gst_analytics_tracking_mtd_get_info(
                    of(&mtd),
                    &mut number,
                    &mut first,
                    &mut last,
                    &mut lost,
                );
                body.u64(number);
                body.u64(first);
                body.u64(last);
                body.u32((lost != 0).into());
                Some(())
            })
        } else if kind == ffi::gst_analytics_segmentation_mtd_get_mtd_type() {
            body.record(SEGMENTATION, |body| write_segmentation(&mtd, body))
        } else {
            write_later_mtd(&mtd, body)
        }
    }
}

/// # Safety
/// As for [`write_mtd`].
#[cfg(feature = "v1_28")]
unsafe fn write_later_mtd(mtd: &Mtd, body: &mut Encoder<'_>) -> Option<()> {
    // SAFETY: as the caller promises; the tensor is the thing's.
    unsafe {
        let kind = ffi::gst_analytics_mtd_get_mtd_type(mtd);
        if kind != ffi::gst_analytics_tensor_mtd_get_mtd_type() {
            return None;
        }
        let tensor = ffi::gst_analytics_tensor_mtd_get_tensor(of(mtd));
        body.record(TENSOR, |body| write_tensor(tensor, body))
    }
}

/// # Safety
/// None.
#[cfg(not(feature = "v1_28"))]
unsafe fn write_later_mtd(_: &Mtd, _: &mut Encoder<'_>) -> Option<()> {
    None
}

/// Text: what it is; `i32` x, y, width, height; `f32` rotation, confidence.
///
/// # Safety
/// The thing is there, and an object.
unsafe fn write_object(mtd: &Mtd, body: &mut Encoder<'_>) -> Option<()> {
    let (mut x, mut y, mut width, mut height) = (0, 0, 0, 0);
    let (mut rotation, mut confidence) = (0.0, 0.0);
    // SAFETY: as the caller promises.
    unsafe {
        ffi::gst_analytics_od_mtd_get_oriented_location(
            of(mtd),
            &mut x,
            &mut y,
            &mut width,
            &mut height,
            &mut rotation,
            &mut confidence,
        );
        body.text(name_of(ffi::gst_analytics_od_mtd_get_obj_type(of(mtd)))?)?;
    }
    for number in [x, y, width, height] {
        body.i32(number);
    }
    body.f32(rotation);
    body.f32(confidence);
    Some(())
}

/// `i32` x, y, `u32` width, height of where the mask is; `u32` regions, and their numbers; `u32`
/// format of the mask, 0 for 8 bits, 1 for 16, 2 for 16 big-endian, `u32` width, height, and its
/// rows without gaps.
///
/// # Safety
/// The thing is there, and a segmentation.
unsafe fn write_segmentation(mtd: &Mtd, body: &mut Encoder<'_>) -> Option<()> {
    let (mut x, mut y, mut width, mut height) = (0, 0, 0, 0);
    // SAFETY: as the caller promises; the buffer is given away, and may be null.
    let mask: Option<gst::Buffer> = unsafe {
        from_glib_full(ffi::gst_analytics_segmentation_mtd_get_mask(
            of(mtd),
            &mut x,
            &mut y,
            &mut width,
            &mut height,
        ))
    };
    let mask = mask?;
    body.i32(x);
    body.i32(y);
    body.u32(width);
    body.u32(height);
    // SAFETY: as above; there are regions of all numbers below their count.
    unsafe {
        let count = ffi::gst_analytics_segmentation_mtd_get_region_count(of(mtd));
        body.u32(count.try_into().ok()?);
        for at in 0..count {
            body.u32(ffi::gst_analytics_segmentation_mtd_get_region_id(
                of(mtd),
                at,
            ));
        }
    }
    let format = mask.meta::<VideoMeta>()?.format();
    let number = MASKS.iter().position(|&known| known == format)?;
    body.u32(number as u32);
    pixels::write(&mask, body)
}
