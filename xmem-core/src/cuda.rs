//! Memory of CUDA devices, shared between processes. With the feature `cuda`.
//!
//! A producer with [`Storage::Cuda`](crate::Storage::Cuda) has slots in the memory of a [`Device`]. Its
//! frames are written and read by work that a process puts on streams: it
//! [publishes](crate::FrameMut::publish_after) a frame *after* the work that writes it, and
//! [releases](crate::Frame::release_after) a frame *after* the work that reads it. Neither call waits for the
//! device. A thread of this process does, so that a client that receives a frame can use it at once, and a
//! slot is written again only when its readers are done. No process waits on the device for another process.
//!
//! The driver is loaded when a device is asked for. No toolkit is needed to build, and no driver to run.
//! `docs/cuda.md` says how it works, and what can be relied on.
//!
//! # Examples
//!
//! ```no_run
//! use xmem_core::cuda::{Device, Work};
//! use xmem_core::{Channel, Publisher, Storage};
//!
//! # fn main() -> xmem_core::Result<()> {
//! let device = Device::get(0)?;
//! let publisher = Publisher::builder(Channel::name("gpu0"))
//!     .storage(Storage::Cuda(device.clone()))
//!     .slots(4)
//!     .open()?;
//! let frame = publisher.acquire(1920 * 1080 * 3)?;
//! let address = frame.device_address().unwrap();
//! // Enqueue what writes the picture at `address`, on the default stream here; then:
//! frame.publish_after(&Work::default_stream(&device)).map_err(|unpublished| unpublished.reason)?;
//! # Ok(())
//! # }
//! ```

pub(crate) mod completion;
cfg_if::cfg_if! {
    if #[cfg(feature = "cuda")] {
        mod device;
        mod driver;
        mod memory;
        mod stream;

        pub use device::Device;
        pub(crate) use memory::{DeviceMemory, Export, IpcHandle};
        pub(crate) use stream::Event;
        pub use stream::Work;
    } else {
        mod without;

        pub(crate) use without::{DeviceMemory, Event, Export, IpcHandle};
        pub use without::{Device, Work};
    }
}

pub use crate::error::CudaError;
pub use crate::uuid::Uuid;
