//! What a client is told of a segment's memory, and what follows from its kind.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::error::{Error, Result};

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
}

impl MemoryKind {
    const ALL: [MemoryKind; 4] = [
        MemoryKind::Memfd,
        MemoryKind::ImportedSealedMemfd,
        MemoryKind::ImportedMemfd,
        MemoryKind::DmaBuf,
    ];

    /// What a client is told where its producer has imported the memory from another producer.
    pub(crate) fn imported(self) -> MemoryKind {
        match self {
            MemoryKind::Memfd => MemoryKind::ImportedSealedMemfd,
            other => other,
        }
    }

    /// Whether processes other than the producer may write the memory, or punch holes into it.
    pub(crate) fn is_unsealed(self) -> bool {
        matches!(self, MemoryKind::ImportedMemfd | MemoryKind::DmaBuf)
    }

    /// Whether the bytes stay as they are when the producer crashes. The owner of imported memory
    /// may write the next frame into it then.
    pub(crate) fn outlives_producer(self) -> bool {
        matches!(self, MemoryKind::Memfd)
    }

    /// Whether the extra bytes of frames may be in it: a client reads them without a map call.
    pub(crate) fn holds_extra(self) -> bool {
        matches!(self, MemoryKind::Memfd)
    }

    /// Whether a client needs its descriptor as long as it has the segment.
    pub(crate) fn needs_descriptor(self) -> bool {
        matches!(self, MemoryKind::DmaBuf)
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
        1
    }

    /// What the message says after the segment's number.
    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        let body = Body {
            kind: self.kind as u32,
            size: self.size,
        };
        into.extend_from_slice(body.as_bytes());
    }

    /// # Errors
    /// [`Error::Protocol`] for anything that [`encode`](MemoryDescription::encode) would not have
    /// made.
    pub(crate) fn decode(bytes: &[u8]) -> Result<MemoryDescription> {
        let broken = |what: String| Error::Protocol(what);
        let body = Body::read_from_bytes(bytes)
            .map_err(|_| broken(format!("a segment described in {} bytes", bytes.len())))?;
        let number = body.kind;
        let kind = MemoryKind::ALL
            .into_iter()
            .find(|kind| *kind as u32 == number)
            .ok_or_else(|| broken(format!("a segment of unknown kind {number}")))?;
        Ok(MemoryDescription {
            kind,
            size: body.size,
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
