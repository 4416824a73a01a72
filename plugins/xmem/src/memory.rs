//! Memory of buffers: what xmem makes for upstream and downstream, and what it imports of others.
//!
//! [`kind`] is the one room in which the kinds of memory meet. Each kind has a file or a folder of
//! its own: [`slot`] is the memory that upstream writes, [`frame`] the memory of received frames,
//! [`cuda_frame`] that of frames in CUDA memory, and [`fd`] fd-backed memory of other elements.

mod attached;
pub(crate) mod bufferpool;
pub(crate) mod cuda_frame;
pub(crate) mod cuda_pool;
pub(crate) mod cuda_slot;
mod fd;
mod frame;
mod framepool;
mod functions;
pub(crate) mod import;
pub(crate) mod kind;
pub(crate) mod poolstate;
pub(crate) mod record;
pub(crate) mod recorder;
pub(crate) mod slot;
pub(crate) mod usage;
