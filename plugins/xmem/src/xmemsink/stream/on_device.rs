//! Publishes buffers in the memory of a CUDA device: as the slot that they are, in the memory of a
//! received frame, or as a copy that the device makes. Nothing here waits for the device.
#![allow(unsafe_code)]

use std::sync::atomic::Ordering;
use std::time::Duration;

use xmem_core::{Error, FrameMut, Result, Unpublished};
use xmem_media::VideoLayout;

use super::counters::counted;
use super::device::{Gpu, Part, Source, bad};
use super::publication::Publication;
use super::reporter::Outbox;
use crate::cuda::{CudaMemory, Rows, copy_rows};
use crate::log::CAT;
use crate::memory::cuda_slot::Written;
use crate::memory::import::Importer;
use crate::memory::kind::{MemoryKind, classify};
use crate::memory::slot::{Held, SlotCell};

/// The number of slots for a producer: one that upstream writes, two that the device writes, and the newest
/// frame.
const SLOTS: u32 = 4;

/// How a buffer is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// As it is.
    Shared,
    Copied,
}

impl Way {
    /// Returns how a picture is published, as far as it is known before that is tried.
    pub(super) fn of(gpu: &Gpu, source: &Source<'_>) -> Way {
        let kind = source.only().map(|memory| classify(memory.memory()));
        let is_slot = |kind: MemoryKind<'_>| kind.slot().is_some() && source.size() == gpu.size();
        let is_shared = kind.is_some_and(|kind| is_slot(kind) || kind.frame().is_some());
        match is_shared && gpu.is_sound(source) {
            true => Way::Shared,
            false => Way::Copied,
        }
    }

    /// How the picture lies in the frame, and the bytes of that.
    pub(super) fn placed(self, gpu: &Gpu, source: &Source<'_>) -> (VideoLayout, usize) {
        match self {
            Way::Shared => (source.layout, source.size()),
            Way::Copied => (gpu.copied_layout(source), gpu.size()),
        }
    }
}

impl Publication<'_> {
    /// Publishes the buffer without a copy. `None` if that is not possible now.
    pub(super) fn share(
        &self,
        gpu: &Gpu,
        source: &Source<'_>,
        importer: Option<&mut Importer>,
        outbox: &mut Outbox<'_>,
    ) -> Option<Result<()>> {
        let memory = source.only()?;
        let kind = classify(memory.memory());
        match kind.slot() {
            Some(slot) => self.publish_in_place(gpu, slot, memory),
            None => {
                kind.frame()?;
                self.import(importer?, kind, outbox).ok()
            }
        }
    }

    /// Publishes the slot that a memory is, when the device has written it. `None` if it can't be published:
    /// it is of another sink, or was published before.
    fn publish_in_place(
        &self,
        gpu: &Gpu,
        slot: &SlotCell,
        memory: CudaMemory<'_>,
    ) -> Option<Result<()>> {
        // Puts an upload on the stream if the CPU has written the memory.
        let mapped = memory.map().map_err(Error::from);
        let stream = memory.stream();
        let work = mapped.and_then(|_| Ok(gpu.context().work_on(stream.as_ref())?));
        let work = match work {
            Ok(work) => work,
            Err(error) => return Some(Err(error)),
        };
        let owned = self.buffer.memory(0)?;
        let published = slot.publish(|mut frame| {
            if !self.publisher.owns(&frame) {
                return Err((Box::new(frame), None));
            }
            *frame.meta_mut() = self.crossing.record;
            if let Err(error) = frame.set_extra(self.crossing.extra) {
                return Err((Box::new(frame), Some(error)));
            }
            counted(&self.counters.zero_copy, 1, || {
                frame.publish_after_with(&work, Written::new(owned))
            })
            .map(Held::Queued)
            .map_err(|Unpublished { frame, reason }| (frame, Some(reason)))
        });
        match published? {
            Ok(()) => Some(Ok(())),
            Err(error) => error.map(Err),
        }
    }

    /// Has the device copy the picture into a slot. It is published when that is done, and the buffer is
    /// held until then.
    pub(super) fn copy_on_device(&self, gpu: &Gpu, source: &Source<'_>) -> Result<()> {
        let size = gpu.size();
        if Some(size) > self.publisher.slot_size() {
            self.publisher.configure(size, SLOTS)?;
        }
        let mut frame =
            self.publisher
                .acquire_timeout(size, Some(Duration::ZERO), self.cancellation)?;
        *frame.meta_mut() = self.crossing.record;
        frame.set_extra(self.crossing.extra)?;
        let parts = source.map()?;
        let first = parts.first().and_then(Part::stream);
        let is_one_stream = parts.iter().all(|part| part.stream() == first);
        let context = gpu.context();
        let work = match is_one_stream {
            true => context.work_on(first),
            false => context.all_work(),
        }?;
        if let Err(error) = enqueue(gpu, &parts, &frame) {
            // Copies of other rows may be under way.
            if let Err(Unpublished { reason, .. }) = frame.discard_after(&work) {
                gst::debug!(CAT, "A slot is given back: {reason}");
            }
            return Err(error);
        }
        self.counters
            .copied_device_bytes
            .fetch_add(size as u64, Ordering::Relaxed);
        let queued = counted(&self.counters.copied_device, 1, || {
            frame.publish_after_with(&work, self.buffer.clone())
        });
        queued.map(drop).map_err(|unpublished| unpublished.reason)
    }
}

/// Puts the copies of a picture on the streams of its memories.
fn enqueue(gpu: &Gpu, parts: &[Part<'_>], frame: &FrameMut) -> Result<()> {
    let to = frame.device_address();
    let to = to.ok_or_else(|| bad("the slot is in other memory than the caps say"))?;
    for block in gpu.blocks() {
        let found = parts
            .iter()
            .find_map(|part| Some((part.stream(), part.address(block)?)));
        let (stream, from) =
            found.ok_or_else(|| bad("a plane of a picture lies in several memories"))?;
        let from = Rows {
            address: from,
            pitch: block.from.1,
        };
        let to = Rows {
            address: to + block.to.0 as u64,
            pitch: block.to.1,
        };
        // SAFETY: the block lies in the mapped memory, which the caller holds until the copy is done,
        // and in the slot, which no one else writes until then.
        unsafe { copy_rows(gpu.context(), stream, from, to, block.width, block.rows) }?;
    }
    Ok(())
}
