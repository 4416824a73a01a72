//! Blocks of memory in which frames are: the producer's own, and those that it passes on.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::io::Errno;

use super::PAGE;
use super::unprepared::{PIECE, Unprepared};
use crate::dtype::AccessMode;
use crate::error::{Error, Result};
use crate::sys::foreign::{self, Nature};
use crate::sys::mapping::Mapping;
use crate::sys::memfd::{self, Maker};

/// What a segment is made of. The one place where the kinds of memory meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum SegmentKind {
    /// The producer's own: shared memory of the machine, sealed.
    Memfd = 0,
    /// The same, but made by another producer.
    PassedOn = 1,
    /// Somebody else's memfd, which others may write, and which keeps its size.
    ForeignMemfd = 2,
    /// A dmabuf, in the memory of a device perhaps.
    DmaBuf = 3,
}

impl SegmentKind {
    pub(crate) fn from_u32(number: u32) -> Option<SegmentKind> {
        use SegmentKind as Kind;
        let kinds = [
            Kind::Memfd,
            Kind::PassedOn,
            Kind::ForeignMemfd,
            Kind::DmaBuf,
        ];
        kinds.into_iter().find(|kind| *kind as u32 == number)
    }

    /// Whether processes other than the producer may write the memory, or punch holes into it.
    pub(crate) fn is_unsealed(self) -> bool {
        matches!(self, SegmentKind::ForeignMemfd | SegmentKind::DmaBuf)
    }

    /// Whether somebody else decides what becomes of the bytes when the producer is gone.
    pub(crate) fn is_foreign(self) -> bool {
        self != SegmentKind::Memfd
    }
}

/// Most bytes that can be mapped.
const MAX_SIZE: usize = isize::MAX as usize;

/// How many descriptors are kept that are not needed to receive frames.
static KEPT: AtomicUsize = AtomicUsize::new(0);

/// The number of a payload segment; never used twice in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SegmentId(pub(crate) u32);

/// A block of memory in which frames live.
#[derive(Debug)]
pub(crate) struct PayloadSegment {
    pub(crate) id: SegmentId,
    pub(crate) kind: SegmentKind,
    /// Bytes of it.
    pub(crate) size: usize,
    /// There from the start, but for a dmabuf, and for memory that is only passed on.
    mapping: OnceLock<Mapping>,
    /// What is mapped and not prefaulted yet, of what another process has made.
    unprepared: Option<Unprepared>,
    /// It can only read, where that can be had. The producer passes it to clients; a client hands
    /// it to who shows or passes on a frame, and may have none.
    fd: Option<OwnedFd>,
    /// Whether its descriptor is one of those that a client keeps.
    is_kept: bool,
    /// What is passed on under this number.
    source: Option<Arc<PayloadSegment>>,
    /// How many numbers it is passed on under.
    passings: AtomicUsize,
}

impl PayloadSegment {
    fn new(
        id: SegmentId,
        kind: SegmentKind,
        size: usize,
        mapping: Option<Mapping>,
        fd: Option<OwnedFd>,
    ) -> PayloadSegment {
        PayloadSegment {
            id,
            kind,
            size,
            mapping: mapping.map_or_else(OnceLock::new, OnceLock::from),
            unprepared: None,
            fd,
            is_kept: false,
            source: None,
            passings: AtomicUsize::new(0),
        }
    }

    /// Makes a segment of `count` slots of at least `slot_size` bytes each, and returns how far
    /// they are apart: each starts at a page, which suits every video alignment.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where there is not enough memory.
    pub(crate) fn create(
        id: SegmentId,
        slot_size: usize,
        count: usize,
    ) -> Result<(Arc<PayloadSegment>, usize)> {
        UnfinishedSegment::start(id, slot_size, count)?.finish()
    }

