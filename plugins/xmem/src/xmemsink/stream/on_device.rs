//! Publishes buffers in the memory of a CUDA device: as the slot that they are, in the memory of a
//! received frame, or as a copy that the device makes. Nothing here waits for the device.
#![allow(unsafe_code)]

use std::sync::atomic::Ordering;
use std::time::Duration;

use xmem_core::{FrameMut, Result, Unpublished};
use xmem_media::VideoLayout;

use super::counters::counted;
use super::device::{Gpu, Part, Source, bad};
use super::publication::Publication;
use super::reporter::Outbox;
use crate::cuda::{Rows, copy_rows};
use crate::log::CAT;
use crate::memory::import::Importer;
use crate::memory::kind::classify;

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
        let is_shared = kind.is_some_and(|kind| kind.slot().is_some() || kind.frame().is_some());
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
        source: &Source<'_>,
        importer: Option<&mut Importer>,
        outbox: &mut Outbox<'_>,
    ) -> Option<Result<()>> {
        let kind = classify(source.only()?.memory());
        kind.frame()?;
        self.import(importer?, kind, outbox).ok()
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
