//! Which buffers of a compressed stream go downstream, and what goes before them: headers, and frames that
//! lead to the next one.

use std::time::Instant;

use xmem_core::{Frame, Result};

use super::super::gate::Verdict;
use super::super::received::NotPushed;
use super::{MAX_KEPT, Receiver};

impl Receiver {
    /// The buffer that goes downstream before anything else is received.
    pub(in crate::xmemsrc) fn take_due(&mut self) -> Option<gst::Buffer> {
        if self.due.is_empty() {
            return None;
        }
        if self.out_of_band.is_flush_due() || self.canceller.is_cancelled() {
            // A flush takes the others along.
            self.lose();
            return None;
        }
        self.headers.begun();
        self.due.pop_front()
    }

    /// The buffer to push next, where a frame was received: one on this frame, or what has to come before
    /// that; the others are [due](Receiver::take_due). A frame that can't be a buffer here is counted as
    /// missed; one that comes before the pipeline starts, as early; one that can't be decoded, as skipped.
    ///
    /// # Errors
    /// Where the producer breaks the protocol, or there is no memory for the metas.
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

    /// The first of the buffers that come before this one, if there are some; the others are due.
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
        // They are no better a place to begin than the first buffer: of sound, mpegtsmux sets the flag everywhere.
        let first = self.due[headers].flags();
        if first.contains(gst::BufferFlags::DELTA_UNIT) {
            for header in self.due.range_mut(..headers) {
                let header = header.make_mut();
                header.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        // The base class would give the first buffer the time at which the producer's segment starts.
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
        // Demuxers forget what they have of a frame where one is.
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

    /// Whether to request a key unit: what was received last is of no use.
    pub(in crate::xmemsrc) fn wants_key_unit(&self) -> bool {
        self.wants_key_unit
    }

    /// Whether the key unit may come with all headers.
    pub(in crate::xmemsrc) fn takes_all_headers(&self) -> bool {
        self.headers.may_be_requested()
    }

    /// It was asked.
    pub(in crate::xmemsrc) fn key_unit_requested(&mut self) {
        self.gate.request(Instant::now());
    }

    /// How many frames were skipped, where the user has to be told that no key frame comes.
    pub(in crate::xmemsrc) fn overdue_key_frame(&mut self) -> Option<u64> {
        self.gate.overdue(Instant::now)
    }

    /// What comes next does not follow what was pushed last.
    pub(super) fn lose(&mut self) {
        self.discontinuous = true;
        self.due.clear();
        self.skip_kept();
        self.headers.lose();
        self.gate.lose();
    }

    /// Gives up what was to lead to a frame that can be decoded.
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

/// Has a buffer begin with headers.
fn prepend(buffer: &mut gst::Buffer, headers: Vec<gst::Buffer>) {
    let memories = headers
        .iter()
        .flat_map(|header| header.iter_memories_owned());
    let memories: Vec<_> = memories.collect();
    for memory in memories.into_iter().rev() {
        buffer.make_mut().prepend_memory(memory);
    }
}
