//! Blocks of memory in which frames are: the producer's own, and those that it imports.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};

use rustix::io::Errno;

use super::import::ImportedMemory;
use super::layout::{PAGE, SegmentId};
use super::memory::{
    MAX_SIZE, MemoryDescription, MemoryKind, SegmentMemory, Storage, UnfinishedMemory,
};
use crate::cuda::DeviceMemory;
use crate::error::{Error, Result};
use crate::meta::BufferMeta;
use crate::sys::mapping::Mapping;
use crate::sys::memfd::Maker;

/// A block of memory in which frames live, under a number of a channel.
#[derive(Debug)]
pub(crate) struct PayloadSegment {
    pub(crate) id: SegmentId,
    memory: Arc<SegmentMemory>,
    origin: Origin,
}

/// Where a segment's memory comes from.
#[derive(Debug)]
enum Origin {
    /// This process has made it, or a producer has announced it. What is imported from here shares
    /// the token.
    First(Arc<()>),
    /// It was imported. The token lives as long as more can be imported from the same memory.
    Import(Weak<()>),
}

impl PayloadSegment {
    fn new(id: SegmentId, memory: SegmentMemory) -> PayloadSegment {
        PayloadSegment {
            id,
            memory: Arc::new(memory),
            origin: Origin::First(Arc::default()),
        }
    }

    /// Makes a segment of `count` slots of at least `slot_size` bytes each, and returns how far
    /// they are apart: each starts at a page, which suits every video alignment.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where there is not enough memory.
    pub(crate) fn create(
        storage: &Storage,
        id: SegmentId,
        slot_size: usize,
        count: usize,
    ) -> Result<(Arc<PayloadSegment>, usize)> {
        UnfinishedSegment::start(storage, id, slot_size, count)?.finish()
    }

    /// Imported memory, under a number of this channel.
    pub(crate) fn import(id: SegmentId, from: &ImportedMemory) -> PayloadSegment {
        PayloadSegment {
            id,
            memory: from.memory.clone(),
            origin: Origin::Import(Arc::downgrade(&from.holder)),
        }
    }

    /// Opens a segment that a producer has announced; see [`SegmentMemory::open`].
    pub(crate) fn open(
        id: SegmentId,
        description: MemoryDescription,
        fd: Option<OwnedFd>,
        maker: Maker,
        keep: bool,
    ) -> Result<Arc<PayloadSegment>> {
        let memory = SegmentMemory::open(description, fd, maker, keep)?;
        Ok(Arc::new(PayloadSegment::new(id, memory)))
    }

    /// What clients are told of its memory.
    pub(crate) fn describe(&self) -> MemoryDescription {
        self.memory.describe(self.is_imported())
    }

    /// The kind of its memory, as clients are told.
    pub(crate) fn kind(&self) -> MemoryKind {
        self.describe().kind
    }

    /// Bytes of it.
    pub(crate) fn size(&self) -> usize {
        self.memory.size()
    }

