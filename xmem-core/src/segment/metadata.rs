//! The metadata segment of a channel: from numbers to `&Atomic` and bytes.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::layout::{HEAD, INLINE_EXTRA, MAX_SLOTS, MetadataLayout, VERSION};
use crate::error::{Error, Result};
use crate::lease::{ChannelWords, SlotIndex};
use crate::meta::BufferMeta;
use crate::sys::mapping::Mapping;
use crate::sys::memfd::{self, Maker};
use crate::sys::seals;

const MAGIC: u64 = u64::from_le_bytes(*b"xmem/mta");

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
        let (fd, mapping) = memfd::create("xmem-metadata", layout.size, seals::producer_seals())?;
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
        seals::check_seals(&fd, seals::producer_seals())?;
        let segment = MetadataSegment { mapping, layout };
        Ok((segment, memfd::reopen_read_only(fd)?))
    }

    /// Maps a segment that a producer made, read-only.
    pub(crate) fn open(fd: impl AsFd, slots: u32, maker: Maker) -> Result<MetadataSegment> {
        if !(1..=MAX_SLOTS).contains(&slots) {
            return Err(Error::Protocol(format!("{slots} slots announced")));
        }
        let layout = MetadataLayout::new(slots);
        let mapping = memfd::open(fd, layout.size, seals::producer_seals(), maker)?;
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
    pub(crate) fn words(&self) -> ChannelWords<'_> {
        let layout = &self.layout;
        ChannelWords {
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
