//! The buffer pool in which upstream writes straight into slots in the memory of a CUDA device, since
//! GStreamer 1.24.
//!
//! Elements use no pool for CUDA memory but a `GstCudaBufferPool`. So the pool is a subclass of that. It is
//! registered at run time, because the plugin does not link the library; and it calls the functions of
//! `GstBufferPool`, because those of its parent allocate.

use std::sync::{Arc, Weak};

use gst::prelude::*;
use xmem_core::Publisher;

use super::poolstate::OnFailure;
use crate::cuda::Context;

mod buffers;
mod class;

pub(crate) use buffers::Inner;

/// A pool of a publisher's slots in the memory of a device.
pub(crate) struct CudaPool {
    pool: gst::BufferPool,
    inner: Arc<Inner>,
}

impl CudaPool {
    /// Creates a pool for elements that work in this context. `None` before GStreamer 1.24.
    pub(crate) fn new(
        context: &Context,
        publisher: &Arc<Publisher>,
        on_failure: &OnFailure,
    ) -> Option<CudaPool> {
        let inner = Arc::new(Inner::new(context, publisher, on_failure));
        let pool = class::new_pool(context, inner.clone())?;
        Some(CudaPool { pool, inner })
    }

    /// Configures the pool as it is proposed. Returns the bytes of a buffer.
    ///
    /// # Errors
    /// If GStreamer has no such pictures in CUDA memory.
    pub(crate) fn configure(
        &self,
        caps: &gst::Caps,
        size: u32,
        min_buffers: u32,
    ) -> Result<u32, glib::BoolError> {
        let mut config = self.pool.config();
        config.set_params(Some(caps), size, min_buffers, 0);
        config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META);
        // Upstream may set another one. All work on a buffer then is on a stream that is known here.
        if let Ok(stream) = self.inner.new_stream() {
            stream.set_in_config(&mut config);
        }
        self.pool.set_config(config)?;
        let params = self.pool.config().params();
        Ok(params.map_or(size, |(_, size, _, _)| size))
    }

    pub(crate) fn pool(&self) -> &gst::BufferPool {
        &self.pool
    }

    /// Returns what to call while the sink flushes.
    pub(crate) fn downgrade(&self) -> Weak<Inner> {
        Arc::downgrade(&self.inner)
    }
}

#[cfg(test)]
mod tests {
    use xmem_core::cuda::Device;
    use xmem_core::{Channel, Storage};

    use super::*;
    use crate::cuda::tests::on_the_stand_in_with;
    use crate::cuda::{CudaMemory, ElementContext};
    use crate::memory::bufferpool::XmemBufferPool;

    #[test]
    fn buffers_of_other_memory_where_slots_are_of_another_stream() {
        let name = "buffers_of_other_memory_where_slots_are_of_another_stream";
        on_the_stand_in_with(module_path!(), name, &[], |element| {
            let directory = tempfile::tempdir().unwrap();
            let channel = Channel::path(directory.path().join("gpu.sock"));
            let publisher = Arc::new(Publisher::builder(channel).open().unwrap());
            let on_failure: OnFailure = Arc::new(|error| panic!("{error}"));
            let caps = |features: &str| -> gst::Caps {
                let rest = "format=NV12,width=64,height=48,framerate=30/1";
                format!("video/x-raw{features},{rest}").parse().unwrap()
            };
            let is_cuda = |pool: &gst::BufferPool| {
                let buffer = pool.acquire_buffer(None).unwrap();
                CudaMemory::of(buffer.peek_memory(0)).is_some()
            };
            let system = XmemBufferPool::new(&publisher, &on_failure);
            let mut config = system.config();
            config.set_params(Some(&caps("")), 64 * 48 * 3 / 2, 2, 0);
            system.set_config(config).unwrap();
            system.set_active(true).unwrap();
            let device = Device::get(0).unwrap();
            publisher.set_storage(Storage::Cuda(device)).unwrap();
            assert!(!is_cuda(system.upcast_ref()));
            system.set_active(false).unwrap();

            let context = ElementContext::default().ensure(element, Some(0)).unwrap();
            let Some(cuda) = CudaPool::new(&context, &publisher, &on_failure) else {
                return;
            };
            let caps = caps("(memory:CUDAMemory)");
            cuda.configure(&caps, 64 * 48 * 3 / 2, 2).unwrap();
            cuda.pool().set_active(true).unwrap();
            publisher.set_storage(Storage::Cpu).unwrap();
            assert!(is_cuda(cuda.pool()));
            cuda.pool().set_active(false).unwrap();
        });
    }
}
