//! What a client is told of a segment's memory, and what follows from its kind.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::cuda::IpcHandle;
use crate::dtype::StorageType;
use crate::error::{Error, Result};
use crate::uuid::Uuid;

/// Most bytes that can be mapped.
pub(crate) const MAX_SIZE: usize = isize::MAX as usize;

/// The kind of a segment's memory, as its client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum MemoryKind {
    /// The producer's own: shared memory of the machine, sealed.
    Memfd = 0,
    /// An imported memfd that is sealed against writing.
    ImportedSealedMemfd = 1,
    /// An imported memfd that other processes may write, and that keeps its size.
    ImportedMemfd = 2,
    /// A dmabuf, in the memory of a device perhaps.
    DmaBuf = 3,
    /// Memory of a CUDA device, which a descriptor keeps.
    CudaVirtual = 4,
    /// Memory of a CUDA device, which ends with its producer.
    CudaIpc = 5,
    /// Memory of a CUDA device, which a descriptor keeps, and which was imported.
    ImportedCudaVirtual = 6,
}

impl MemoryKind {
    const ALL: [MemoryKind; 7] = [
        MemoryKind::Memfd,
        MemoryKind::ImportedSealedMemfd,
        MemoryKind::ImportedMemfd,
        MemoryKind::DmaBuf,
        MemoryKind::CudaVirtual,
        MemoryKind::CudaIpc,
        MemoryKind::ImportedCudaVirtual,
    ];

    /// What a client is told where its producer has imported the memory from another producer.
    pub(crate) fn imported(self) -> MemoryKind {
        match self {
            MemoryKind::Memfd => MemoryKind::ImportedSealedMemfd,
            MemoryKind::CudaVirtual => MemoryKind::ImportedCudaVirtual,
            other => other,
        }
    }

    /// Whether processes other than the producer may write the memory, or punch holes into it.
    pub(crate) fn is_unsealed(self) -> bool {
        !matches!(self, MemoryKind::Memfd | MemoryKind::ImportedSealedMemfd)
    }

    /// Whether the bytes stay as they are when the producer crashes. The owner of imported memory
    /// may write the next frame into it then.
    pub(crate) fn outlives_producer(self) -> bool {
        matches!(self, MemoryKind::Memfd | MemoryKind::CudaVirtual)
    }

    /// Whether the extra bytes of frames may be in it: a client reads them without a map call.
    pub(crate) fn holds_extra(self) -> bool {
        matches!(self, MemoryKind::Memfd)
    }

    /// Whether a client needs its descriptor as long as it has the segment.
    pub(crate) fn needs_descriptor(self) -> bool {
        matches!(self, MemoryKind::DmaBuf)
    }

    /// What a frame's record says of such memory.
    pub(crate) fn storage(self) -> StorageType {
        match self {
            MemoryKind::CudaVirtual | MemoryKind::CudaIpc | MemoryKind::ImportedCudaVirtual => {
                StorageType::Cuda
            }
            _ => StorageType::Cpu,
        }
    }

    /// Whether it is a dmabuf.
    pub(crate) fn is_dma_buf(self) -> bool {
        matches!(self, MemoryKind::DmaBuf)
    }
}

/// What a Segment message says of the memory. Unchecked but for the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryDescription {
    pub(crate) kind: MemoryKind,
    /// Bytes of it.
    pub(crate) size: u64,
    /// Where it is, for memory of a device.
    pub(crate) device: Option<DeviceDescription>,
}

/// Where memory of a CUDA device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceDescription {
    pub(crate) uuid: Uuid,
    /// What it is opened by; `None` where that is a descriptor.
    pub(crate) handle: Option<IpcHandle>,
}

/// Which kinds of memory a client takes, besides memory of the machine that is sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Takes {
    /// Memory that other processes may write.
    pub(crate) unsealed: bool,
    /// Memory of CUDA devices.
    pub(crate) cuda: bool,
}

impl Takes {
    /// Whether it takes memory of this kind.
    pub(crate) fn takes(self, kind: MemoryKind) -> bool {
        (self.unsealed || !kind.is_unsealed()) && (self.cuda || kind.storage() != StorageType::Cuda)
    }
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, packed)]
struct Body {
    kind: u32,
    size: u64,
}

impl MemoryDescription {
    /// How many descriptors go with it.
    pub(crate) fn descriptors(&self) -> usize {
        usize::from(self.kind != MemoryKind::CudaIpc)
    }

    /// What the message says after the segment's number.
    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        let body = Body {
            kind: self.kind as u32,
            size: self.size,
        };
        into.extend_from_slice(body.as_bytes());
        if let Some(device) = &self.device {
            into.extend_from_slice(&device.uuid.0);
            into.extend(device.handle.into_iter().flatten());
        }
    }

    /// # Errors
    /// [`Error::Protocol`] for anything that [`encode`](MemoryDescription::encode) would not have
    /// made.
    pub(crate) fn decode(bytes: &[u8]) -> Result<MemoryDescription> {
        let broken = |what: String| Error::Protocol(what);
        let wrong_length = || broken(format!("a segment described in {} bytes", bytes.len()));
        let (body, rest) = Body::read_from_prefix(bytes).map_err(|_| wrong_length())?;
        let number = body.kind;
        let kind = MemoryKind::ALL
            .into_iter()
            .find(|kind| *kind as u32 == number)
            .ok_or_else(|| broken(format!("a segment of unknown kind {number}")))?;
        let device = match kind {
            MemoryKind::CudaVirtual | MemoryKind::ImportedCudaVirtual => {
                let uuid = rest.try_into().map_err(|_| wrong_length())?;
                let (uuid, handle) = (Uuid(uuid), None);
                Some(DeviceDescription { uuid, handle })
            }
            MemoryKind::CudaIpc => {
                let (uuid, handle) = rest.split_first_chunk().ok_or_else(wrong_length)?;
                let handle = Some(handle.try_into().map_err(|_| wrong_length())?);
                let uuid = Uuid(*uuid);
                Some(DeviceDescription { uuid, handle })
            }
            _ if rest.is_empty() => None,
            _ => return Err(wrong_length()),
        };
        Ok(MemoryDescription {
            kind,
            size: body.size,
            device,
        })
    }

    /// The size, where memory of that size can be mapped.
    pub(crate) fn size(&self) -> Result<usize> {
        usize::try_from(self.size)
            .ok()
            .filter(|size| (1..=MAX_SIZE).contains(size))
            .ok_or_else(|| Error::Protocol(format!("a segment of {} bytes", self.size)))
    }
}
