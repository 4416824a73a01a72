//! What a segment is made of. The one room where the kinds of memory meet: all others ask
//! [`SegmentMemory`] or [`MemoryKind`], and match on neither.
//!
//! A kind of memory is a variant of both and a file of its own, which makes, imports, opens and
//! maps it.

use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::cuda::{Device, DeviceMemory};
use crate::error::{Error, Result};
use crate::sys::limits;
use crate::sys::mapping::Mapping;
use crate::sys::memfd::Maker;

mod cuda;
mod description;
mod descriptor;
mod dma_buf;
mod imported_memfd;
mod mapped;
mod memfd;

use cuda::CudaMemory;
#[cfg(test)]
pub(crate) use description::DeviceDescription;
pub(crate) use description::{MAX_SIZE, MemoryDescription, MemoryKind, Takes};
pub(crate) use descriptor::Descriptor;
use dma_buf::DmaBuf;
use imported_memfd::ImportedMemfd;
use mapped::Mapped;
use memfd::{Memfd, UnfinishedMemfd};

/// Which memory the slots of a publisher are in.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Storage {
    /// Memory of the machine, which every client maps.
    #[default]
    Cpu,
    /// Memory of a CUDA device. Its clients have to see the same device.
    Cuda(Device),
}

impl Storage {
    /// The device that it is on, for people.
    pub(crate) fn device(&self) -> Option<String> {
        match self {
            Storage::Cpu => None,
            Storage::Cuda(device) => Some(format!("\"{}\" ({})", device.name(), device.uuid())),
        }
    }

    /// An error where there is not `size` bytes of memory beside what others need. A device says that
    /// itself.
    pub(crate) fn check_for_others(&self, size: usize) -> Result<()> {
        match self {
            Storage::Cpu => limits::check_memory_for_others(size),
            Storage::Cuda(_) => Ok(()),
        }
    }
}

/// Memory that is being made.
pub(crate) enum UnfinishedMemory {
    Memfd(UnfinishedMemfd),
    /// A device makes all of it at once.
    Cuda(CudaMemory),
}

impl UnfinishedMemory {
    /// Begins to make `size` bytes.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where there can't be enough memory; [`Error::Cuda`].
    pub(crate) fn start(storage: &Storage, size: usize) -> Result<UnfinishedMemory> {
        match storage {
            Storage::Cpu => UnfinishedMemfd::start(size).map(UnfinishedMemory::Memfd),
            Storage::Cuda(device) => CudaMemory::create(device, size).map(UnfinishedMemory::Cuda),
        }
    }

    /// Makes `len` bytes more of it, at most.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where there is no memory for them.
    pub(crate) fn make(&mut self, len: usize) -> Result<()> {
        match self {
            UnfinishedMemory::Memfd(memory) => memory.make(len),
            UnfinishedMemory::Cuda(_) => Ok(()),
        }
    }

    /// Bytes that are still to be made.
    pub(crate) fn left(&self) -> usize {
        match self {
            UnfinishedMemory::Memfd(memory) => memory.left(),
            UnfinishedMemory::Cuda(_) => 0,
        }
    }
}

/// The memory of a segment, in the process that made it, imported it, or received it.
#[derive(Debug)]
pub(crate) enum SegmentMemory {
    Memfd(Memfd),
    ImportedMemfd(ImportedMemfd),
    DmaBuf(DmaBuf),
    Cuda(CudaMemory),
}

impl SegmentMemory {
    /// Finishes memory of this process's own.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where there is no memory for the rest of it.
    pub(crate) fn finish(memory: UnfinishedMemory) -> Result<SegmentMemory> {
        match memory {
            UnfinishedMemory::Memfd(memory) => memory.finish().map(SegmentMemory::Memfd),
            UnfinishedMemory::Cuda(memory) => Ok(SegmentMemory::Cuda(memory)),
        }
    }

    /// Imports memory that xmem did not make. Its size does not change from then on.
    ///
    /// # Errors
    /// [`Error::BadMemory`] where it can't be imported, and why;
    /// [`Error::ResourceExhausted`].
    pub(crate) fn import(fd: BorrowedFd<'_>) -> Result<SegmentMemory> {
        // Without an answer it is no dmabuf: then it has no seals, and is refused.
        if DmaBuf::is_it(fd).unwrap_or(false) {
            return DmaBuf::import(fd).map(SegmentMemory::DmaBuf);
        }
        ImportedMemfd::import(fd).map(SegmentMemory::ImportedMemfd)
    }

    /// Opens memory that a producer has announced, after all checks. Memfds are mapped, read-only,
    /// and have to be [prepared](SegmentMemory::prepare) before they are read. `keep` tells whether
    /// to keep a descriptor that is not needed to receive frames.
    ///
    /// # Errors
    /// [`Error::Protocol`] where the memory is not what was announced;
    /// [`Error::ResourceExhausted`].
    pub(crate) fn open(
        description: MemoryDescription,
        fd: Option<OwnedFd>,
        maker: Maker,
        keep: bool,
    ) -> Result<SegmentMemory> {
        let size = description.size()?;
        if description.device.is_some() {
            return CudaMemory::open(description, size, fd, keep).map(SegmentMemory::Cuda);
        }
        let missing = || Error::Protocol("a segment without a descriptor".into());
        let fd = fd.ok_or_else(missing)?;
        match description.kind {
            MemoryKind::Memfd => Memfd::open(fd, size, maker, keep).map(SegmentMemory::Memfd),
            MemoryKind::ImportedSealedMemfd => {
                ImportedMemfd::open(fd, size, true, keep).map(SegmentMemory::ImportedMemfd)
            }
            MemoryKind::ImportedMemfd => {
                ImportedMemfd::open(fd, size, false, keep).map(SegmentMemory::ImportedMemfd)
            }
            MemoryKind::DmaBuf => DmaBuf::open(fd, size).map(SegmentMemory::DmaBuf),
            MemoryKind::CudaVirtual | MemoryKind::CudaIpc | MemoryKind::ImportedCudaVirtual => Err(
                Error::Protocol("memory of a device that has no name".into()),
            ),
        }
    }

