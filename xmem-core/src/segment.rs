//! Floor 2: the layout of the shared areas; from numbers to `&Atomic` and bytes.
//!
//! Three kinds of area are shared (see `docs/architecture.md`): one metadata segment a channel,
//! payload segments, and one lease page a client. What stands where is a function of a few
//! numbers that both sides compute, so there is no offset that a peer could lie about.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::dtype::AccessMode;
use crate::error::{Error, Result};
use crate::lease::{Board, Page, SlotIndex};
use crate::meta::BufferMeta;
use crate::sys::mapping::Mapping;
use crate::sys::memfd::{self, Maker};

mod payload;
mod unprepared;

pub(crate) use payload::{PayloadSegment, SegmentId, SegmentKind, UnfinishedSegment};

/// The version of everything that two processes share: areas and messages.
pub(crate) const VERSION: u32 = 4;

/// Most slots of a channel.
pub(crate) const MAX_SLOTS: u32 = 4096;
/// Most leases of one client: each costs the producer a look in every scan.
pub const MAX_LEASES: u32 = 256;
/// Bytes beside each `BufferMeta` for serialized metas; longer ones take memory of their own.
pub(crate) const INLINE_EXTRA: u32 = 640;
/// Most bytes of serialized metas that a client accepts.
pub(crate) const MAX_EXTRA: u32 = 1 << 26;

const MAGIC: u64 = u64::from_le_bytes(*b"xmem/mta");
const LINE: usize = 64;
const HEAD: usize = 2 * LINE;
const HEADER_SIZE: usize = 4 * LINE;
/// Where slots start, and what sizes are multiples of.
pub(crate) const PAGE: usize = 4096;

/// The start of the metadata segment, written once before any client sees it.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Header {
    magic: u64,
    version: u32,
    slots: u32,
    ring: u32,
    extra: u32,
    pid: u32,
    zero: u32,
}

/// The numbers that decide where everything stands in a metadata segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MetadataLayout {
    pub(crate) slots: u32,
    pub(crate) ring: u32,
    states_at: usize,
    ring_at: usize,
    metas_at: usize,
    extras_at: usize,
    pub(crate) size: usize,
}

impl MetadataLayout {
    /// Room for `slots` slots. The ring has twice as many entries, so that it never forgets a
    /// frame that is still there.
    pub(crate) fn new(slots: u32) -> MetadataLayout {
        assert!((1..=MAX_SLOTS).contains(&slots));
        let ring = (2 * slots).next_power_of_two();
        let count = slots as usize;
        let states_at = HEADER_SIZE;
        let ring_at = (states_at + 8 * count).next_multiple_of(LINE);
        let metas_at = (ring_at + 8 * ring as usize).next_multiple_of(LINE);
        let extras_at = metas_at + size_of::<BufferMeta>() * count;
        let size = (extras_at + INLINE_EXTRA as usize * count).next_multiple_of(PAGE);
        MetadataLayout {
            slots,
            ring,
            states_at,
            ring_at,
            metas_at,
            extras_at,
            size,
        }
    }
}

/// The metadata segment, as the producer or a client maps it.
#[derive(Debug)]
pub(crate) struct MetadataSegment {
    mapping: Mapping,
    layout: MetadataLayout,
}

impl MetadataSegment {
    /// Makes the segment. The descriptor can only read and is for the clients.
    pub(crate) fn create(slots: u32) -> Result<(MetadataSegment, OwnedFd)> {
        let layout = MetadataLayout::new(slots);
        let (fd, mapping) = memfd::create("xmem-metadata", layout.size, memfd::producer_seals())?;
        let header = Header {
            magic: MAGIC,
            version: VERSION,
            slots: layout.slots,
            ring: layout.ring,
            extra: INLINE_EXTRA,
            pid: std::process::id(),
            zero: 0,
        };
        mapping.write(0, header.as_bytes());
        // Where the kernel does not tell the seals of a file, no client can be admitted later.
        memfd::check_seals(&fd, memfd::producer_seals())?;
        let segment = MetadataSegment { mapping, layout };
        Ok((segment, memfd::reopen_read_only(fd)?))
    }

