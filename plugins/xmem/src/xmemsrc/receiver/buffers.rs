//! Makes buffers of frames.

use xmem_core::{Error, Frame, Result};

use super::super::gate::Verdict;
use super::super::received::{NotPushed, Unusable};
use super::super::settings::OnStarved;
use super::{Change, Receiver};
use crate::caps::Format;
use crate::memory::kind::{CapsMemory, memory_of};
use crate::metas;
use crate::values::Told;

impl Receiver {
    /// Returns a buffer with the bytes of the frame. The frame is given back when its memory is
    /// freed.
    pub(super) fn buffer(
        &mut self,
        frame: Frame,
        verdict: Verdict,
    ) -> Result<std::result::Result<gst::Buffer, NotPushed>> {
        let record = frame.meta();
        self.figures.note_memory(&frame);
        let is_copied = self.takes_copy(&frame, verdict == Verdict::Keep);
        let extra = frame.extra()?;
        let extra = Told::new(&extra, self.names);
        let mut buffer = self.recorder.buffer(record);
        let content = buffer.make_mut();
        let place = self.downstream.place(record);
        content.set_offset(record.offset().unwrap_or(gst::ffi::GST_BUFFER_OFFSET_NONE));
        content.set_offset_end(
            record
                .offset_end()
                .unwrap_or(gst::ffi::GST_BUFFER_OFFSET_NONE),
        );
        let mut flags = gst::BufferFlags::from_bits_retain(record.flags());
        if std::mem::take(&mut self.discontinuous) || frame.missed() > 0 {
            flags |= gst::BufferFlags::DISCONT;
        }
        content.set_flags(flags);
        let (size, seq) = (record.size(), record.seq());
        let format = self.format.as_ref().map(|current| &current.format);
        let info = format.and_then(|format| format.video.as_ref());
        let mut placed = None;
        if size > 0 && is_on_device(&frame, format)? {
            let said = metas::read_layout(extra.bytes);
            let info = info.ok_or_else(|| Error::Protocol(UNDESCRIBED.into()))?;
            let found = match self.cuda.memory(frame, info, said, is_copied)? {
                Ok(found) => found,
                Err(why) => {
                    let unusable = Unusable("layout", why);
                    return Ok(Err(NotPushed::Unusable(self.miss(unusable))));
                }
            };
            self.figures.copied_device += u64::from(found.is_copy);
            content.append_memory(found.memory);
            placed = Some((info, found.layout));
        } else if size > 0 {
            let told = || metas::read_memories(extra.bytes);
            let parts = format.and_then(|format| format.memories(size as usize, told));
            let memory = if is_copied {
                self.figures.copied += 1;
                gst::Memory::from_mut_slice(frame.payload()?.to_vec())
            } else {
                memory_of(frame, self.fd_memory)?
            };
            match parts {
                // GStreamer merges these parts without a copy when the whole buffer is mapped.
                Some(sizes) => append_parts(content, &memory, &sizes),
                None => content.append_memory(memory),
            }
        }
        let attached = match placed {
            Some((info, layout)) => metas::attach_placed(content, extra, info, &layout),
            None => metas::attach(content, extra, info),
        };
        match attached {
            Ok(()) => match self.downstream.clip(buffer, place, self.is_newest()) {
                Some(buffer) => {
                    self.figures.received += 1;
                    Ok(Ok(buffer))
                }
                None => {
                    self.figures.early += 1;
                    self.discontinuous = true;
                    Ok(Err(NotPushed::Early))
                }
            },
            Err(metas::Refused::Unfit(meta, why)) => {
                Ok(Err(NotPushed::Unusable(self.miss(Unusable(meta, why)))))
            }
            Err(metas::Refused::Broken) => Err(Error::Protocol(format!(
                "the metas of frame {seq} cannot be decoded"
            ))),
        }
    }

    /// Returns whether a frame is copied, so that its lease is free for the next frame. That
    /// applies to all small frames that the CPU reads; to others if downstream holds as many as it
    /// may; and to a frame that is kept until the next frame arrives, if that one would need its
    /// lease.
    fn takes_copy(&mut self, frame: &Frame, is_kept: bool) -> bool {
        let Some(subscriber) = &self.subscriber else {
            return false;
        };
        let free = subscriber.free_leases();
        let format = self.format.as_ref().map(|current| &current.format);
        let by_caps = format.and_then(Format::frame_duration);
        self.keeping.take_frame(frame.meta(), by_caps, free);
        let memory = CapsMemory::of_frame(frame);
        if !memory.can_be_copied() {
            return false;
        }
        let is_small = frame.meta().size() < u64::from(self.settings.copy_below);
        if is_small && memory.is_for_cpu() && !self.is_forwarded {
            return true;
        }
        let is_starved = free == 0 && self.settings.on_starved == OnStarved::Copy;
        if is_starved {
            self.figures.starved += 1;
            if !self.keeping.may_grow() {
                (self.observer)(Change::Starved);
            }
        }
        is_starved || (is_kept && free == 0)
    }
}

/// Why frames in memory of a device cannot become buffers.
const UNDESCRIBED: &str = "frames in memory of a CUDA device, and caps without that";

/// Returns whether a frame is in memory of a CUDA device, as its caps say.
///
/// # Errors
/// [`Error::Protocol`] if only one of them is: elements would take the one for the other.
fn is_on_device(frame: &Frame, format: Option<&Format>) -> Result<bool> {
    let is_on_device = !CapsMemory::of_frame(frame).is_for_cpu();
    let is_said = format.is_some_and(|format| !format.memory.is_for_cpu());
    match (is_on_device, is_said) {
        (true, false) => Err(Error::Protocol(UNDESCRIBED.into())),
        (false, true) => {
            let what = "caps with memory of a CUDA device, and frames in other memory";
            Err(Error::Protocol(what.into()))
        }
        _ => Ok(is_on_device),
    }
}

/// Appends the memory of a frame in parts. The frame is given back when the last part is freed.
fn append_parts(buffer: &mut gst::BufferRef, memory: &gst::MemoryRef, sizes: &[usize]) {
    let mut at = 0;
    for size in sizes {
        buffer.append_memory(memory.share(at..at + size));
        at += size;
    }
}
