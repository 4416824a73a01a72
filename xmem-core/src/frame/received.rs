//! What a client has received.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crate::cuda::{Device, DeviceMemory, Work};
use crate::dtype::{Element, StorageType};
use crate::error::{Error, Result};
use crate::lease::FrameId;
use crate::link::Link;
use crate::meta::BufferMeta;
use crate::payload::{Payload, view::View};
use crate::segment::{ImportedMemory, PayloadSegment};
use crate::sys::limits;

/// A received frame. It does not change while it is held; its drop gives the lease back.
///
/// Frames can be sent to other threads and outlive the [`Subscriber`](crate::Subscriber).
///
/// # Examples
///
/// ```
/// use xmem_core::{BufferMeta, DType};
/// # use xmem_core::{Channel, Publisher, Subscriber};
/// # fn main() -> xmem_core::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let channel = Channel::path(directory.path().join("cam0.sock"));
/// # let publisher = Publisher::builder(channel.clone()).open()?;
/// # let mut subscriber = Subscriber::builder(channel).connect()?;
/// # let mut frame = publisher.acquire(12)?;
/// # frame.payload()?.write_elements(&[1i16, 2, 3, 4, 5, 6]);
/// # *frame.meta_mut() = BufferMeta::tensor(DType::Int16, &[2, 3])?;
/// # frame.publish()?;
/// let frame = subscriber.receive(None)?;
/// match frame.meta().dtype() {
///     DType::Int16 => assert_eq!(frame.view::<i16>()?.to_vec()?, [1, 2, 3, 4, 5, 6]),
///     other => println!("{} bytes of {other}", frame.payload()?.len()),
/// }
/// if frame.missed() > 0 {
///     println!("{} frames were gone before", frame.missed());
/// }
/// # Ok(())
/// # }
/// ```
pub struct Frame {
    lease: Lease,
    id: FrameId,
    segment: Arc<PayloadSegment>,
    meta: BufferMeta,
    extra: Option<Spilled>,
    format: Option<Arc<[u8]>>,
    missed: u64,
}

/// Where a frame's extra bytes are when they stand in a slot of their own.
pub(crate) struct Spilled {
    pub(crate) segment: Arc<PayloadSegment>,
    /// Checked: the frame's `extra_len` bytes from here are inside the segment.
    pub(crate) offset: usize,
}

/// A lease that this process has; its drop gives it back.
struct Lease {
    link: Arc<Link>,
    number: u16,
    /// It has gone to the link, which waits for work that reads the frame.
    has_gone: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.has_gone {
            self.link.release(self.number);
        }
    }
}

impl Frame {
    /// Takes over the lease. `meta` was checked, its ranges against the segments too.
    pub(crate) fn new(
        link: Arc<Link>,
        (lease, id): (u16, FrameId),
        (segment, extra): (Arc<PayloadSegment>, Option<Spilled>),
        meta: BufferMeta,
        format: Option<Arc<[u8]>>,
        missed: u64,
    ) -> Frame {
        Frame {
            lease: Lease {
                link,
                number: lease,
                has_gone: false,
            },
            id,
            segment,
            meta,
            extra,
            format,
            missed,
        }
    }

    /// What the frame is: a checked copy of the record in shared memory.
    pub fn meta(&self) -> &BufferMeta {
        &self.meta
    }

    /// The frame's place in the stream.
    pub fn seq(&self) -> u64 {
        self.meta.seq
    }

    /// The slot's number.
    pub fn slot(&self) -> u32 {
        u32::from(self.id.slot().0)
    }

    /// How many frames were missed between the one received before and this one.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// The format of the stream (for GStreamer encoded caps) at this frame, where the producer set
    /// one. The bytes come from another process, and are not checked.
    pub fn format(&self) -> Option<&Arc<[u8]>> {
        self.format.as_ref()
    }

