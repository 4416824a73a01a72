//! What a producer writes: a slot in its hands, published or not.

use std::sync::Arc;

use crate::dtype::StorageType;
use crate::error::{Error, Result};
use crate::lease::SlotIndex;
use crate::meta::BufferMeta;
use crate::payload::PayloadMut;
use crate::pool::Place;
use crate::sys::mapping::Mapping;
use crate::writer::Writer;

/// A slot that the producer holds: only it writes the slot, which is not taken back for another
/// frame.
pub(super) struct HeldSlot {
    pub(super) writer: Arc<Writer>,
    pub(super) index: SlotIndex,
    /// It has gone to the writer, which waits for work on it.
    pub(super) has_gone: bool,
    /// Work on the device may still write it, and nothing tells when that is done. It stays out of use.
    pub(super) may_be_written: bool,
}

impl Drop for HeldSlot {
    fn drop(&mut self) {
        if !self.has_gone && !self.may_be_written {
            self.writer.let_go(self.index);
        }
    }
}

/// A slot in the producer's hands: write the payload, then [`publish`](FrameMut::publish).
///
/// Where it is dropped without that, the slot is free again and no client sees it.
///
/// # Examples
///
/// ```
/// use xmem_core::BufferMeta;
/// # use xmem_core::{Channel, Publisher, Subscriber};
/// # fn main() -> xmem_core::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let channel = Channel::path(directory.path().join("cam0.sock"));
/// # let publisher = Publisher::builder(channel).open()?;
/// // Room for the largest picture there may be. What is published is as large as it came out.
/// let mut frame = publisher.acquire(100_000)?;
/// let compressed = b"a picture";
/// frame.payload()?.write(0, compressed);
/// *frame.meta_mut() = BufferMeta::bytes(compressed.len());
/// frame.meta_mut().set_content_type("image/jpeg");
/// frame.set_extra(b"taken by camera 7")?;
/// let published = frame.publish_range(0, compressed.len()).map_err(|unpublished| unpublished.reason)?;
/// assert_eq!(published.seq(), 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "a frame that is dropped is not published"]
pub struct FrameMut {
    pub(super) held: HeldSlot,
    place: Place,
    pub(super) len: usize,
    pub(super) meta: BufferMeta,
    extra_len: u32,
    /// Where the extra bytes are, when they are many.
    pub(super) spill: Option<Place>,
}

impl FrameMut {
    pub(crate) fn new(writer: Arc<Writer>, index: SlotIndex, place: Place, len: usize) -> FrameMut {
        FrameMut {
            held: HeldSlot {
                writer,
                index,
                has_gone: false,
                may_be_written: false,
            },
            place,
            len,
            meta: BufferMeta::bytes(len),
            extra_len: 0,
            spill: None,
        }
    }

    /// The slot's number.
    pub fn slot(&self) -> u32 {
        u32::from(self.held.index.0)
    }

    /// Bytes that the slot has room for, at least as many as were asked for.
    pub fn capacity(&self) -> usize {
        self.place.size
    }

