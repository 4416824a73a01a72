//! What stands where in the shared areas, and how much there can be.
//!
//! It is a function of a few numbers that both sides compute, so there is no offset that a peer
//! could lie about.

use crate::meta::BufferMeta;

/// The version of everything that two processes share: areas and messages.
pub(crate) const VERSION: u32 = 5;

/// Most slots of a channel.
pub(crate) const MAX_SLOTS: u32 = 4096;
/// Most leases of one client: each costs the producer a look in every scan.
pub const MAX_LEASES: u32 = 256;
/// Bytes beside each `BufferMeta` for serialized metas; longer ones take memory of their own.
pub(crate) const INLINE_EXTRA: u32 = 640;
/// Most bytes of serialized metas that a client accepts.
pub(crate) const MAX_EXTRA: u32 = 1 << 26;

/// Bytes of a processor's cache line.
pub(super) const LINE: usize = 64;
/// Where the words of the channel start in the metadata segment.
pub(super) const HEAD: usize = 2 * LINE;
const HEADER_SIZE: usize = 4 * LINE;
/// Where slots start, and what sizes are multiples of.
pub(crate) const PAGE: usize = 4096;

/// The number of a payload segment; never used twice in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SegmentId(pub(crate) u32);

/// The numbers that decide where everything stands in a metadata segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MetadataLayout {
    pub(crate) slots: u32,
    pub(crate) ring: u32,
    pub(super) states_at: usize,
    pub(super) ring_at: usize,
    pub(super) metas_at: usize,
    pub(super) extras_at: usize,
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
