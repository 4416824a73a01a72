//! Metas of GStreamer's core: reference timestamps and protection.

use gst::MetaRef;
use gst::meta::{ProtectionMeta, ReferenceTimestampMeta};
use gst_video::VideoInfo;

use super::Result;
use crate::values::{Reader, Unreadable, Writer};

/// Time and duration in nanoseconds, the caps that say of which clock, `u32` 1 and a structure with
/// more about it, or 0.
pub(super) fn write_timestamp(
    meta: &MetaRef<'_, ReferenceTimestampMeta>,
    body: &mut Writer<'_>,
) -> Option<()> {
    body.time(Some(meta.timestamp()));
    body.time(meta.duration());
    body.caps(meta.reference())?;
    #[cfg(feature = "v1_28")]
    if let Some(info) = meta.info() {
        body.u32(1);
        return body.structure(info);
    }
    body.u32(0);
    Some(())
}

pub(super) fn read_timestamp(
    buffer: &mut gst::BufferRef,
    body: &mut Reader<'_>,
    _: Option<&VideoInfo>,
) -> Result {
    let timestamp = body.time()?.ok_or(Unreadable::Broken)?;
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
    body: &mut Writer<'_>,
) -> Option<()> {
    body.structure(meta.info())
}

pub(super) fn read_protection(
    buffer: &mut gst::BufferRef,
    body: &mut Reader<'_>,
    _: Option<&VideoInfo>,
) -> Result {
    let info = body.structure()?;
    ProtectionMeta::add(buffer, info);
    Ok(())
}
