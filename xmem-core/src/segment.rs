//! Floor 2: the shared areas, and the memory that they are in.
//!
//! Three kinds of area are shared (see `docs/architecture.md`): one metadata segment a channel,
//! payload segments, and one lease page a client.

mod import;
mod layout;
mod lease_page;
mod memory;
mod metadata;
mod payload;

pub use import::ImportedMemory;
pub use layout::MAX_LEASES;
pub(crate) use layout::{
    INLINE_EXTRA, MAX_EXTRA, MAX_SLOTS, PAGE, SPILL_SIZE, SegmentId, VERSION, read_location,
    write_location,
};
pub(crate) use lease_page::{LeasePage, UnsealedPage};
#[cfg(test)]
pub(crate) use memory::DeviceDescription;
pub use memory::Storage;
pub(crate) use memory::{Descriptor, MemoryDescription, MemoryKind, SegmentMemory, Takes};
pub(crate) use metadata::MetadataSegment;
pub(crate) use payload::{PayloadSegment, UnfinishedSegment};
