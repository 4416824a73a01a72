//! Memory of buffers: what xmem makes for upstream and downstream, and what it imports of others.
//!
//! A kind of memory is a file of its own: [`slot`] is the memory that upstream writes, [`frame`] the
//! memory of received frames, and [`fd`] fd-backed memory of other elements.

pub(crate) mod bufferpool;
pub(crate) mod fd;
pub(crate) mod frame;
pub(crate) mod framepool;
pub(crate) mod import;
pub(crate) mod record;
pub(crate) mod recorder;
pub(crate) mod slot;
pub(crate) mod usage;
