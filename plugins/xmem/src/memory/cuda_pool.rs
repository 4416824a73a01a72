//! The buffer pool in which upstream writes straight into slots in the memory of a CUDA device, since
//! GStreamer 1.24.
//!
//! Elements use no pool for CUDA memory but a `GstCudaBufferPool`. So the pool is a subclass of that. It is
//! registered at run time, because the plugin does not link the library; and it calls the functions of
//! `GstBufferPool`, because those of its parent allocate.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::{Arc, LazyLock, OnceLock, Weak};

use glib::ffi::{GFALSE, gboolean, gpointer};
use glib::gobject_ffi as gobject;
use glib::translate::{FromGlib, IntoGlib, IntoGlibPtr, ToGlibPtr, from_glib_full, from_glib_none};
use gst::ffi;
use gst::prelude::*;
use gst_video::VideoInfo;
use xmem_core::Publisher;
use xmem_media::VideoLayout;

use super::cuda_slot::{release, slot_memory};
use super::kind::CapsMemory;
use super::poolstate::{OnFailure, PoolState, SlotConfig};
use crate::caps::describe;
use crate::cuda::memory::{alloc, picture};
use crate::cuda::{BufferPool, Context, Library, Stream};
use crate::log::CAT;
use crate::metas;

/// A pool of a publisher's slots in the memory of a device.
#[derive(Debug)]
pub(crate) struct CudaPool {
    pool: gst::BufferPool,
}

/// What a pool has beside the fields of its parent.
pub(crate) struct Inner {
    state: PoolState<Arc<Config>>,
    context: Context,
}

/// The buffers that upstream wants.
struct Config {
    min_buffers: u32,
    /// What the caps say.
    info: VideoInfo,
    /// How GStreamer lays out such pictures in CUDA memory.
    picture: VideoInfo,
    layout: VideoLayout,
    /// The stream on which upstream writes buffers.
    stream: Option<Stream>,
}

impl SlotConfig for Arc<Config> {
    fn size(&self) -> usize {
        self.picture.size()
    }

    fn min_buffers(&self) -> u32 {
        self.min_buffers
    }
}

impl CudaPool {
    /// Creates a pool for elements that work in this context. `None` before GStreamer 1.24.
    pub(crate) fn new(
        context: &Context,
        publisher: &Arc<Publisher>,
        on_failure: &OnFailure,
    ) -> Option<CudaPool> {
        let pool_type = pool_type(context.library())?;
        let inner = Inner {
            state: PoolState::default(),
            context: context.clone(),
        };
        inner.state.open(publisher, on_failure);
        let inner = Box::new(Arc::new(inner));
        let object: *mut ffi::GstObject = context.object().to_glib_none().0;
        // SAFETY: the type is a subclass of `GstCudaBufferPool`, and no other code has the new object. It
        // gets a reference to the context, which its parent gives back, and the box, which `drop_inner`
        // frees once.
        unsafe {
            let pool =
                gobject::g_object_new(pool_type.into_glib(), std::ptr::null::<std::ffi::c_char>());
            gobject::g_object_ref_sink(pool);
            (*pool.cast::<BufferPool>()).context = gobject::g_object_ref(object.cast()).cast();
            gobject::g_object_set_qdata_full(
                pool,
                inner_quark(),
                Box::into_raw(inner).cast(),
                Some(drop_inner),
            );
            let pool = from_glib_full(pool.cast::<ffi::GstBufferPool>());
            Some(CudaPool { pool })
        }
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
        if let Ok(stream) = inner(self.pool.as_ptr()).context.new_stream() {
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
        Arc::downgrade(inner(self.pool.as_ptr()))
    }
}

impl Inner {
    /// While the sink flushes, upstream does not wait for a slot: it gets other memory.
    pub(crate) fn set_sink_flushing(&self, flushing: bool) {
        self.state.set_sink_flushing(flushing);
    }

