//! GStreamer's CUDA library, bound at run time.
//!
//! The plugin does not link `libgstcuda-1.0.so.0`, so it loads where the library or a driver is
//! missing. [`functions::library`] loads both when caps with CUDA memory come, and not before: a pipeline with
//! memory of the CPU loads nothing. The values of the other files exist only with the library.
//!
//! The library has the same name in GStreamer 1.22 and 1.24, and functions of the same name with
//! other arguments. [`Library`] tells the versions apart by the functions that are there. Before
//! 1.24 there are no [`Stream`]s, and no memory can be [wrapped](memory::wrap).
//!
//! Errors are those of the core, [`CudaError`](xmem_core::cuda::CudaError).

mod context;
mod copy;
mod formats;
mod functions;
pub(crate) mod memory;
mod stream;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use context::{Context, ElementContext};
pub(crate) use copy::{Rows, copy_rows};
pub(crate) use functions::{BufferPool, Library};
pub(crate) use memory::CudaMemory;
pub(crate) use stream::Stream;
