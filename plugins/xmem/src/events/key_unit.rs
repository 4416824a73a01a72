//! GstForceKeyUnit events, in both directions. Their running time has a meaning only in one
//! pipeline, so it crosses as a point on `CLOCK_MONOTONIC`.

use gst::prelude::*;

use crate::timestamps::MonotonicOffset;

const NAME: &str = "GstForceKeyUnit";
const RUNNING_TIME: &str = "running-time";

/// Returns the structure of a custom event with its running time as a point on `CLOCK_MONOTONIC`.
pub(super) fn to_monotonic(
    structure: &gst::StructureRef,
    offset: Option<MonotonicOffset>,
) -> gst::Structure {
    let mut structure = structure.to_owned();
    change(&mut structure, |time| {
        offset.map(|offset| offset.to_monotonic(time.nseconds().into()))
    });
    structure
}

/// Returns the result of [`to_monotonic`] with the running time of this pipeline. If the point is
/// before the start of the pipeline, the key unit is requested for now.
pub(super) fn to_running_time(
    mut structure: gst::Structure,
    offset: Option<MonotonicOffset>,
) -> gst::Structure {
    change(&mut structure, |time| {
        let running_time = offset?.to_running_time(time.nseconds());
        u64::try_from(running_time).ok()
    });
    structure
}

/// Replaces the running time by the result of `to`; `None` means as soon as possible.
fn change(structure: &mut gst::StructureRef, to: impl FnOnce(gst::ClockTime) -> Option<u64>) {
    if structure.name() != NAME {
        return;
    }
    let Ok(time) = structure.get::<Option<gst::ClockTime>>(RUNNING_TIME) else {
        return;
    };
    let changed = time.and_then(to).unwrap_or(u64::MAX);
    structure.set_value(RUNNING_TIME, changed.to_send_value());
}