    /// Returns the configuration of the buffers, `None` if there can be no buffers of it.
    fn configure(&self, config: &mut gst::BufferPoolConfigRef) -> Option<Config> {
        let (caps, _, min_buffers, max_buffers) = config.params()?;
        let caps = caps?;
        let memory = CapsMemory::of(caps.features(0)?);
        let info = VideoInfo::from_caps(&caps).ok()?;
        if memory != Ok(CapsMemory::Cuda) || !describe(&info).is_sound() {
            gst::warning!(
                CAT,
                "No buffers for {caps}: they are no pictures in CUDA memory"
            );
            return None;
        }
        let picture = picture(&self.context, &info);
        let picture = picture
            .inspect_err(|error| gst::warning!(CAT, "No buffers for {caps}: {error}"))
            .ok()?;
        let layout = VideoLayout::from(&describe(&picture));
        if let Err(why) = metas::check_layout(&layout, &info, picture.size()) {
            gst::warning!(CAT, "No buffers for {caps}: {why}");
            return None;
        }
        let size = u32::try_from(picture.size()).ok()?;
        config.set_params(Some(&caps), size, min_buffers, max_buffers);
        gst::debug!(CAT, "Buffers of {size} bytes of CUDA memory for {caps}");
        Some(Config {
            min_buffers,
            info,
            picture,
            layout,
            stream: Stream::of_config(self.context.library(), config),
        })
    }