    /// The descriptor to hand on.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.memory.fd()
    }

    /// Its memory, for a publisher to import. `None` without a descriptor.
    pub(crate) fn to_import(&self) -> Option<ImportedMemory> {
        match (&self.origin, self.fd()) {
            (Origin::First(holder), Some(_)) => Some(ImportedMemory {
                memory: self.memory.clone(),
                holder: holder.clone(),
            }),
            _ => None,
        }
    }

    // ---- reading it

    /// The mapping that the CPU reads.
    ///
    /// # Errors
    /// [`Error::NotMapped`] where there is none, or none yet.
    pub(crate) fn mapping(&self) -> Result<&Mapping> {
        self.memory.mapping()
    }

    /// Maps for the CPU what is not mapped from the start; see [`SegmentMemory::map_cpu`].
    pub(crate) fn map_cpu(&self) -> Result<&Mapping> {
        self.memory.map_cpu()
    }

    /// Whether reading it costs no page fault, wherever.
    pub(crate) fn is_prepared(&self) -> bool {
        self.memory.is_prepared()
    }

    /// Takes the page faults of what a frame lies in; see [`SegmentMemory::prepare`].
    pub(crate) fn prepare(&self, offset: usize, len: usize) -> Result<()> {
        self.memory.prepare(offset..offset + len)
    }

    /// The same for the piece that begins at `offset`; see [`SegmentMemory::prepare_piece`].
    pub(crate) fn prepare_piece(&self, offset: usize) -> Result<Option<usize>> {
        self.memory.prepare_piece(offset)
    }

    /// Says in a frame's record which memory it is in.
    pub(crate) fn describe_in(&self, meta: &mut BufferMeta) {
        meta.storage_type = self.kind().storage() as u8;
        if let Some(memory) = self.device() {
            meta.device_id = memory.device().ordinal() as u8;
            let handle = self.describe().device.and_then(|device| device.handle);
            meta.cuda_ipc_handle = handle.unwrap_or([0; 64]);
        }
    }

    /// Whether slots of this storage can be in it.
    pub(crate) fn is_made_of(&self, storage: &Storage) -> bool {
        let device = self.device().map(DeviceMemory::device);
        match storage {
            Storage::Cpu => device.is_none(),
            Storage::Cuda(wanted) => device == Some(wanted),
        }
    }

    /// Memory of a device, which the CPU does not read.
    pub(crate) fn device(&self) -> Option<&DeviceMemory> {
        self.memory.device()
    }

    // ---- imports

    /// Whether the channel has imported it. Then it does not count for its producer.
    pub(crate) fn is_imported(&self) -> bool {
        matches!(self.origin, Origin::Import(_))
    }

    /// Whether this is a number of that memory.
    pub(crate) fn is_of(&self, memory: &ImportedMemory) -> bool {
        self.is_imported() && Arc::ptr_eq(&self.memory, &memory.memory)
    }

    /// Whether it was imported, and no more can be imported from the same memory.
    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(&self.origin, Origin::Import(holder) if holder.strong_count() == 0)
    }
}

/// A segment of slots whose memory is being made.
pub(crate) struct UnfinishedSegment {
    id: SegmentId,
    stride: usize,
    memory: UnfinishedMemory,
    /// For errors.
    doing: String,
}

impl UnfinishedSegment {
    /// A segment as of [`PayloadSegment::create`], without memory.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where there can't be enough memory.
    pub(crate) fn start(
        storage: &Storage,
        id: SegmentId,
        slot_size: usize,
        count: usize,
    ) -> Result<Self> {
        let doing = format!("making {count} slots of {slot_size} bytes");
        let stride = slot_size.max(1).checked_next_multiple_of(PAGE);
        let len = stride.and_then(|stride| stride.checked_mul(count));
        let (Some(stride), Some(len @ ..=MAX_SIZE)) = (stride, len) else {
            return Err(Error::memory("")(Errno::NOMEM).doing(|| doing));
        };
        match UnfinishedMemory::start(storage, len) {
            Ok(memory) => Ok(UnfinishedSegment {
                id,
                stride,
                memory,
                doing,
            }),
            Err(error) => Err(error.doing(|| doing)),
        }
    }

    /// Makes `len` bytes more of it, at most.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where there is no memory for them.
    pub(crate) fn make(&mut self, len: usize) -> Result<()> {
        let made = self.memory.make(len);
        made.map_err(|error| error.doing(|| self.doing.clone()))
    }

    /// Bytes that are still to be made.
    pub(crate) fn left(&self) -> usize {
        self.memory.left()
    }

    /// How far the slots are apart.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// Makes the rest. Returns how far the slots are apart, too.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where there is no memory for it.
    pub(crate) fn finish(self) -> Result<(Arc<PayloadSegment>, usize)> {
        let Self {
            id, stride, doing, ..
        } = self;
        let memory = SegmentMemory::finish(self.memory).map_err(|error| error.doing(|| doing))?;
        let segment = PayloadSegment::new(id, memory);
        Ok((Arc::new(segment), stride))
    }
}
