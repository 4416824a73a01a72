//! GstAnalyticsRelationMeta: what a model has found in a picture, and how these things are related.
#![allow(unsafe_code)]

use glib::ffi::{GFALSE, GQuark, GTRUE, gboolean};
use glib::translate::{IntoGlib, IntoGlibPtr, UnsafeFrom, from_glib_full};
use gst::meta::Standalone;
use gst::{MetaRef, MetaRefMut};
use gst_analytics::ffi::{
    self, GstAnalyticsMtd as Mtd, GstAnalyticsMtdType, GstAnalyticsRelationMeta,
};
use gst_analytics::prelude::*;
use gst_analytics::{
    AnalyticsClassificationMtd, AnalyticsMtd, AnalyticsMtdRef, AnalyticsODMtd,
    AnalyticsRelationMeta, AnalyticsRelationMetaInitParams, AnalyticsTrackingMtd, RelTypes,
};
use gst_video::{VideoFormat, VideoMeta};
use xmem_media::meta::{
    Analytics, Class, Classes, Mask, MaskFormat, Object, Relation, Segmentation, Thing, Tracking,
};

use super::pixels;
use super::quark::{quark_of, text_of};
use super::unfit::{NotRead, Result};
use crate::values::Rules;

/// The formats that a mask can have.
const MASKS: [(VideoFormat, MaskFormat); 3] = [
    (VideoFormat::Gray8, MaskFormat::Gray8),
    (VideoFormat::Gray16Le, MaskFormat::Gray16Le),
    (VideoFormat::Gray16Be, MaskFormat::Gray16Be),
];

type Things<'a> = MetaRef<'a, AnalyticsRelationMeta>;
type ThingsMut<'a> = MetaRefMut<'a, AnalyticsRelationMeta, Standalone>;

/// Things that cannot cross are left out, and so are their relations.
pub(super) fn write(meta: &Things<'_>) -> Option<Analytics> {
    (meta.len() <= Analytics::MAX_THINGS).then_some(())?;
    let ids = 0..meta.len() as u32;
    let things = ids.filter_map(|id| Some((id, thing(meta, id)?)));
    let (ids, things): (Vec<u32>, Vec<Thing>) = things.unzip();
    let pairs = (0..ids.len()).flat_map(|first| (0..ids.len()).map(move |second| (first, second)));
    let relations = pairs.filter_map(|(first, second)| {
        let types = meta.relation(ids[first], ids[second]);
        (!types.is_empty()).then_some(Relation {
            first: first as u32,
            second: second as u32,
            types: types.bits(),
        })
    });
    Some(Analytics {
        relations: relations.collect(),
        things,
    })
}

fn thing(meta: &Things<'_>, id: u32) -> Option<Thing> {
    if let Some(thing) = meta.mtd::<AnalyticsODMtd>(id) {
        let at = thing.oriented_location().ok()?;
        let object = Object {
            kind: text_of(thing.obj_type().map_or(0, IntoGlib::into_glib))?,
            x: at.x,
            y: at.y,
            width: at.w,
            height: at.h,
            rotation: at.r,
            confidence: at.loc_conf_lvl,
        };
        Some(object.into())
    } else if let Some(thing) = meta.mtd::<AnalyticsClassificationMtd>(id) {
        let class = |at| {
            let (name, level) = (text_of(class_quark(&thing, at))?, thing.level(at));
            Some(Class { name, level })
        };
        let classes = (0..thing.len()).map(class).collect::<Option<_>>()?;
        Some(Classes { classes }.into())
    } else if let Some(thing) = meta.mtd::<AnalyticsTrackingMtd>(id) {
        Some(tracking(&thing).into())
    } else if let Some(thing) = meta.mtd::<SegmentationMtd>(id) {
        segmentation(&thing).map(Into::into)
    } else {
        later_thing(meta, id)
    }
}

#[cfg(feature = "v1_28")]
fn later_thing(meta: &Things<'_>, id: u32) -> Option<Thing> {
    let thing = meta.mtd::<TensorMtd>(id)?;
    // SAFETY: the thing is a tensor of the meta, which has no writer while it is borrowed.
    let tensor = unsafe {
        let tensor =
            ffi::gst_analytics_tensor_mtd_get_tensor(std::ptr::from_ref(&mtd(&thing)).cast());
        super::tensors::TensorRef::new(tensor)
    };
    tensor?.to_media().map(Into::into)
}

#[cfg(not(feature = "v1_28"))]
fn later_thing(_: &Things<'_>, _: u32) -> Option<Thing> {
    None
}

/// Segmentations. The Rust bindings have none.
enum SegmentationMtd {}

// SAFETY: the type is that of segmentations.
unsafe impl AnalyticsMtd for SegmentationMtd {
    fn mtd_type() -> GstAnalyticsMtdType {
        // SAFETY: a function without conditions.
        unsafe { ffi::gst_analytics_segmentation_mtd_get_mtd_type() }
    }
}