    fn acquire(
        &self,
        params: Option<&gst::BufferPoolAcquireParams>,
    ) -> Result<gst::Buffer, gst::FlowError> {
        let buffer_of = |memory: gst::Memory| {
            let mut buffer = gst::Buffer::new();
            buffer.make_mut().append_memory(memory);
            buffer
        };
        let (mut buffer, config) = self.state.acquire(
            params,
            |frame, config| {
                let stream = config.stream.as_ref();
                slot_memory(&self.context, stream, &config.picture, frame).map(buffer_of)
            },
            |config| {
                let memory = alloc(&self.context, config.stream.as_ref(), &config.info);
                memory.map(buffer_of).map_err(|error| {
                    gst::error!(CAT, "No buffer: {error}");
                    gst::FlowError::Error
                })
            },
        )?;
        let format = config.info.format();
        metas::add_layout(&config.layout, buffer.make_mut(), format).map_err(|error| {
            gst::error!(CAT, "No video meta: {error}");
            gst::FlowError::Error
        })?;
        Ok(buffer)
    }
}

/// The quark under which a pool has its [`Inner`]. No other code uses it.
fn inner_quark() -> glib::ffi::GQuark {
    static QUARK: LazyLock<glib::Quark> = LazyLock::new(|| glib::Quark::from_str("xmem-cuda-pool"));
    QUARK.into_glib()
}

unsafe extern "C" fn drop_inner(inner: gpointer) {
    // SAFETY: GLib calls it once, with the pointer that `CudaPool::new` made of a box.
    drop(unsafe { Box::from_raw(inner.cast::<Arc<Inner>>()) });
}

/// Returns what a pool has. The pool must be alive for as long as the result is used, and made by
/// [`CudaPool::new`].
fn inner<'a>(pool: *mut ffi::GstBufferPool) -> &'a Arc<Inner> {
    // SAFETY: the caller's. Under this quark there is the box of `CudaPool::new` while the pool lives.
    unsafe {
        let inner = gobject::g_object_get_qdata(pool.cast(), inner_quark());
        &*inner.cast::<Arc<Inner>>()
    }
}

/// Returns the type of the pools. `None` before GStreamer 1.24, where memory cannot be wrapped.
fn pool_type(library: &'static Library) -> Option<glib::Type> {
    static TYPE: OnceLock<glib::Type> = OnceLock::new();
    library.has_streams().then(|| {
        *TYPE.get_or_init(|| {
            let parent = library.pool_type().into_glib();
            let mut query = MaybeUninit::uninit();
            // SAFETY: the parent is a registered type, so GLib fills in all of `query`. The subclass has
            // no fields of its own, and the type is registered once.
            unsafe {
                gobject::g_type_query(parent, query.as_mut_ptr());
                let query = query.assume_init();
                let info = gobject::GTypeInfo {
                    class_size: query.class_size as u16,
                    base_init: None,
                    base_finalize: None,
                    class_init: Some(class_init),
                    class_finalize: None,
                    class_data: std::ptr::null(),
                    instance_size: query.instance_size as u16,
                    n_preallocs: 0,
                    instance_init: None,
                    value_table: std::ptr::null(),
                };
                glib::Type::from_glib(gobject::g_type_register_static(
                    parent,
                    c"GstXmemCudaBufferPool".as_ptr(),
                    &info,
                    0,
                ))
            }
        })
    })
}

unsafe extern "C" fn class_init(class: gpointer, _data: gpointer) {
    // SAFETY: GLib calls it with the new class, which begins with that of `GstBufferPool`.
    let class = unsafe { &mut *class.cast::<ffi::GstBufferPoolClass>() };
    class.set_config = Some(set_config);
    class.start = Some(start);
    class.stop = Some(stop);
    class.acquire_buffer = Some(acquire_buffer);
    class.release_buffer = Some(release_buffer);
    class.flush_start = Some(flush_start);
    class.flush_stop = Some(flush_stop);
}

unsafe extern "C" fn set_config(
    pool: *mut ffi::GstBufferPool,
    config: *mut ffi::GstStructure,
) -> gboolean {
    let inner = inner(pool);
    // SAFETY: GStreamer passes a configuration that may be written.
    let own = inner.configure(unsafe { gst::BufferPoolConfigRef::from_glib_borrow_mut(config) });
    let is_granted = own.is_some();
    inner.state.set_config(own.map(Arc::new));
    if !is_granted {
        return GFALSE;
    }
    // SAFETY: the class of `GstBufferPool` exists while one of its subclasses does, and has the function.
    unsafe {
        let class = gobject::g_type_class_peek(ffi::gst_buffer_pool_get_type());
        let class = class.cast::<ffi::GstBufferPoolClass>();
        (*class)
            .set_config
            .map_or(GFALSE, |set_config| set_config(pool, config))
    }
}

unsafe extern "C" fn start(pool: *mut ffi::GstBufferPool) -> gboolean {
    inner(pool).state.start().into_glib()
}

unsafe extern "C" fn stop(pool: *mut ffi::GstBufferPool) -> gboolean {
    inner(pool).state.stop();
    true.into_glib()
}

unsafe extern "C" fn flush_start(pool: *mut ffi::GstBufferPool) {
    inner(pool).state.set_owner_flushing(true);
}

unsafe extern "C" fn flush_stop(pool: *mut ffi::GstBufferPool) {
    inner(pool).state.set_owner_flushing(false);
}

unsafe extern "C" fn acquire_buffer(
    pool: *mut ffi::GstBufferPool,
    buffer: *mut *mut ffi::GstBuffer,
    params: *mut ffi::GstBufferPoolAcquireParams,
) -> ffi::GstFlowReturn {
    // SAFETY: GStreamer passes null or valid parameters, which are copied.
    let params: Option<gst::BufferPoolAcquireParams> = unsafe { from_glib_none(params) };
    match inner(pool).acquire(params.as_ref()) {
        Ok(made) => {
            // SAFETY: GStreamer passes a place for the buffer, and takes the reference.
            unsafe { *buffer = made.into_glib_ptr() };
            ffi::GST_FLOW_OK
        }
        Err(error) => {
            // SAFETY: as above.
            unsafe { *buffer = null_mut() };
            error.into_glib()
        }
    }
}

unsafe extern "C" fn release_buffer(pool: *mut ffi::GstBufferPool, buffer: *mut ffi::GstBuffer) {
    // SAFETY: GStreamer passes the only reference to the buffer.
    let buffer: gst::Buffer = unsafe { from_glib_full(buffer) };
    release(&buffer);
    inner(pool).state.release(buffer);
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
