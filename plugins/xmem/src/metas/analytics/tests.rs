#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use gst_video::VideoFrameFlags;
use xmem_media::meta::thing::TRACKING;

use super::*;
use crate::fuzz::quietly;
use crate::metas::kind::ANALYTICS;
use crate::metas::tests::{record, sent_on};
use crate::metas::{attach, serialize};
use crate::values::Encoder;

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
    let object = meta.add_od_mtd(glib::Quark::from_str("x"), 0, 0, 1, 1, 1.0);
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
    for (format, _) in MASKS {
        let mut extra = Vec::new();
        serialize(&segmented(format, 3), None, true, &mut extra);
        assert_eq!(sent_on(&extra), extra);
    }
}

#[test]
fn masks_that_clients_would_refuse_stay_behind_alone() {
    gst::init().unwrap();
    for (width, things) in [(32767, 2), (32768, 1)] {
        let mut extra = Vec::new();
        serialize(
            &segmented(VideoFormat::Gray8, width),
            None,
            true,
            &mut extra,
        );
        let mut received = gst::Buffer::new();
        assert_eq!(attach(received.make_mut(), &extra, None), Ok(()), "{width}");
        assert_eq!(length(&received), things, "{width}");
    }
}

#[test]
fn no_byte_of_a_segmentation_makes_it_panic() {
    gst::init().unwrap();
    let mut extra = Vec::new();
    serialize(&segmented(VideoFormat::Gray8, 3), None, true, &mut extra);
    for at in 0..extra.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = extra.clone();
            changed[at] = value;
            for bytes in [&changed[..], &changed[..at]] {
                quietly(|| {
                    let mut received = gst::Buffer::new();
                    let _ = attach(received.make_mut(), bytes, None);
                    let copied = received.copy();
                    serialize(&copied, None, true, &mut Vec::new());
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
            glib::translate::IntoGlib::into_glib(glib::Quark::from_str("x")),
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
    serialize(&sent, None, true, &mut extra);
    assert_eq!(sent_on(&extra), extra);
    assert!(extra.windows(6).any(|bytes| bytes == [1, 2, 3, 4, 5, 6]));
}

#[test]
fn relations_lead_to_what_they_led_to_where_something_is_not_known_here() {
    gst::init().unwrap();
    let tracking = |body: &mut Encoder<'_>, number| {
        body.record(TRACKING, |body| {
            [number, 2, 3].iter().for_each(|&number| body.u64(number));
            body.u32(0);
            Some(())
        })
    };
    let extra = record(ANALYTICS, |body| {
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
    let mut received = gst::Buffer::new();
    quietly(|| assert_eq!(attach(received.make_mut(), &extra, None), Ok(())));
    let meta = received.meta::<AnalyticsRelationMeta>().unwrap();
    assert_eq!(meta.len(), 2);
    let second = meta.mtd::<gst_analytics::AnalyticsTrackingMtd>(1).unwrap();
    assert_eq!(second.info().0, 20);
    assert_eq!(meta.relation(1, 0), gst_analytics::RelTypes::IS_PART_OF);
    assert!(meta.relation(0, 1).is_empty());
}