/// Tensors among things. The Rust bindings have none.
#[cfg(feature = "v1_28")]
enum TensorMtd {}

// SAFETY: the type is that of tensors.
#[cfg(feature = "v1_28")]
unsafe impl AnalyticsMtd for TensorMtd {
    fn mtd_type() -> GstAnalyticsMtdType {
        // SAFETY: a function without conditions.
        unsafe { ffi::gst_analytics_tensor_mtd_get_mtd_type() }
    }
}

/// A thing, as GStreamer's functions take it: things of all types are the same structure. It may be used
/// while the thing is borrowed.
fn mtd<T: AnalyticsMtd>(thing: &AnalyticsMtdRef<'_, T>) -> Mtd {
    // SAFETY: nothing but the number of the thing, and a pointer to its meta.
    unsafe { Mtd::unsafe_from(thing) }
}

/// The quark of a class's name, 0 for none. The bindings' `Quark` is never 0.
fn class_quark(thing: &AnalyticsMtdRef<'_, AnalyticsClassificationMtd>, at: usize) -> GQuark {
    assert!(at < thing.len());
    // SAFETY: the thing is borrowed, has classes, and one at this place.
    unsafe { ffi::gst_analytics_cls_mtd_get_quark(std::ptr::from_ref(&mtd(thing)).cast(), at) }
}

fn tracking(thing: &AnalyticsMtdRef<'_, AnalyticsTrackingMtd>) -> Tracking {
    let (mut id, mut first_seen, mut last_seen, mut lost) = (0, 0, 0, GFALSE);
    // The bindings panic where a time is none.
    // SAFETY: the thing is borrowed, and a tracked object.
    unsafe {
        ffi::gst_analytics_tracking_mtd_get_info(
            std::ptr::from_ref(&mtd(thing)).cast(),
            &mut id,
            &mut first_seen,
            &mut last_seen,
            &mut lost,
        );
    }
    Tracking {
        id,
        first_seen,
        last_seen,
        is_lost: lost != GFALSE,
    }
}

fn segmentation(thing: &AnalyticsMtdRef<'_, SegmentationMtd>) -> Option<Segmentation> {
    let (mut x, mut y, mut width, mut height) = (0, 0, 0, 0);
    let thing = &mtd(thing);
    let thing = std::ptr::from_ref(thing).cast();
    // SAFETY: the thing is borrowed, and a segmentation. The buffer is given away, and may be null.
    let picture: Option<gst::Buffer> = unsafe {
        from_glib_full(ffi::gst_analytics_segmentation_mtd_get_mask(
            thing,
            &mut x,
            &mut y,
            &mut width,
            &mut height,
        ))
    };
    // SAFETY: as above.
    let count = unsafe { ffi::gst_analytics_segmentation_mtd_get_region_count(thing) };
    let regions = (0..count).map(|at| {
        // SAFETY: as above; there are regions of all numbers below their count.
        unsafe { ffi::gst_analytics_segmentation_mtd_get_region_id(thing, at) }
    });
    let picture = picture?;
    let format = picture.meta::<VideoMeta>()?.format();
    let (_, format) = *MASKS.iter().find(|(known, _)| *known == format)?;
    let pixels = pixels::write(&picture, format.size())?;
    Some(Segmentation {
        x,
        y,
        width,
        height,
        regions: regions.collect(),
        mask: Mask { format, pixels },
    })
}

pub(super) fn read(buffer: &mut gst::BufferRef, from: Analytics, rules: Rules<'_>) -> Result {
    let order = from.things.len().max(1);
    let params = AnalyticsRelationMetaInitParams::new(order, 1024);
    let meta = &mut AnalyticsRelationMeta::add_full(buffer, &params);
    // By the numbers that things have in the producer, those that they have here.
    let mut ids = Vec::with_capacity(from.things.len());
    for thing in from.things {
        ids.push(match add(meta, thing, rules) {
            Ok(id) => Some(id),
            Err(NotRead::Unknown) => None,
            Err(why) => return Err(why),
        });
    }
    for relation in from.relations {
        // Both are numbers of things: that was checked.
        if let (Some(first), Some(second)) =
            (ids[relation.first as usize], ids[relation.second as usize])
        {
            let types = RelTypes::from_bits_retain(relation.types);
            // The things are there, so there is room for it.
            let _ = meta.set_relation(types, first, second);
        }
    }
    Ok(())
}