    /// The frame's bytes.
    ///
    /// # Errors
    /// [`Error::NotMapped`] where the frame is in a dmabuf that was not [mapped](Frame::map);
    /// [`Error::WrongStorage`] where its content is not in memory of the CPU.
    pub fn payload(&self) -> Result<Payload<'_>> {
        match self.meta.storage_type() {
            StorageType::Cpu => {}
            other => return Err(Error::WrongStorage(other)),
        }
        let mapping = self.segment.mapping()?;
        // Checked when the frame was received: the range is inside the segment.
        Ok(Payload::of(mapping, self.offset(), self.meta.size as usize))
    }

    /// Whether the frame is in a dmabuf, memory that may be a device's. A reader of its bytes
    /// [maps](Frame::map) it, and waits for the device to finish with it (`DMA_BUF_IOCTL_SYNC`).
    pub fn is_dma_buf(&self) -> bool {
        self.segment.kind().is_dma_buf()
    }

    /// Maps the memory of a frame in a dmabuf, once for all frames in it. All other memory is
    /// mapped from the start.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where it can't be mapped.
    pub fn map(&self) -> Result<()> {
        self.segment.map_cpu().map(drop)
    }

    /// The memory that the frame is in, for a publisher to
    /// [import](crate::Publisher::import_frame). `None` where there is no [descriptor](Frame::fd).
    pub fn memory(&self) -> Option<ImportedMemory> {
        self.segment.to_import()
    }

    /// The address of the frame's first byte on its [device](Frame::device), a `CUdeviceptr`; `None` where
    /// it is in other memory. All work of the producer on the frame is done, so work on any stream may read
    /// [`size`](BufferMeta::size) bytes from there. The frame is given to
    /// [`release_after`](Frame::release_after) with that work: a frame that is dropped may be written at
    /// once.
    pub fn device_address(&self) -> Option<u64> {
        let memory = self.segment.device()?;
        Some(memory.address() + self.offset() as u64)
    }

    /// The device that the frame is on; `None` where it is in other memory.
    pub fn device(&self) -> Option<&Device> {
        self.segment.device().map(DeviceMemory::device)
    }

    /// Whether the device refuses to write the frame from this process. On some devices memory can't be
    /// mapped for reading only.
    pub fn is_device_read_only(&self) -> bool {
        self.segment
            .device()
            .is_some_and(DeviceMemory::is_read_only)
    }

    /// Gives the lease back when the device has done `work`, in which the frame is read. Nothing waits for
    /// that here; a thread does, which gives leases back in the order of these calls.
    ///
    /// # Errors
    /// [`Error::Cuda`] where the device has failed: the connection has ended then, and the lease ends with
    /// it.
    pub fn release_after(self, work: &Work<'_>) -> Result<()> {
        let Frame {
            mut lease, segment, ..
        } = self;
        let link = lease.link.clone();
        lease.has_gone = true;
        link.release_after(work, lease.number, segment)
    }

    /// Copies bytes of the frame from the device to the CPU, those from `offset` on, and waits until they are
    /// there.
    ///
    /// # Errors
    /// [`Error::WrongStorage`] where the frame is in other memory, [`Error::InvalidShape`] where the range is
    /// not inside the frame, [`Error::Cuda`].
    pub fn copy_to_host(&self, offset: usize, into: &mut [u8]) -> Result<()> {
        let memory = self.segment.device();
        let memory = memory.ok_or(Error::WrongStorage(self.meta.storage_type()))?;
        let end = offset.checked_add(into.len());
        if end.is_none_or(|end| end as u64 > self.meta.size) {
            let (len, size) = (into.len(), self.meta.size);
            return Err(Error::InvalidShape(format!(
                "{len} bytes at {offset} of a frame of {size}"
            )));
        }
        memory.read(self.offset() + offset, into)
    }

    /// How many frames more than now this client may hold.
    pub fn free_leases(&self) -> u32 {
        self.lease.link.free_leases()
    }

    /// A descriptor of the memory that the frame is in, which other frames are in too: a memfd that
    /// can't change its size, and that neither this descriptor nor one that was opened again through
    /// `/proc` can write. For a caller that hands the frame on without mapping it: a compositor, another
    /// process.
    ///
    /// A process that has the descriptor can read the bytes of the slot: those of this frame, and
    /// of other frames after this one is dropped. `None` if this process keeps no descriptor of the
    /// memory: the producer has announced more than 256 pieces of it, or the process has few
    /// descriptors left.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.segment.fd()
    }

    /// Where the frame's first byte is in the memory of [`fd`](Frame::fd), in bytes.
    pub fn offset(&self) -> usize {
        // Checked when the frame was received: the range is inside the segment.
        self.meta.payload_offset as usize
    }

    /// The frame's elements, as its shape and strides say.
    ///
    /// # Errors
    /// [`Error::TypeMismatch`] where the frame holds other elements; otherwise as
    /// [`payload`](Frame::payload).
    pub fn view<T: Element>(&self) -> Result<View<'_, T>> {
        if self.meta.dtype() != T::DTYPE {
            return Err(Error::TypeMismatch {
                expected: T::DTYPE,
                found: self.meta.dtype(),
            });
        }
        self.payload()?
            .view(0, self.meta.shape(), self.meta.strides())
    }

    /// A copy of the variable data that came with the frame; empty where there is none.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] if there is no memory for this copy and for two more, which
    /// decoding it makes.
    pub fn extra(&self) -> Result<Vec<u8>> {
        let len = self.meta.extra_len as usize;
        let checked = limits::check_copies(3 * len);
        checked.map_err(|error| error.doing(|| format!("copying {len} bytes of metas")))?;
        let mut extra = vec![0; len];
        match &self.extra {
            Some(spilled) => spilled.segment.mapping()?.read(spilled.offset, &mut extra),
            None => self
                .lease
                .link
                .metadata
                .read_extra(self.id.slot(), &mut extra),
        }
        Ok(extra)
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("meta", &self.meta)
            .field("format", &self.format)
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<Frame>();
};
