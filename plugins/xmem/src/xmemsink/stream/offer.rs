//! Offers slots to upstream, through a pool and an allocator.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use gst::prelude::*;
use gst_video::VideoInfo;
use xmem_core::{Canceller, Publisher};

use crate::caps::Format;
use crate::cuda::Context;
use crate::memory::bufferpool::XmemBufferPool;
use crate::memory::cuda_pool::{CudaPool, Inner};
use crate::memory::poolstate::OnFailure;
use crate::memory::slot::XmemAllocator;
use crate::metas;

/// The minimum number of buffers of a pool.
const MIN_BUFFERS: u32 = 2;

/// Used on any thread: upstream may query or flush while the streaming thread waits.
pub(in crate::xmemsink) struct Offer {
    publisher: Arc<Publisher>,
    allocator: XmemAllocator,
    pools: Mutex<Pools>,
    /// The CUDA context of upstream, for frames in CUDA memory.
    context: Mutex<Option<Context>>,
    /// Called with the reason why upstream gets no slot.
    on_failure: OnFailure,
}

/// The pools that upstream has. While upstream flushes, nothing waits in them.
#[derive(Default)]
struct Pools {
    list: Vec<Offered>,
    flushing: bool,
}

/// A pool that upstream has.
#[derive(Clone)]
enum Offered {
    System(glib::WeakRef<XmemBufferPool>),
    Cuda(Weak<Inner>),
}

impl Offered {
    fn is_alive(&self) -> bool {
        match self {
            Offered::System(pool) => pool.upgrade().is_some(),
            Offered::Cuda(pool) => pool.strong_count() > 0,
        }
    }

    fn set_flushing(&self, flushing: bool) {
        match self {
            Offered::System(pool) => {
                if let Some(pool) = pool.upgrade() {
                    pool.set_sink_flushing(flushing);
                }
            }
            Offered::Cuda(pool) => {
                if let Some(pool) = pool.upgrade() {
                    pool.set_sink_flushing(flushing);
                }
            }
        }
    }
}

impl Offer {
    pub(super) fn new(
        publisher: &Arc<Publisher>,
        canceller: &Canceller,
        on_failure: OnFailure,
    ) -> Offer {
        Offer {
            publisher: publisher.clone(),
            allocator: XmemAllocator::new(publisher, canceller),
            pools: Mutex::default(),
            context: Mutex::default(),
            on_failure,
        }
    }

    fn pools(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the pools to flushing: while upstream flushes, it does not wait in them.
    pub(in crate::xmemsink) fn set_flushing(&self, flushing: bool) {
        let pools = {
            let mut pools = self.pools();
            pools.flushing = flushing;
            pools.list.retain(Offered::is_alive);
            pools.list.clone()
        };
        for pool in pools {
            pool.set_flushing(flushing);
        }
    }

    /// Sets the CUDA context of upstream; `None` for frames in other memory.
    pub(super) fn set_context(&self, context: Option<Context>) {
        *self.context.lock().unwrap_or_else(PoisonError::into_inner) = context;
    }

    /// Returns the CUDA context of upstream, if frames are in CUDA memory.
    pub(in crate::xmemsink) fn context(&self) -> Option<Context> {
        let context = self.context.lock().unwrap_or_else(PoisonError::into_inner);
        context.clone()
    }

    /// Answers an ALLOCATION query.
    pub(in crate::xmemsink) fn propose(
        &self,
        query: &mut gst::query::Allocation,
        max_buffers: u32,
    ) -> Result<(), gst::LoggableError> {
        let (caps, need_pool) = query.get_owned();
        let format = caps.as_ref().and_then(|caps| Format::from_caps(caps).ok());
        let memory = format.as_ref().map(|format| format.memory);
        if memory.is_some_and(|memory| !memory.is_for_cpu()) {
            if let (Some(caps), Some(info), true) =
                (caps, format.and_then(|it| it.video), need_pool)
            {
                self.propose_cuda(query, &caps, &info, max_buffers);
            }
            metas::propose(query);
            return Ok(());
        }
        if memory.is_some_and(|memory| !memory.can_be_copied()) {
            // Upstream cannot write such frames into slots.
            return Ok(());
        }
        if let (Some(caps), Some(info)) = (&caps, format.and_then(|format| format.video)) {
            let size = u32::try_from(info.size()).map_err(|_| {
                gst::loggable_error!(crate::log::CAT, "Frames of {} bytes", info.size())
            })?;
            let pool = if need_pool {
                Some(self.new_pool(caps, size)?)
            } else {
                None
            };
            query.add_allocation_pool(pool.as_ref(), size, MIN_BUFFERS, max_buffers);
        }
        // A query without caps comes from a source of blocks, such as filesrc. An element in
        // between makes frames of the blocks, and only frames need slots.
        if caps.is_some() {
            let params = gst::AllocationParams::default();
            query.add_allocation_param(Some(&self.allocator), params);
        }
        metas::propose(query);
        Ok(())
    }

    fn new_pool(&self, caps: &gst::Caps, size: u32) -> Result<XmemBufferPool, gst::LoggableError> {
        let pool = XmemBufferPool::new(&self.publisher, &self.on_failure);
        let mut config = pool.config();
        config.set_params(Some(caps), size, MIN_BUFFERS, 0);
        pool.set_config(config)
            .map_err(|error| gst::loggable_error!(crate::log::CAT, "No pool: {error}"))?;
        self.note(Offered::System(pool.downgrade()));
        Ok(pool)
    }

    /// Notes a pool that upstream gets.
    fn note(&self, pool: Offered) {
        let mut pools = self.pools();
        pool.set_flushing(pools.flushing);
        pools.list.push(pool);
    }

    /// Proposes a pool of slots in CUDA memory, if there can be one. Otherwise frames are copied.
    fn propose_cuda(
        &self,
        query: &mut gst::query::Allocation,
        caps: &gst::Caps,
        info: &VideoInfo,
        max_buffers: u32,
    ) {
        let context = self.context();
        let pool =
            context.and_then(|context| CudaPool::new(&context, &self.publisher, &self.on_failure));
        let Some((pool, size)) = pool.zip(u32::try_from(info.size()).ok()) else {
            return;
        };
        match pool.configure(caps, size, MIN_BUFFERS) {
            Ok(size) => {
                self.note(Offered::Cuda(pool.downgrade()));
                query.add_allocation_pool(Some(pool.pool()), size, MIN_BUFFERS, max_buffers);
            }
            Err(error) => gst::debug!(crate::log::CAT, "No pool of CUDA memory: {error}"),
        }
    }
}