    /// Maps a segment that a producer made, read-only.
    pub(crate) fn open(fd: impl AsFd, slots: u32, maker: Maker) -> Result<MetadataSegment> {
        if !(1..=MAX_SLOTS).contains(&slots) {
            return Err(Error::Protocol(format!("{slots} slots announced")));
        }
        let layout = MetadataLayout::new(slots);
        let mapping = memfd::open(fd, layout.size, memfd::producer_seals(), maker)?;
        let mut header = Header::new_zeroed();
        mapping.read(0, header.as_mut_bytes());
        let expected = (MAGIC, VERSION, slots, layout.ring, INLINE_EXTRA);
        let found = (
            header.magic,
            header.version,
            header.slots,
            header.ring,
            header.extra,
        );
        if found != expected {
            return Err(Error::Protocol(format!(
                "the metadata segment's header is {found:?}, {expected:?} was expected"
            )));
        }
        Ok(MetadataSegment { mapping, layout })
    }

    pub(crate) fn layout(&self) -> &MetadataLayout {
        &self.layout
    }

    /// The words that the lease protocol runs on.
    pub(crate) fn board(&self) -> Board<'_> {
        let layout = &self.layout;
        Board {
            states: self
                .mapping
                .atomics(layout.states_at, layout.slots as usize),
            ring: self.mapping.atomics(layout.ring_at, layout.ring as usize),
            head: &self.mapping.atomics::<AtomicU64>(HEAD, 1)[0],
            writer_waiting: &self.mapping.atomics::<AtomicU32>(HEAD + 8, 1)[0],
            end: &self.mapping.atomics::<AtomicU64>(HEAD + 16, 1)[0],
        }
    }

    fn meta_at(&self, slot: SlotIndex) -> usize {
        assert!(u32::from(slot.0) < self.layout.slots);
        self.layout.metas_at + size_of::<BufferMeta>() * usize::from(slot.0)
    }

    fn extra_at(&self, slot: SlotIndex) -> usize {
        assert!(u32::from(slot.0) < self.layout.slots);
        self.layout.extras_at + INLINE_EXTRA as usize * usize::from(slot.0)
    }

    /// A copy of the slot's record, as it is: unchecked, and whole only under a lease.
    pub(crate) fn read_meta(&self, slot: SlotIndex) -> BufferMeta {
        let mut meta = BufferMeta::new_zeroed();
        self.mapping.read(self.meta_at(slot), meta.as_mut_bytes());
        meta
    }

    pub(crate) fn write_meta(&self, slot: SlotIndex, meta: &BufferMeta) {
        self.mapping.write(self.meta_at(slot), meta.as_bytes());
    }

    /// Notes how many clients were seen holding the slot's frame.
    pub(crate) fn set_ref_count(&self, slot: SlotIndex, count: i32) {
        let at = self.meta_at(slot) + std::mem::offset_of!(BufferMeta, ref_count);
        // Relaxed: a figure to look at, nothing hangs on it.
        self.mapping.atomics::<AtomicI32>(at, 1)[0].store(count, Ordering::Relaxed);
    }

    /// Copies out the first bytes of the slot's inline extra space.
    ///
    /// # Panics
    /// For more than `INLINE_EXTRA` bytes.
    pub(crate) fn read_extra(&self, slot: SlotIndex, into: &mut [u8]) {
        assert!(into.len() <= INLINE_EXTRA as usize);
        self.mapping.read(self.extra_at(slot), into);
    }

    /// # Panics
    /// For more than `INLINE_EXTRA` bytes.
    pub(crate) fn write_extra(&self, slot: SlotIndex, from: &[u8]) {
        assert!(from.len() <= INLINE_EXTRA as usize);
        self.mapping.write(self.extra_at(slot), from);
    }
}

/// Bytes of the location that stands in a slot's extra space when the extra bytes are elsewhere.
pub(crate) const SPILL_SIZE: usize = 16;

/// A location: offset `u64`, segment `u32`, zero `u32`.
pub(crate) fn write_location(segment: SegmentId, offset: u64) -> [u8; SPILL_SIZE] {
    let mut bytes = [0; SPILL_SIZE];
    bytes[..8].copy_from_slice(&offset.to_le_bytes());
    bytes[8..12].copy_from_slice(&segment.0.to_le_bytes());
    bytes
}

/// What [`write_location`] wrote, unchecked.
pub(crate) fn read_location(bytes: &[u8; SPILL_SIZE]) -> (SegmentId, u64) {
    let word = u128::from_le_bytes(*bytes);
    (SegmentId((word >> 64) as u32), word as u64)
}

