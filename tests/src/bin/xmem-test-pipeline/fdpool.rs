//! Buffers in memory with descriptors that is not of xmem, as other elements make it.
#![allow(unsafe_code)]

use std::os::fd::IntoRawFd;
use std::sync::{LazyLock, Mutex};

use gst::ffi;
use gst::glib;
use gst::glib::translate::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_allocators::ffi as allocators;
use gst_allocators::subclass::prelude::*;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use xmem_tests::pipeline::Memfds;

mod imp {
    use super::*;

    /// Allocates memfds.
    #[derive(Default)]
    pub struct MemfdAllocator {
        /// Whether the memfds can be sealed.
        pub sealable: Mutex<bool>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for MemfdAllocator {
        const NAME: &'static str = "TestMemfdAllocator";
        type Type = super::MemfdAllocator;
        type ParentType = gst_allocators::FdAllocator;
    }

    impl ObjectImpl for MemfdAllocator {}
    impl GstObjectImpl for MemfdAllocator {}
    impl FdAllocatorImpl for MemfdAllocator {}

    // SAFETY: `alloc` returns memory that `GstFdAllocator` has made and can free.
    unsafe impl AllocatorImpl for MemfdAllocator {
        unsafe fn alloc(&self, size: usize, params: &gst::AllocationParams) -> *mut ffi::GstMemory {
            let maxsize = size + params.prefix() + params.padding();
            let flags = if *self.sealable.lock().expect("not poisoned") {
                MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING
            } else {
                MemfdFlags::CLOEXEC
            };
            let fd = memfd_create("test-memfd", flags).expect("a memfd");
            ftruncate(&fd, maxsize as u64).expect("the size can be set");
            let obj = self.obj();
            let allocator: &gst::Allocator = obj.upcast_ref();
            // SAFETY: the allocator is a `GstFdAllocator`, the descriptor is given away, and the
            // memory is new and as large as the range that is set.
            unsafe {
                let memory = allocators::gst_fd_allocator_alloc(
                    allocator.as_ptr(),
                    fd.into_raw_fd(),
                    maxsize,
                    allocators::GST_FD_MEMORY_FLAG_KEEP_MAPPED,
                );
                ffi::gst_memory_resize(memory, params.prefix() as isize, size);
                memory
            }
        }
    }
}

glib::wrapper! {
    pub struct MemfdAllocator(ObjectSubclass<imp::MemfdAllocator>)
        @extends gst_allocators::FdAllocator, gst::Allocator, gst::Object;
}

/// The kind of buffers of a pool.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) size: usize,
    pub(crate) memfds: Memfds,
}

/// All pools.
static POOLS: LazyLock<Mutex<Vec<(Kind, gst::BufferPool)>>> = LazyLock::new(Mutex::default);

/// Number of buffers of all pools that are not in use.
pub(crate) fn unused() -> usize {
    let pools = POOLS.lock().expect("not poisoned");
    let mut unused = Vec::new();
    for (_, pool) in pools.iter() {
        let params =
            gst::BufferPoolAcquireParams::with_flags(gst::BufferPoolAcquireFlags::DONTWAIT);
        while let Ok(buffer) = pool.acquire_buffer(Some(&params)) {
            unused.push(buffer);
        }
    }
    unused.len()
}

/// Drops all pools. Their memory is freed with the last buffer that is in use.
pub(crate) fn give_up() {
    for (_, pool) in POOLS.lock().expect("not poisoned").drain(..) {
        pool.set_active(false).expect("it stops");
    }
}

/// A buffer of a pool of this kind. The first call creates the pool.
pub(crate) fn buffer(kind: Kind) -> gst::Buffer {
    let mut pools = POOLS.lock().expect("not poisoned");
    let pool = match pools.iter().find(|(one, _)| *one == kind) {
        Some((_, pool)) => pool.clone(),
        None => {
            let allocator: MemfdAllocator = glib::Object::new();
            *allocator.imp().sealable.lock().expect("not poisoned") = kind.memfds.sealable;
            let pool = gst::BufferPool::new();
            let mut config = pool.config();
            let size = u32::try_from(kind.size).expect("a small buffer");
            config.set_params(None, size, 0, kind.memfds.count);
            let params =
                gst::AllocationParams::new(gst::MemoryFlags::empty(), 0, kind.memfds.prefix, 0);
            config.set_allocator(Some(&allocator), Some(&params));
            pool.set_config(config).expect("a config");
            pool.set_active(true).expect("it starts");
            pools.push((kind, pool.clone()));
            pool
        }
    };
    drop(pools);
    pool.acquire_buffer(None).expect("a buffer")
}