/// Adds a thing, and returns its number.
fn add(meta: &mut ThingsMut<'_>, thing: Thing, rules: Rules<'_>) -> Result<u32> {
    match thing {
        Thing::Object(object) => {
            let kind = quark_of(&object.kind, rules)?;
            add_object(meta, &object, kind)
        }
        Thing::Classes(Classes { classes }) => {
            let quarks = classes.iter().map(|class| quark_of(&class.name, rules));
            let quarks = quarks.collect::<Result<Vec<_>>>()?;
            add_classes(meta, &classes, quarks)
        }
        Thing::Tracking(tracking) => add_tracking(meta, &tracking),
        Thing::Segmentation(segmentation) => add_segmentation(meta, segmentation),
        #[cfg(feature = "v1_28")]
        Thing::Tensor(tensor) => add_tensor(meta, super::tensors::Content::new(tensor, rules)?),
        _ => Err(NotRead::Unknown),
    }
}

/// Adds a thing with `add`, a function of GStreamer that fills in the thing and returns whether it was
/// added. Returns the number of the thing.
fn added(
    meta: &mut ThingsMut<'_>,
    add: impl FnOnce(*mut GstAnalyticsRelationMeta, *mut Mtd) -> gboolean,
) -> Result<u32> {
    let mut thing = Mtd {
        id: 0,
        meta: std::ptr::null_mut(),
    };
    let is_added = add(meta.as_mut_ptr(), &mut thing);
    if is_added == GFALSE || thing.meta.is_null() {
        Err(NotRead::Unknown)
    } else {
        Ok(thing.id)
    }
}

fn add_object(meta: &mut ThingsMut<'_>, object: &Object, kind: GQuark) -> Result<u32> {
    // The bindings have no objects without a kind.
    // SAFETY: the meta is one that can be written, and the kind a number of a text or 0.
    added(meta, |meta, thing| unsafe {
        ffi::gst_analytics_relation_meta_add_oriented_od_mtd(
            meta,
            kind,
            object.x,
            object.y,
            object.width,
            object.height,
            object.rotation,
            object.confidence,
            thing.cast(),
        )
    })
}

fn add_classes(
    meta: &mut ThingsMut<'_>,
    classes: &[Class],
    mut quarks: Vec<GQuark>,
) -> Result<u32> {
    let mut levels: Vec<f32> = classes.iter().map(|class| class.level).collect();
    let count = quarks.len().min(levels.len());
    // SAFETY: the meta is one that can be written. There are so many of both, which are copied.
    added(meta, |meta, thing| unsafe {
        ffi::gst_analytics_relation_meta_add_cls_mtd(
            meta,
            count,
            levels.as_mut_ptr(),
            quarks.as_mut_ptr(),
            thing.cast(),
        )
    })
}

fn add_tracking(meta: &mut ThingsMut<'_>, tracking: &Tracking) -> Result<u32> {
    // SAFETY: the meta is one that can be written. The thing is changed only where it was added.
    added(meta, |meta, thing| unsafe {
        let (id, first) = (tracking.id, tracking.first_seen);
        let thing = thing.cast();
        if ffi::gst_analytics_relation_meta_add_tracking_mtd(meta, id, first, thing) == GFALSE {
            return GFALSE;
        }
        ffi::gst_analytics_tracking_mtd_update_last_seen(thing, tracking.last_seen);
        if tracking.is_lost {
            ffi::gst_analytics_tracking_mtd_set_lost(thing);
        }
        GTRUE
    })
}

fn add_segmentation(meta: &mut ThingsMut<'_>, from: Segmentation) -> Result<u32> {
    let format = MASKS.iter().find(|(_, known)| *known == from.mask.format);
    let (format, _) = format.ok_or(NotRead::Unknown)?;
    let mask = pixels::read(*format, from.mask.pixels)?;
    let mut regions = from.regions;
    // SAFETY: the meta is one that can be written, and the mask is given away. There are so many regions,
    // whose numbers are copied.
    added(meta, |meta, thing| unsafe {
        ffi::gst_analytics_relation_meta_add_segmentation_mtd(
            meta,
            mask.into_glib_ptr(),
            // GStreamer does not tell which it was.
            ffi::GST_SEGMENTATION_TYPE_SEMANTIC,
            regions.len(),
            regions.as_mut_ptr(),
            from.x,
            from.y,
            from.width,
            from.height,
            thing.cast(),
        )
    })
}

#[cfg(feature = "v1_28")]
fn add_tensor(meta: &mut ThingsMut<'_>, tensor: super::tensors::Content) -> Result<u32> {
    // SAFETY: the meta is one that can be written. A tensor that was added is new, has room for its
    // dimensions, and is cleared.
    added(meta, |meta, thing| unsafe {
        let count = tensor.num_dims();
        if ffi::gst_analytics_relation_meta_add_tensor_mtd(meta, count, thing.cast()) == GFALSE {
            return GFALSE;
        }
        tensor.fill(ffi::gst_analytics_tensor_mtd_get_tensor(thing.cast()));
        GTRUE
    })
}

#[cfg(test)]
mod tests;