/// One client's page: its leases, its cursor, and the words that it and the writer sleep on.
#[derive(Debug)]
pub(crate) struct LeasePage {
    mapping: Mapping,
    /// How many of its words are leases. What stands in the others means nothing.
    leases: AtomicU32,
}

/// The size of every lease page, in bytes.
pub(crate) const LEASE_PAGE_SIZE: usize = PAGE;
/// What the client writes, what the producer writes and the leases are in cache lines of their own.
const WAKE_AT: usize = LINE;
const LEASES_AT: usize = 2 * LINE;
const _: () = assert!(LEASES_AT + 8 * MAX_LEASES as usize <= LEASE_PAGE_SIZE);

/// A lease page that its client has yet to map, and to seal.
///
/// The client seals it, and the producer looks whether it has. A seal waits for the file's lock, which
/// the kernel holds during a write; and a process can write from memory whose page fault does not
/// end. So a producer that added the seals could be held up by its client.
#[derive(Debug)]
pub(crate) struct UnsealedPage {
    page: LeasePage,
    fd: OwnedFd,
}

impl UnsealedPage {
    /// Makes the page for a client with `leases` leases (at most [`MAX_LEASES`]).
    pub(crate) fn create(leases: u32) -> Result<UnsealedPage> {
        assert!((1..=MAX_LEASES).contains(&leases));
        let (fd, mapping) = memfd::create("xmem-leases", LEASE_PAGE_SIZE, memfd::size_seals())?;
        let page = LeasePage::new(mapping, leases);
        Ok(UnsealedPage { page, fd })
    }

    /// Maps the page that the producer made for this client.
    ///
    /// All its words are there; which of them are leases, the client's [`Link`](crate::link::Link) knows.
    pub(crate) fn open(fd: OwnedFd) -> Result<UnsealedPage> {
        let access = AccessMode::ReadWrite;
        let mapping = memfd::map(&fd, LEASE_PAGE_SIZE, memfd::size_seals(), access)?;
        let page = LeasePage::new(mapping, MAX_LEASES);
        Ok(UnsealedPage { page, fd })
    }

    /// Its descriptor.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Takes the page in use, after the client has sealed it: from now on no process can punch a
    /// hole into it, which would make the next look at it a page fault that waits.
    ///
    /// # Errors
    /// [`Error::Protocol`] where the client has not sealed it.
    pub(crate) fn sealed(self) -> Result<LeasePage> {
        memfd::check_seals(&self.fd, memfd::producer_seals()).map_err(|error| match error {
            Error::Protocol(_) => {
                let what = "the lease page is not sealed: the client adds F_SEAL_FUTURE_WRITE and \
                            F_SEAL_SEAL before it says that it is ready";
                Error::Protocol(what.into())
            }
            other => other,
        })?;
        // A hole that was punched before is filled here, off the thread that writes frames, without
        // the file's lock. The cursor has no meaning yet.
        if !self.page.mapping.populate(0..LEASE_PAGE_SIZE)? {
            self.page.page().pass(0);
        }
        // The page may count for the client's control group, if the client has filled the hole.
        self.page.mapping.lock();
        Ok(self.page)
    }
}

impl LeasePage {
    fn new(mapping: Mapping, leases: u32) -> LeasePage {
        let leases = AtomicU32::new(leases);
        LeasePage { mapping, leases }
    }

    pub(crate) fn leases(&self) -> u32 {
        // Relaxed: the producer changes it under the lock that it looks at the leases under.
        self.leases.load(Ordering::Relaxed)
    }

    /// From now on there are so many leases (at most [`MAX_LEASES`]).
    pub(crate) fn set_leases(&self, leases: u32) {
        assert!((1..=MAX_LEASES).contains(&leases));
        self.leases.store(leases, Ordering::Relaxed);
    }

    /// The words that the lease protocol runs on.
    pub(crate) fn page(&self) -> Page<'_> {
        Page {
            sleep: &self.mapping.atomics::<AtomicU64>(0, 1)[0],
            cursor: &self.mapping.atomics::<AtomicU64>(8, 1)[0],
            missed: &self.mapping.atomics::<AtomicU64>(16, 1)[0],
            progress: &self.mapping.atomics::<AtomicU32>(24, 1)[0],
            wake: &self.mapping.atomics::<AtomicU32>(WAKE_AT, 1)[0],
            leases: self.mapping.atomics(LEASES_AT, self.leases() as usize),
        }
    }
}
