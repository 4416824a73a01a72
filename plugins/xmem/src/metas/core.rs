//! Metas of GStreamer's core: reference timestamps and protection.
#![allow(unsafe_code)]

use gst::MetaRef;
use gst::meta::{ProtectionMeta, ReferenceTimestampMeta};
use xmem_media::meta::{Protection, ReferenceTimestamp};

use super::unfit::{Result, Unfit};
use crate::values::{Rules, from_gst, to_gst};

pub(super) fn write_timestamp(
    meta: &MetaRef<'_, ReferenceTimestampMeta>,
) -> Option<ReferenceTimestamp> {
    // The binding takes it that there is a time.
    // SAFETY: the meta is GStreamer's own, and lives as long as the reference to it.
    let timestamp = unsafe { (*meta.as_ptr()).timestamp };
    let is_none = timestamp == gst::ffi::GST_CLOCK_TIME_NONE;
    let info = None;
    #[cfg(feature = "v1_28")]
    let info = match meta.info() {
        Some(info) => Some(from_gst::structure(info)?),
        None => info,
    };
    Some(ReferenceTimestamp {
        timestamp: (!is_none).then_some(Some(timestamp))?,
        duration: meta.duration().map(gst::ClockTime::nseconds),
        reference: from_gst::caps(meta.reference())?,
        info,
    })
}

pub(super) fn read_timestamp(
    buffer: &mut gst::BufferRef,
    meta: ReferenceTimestamp,
    rules: Rules<'_>,
) -> Result {
    let timestamp = meta.timestamp.ok_or(Unfit::Value("it has no time"))?;
    let timestamp = gst::ClockTime::from_nseconds(timestamp);
    let duration = meta.duration.map(gst::ClockTime::from_nseconds);
    let reference = to_gst::caps(meta.reference, rules)?;
    let info = meta.info.map(|info| to_gst::structure(info, rules));
    let info = info.transpose()?;
    let mut meta = ReferenceTimestampMeta::add(buffer, &reference, timestamp, duration);
    match info {
        #[cfg(feature = "v1_28")]
        Some(info) => meta.set_info(info),
        // There is no room for it before 1.28.
        _ => {
            let _ = &mut meta;
        }
    }
    Ok(())
}

pub(super) fn write_protection(meta: &MetaRef<'_, ProtectionMeta>) -> Option<Protection> {
    let info = from_gst::structure(meta.info())?;
    Some(Protection { info })
}

pub(super) fn read_protection(
    buffer: &mut gst::BufferRef,
    meta: Protection,
    rules: Rules<'_>,
) -> Result {
    ProtectionMeta::add(buffer, to_gst::structure(meta.info, rules)?);
    Ok(())
}

#[cfg(all(test, feature = "v1_28"))]
mod tests {
    use super::super::{attach, serialize};
    use super::*;

    #[test]
    fn what_is_said_about_a_reference_timestamp_crosses() {
        gst::init().unwrap();
        let mut sent = gst::Buffer::new();
        let caps = gst::Caps::new_empty_simple("timestamp/x-ntp");
        let time = gst::ClockTime::SECOND;
        let mut meta = ReferenceTimestampMeta::add(sent.make_mut(), &caps, time, None);
        meta.set_info(gst::Structure::builder("a").field("b", 7).build());
        let mut extra = Vec::new();
        serialize(&sent, None, true, &mut extra);
        let mut received = gst::Buffer::new();
        assert_eq!(attach(received.make_mut(), &extra, None), Ok(()));
        let meta = received.meta::<ReferenceTimestampMeta>().unwrap();
        assert_eq!(meta.info().unwrap().get::<i32>("b"), Ok(7));
    }
}
