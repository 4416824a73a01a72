//! How a buffer becomes a frame: as the slot that it is, in imported memory, or as a copy.

use std::sync::atomic::Ordering;
use std::time::Duration;

use xmem_core::{Cancellation, Error, Publisher, Result, Unpublished};

use super::counters::{Counters, counted};
use super::crossing::Crossing;
use super::reporter::Outbox;
use crate::memory::import::{Importable, Importer, Refused};
use crate::memory::kind::{CapsMemory, MemoryKind, classify};
use crate::memory::slot::Held;

/// One buffer, and what it is published with.
pub(super) struct Publication<'a> {
    pub(super) publisher: &'a Publisher,
    pub(super) counters: &'a Counters,
    pub(super) buffer: &'a gst::Buffer,
    pub(super) crossing: &'a Crossing<'a>,
    pub(super) cancellation: &'a Cancellation<'a>,
}

impl Publication<'_> {
    /// Publishes the buffer: without a copy if its memory is a slot or can be imported, otherwise
    /// as a copy. Without an importer, no memory is imported.
    pub(super) fn run(
        &self,
        importer: Option<&mut Importer>,
        outbox: &mut Outbox<'_>,
    ) -> Result<()> {
        if self.crossing.written.rows.is_some() {
            return self.copy();
        }
        let memories = self.buffer.n_memory();
        let first = (memories > 0).then(|| self.buffer.peek_memory(0));
        let kind = first.map_or(MemoryKind::Other, classify);
        if let Some(memory) = first.filter(|_| memories == 1)
            && let Some(published) = self.publish_slot(memory, kind)
        {
            return published;
        }
        // The caps say other memory than that of a device.
        let is_on_device = kind.frame().is_some_and(|frame| frame.device().is_some());
        let refused = match importer.filter(|_| !is_on_device) {
            Some(importer) => match self.import(importer, kind, outbox) {
                Ok(published) => return published,
                Err(refused) => refused,
            },
            None => Refused::Unfit,
        };
        let memory = self.crossing.format.map(|format| format.memory);
        match memory.filter(|memory| !memory.can_be_copied()) {
            Some(memory) => self.leave_out(refused, memory),
            None => self.copy(),
        }
    }

    /// Publishes the slot in which the memory lies. Returns `None` if it lies in none, or in a slot
    /// that cannot be published: of another sink, or published before.
    fn publish_slot(&self, memory: &gst::MemoryRef, kind: MemoryKind<'_>) -> Option<Result<()>> {
        let (offset, len) = (memory.offset(), memory.size());
        let published = kind.slot()?.publish(|mut frame| {
            if !self.publisher.owns(&frame) || frame.device_address().is_some() {
                return Err((Box::new(frame), None));
            }
            *frame.meta_mut() = self.crossing.record;
            if let Err(error) = frame.set_extra(self.crossing.extra) {
                return Err((Box::new(frame), Some(error)));
            }
            counted(&self.counters.zero_copy, 1, || {
                frame.publish_range(offset, len)
            })
            .map(Held::Published)
            .map_err(|Unpublished { frame, reason }| (frame, Some(reason)))
        });
        match published? {
            Ok(()) => Some(Ok(())),
            Err(error) => error.map(Err),
        }
    }

    /// Imports the memory of the buffer, and publishes it.
    ///
    /// # Errors
    /// Why it is not published without a copy.
    pub(super) fn import(
        &self,
        importer: &mut Importer,
        kind: MemoryKind<'_>,
        outbox: &mut Outbox<'_>,
    ) -> std::result::Result<Result<()>, Refused> {
        let importable = importer.import(self.buffer, kind, self.publisher)?;
        match self.publish_imported(importable) {
            // The publisher has the maximum number of imported frames.
            Err(Error::Exhausted { .. }) => Err(Refused::TooManyHeld),
            Err(Error::UnsealedMemory { clients }) => {
                if self.counters.unsealed.fetch_add(1, Ordering::Relaxed) == 0 {
                    outbox.report_unsealed(clients);
                }
                Err(Refused::Unsealed)
            }
            published => Ok(published),
        }
    }

    fn publish_imported(&self, importable: Importable) -> Result<()> {
        let Importable {
            memory,
            range,
            hold,
        } = importable;
        let mut frame = self.publisher.import_frame(&memory, range, hold)?;
        *frame.meta_mut() = self.crossing.record;
        frame.set_extra(self.crossing.extra)?;
        counted(&self.counters.imported, 1, || frame.publish())?;
        Ok(())
    }

    /// Drops a buffer that cannot be copied and was not imported, or returns an error if no such
    /// buffer can ever be imported. `memory` is that of the caps.
    fn leave_out(&self, refused: Refused, memory: CapsMemory) -> Result<()> {
        match refused {
            // `Unsealed` is temporary: clients that refuse this memory are evicted, see
            // `Current::say_caps`.
            Refused::TooManyHeld | Refused::Unsealed => {
                gst::debug!(crate::log::CAT, "Dropped a frame: {refused:?}");
                self.counters.dropped.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Refused::Unfit => Err(Error::BadMemory(format!(
                "the caps say {}, but this buffer cannot be imported as one {}: convert to \
                 system memory first (vapostproc, glcolorconvert ! gldownload, ...), and check \
                 that import-memory is true",
                memory.feature(),
                memory.name()
            ))),
        }
    }

    /// Publishes a copy: either the bytes of all memories, one after another, as the offsets of the
    /// video meta count them; or the rows of a picture, in the layout of the caps.
    fn copy(&self) -> Result<()> {
        let Crossing {
            format,
            record,
            extra,
            written,
            ..
        } = self.crossing;
        let size = written.size;
        let all_alike = format.is_some_and(|format| format.frame_size().is_some());
        if all_alike && Some(size) > self.publisher.slot_size() {
            // All frames of raw video have one size, and so do those of tensors: make slots of this
            // size.
            self.publisher.configure(size, 2)?;
        }
        let mut frame =
            self.publisher
                .acquire_timeout(size, Some(Duration::ZERO), self.cancellation)?;
        let unreadable =
            |_| Error::BadMemory("the memory of a buffer cannot be mapped for reading".into());
        if let Some(rows) = &written.rows {
            let map = self.buffer.map_readable().map_err(unreadable)?;
            for &xmem_media::video::RowCopy { from, to, length } in rows {
                if let Some(row) = map.get(from..from + length) {
                    frame.payload()?.write(to, row);
                }
            }
        } else {
            let mut at = 0;
            for memory in self.buffer.iter_memories() {
                let map = memory.map_readable().map_err(unreadable)?;
                frame.payload()?.write(at, &map);
                at += map.len();
            }
        }
        *frame.meta_mut() = *record;
        frame.set_extra(extra)?;
        self.counters
            .copied_bytes
            .fetch_add(size as u64, Ordering::Relaxed);
        counted(&self.counters.copied, 1, || frame.publish())?;
        Ok(())
    }
}
