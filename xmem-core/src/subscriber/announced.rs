//! What the control connection has told about the frame that is leased.

use super::Subscriber;
use super::pending::{Announced, Announcement, Pending, is_inside};
use crate::error::{Error, Result};
use crate::event::pending::Before;
use crate::frame::Spilled;
use crate::link::End;
use crate::segment::SegmentId;

impl Subscriber {
    /// What was told about the pending frame.
    pub(super) fn announced(&mut self) -> Result<Announcement> {
        let Some(Pending { meta, spilled, .. }) = &self.pending else {
            return Ok(Announcement::ToCome);
        };
        let outside = |what: &str| {
            Error::Protocol(format!(
                "{what} of frame {} outside of its segment",
                meta.seq
            ))
        };
        let mut session = self.link.session();
        if meta.seq < self.link.void() {
            return Ok(Announcement::Void);
        }
        self.flushes = session.events.flushes();
        match session.events.before(meta.event) {
            Before::Nothing => {}
            Before::Event(event, position) => return Ok(Announcement::Event(event, position)),
            Before::ToCome => return Ok(Announcement::ToCome),
            Before::Forgotten => return Ok(Announcement::Forgotten),
        }
        let Some(segment) = session.segments.get(&SegmentId(meta.segment)).cloned() else {
            return Ok(Announcement::ToCome);
        };
        if !is_inside(segment.size(), meta.payload_offset, meta.size) {
            return Err(outside("the payload"));
        }
        if segment.kind().storage() != meta.storage_type() {
            return Err(Error::Protocol(format!(
                "frame {} is said to be in {} memory, and is not",
                meta.seq,
                meta.storage_type()
            )));
        }
        // A producer that stops takes back its frames in imported memory. One that dies no longer
        // keeps that memory: it may hold another frame by now.
        let is_over = session.end.as_ref().is_some_and(|end| *end != End::Stopped);
        if is_over && !segment.kind().outlives_producer() {
            return Ok(Announcement::Forgotten);
        }
        let spilled = match spilled {
            None => None,
            Some((id, offset)) => {
                let Some(segment) = session.segments.get(id).cloned() else {
                    return Ok(Announcement::ToCome);
                };
                if !is_inside(segment.size(), *offset, u64::from(meta.extra_len)) {
                    return Err(outside("the extra bytes"));
                }
                if !segment.kind().holds_extra() {
                    return Err(Error::Protocol("extra bytes in imported memory".into()));
                }
                let offset = *offset as usize;
                Some(Spilled { segment, offset })
            }
        };
        Ok(Announcement::Complete(Announced { segment, spilled }))
    }

    /// Gives the pending frame back unseen.
    pub(super) fn give_up_pending(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.missed += 1;
            self.link.release(pending.lease);
        }
    }
}