    /// The payload: as many bytes as were asked for.
    ///
    /// # Errors
    /// [`Error::WrongStorage`] where the slot is in memory of a device.
    pub fn payload(&mut self) -> Result<PayloadMut<'_>> {
        let len = self.len;
        Ok(PayloadMut::of(self.mapping()?, self.place.offset, len))
    }

    /// The address of the slot's first byte; [`capacity`](FrameMut::capacity) bytes can be
    /// written from there until the frame is published or dropped.
    ///
    /// # Errors
    /// [`Error::WrongStorage`] where the slot is in memory of a device.
    pub fn as_mut_ptr(&mut self) -> Result<*mut u8> {
        self.address()
    }

    /// The address of the slot's first byte on the [device](crate::Storage::Cuda), a `CUdeviceptr`; `None`
    /// where it is in other memory. Work on the device may write [`capacity`](FrameMut::capacity) bytes from there.
    /// The frame is given to [`publish_after`](FrameMut::publish_after) or
    /// [`discard_after`](FrameMut::discard_after) with that work: a slot that is dropped is free at once.
    pub fn device_address(&self) -> Option<u64> {
        let memory = self.place.segment.device()?;
        Some(memory.address() + self.place.offset as u64)
    }

    fn address(&self) -> Result<*mut u8> {
        Ok(self.mapping()?.address(self.place.offset))
    }

    fn mapping(&self) -> Result<&Mapping> {
        let segment = &self.place.segment;
        match segment.kind().storage() {
            StorageType::Cpu => segment.mapping(),
            other => Err(Error::WrongStorage(other)),
        }
    }

    /// The frame's record. At first it describes as many bytes as were asked for; `publish` writes what
    /// has no setter (position, slot, segment, size, timestamp).
    pub fn meta_mut(&mut self) -> &mut BufferMeta {
        &mut self.meta
    }

    /// Sets variable data that goes with the frame, serialized metas for example.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where there is no memory for it, [`Error::TooLong`] for more than
    /// 64 MiB.
    pub fn set_extra(&mut self, extra: &[u8]) -> Result<()> {
        self.return_spill();
        self.spill = self.held.writer.write_extra(self.held.index, extra)?;
        self.extra_len = extra.len() as u32;
        Ok(())
    }

    fn return_spill(&mut self) {
        self.extra_len = 0;
        if let Some(place) = self.spill.take() {
            self.held.writer.return_spare(place);
        }
    }

    /// Publishes the whole payload.
    ///
    /// # Errors
    /// As [`publish_range`](FrameMut::publish_range), but the slot is given up.
    pub fn publish(self) -> Result<PublishedSlot> {
        let len = self.len;
        self.publish_range(0, len)
            .map_err(|unpublished| unpublished.reason)
    }

    pub(crate) fn writer(&self) -> &Arc<Writer> {
        &self.held.writer
    }

    /// Publishes `len` bytes from `offset` of the slot as the frame. Its clients can receive it
    /// before this returns; the caller must not write it any more.
    ///
    /// # Errors
    /// [`Error::InvalidShape`] where the range is outside of the slot or does not hold the shape,
    /// [`Error::Stopped`] when the publisher was closed. The slot comes back with the error.
    pub fn publish_range(
        mut self,
        offset: usize,
        len: usize,
    ) -> std::result::Result<PublishedSlot, Unpublished> {
        match self.try_publish(offset, len) {
            Ok(position) => Ok(PublishedSlot {
                position,
                slot: self,
            }),
            Err(reason) => Err(Unpublished {
                frame: Box::new(self),
                reason,
            }),
        }
    }

    fn try_publish(&mut self, offset: usize, len: usize) -> Result<u64> {
        self.describe(offset, len)?;
        let held = &self.held;
        if self.place.segment.device().is_some() {
            // Frames keep their order.
            held.writer.await_outbox()?;
        }
        let published = held
            .writer
            .publish(held.index, &mut self.spill, &mut self.meta)?;
        self.held.may_be_written = false;
        Ok(published)
    }

    /// Completes the record of a frame in this range of the slot.
    pub(super) fn describe(&mut self, offset: usize, len: usize) -> Result<()> {
        if offset
            .checked_add(len)
            .is_none_or(|end| end > self.place.size)
        {
            return Err(Error::InvalidShape(format!(
                "{len} bytes at {offset} of a slot of {}",
                self.place.size
            )));
        }
        let meta = &mut self.meta;
        meta.size = len as u64;
        meta.segment = self.place.segment.id.0;
        meta.payload_offset = (self.place.offset + offset) as u64;
        meta.extra_len = self.extra_len;
        self.place.segment.describe_in(meta);
        meta.check()
            .map_err(|error| Error::InvalidShape(error.to_string()))
    }
}

impl Drop for FrameMut {
    fn drop(&mut self) {
        // A published frame has taken it along.
        self.return_spill();
    }
}

/// A frame that could not be published, and why.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Unpublished {
    /// The slot, still the producer's to write.
    pub frame: Box<FrameMut>,
    /// Why it was not published.
    pub reason: Error,
}

impl std::fmt::Debug for FrameMut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameMut")
            .field("slot", &self.slot())
            .field("meta", &self.meta)
            .finish_non_exhaustive()
    }
}

/// A published frame that the producer still reads: as long as this lives, the slot is not taken
/// back for another frame. A decoder's reference frame, for example.
///
/// A producer that does not read what it has published drops it.
pub struct PublishedSlot {
    position: u64,
    slot: FrameMut,
}

impl PublishedSlot {
    /// The address of the slot's first byte, to read from.
    ///
    /// # Errors
    /// [`Error::WrongStorage`] where the slot is in memory of a device.
    pub fn as_ptr(&self) -> Result<*const u8> {
        self.slot.address().map(<*mut u8>::cast_const)
    }

    /// The frame's place in the stream.
    pub fn seq(&self) -> u64 {
        self.position
    }

    /// The slot's number.
    pub fn slot(&self) -> u32 {
        self.slot.slot()
    }
}

const _: () = {
    const fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<FrameMut>();
    send_and_sync::<PublishedSlot>();
};
