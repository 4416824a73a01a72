//! A frame that is leased, until all that belongs to it was received.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::event::StreamEvent;
use crate::frame::Spilled;
use crate::lease::FrameId;
use crate::meta::{BufferMeta, FLAG_EXTRA_SPILLED};
use crate::segment::{INLINE_EXTRA, MAX_EXTRA, PayloadSegment, SegmentId};

/// A frame that is leased.
pub(super) struct Pending {
    pub(super) lease: u16,
    pub(super) id: FrameId,
    pub(super) meta: BufferMeta,
    /// Where the extra bytes say they are, when they stand in memory of their own.
    pub(super) spilled: Option<(SegmentId, u64)>,
}

/// How much the control connection has told about a frame.
pub(super) enum Announcement {
    Complete(Announced),
    /// Something was not told yet.
    ToCome,
    /// So much was said since that it is not known any more what was true at the frame.
    Forgotten,
    /// A flush came first.
    Void,
    /// Has to be received before it, and its place in the stream.
    Event(StreamEvent, u64),
}

/// What the control connection has told about a frame.
pub(super) struct Announced {
    pub(super) segment: Arc<PayloadSegment>,
    pub(super) spilled: Option<Spilled>,
}

impl Announced {
    /// Sees to it that reading the frame costs no page fault.
    pub(super) fn prepare(&self, meta: &BufferMeta) -> Result<()> {
        let (offset, len) = (meta.payload_offset as usize, meta.size as usize);
        self.segment.prepare(offset, len)?;
        match &self.spilled {
            Some(Spilled { segment, offset }) => segment.prepare(*offset, meta.extra_len as usize),
            None => Ok(()),
        }
    }
}

/// Whether a range lies inside a segment of `room` bytes.
pub(crate) fn is_inside(room: usize, offset: u64, len: u64) -> bool {
    let end = offset.checked_add(len);
    end.is_some_and(|end| end <= room as u64)
}

/// Checks what can be checked of a record before its segment is known.
pub(crate) fn check(meta: &BufferMeta, cursor: u64) -> Result<()> {
    meta.check()?;
    if meta.seq < cursor || meta.seq == u64::MAX {
        return Err(Error::Protocol(format!(
            "frame {} comes where {cursor} was due",
            meta.seq
        )));
    }
    let most = match meta.flags & FLAG_EXTRA_SPILLED {
        0 => INLINE_EXTRA,
        _ => MAX_EXTRA,
    };
    if meta.extra_len > most {
        return Err(Error::Protocol(format!(
            "frame {} has {} extra bytes",
            meta.seq, meta.extra_len
        )));
    }
    Ok(())
}
