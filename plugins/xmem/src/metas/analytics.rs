//! GstAnalyticsRelationMeta: what was seen in a picture, and how one thing is related to another.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use gst::MetaRef;
use gst::glib::translate::{IntoGlibPtr, from_glib_full};
use gst_analytics::AnalyticsRelationMeta;
use gst_analytics::ffi::{self, GstAnalyticsMtd as Mtd, GstAnalyticsRelationMeta as Meta};
use gst_video::{VideoFormat, VideoMeta};

#[cfg(feature = "v1_28")]
use super::tensors;
use super::tensors::{name_of, read_name};
use super::{Result, pixels};
use crate::values::{Reader, Unreadable, Writer};

/// Most things of a frame: there is a byte for each pair of them.
const MAX_MTDS: usize = 1024;
/// The formats that a mask can have, by the number that stands for them.
const MASKS: [VideoFormat; 3] = [
    VideoFormat::Gray8,
    VideoFormat::Gray16Le,
    VideoFormat::Gray16Be,
];

// Kinds of the records of things. Part of the protocol.
const OBJECT: u32 = 1;
const CLASSES: u32 = 2;
const TRACKING: u32 = 3;
const SEGMENTATION: u32 = 4;
#[cfg(feature = "v1_28")]
const TENSOR: u32 = 5;