    /// Whether a descriptor is of memory of some kind. A peer may pass any other, and the close of
    /// such a descriptor can take as long as the peer likes.
    pub(crate) fn is_memory(fd: &OwnedFd) -> bool {
        Memfd::may_be(fd) || DmaBuf::is_it(fd).unwrap_or(false) || CudaMemory::may_be(fd)
    }

    /// What the Segment message says of it, to the clients of the producer that made it or, where
    /// `is_imported`, of one that imported it.
    pub(crate) fn describe(&self, is_imported: bool) -> MemoryDescription {
        let kind = self.kind();
        MemoryDescription {
            kind: if is_imported { kind.imported() } else { kind },
            size: self.size() as u64,
            device: match self {
                SegmentMemory::Cuda(memory) => Some(memory.describe()),
                _ => None,
            },
        }
    }

    /// Memory of a device.
    pub(crate) fn device(&self) -> Option<&DeviceMemory> {
        match self {
            SegmentMemory::Cuda(memory) => Some(memory.memory()),
            _ => None,
        }
    }

    /// Its kind, to the clients of the producer that made it.
    pub(crate) fn kind(&self) -> MemoryKind {
        match self {
            SegmentMemory::Memfd(_) => MemoryKind::Memfd,
            SegmentMemory::ImportedMemfd(memory) if memory.is_write_sealed() => {
                MemoryKind::ImportedSealedMemfd
            }
            SegmentMemory::ImportedMemfd(_) => MemoryKind::ImportedMemfd,
            SegmentMemory::DmaBuf(_) => MemoryKind::DmaBuf,
            SegmentMemory::Cuda(memory) => memory.kind(),
        }
    }

    /// Bytes of it.
    pub(crate) fn size(&self) -> usize {
        match self {
            SegmentMemory::Memfd(memory) => memory.size(),
            SegmentMemory::ImportedMemfd(memory) => memory.size(),
            SegmentMemory::DmaBuf(memory) => memory.size(),
            SegmentMemory::Cuda(memory) => memory.size(),
        }
    }

    /// A descriptor to hand on. It can only read, where such a descriptor can be had.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            SegmentMemory::Memfd(memory) => memory.fd(),
            SegmentMemory::ImportedMemfd(memory) => memory.fd(),
            SegmentMemory::DmaBuf(memory) => Some(memory.fd()),
            SegmentMemory::Cuda(memory) => memory.fd(),
        }
    }

    /// The mapping that the CPU reads.
    ///
    /// # Errors
    /// [`Error::NotMapped`] where there is none, or none yet.
    pub(crate) fn mapping(&self) -> Result<&Mapping> {
        let mapping = match self {
            SegmentMemory::Memfd(memory) => Some(memory.mapped().mapping()),
            SegmentMemory::ImportedMemfd(memory) => memory.mapped().map(Mapped::mapping),
            SegmentMemory::DmaBuf(memory) => memory.mapping(),
            SegmentMemory::Cuda(_) => None,
        };
        mapping.ok_or(Error::NotMapped)
    }

    /// Maps for the CPU what is not mapped from the start.
    ///
    /// # Errors
    /// [`Error::NotMapped`] where this process has no use for a mapping;
    /// [`Error::ResourceExhausted`].
    pub(crate) fn map_cpu(&self) -> Result<&Mapping> {
        match self {
            SegmentMemory::DmaBuf(memory) => memory.map_cpu(),
            _ => self.mapping(),
        }
    }

    /// Memory of another process that was mapped from the start.
    fn mapped(&self) -> Option<&Mapped> {
        match self {
            SegmentMemory::Memfd(memory) => Some(memory.mapped()),
            SegmentMemory::ImportedMemfd(memory) => memory.mapped(),
            SegmentMemory::DmaBuf(_) | SegmentMemory::Cuda(_) => None,
        }
    }

    /// Whether reading it costs no page fault, wherever.
    pub(crate) fn is_prepared(&self) -> bool {
        self.mapped().is_none_or(Mapped::is_prepared)
    }

    /// Takes the page faults of a range that a frame lies in, where that was not done yet. The
    /// range has to be inside of the memory.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where the producer has announced more memory than it made, and
    /// there is no more.
    pub(crate) fn prepare(&self, range: Range<usize>) -> Result<()> {
        self.mapped().map_or(Ok(()), |mapped| mapped.prepare(range))
    }

    /// The same for the piece that begins at `offset`. Says where the next one begins; `None` where
    /// nothing is left to do.
    pub(crate) fn prepare_piece(&self, offset: usize) -> Result<Option<usize>> {
        let mapped = self.mapped();
        mapped.map_or(Ok(None), |mapped| mapped.prepare_piece(offset))
    }
}
