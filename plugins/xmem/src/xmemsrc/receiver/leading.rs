//! Which buffers of a compressed stream are pushed, and which come before them: headers, and
//! leading frames.

use std::time::Instant;

use xmem_core::{Frame, Result};

use super::super::gate::Verdict;
use super::super::received::NotPushed;
use super::{MAX_KEPT, Receiver};

impl Receiver {
    /// Returns the next buffer that is pushed before another item is received.
    pub(in crate::xmemsrc) fn take_due(&mut self) -> Option<gst::Buffer> {
        if self.due.is_empty() {
            return None;
        }
        if self.out_of_band.is_flush_due() || self.canceller.is_cancelled() {
            // The flush drops the remaining ones, too.
            self.lose();
            return None;
        }
        self.headers.begun();
        self.due.pop_front()
    }

    /// Returns the buffer to push next: the buffer of this frame, or one that must come before it;
    /// the remaining ones are [due](Receiver::take_due). A frame that cannot become a buffer is
    /// counted as missed; one that comes before the pipeline starts, as early; one that cannot be
    /// decoded, as skipped.
    ///
    /// # Errors
    /// The producer breaks the protocol, or there is no memory for the metas.
    pub(in crate::xmemsrc) fn take_frame(
        &mut self,
        frame: Frame,
    ) -> Result<std::result::Result<gst::Buffer, NotPushed>> {
        if frame.missed() > 0 {
            self.lose();
        }
        let role = frame.meta().role();
        let verdict = self.gate.judge(role, Instant::now);
        self.wants_key_unit = self.gate.is_due(role, Instant::now);
        if verdict == Verdict::Skip {
            self.skip_kept();
            self.figures.skipped += 1;
            self.discontinuous = true;
            return Ok(Err(NotPushed::Skipped));
        }
        let buffer = match self.buffer(frame, verdict)? {
            Ok(buffer) => buffer,
            Err(not_pushed) => {
                if matches!(not_pushed, NotPushed::Unusable(_)) {
                    self.lose();
                }
                return Ok(Err(not_pushed));
            }
        };
        if self.headers.is_repeated(&buffer) {
            self.figures.received -= 1;
            self.figures.skipped += 1;
            self.discontinuous = true;
            return Ok(Err(NotPushed::Skipped));
        }
        if verdict == Verdict::Keep {
            if self.kept.len() == MAX_KEPT {
                self.skip_kept();
            }
            self.kept.push_back(buffer);
            return Ok(Err(NotPushed::Kept));
        }
        Ok(Ok(self.led(buffer)))
    }

    /// Returns the first of the headers and leading frames that come before this buffer, and makes
    /// the rest and the buffer due. Returns the buffer itself if nothing comes before it.
    fn led(&mut self, mut buffer: gst::Buffer) -> gst::Buffer {
        let mut headers = self.headers.before(self.kept.front().unwrap_or(&buffer));
        if self.headers.are_parts() {
            prepend(&mut buffer, std::mem::take(&mut headers));
        }
        if headers.is_empty() && self.kept.is_empty() {
            return buffer;
        }
        self.due.extend(headers);
        let headers = self.due.len();
        self.due.append(&mut self.kept);
        self.due.push_back(buffer);
        // If the first frame is a delta unit, so are the headers: a stream cannot begin there. In
        // audio streams, for example, mpegtsmux sets the flag on every buffer.
        let first = self.due[headers].flags();
        if first.contains(gst::BufferFlags::DELTA_UNIT) {
            for header in self.due.range_mut(..headers) {
                let header = header.make_mut();
                header.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        // Otherwise the base class would set the PTS of the first buffer to the start of the
        // producer's segment.
        let time = self.due.iter().find_map(|buffer| buffer.pts());
        for header in self.due.range_mut(..headers.max(1)) {
            if header.pts().is_none() || headers > 0 {
                header.make_mut().set_pts(time);
            }
        }
        let is_discontinuous = |buffer: &gst::Buffer| {
            let flags = buffer.flags();
            flags.contains(gst::BufferFlags::DISCONT)
        };
        let was_discontinuous = self.due.iter().any(is_discontinuous);
        // Only the first buffer may have the flag: at a DISCONT, demuxers drop the parts of a frame
        // that they have.
        for buffer in self
            .due
            .iter_mut()
            .filter(|buffer| is_discontinuous(buffer))
        {
            buffer.make_mut().unset_flags(gst::BufferFlags::DISCONT);
        }
        let mut first = self.due.pop_front().expect("one was pushed above");
        if was_discontinuous {
            first.make_mut().set_flags(gst::BufferFlags::DISCONT);
        }
        first
    }

    /// Returns whether a key unit must be requested, because the last frame cannot be decoded.
    pub(in crate::xmemsrc) fn wants_key_unit(&self) -> bool {
        self.wants_key_unit
    }

    /// Returns whether the key unit may be requested with all headers.
    pub(in crate::xmemsrc) fn takes_all_headers(&self) -> bool {
        self.headers.may_be_requested()
    }

    /// Notes that a key unit was requested.
    pub(in crate::xmemsrc) fn key_unit_requested(&mut self) {
        self.gate.request(Instant::now());
    }

    /// Returns the number of skipped frames, if the user must be told that no key frame arrives.
    pub(in crate::xmemsrc) fn overdue_key_frame(&mut self) -> Option<u64> {
        self.gate.overdue(Instant::now)
    }

    /// Notes a loss: the next buffer does not follow the last one that was pushed.
    pub(super) fn lose(&mut self) {
        self.discontinuous = true;
        self.due.clear();
        self.skip_kept();
        self.headers.lose();
        self.gate.lose();
    }

    /// Drops the leading frames that wait: the frame after them cannot be decoded.
    fn skip_kept(&mut self) {
        if self.kept.is_empty() {
            return;
        }
        let count = self.kept.len() as u64;
        self.kept.clear();
        self.figures.received -= count;
        self.figures.skipped += count;
        self.discontinuous = true;
    }
}

/// Prepends headers to a buffer.
fn prepend(buffer: &mut gst::Buffer, headers: Vec<gst::Buffer>) {
    let memories = headers
        .iter()
        .flat_map(|header| header.iter_memories_owned());
    let memories: Vec<_> = memories.collect();
    for memory in memories.into_iter().rev() {
        buffer.make_mut().prepend_memory(memory);
    }
}
