//! Metas of GStreamer's core: reference timestamps and protection.
#![allow(unsafe_code)]

use gst::MetaRef;
use gst::meta::{ProtectionMeta, ReferenceTimestampMeta};

use super::Result;
use super::unfit::Unfit;
use crate::values::{EncodeGst, Encoder, Reader};

/// Time and duration in nanoseconds, the caps that say of which clock, `u32` 1 and a structure with
/// more about it, or 0.
pub(super) fn write_timestamp(
    meta: &MetaRef<'_, ReferenceTimestampMeta>,
    body: &mut Encoder<'_>,
) -> Option<()> {
    // The binding takes it that there is one.
    // SAFETY: the meta is GStreamer's own, and lives as long as the reference to it.
    let timestamp = unsafe { (*meta.as_ptr()).timestamp };
    let is_none = timestamp == gst::ffi::GST_CLOCK_TIME_NONE;
    (!is_none).then_some(())?;
    body.u64(timestamp);
    body.clock_time(meta.duration());
    body.caps(meta.reference())?;
    #[cfg(feature = "v1_28")]
    if let Some(info) = meta.info() {
        body.u32(1);
        return body.structure(info);
    }
    body.u32(0);
    Some(())
}

pub(super) fn read_timestamp(buffer: &mut gst::BufferRef, body: &mut Reader<'_>) -> Result {
    let timestamp = body.time()?.ok_or(Unfit::Value("it has no time"))?;
    let duration = body.time()?;
    let reference = body.caps()?;
    let info = body.bool()?.then(|| body.structure()).transpose()?;
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

/// A structure.
pub(super) fn write_protection(
    meta: &MetaRef<'_, ProtectionMeta>,
    body: &mut Encoder<'_>,
) -> Option<()> {
    body.structure(meta.info())
}

pub(super) fn read_protection(buffer: &mut gst::BufferRef, body: &mut Reader<'_>) -> Result {
    let info = body.structure()?;
    ProtectionMeta::add(buffer, info);
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