    /// Looks at memory that somebody else has made, and makes it fit to be passed on. It has no
    /// number yet.
    pub(crate) fn adopt(fd: BorrowedFd<'_>) -> Result<Arc<PayloadSegment>> {
        let (nature, size, fd) = foreign::adopt(fd)?;
        let kind = match nature {
            Nature::Sealed => SegmentKind::PassedOn,
            Nature::Memfd => SegmentKind::ForeignMemfd,
            Nature::DmaBuf => SegmentKind::DmaBuf,
        };
        let segment = PayloadSegment::new(SegmentId(0), kind, size, None, Some(fd));
        Ok(Arc::new(segment))
    }

    /// Memory that is passed on, under a number of this channel.
    pub(crate) fn passing(id: SegmentId, source: Arc<PayloadSegment>) -> PayloadSegment {
        source.passings.fetch_add(1, Ordering::Relaxed);
        let kind = match source.kind {
            // To a client, what is another producer's is not ours to keep.
            SegmentKind::Memfd => SegmentKind::PassedOn,
            other => other,
        };
        let mut segment = PayloadSegment::new(id, kind, source.size, None, None);
        segment.source = Some(source);
        segment
    }

    /// Takes in a segment that a producer has told of: memfds are mapped, read-only, and have to be
    /// [prepared](PayloadSegment::prepare) before they are read. The descriptor is kept where `keep`
    /// says so, and that of a dmabuf in any case.
    pub(crate) fn open(
        id: SegmentId,
        kind: SegmentKind,
        fd: OwnedFd,
        size: u64,
        maker: Maker,
        keep: bool,
    ) -> Result<Arc<PayloadSegment>> {
        let len = usize::try_from(size)
            .ok()
            .filter(|&len| len > 0 && len <= isize::MAX as usize)
            .ok_or_else(|| Error::Protocol(format!("a segment of {size} bytes")))?;
        let seals = match kind {
            SegmentKind::Memfd => memfd::producer_seals(),
            SegmentKind::PassedOn => {
                memfd::check_write_sealed(&fd)?;
                memfd::size_seals()
            }
            SegmentKind::ForeignMemfd => memfd::size_seals(),
            SegmentKind::DmaBuf => {
                check_dma_buf(&fd, len)?;
                return Ok(Arc::new(PayloadSegment::new(id, kind, len, None, Some(fd))));
            }
        };
        // Another process has made memory that is passed on.
        let maker = match kind.is_foreign() {
            true => Maker::Other,
            false => maker,
        };
        let mapping = memfd::map_to_read(&fd, len, seals)?;
        let is_there = memfd::is_there(&fd, len, maker);
        let fd = keep.then_some(fd);
        let mut segment = PayloadSegment::new(id, kind, len, Some(mapping), fd);
        segment.unprepared = Some(Unprepared::new(len, is_there));
        if keep {
            KEPT.fetch_add(1, Ordering::Relaxed);
            segment.is_kept = true;
        }
        Ok(Arc::new(segment))
    }

    /// Whether reading it costs no page fault, wherever.
    pub(crate) fn is_prepared(&self) -> bool {
        self.unprepared.as_ref().is_none_or(Unprepared::is_over)
    }

    /// Takes the page faults of what a frame lies in, where that was not done yet. The range has to
    /// be inside of the segment.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where its maker has lied of how much memory there is, and there is
    /// no more.
    pub(crate) fn prepare(&self, offset: usize, len: usize) -> Result<()> {
        match &self.unprepared {
            Some(unprepared) if !unprepared.is_over() && len > 0 => {
                self.prepare_range(unprepared, offset..offset + len)
            }
            _ => Ok(()),
        }
    }

    /// The same for the piece that begins at `offset`. Says where the next one begins; `None` where
    /// there is nothing left to do.
    pub(crate) fn prepare_piece(&self, offset: usize) -> Result<Option<usize>> {
        let Some(unprepared) = &self.unprepared else {
            return Ok(None);
        };
        let end = self.size.min(offset + PIECE);
        if unprepared.is_over() || offset == end {
            return Ok(None);
        }
        self.prepare_range(unprepared, offset..end)?;
        Ok(Some(end))
    }

    #[cold]
    fn prepare_range(&self, unprepared: &Unprepared, range: Range<usize>) -> Result<()> {
        unprepared.prepare(self.mapping(), range)
    }

