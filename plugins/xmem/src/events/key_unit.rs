//! GstForceKeyUnit, in both directions: its running time is one pipeline's own, so it crosses as a
//! point on `CLOCK_MONOTONIC`.

use gst::prelude::*;

use crate::timestamps::MonotonicOffset;

const NAME: &str = "GstForceKeyUnit";
const RUNNING_TIME: &str = "running-time";

/// The structure of a custom event, as it crosses.
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

/// What [`to_monotonic`] has made, in this pipeline's running time. What lies before its start is
/// wanted now.
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

/// None is as soon as possible.
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
