//! All that is published of a buffer beside its bytes.

use xmem_core::BufferMeta;

use super::super::roles::Shown;
use crate::caps::Format;
use crate::metas::Written;
use crate::timestamps::Times;

/// The buffer flags that mean something to another process: all except TAG_MEMORY, which is about
/// memory of this process. The record does not take the four lowest
/// bits, which are those of `GstMiniObject`.
const FLAGS: u32 = !gst::BufferFlags::TAG_MEMORY.bits();

/// What is published of a buffer beside its bytes.
pub(super) struct Crossing<'a> {
    pub(super) format: Option<&'a Format>,
    pub(super) record: BufferMeta,
    /// What the buffer has shown of the roles of the stream's frames.
    pub(super) shown: Shown,
    /// The encoded metas.
    pub(super) extra: &'a [u8],
    pub(super) written: Written,
}

/// Returns the record of a buffer.
pub(super) fn record(
    buffer: &gst::BufferRef,
    written: &Written,
    format: Option<&Format>,
    times: Times,
) -> BufferMeta {
    let size = written.size;
    let mut meta = match format {
        Some(format) => {
            let usual = || {
                let info = format.video.as_ref()?;
                let (offset, stride) = (info.offset().first()?, info.stride().first()?);
                Some((*offset, *stride))
            };
            let plane = written
                .layout
                .map(|at| (at.offset[0] as usize, at.stride[0]));
            let plane = plane.or_else(usual);
            format.record(size, plane)
        }
        None => BufferMeta::bytes(size),
    };
    meta.set_pts(times.pts);
    meta.set_dts(times.dts);
    meta.set_stream_pts(times.stream_pts);
    meta.set_stream_dts(times.stream_dts);
    meta.set_duration(times.duration);
    // GStreamer's number for none is the record's, too.
    meta.set_offset(Some(buffer.offset()));
    meta.set_offset_end(Some(buffer.offset_end()));
    meta.set_flags(buffer.flags().bits() & FLAGS);
    meta
}