    /// Descriptors that this process keeps of what producers have told its clients of.
    pub(crate) fn descriptors() -> usize {
        KEPT.load(Ordering::Relaxed)
    }

    /// The mapping, where there is one.
    pub(crate) fn mapped(&self) -> Option<&Mapping> {
        self.mapping.get()
    }

    /// The mapping of memory that is mapped from the start: the producer's own, and memfds in a client.
    pub(crate) fn mapping(&self) -> &Mapping {
        self.mapped().expect("memory that is mapped from the start")
    }

    /// Maps what is not mapped from the start.
    pub(crate) fn map(&self) -> Result<&Mapping> {
        if let Some(mapping) = self.mapped() {
            return Ok(mapping);
        }
        let fd = self.fd().ok_or(Error::BufferNotFound(self.id.0))?;
        let mapping = Mapping::new(fd, self.size, AccessMode::ReadOnly)?;
        // Another thread may have been faster, whose mapping is as good.
        Ok(self.mapping.get_or_init(|| mapping))
    }

    /// The descriptor to hand on.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        let holder = self.source.as_deref().unwrap_or(self);
        holder.fd.as_ref().map(AsFd::as_fd)
    }

    /// Whether this is somebody else's memory, passed on.
    pub(crate) fn is_passed_on(&self) -> bool {
        self.source.is_some()
    }

    /// Whether this is a number of that memory.
    pub(crate) fn is_of(&self, memory: &Arc<PayloadSegment>) -> bool {
        let source = self.source.as_ref();
        source.is_some_and(|source| Arc::ptr_eq(source, memory))
    }

    /// Whether this is a number of memory that nobody has any more but who passes it on.
    pub(crate) fn is_abandoned(&self) -> bool {
        let source = self.source.as_ref();
        source.is_some_and(|source| {
            Arc::strong_count(source) <= source.passings.load(Ordering::Relaxed)
        })
    }
}

impl Drop for PayloadSegment {
    fn drop(&mut self) {
        if self.is_kept {
            KEPT.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(source) = &self.source {
            source.passings.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A segment of slots whose memory is being made.
pub(crate) struct UnfinishedSegment {
    id: SegmentId,
    stride: usize,
    memory: memfd::Unfinished,
    /// For errors.
    doing: String,
}

impl UnfinishedSegment {
    /// A segment as of [`PayloadSegment::create`], without memory.
    ///
    /// # Errors
    /// [`Error::ResourceExhausted`] where there can't be enough memory.
    pub(crate) fn start(id: SegmentId, slot_size: usize, count: usize) -> Result<Self> {
        let doing = format!("making {count} slots of {slot_size} bytes");
        let stride = slot_size.max(1).checked_next_multiple_of(PAGE);
        let len = stride.and_then(|stride| stride.checked_mul(count));
        let (Some(stride), Some(len @ ..=MAX_SIZE)) = (stride, len) else {
            return Err(Error::memory("")(Errno::NOMEM).doing(|| doing));
        };
        match memfd::Unfinished::start("xmem-payload", len) {
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
        let finish = || {
            let (fd, mapping) = self.memory.finish(memfd::producer_seals())?;
            Ok((memfd::reopen_read_only(fd)?, mapping))
        };
        let (fd, mapping) = finish().map_err(|error: Error| error.doing(|| doing))?;
        let (kind, len) = (SegmentKind::Memfd, mapping.len());
        let segment = PayloadSegment::new(id, kind, len, Some(mapping), Some(fd));
        Ok((Arc::new(segment), stride))
    }
}

fn check_dma_buf(fd: &OwnedFd, len: usize) -> Result<()> {
    let broken = |what: String| Err(Error::Protocol(what));
    if !foreign::is_dma_buf(fd)? {
        return broken("the peer passed something that is not a dmabuf as one".into());
    }
    match foreign::dma_buf_size(fd)? {
        size if size == len => Ok(()),
        size => broken(format!("a dmabuf has {size} bytes, {len} were announced")),
    }
}