/// `u32` things, a record of each; `u32` relations, for each `u32` first, second, types. A thing's
/// number is how many stand before it.
pub(super) fn write(
    meta: &MetaRef<'_, AnalyticsRelationMeta>,
    body: &mut Writer<'_>,
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
unsafe fn write_mtd(meta: *mut Meta, id: u32, body: &mut Writer<'_>) -> Option<()> {
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
unsafe fn write_later_mtd(mtd: &Mtd, body: &mut Writer<'_>) -> Option<()> {
    // SAFETY: as the caller promises; the tensor is the thing's.
    unsafe {
        let kind = ffi::gst_analytics_mtd_get_mtd_type(mtd);
        if kind != ffi::gst_analytics_tensor_mtd_get_mtd_type() {
            return None;
        }
        let tensor = ffi::gst_analytics_tensor_mtd_get_tensor(of(mtd));
        body.record(TENSOR, |body| tensors::write_tensor(tensor, body))
    }
}

/// # Safety
/// None.
#[cfg(not(feature = "v1_28"))]
unsafe fn write_later_mtd(_: &Mtd, _: &mut Writer<'_>) -> Option<()> {
    None
}

/// Text: what it is; `i32` x, y, width, height; `f32` rotation, confidence.
///
/// # Safety
/// The thing is there, and an object.
unsafe fn write_object(mtd: &Mtd, body: &mut Writer<'_>) -> Option<()> {
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
unsafe fn write_segmentation(mtd: &Mtd, body: &mut Writer<'_>) -> Option<()> {
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

pub(super) fn read(buffer: &mut gst::BufferRef, body: &mut Reader<'_>) -> Result {
    let broken = Unreadable::Broken;
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
            match body.record(|body, kind| unsafe { read_mtd(meta, body, kind) }) {
                Ok(id) => Some(id),
                Err(Unreadable::Unknown) => None,
                Err(Unreadable::Broken) => return Err(broken),
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
unsafe fn read_mtd(meta: *mut Meta, body: &mut Reader<'_>, kind: u32) -> Result<u32> {
    let mut mtd = MaybeUninit::<Mtd>::zeroed();
    // SAFETY: as the caller promises. What is added is copied, but for the buffers, which are given
    // away. A thing of zeros is one, of no meta.
    let added = unsafe {
        match kind {
            OBJECT => {
                let name = read_name(body);
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
                    classes.push(read_name(body)?);
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
                let mut regions = regions.collect::<Result<Vec<_>>>()?;
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
                let tensor = tensors::read_tensor(body)?;
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
            _ => return Err(Unreadable::Unknown),
        }
    };
    // SAFETY: filled in, or of zeros.
    let mtd = unsafe { mtd.assume_init() };
    match added == gst::glib::ffi::GFALSE || mtd.meta.is_null() {
        true => Err(Unreadable::Unknown),
        false => Ok(mtd.id),
    }
}

fn read_mask(body: &mut Reader<'_>) -> Result<gst::Buffer> {
    let format = *MASKS.get(body.u32()? as usize).ok_or(Unreadable::Broken)?;
    pixels::read(format, body)
}

#[cfg(test)]
mod tests {
    use gst_analytics::prelude::*;
    use gst_video::VideoFrameFlags;

    use super::super::{ANALYTICS, attach, serialize};
    use super::*;
    use crate::fuzz::quietly;

    fn length(buffer: &gst::BufferRef) -> usize {
        buffer.meta::<AnalyticsRelationMeta>().unwrap().len()
    }

    /// A segmentation two pixels high, and something that is related to it.
    fn segmented(format: VideoFormat, width: u32) -> gst::Buffer {
        let pixel = match format {
            VideoFormat::Gray8 => 1,
            _ => 2,
        };
        let row = width as usize * pixel;
        let bytes = (0..row * 2).map(|at| at as u8).collect::<Vec<_>>();
        let mut mask = gst::Buffer::from_slice(bytes);
        let none = VideoFrameFlags::empty();
        let stride = [row as i32];
        VideoMeta::add_full(mask.make_mut(), none, format, width, 2, &[0], &stride).unwrap();
        let mut buffer = gst::Buffer::new();
        let mut meta = AnalyticsRelationMeta::add(buffer.make_mut());
        let object = meta.add_od_mtd(gst::glib::Quark::from_str("x"), 0, 0, 1, 1, 1.0);
        let object = object.unwrap().id();
        let mut mtd = MaybeUninit::<Mtd>::uninit();
        let mut regions = [0, 12, 31];
        // SAFETY: the meta is the buffer's, there are as many regions as is said, and the mask is
        // given away.
        let id = unsafe {
            ffi::gst_analytics_relation_meta_add_segmentation_mtd(
                meta.as_mut_ptr(),
                mask.into_glib_ptr(),
                ffi::GST_SEGMENTATION_TYPE_SEMANTIC,
                regions.len(),
                regions.as_mut_ptr(),
                -7,
                8,
                9,
                10,
                mtd.as_mut_ptr().cast(),
            );
            mtd.assume_init().id
        };
        meta.set_relation(gst_analytics::RelTypes::RELATE_TO, object, id)
            .unwrap();
        buffer
    }

    #[test]
    fn segmentations_cross_with_their_masks() {
        gst::init().unwrap();
        for format in MASKS {
            let mut extra = Vec::new();
            serialize(&segmented(format, 3), &mut extra);
            let mut received = gst::Buffer::new();
            quietly(|| assert!(attach(received.make_mut(), &extra, None)));
            assert_eq!(length(&received), 2);
            let mut again = Vec::new();
            serialize(&received, &mut again);
            assert_eq!(again, extra);
        }
    }

    #[test]
    fn masks_that_clients_would_refuse_stay_behind_alone() {
        gst::init().unwrap();
        for (width, things) in [(32767, 2), (32768, 1)] {
            let mut extra = Vec::new();
            serialize(&segmented(VideoFormat::Gray8, width), &mut extra);
            let mut received = gst::Buffer::new();
            assert!(attach(received.make_mut(), &extra, None), "{width}");
            assert_eq!(length(&received), things, "{width}");
        }
    }

    #[test]
    fn no_byte_of_a_segmentation_makes_it_panic() {
        gst::init().unwrap();
        let mut extra = Vec::new();
        serialize(&segmented(VideoFormat::Gray8, 3), &mut extra);
        for at in 0..extra.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = extra.clone();
                changed[at] = value;
                for bytes in [&changed[..], &changed[..at]] {
                    quietly(|| {
                        let mut received = gst::Buffer::new();
                        attach(received.make_mut(), bytes, None);
                        let copied = received.copy();
                        serialize(&copied, &mut Vec::new());
                    });
                }
            }
        }
    }

    #[cfg(feature = "v1_28")]
    #[test]
    fn tensors_among_other_things_cross() {
        gst::init().unwrap();
        let mut sent = gst::Buffer::new();
        let mut meta = AnalyticsRelationMeta::add(sent.make_mut());
        let data = gst::Buffer::from_slice([1, 2, 3, 4, 5, 6]);
        let mut dims = [3, 1];
        // SAFETY: the meta is the buffer's, the data is given away, and there are two dimensions.
        let added = unsafe {
            ffi::gst_analytics_relation_meta_add_tensor_mtd_simple(
                meta.as_mut_ptr(),
                gst::glib::translate::IntoGlib::into_glib(gst::glib::Quark::from_str("x")),
                ffi::GST_TENSOR_DATA_TYPE_INT16,
                data.into_glib_ptr(),
                ffi::GST_TENSOR_DIM_ORDER_ROW_MAJOR,
                dims.len(),
                dims.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        assert_ne!(added, 0);
        let mut extra = Vec::new();
        serialize(&sent, &mut extra);
        let mut received = gst::Buffer::new();
        quietly(|| assert!(attach(received.make_mut(), &extra, None)));
        assert_eq!(length(&received), 1);
        let mut again = Vec::new();
        serialize(&received, &mut again);
        assert_eq!(again, extra);
        assert!(extra.windows(6).any(|bytes| bytes == [1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn relations_lead_to_what_they_led_to_where_something_is_not_known_here() {
        gst::init().unwrap();
        let mut extra = Vec::new();
        let tracking = |body: &mut Writer<'_>, number| {
            body.record(TRACKING, |body| {
                [number, 2, 3].iter().for_each(|&number| body.u64(number));
                body.u32(0);
                Some(())
            })
        };
        let written = Writer::new(&mut extra).record(ANALYTICS, |body| {
            body.u32(3);
            tracking(body, 10)?;
            body.record(9999, |_| Some(()))?;
            tracking(body, 20)?;
            body.u32(2);
            for number in [2, 0, 2, 0, 1, 4] {
                body.u32(number);
            }
            Some(())
        });
        written.unwrap();
        let mut received = gst::Buffer::new();
        quietly(|| assert!(attach(received.make_mut(), &extra, None)));
        let meta = received.meta::<AnalyticsRelationMeta>().unwrap();
        assert_eq!(meta.len(), 2);
        let second = meta.mtd::<gst_analytics::AnalyticsTrackingMtd>(1).unwrap();
        assert_eq!(second.info().0, 20);
        assert_eq!(meta.relation(1, 0), gst_analytics::RelTypes::IS_PART_OF);
        assert!(meta.relation(0, 1).is_empty());
    }
}
