//! The class of the pools, registered at run time: its functions, which GStreamer calls.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::{Arc, LazyLock, OnceLock};

use glib::ffi::{GFALSE, gboolean, gpointer};
use glib::gobject_ffi as gobject;
use glib::translate::{FromGlib, IntoGlib, IntoGlibPtr, ToGlibPtr, from_glib_full, from_glib_none};
use gst::ffi;

use super::buffers::Inner;
use crate::cuda::{BufferPool, Context, Library};
use crate::log::CAT;
use crate::memory::cuda_slot::release;

/// Makes a pool of this class, with what it has. `None` before GStreamer 1.24.
pub(super) fn new_pool(context: &Context, inner: Arc<Inner>) -> Option<gst::BufferPool> {
    let pool_type = pool_type(context.library())?;
    let object: *mut ffi::GstObject = context.object().to_glib_none().0;
    // SAFETY: the type is a subclass of `GstCudaBufferPool`, and no other code has the new object. It gets a
    // reference to the context, which its parent gives back, and the box, which `drop_inner` frees once.
    unsafe {
        let pool =
            gobject::g_object_new(pool_type.into_glib(), std::ptr::null::<std::ffi::c_char>());
        gobject::g_object_ref_sink(pool);
        (*pool.cast::<BufferPool>()).context = gobject::g_object_ref(object.cast()).cast();
        gobject::g_object_set_qdata_full(
            pool,
            inner_quark(),
            Box::into_raw(Box::new(inner)).cast(),
            Some(drop_inner),
        );
        Some(from_glib_full(pool.cast::<ffi::GstBufferPool>()))
    }
}

/// The quark under which a pool has its [`Inner`]. No other code uses it.
fn inner_quark() -> glib::ffi::GQuark {
    static QUARK: LazyLock<glib::Quark> = LazyLock::new(|| glib::Quark::from_str("xmem-cuda-pool"));
    QUARK.into_glib()
}

unsafe extern "C" fn drop_inner(inner: gpointer) {
    // SAFETY: GLib calls it once, with the pointer that `new_pool` made of a box.
    drop(unsafe { Box::from_raw(inner.cast::<Arc<Inner>>()) });
}

/// Runs a function of the class with what a pool has. A panic ends here, with the result `failed`; a pool
/// that other code has made has nothing, and fails too.
///
/// # Safety
/// The pool is of this class, and lives until the call is over.
unsafe fn call<T>(
    pool: *mut ffi::GstBufferPool,
    failed: T,
    function: impl FnOnce(&Inner) -> T,
) -> T {
    // SAFETY: under this quark there is the box of `new_pool` while the pool lives, or null.
    let inner = unsafe {
        let inner = gobject::g_object_get_qdata(pool.cast(), inner_quark());
        inner.cast::<Arc<Inner>>().as_ref()
    };
    let Some(inner) = inner else {
        return failed;
    };
    catch_unwind(AssertUnwindSafe(|| function(inner))).unwrap_or_else(|_| {
        gst::error!(CAT, "A pool of slots in CUDA memory panicked");
        failed
    })
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
    // SAFETY: GStreamer passes a configuration that may be written.
    let own = unsafe { gst::BufferPoolConfigRef::from_glib_borrow_mut(config) };
    // SAFETY: GStreamer calls it with a pool of this class, which it holds meanwhile.
    let is_granted = unsafe {
        call(pool, false, |inner| {
            let own = inner.configure(own);
            let is_granted = own.is_some();
            inner.state().set_config(own.map(Arc::new));
            is_granted
        })
    };
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
    // SAFETY: as in `set_config`.
    unsafe { call(pool, GFALSE, |inner| inner.state().start().into_glib()) }
}

unsafe extern "C" fn stop(pool: *mut ffi::GstBufferPool) -> gboolean {
    // SAFETY: as in `set_config`.
    unsafe { call(pool, (), |inner| inner.state().stop()) };
    true.into_glib()
}

unsafe extern "C" fn flush_start(pool: *mut ffi::GstBufferPool) {
    // SAFETY: as in `set_config`.
    unsafe { call(pool, (), |inner| inner.state().set_owner_flushing(true)) };
}

unsafe extern "C" fn flush_stop(pool: *mut ffi::GstBufferPool) {
    // SAFETY: as in `set_config`.
    unsafe { call(pool, (), |inner| inner.state().set_owner_flushing(false)) };
}

unsafe extern "C" fn acquire_buffer(
    pool: *mut ffi::GstBufferPool,
    buffer: *mut *mut ffi::GstBuffer,
    params: *mut ffi::GstBufferPoolAcquireParams,
) -> ffi::GstFlowReturn {
    // SAFETY: GStreamer passes null or valid parameters, which are copied.
    let params: Option<gst::BufferPoolAcquireParams> = unsafe { from_glib_none(params) };
    // SAFETY: as in `set_config`.
    let made = unsafe {
        call(pool, Err(gst::FlowError::Error), |inner| {
            inner.acquire(params.as_ref())
        })
    };
    match made {
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
    // SAFETY: as in `set_config`.
    unsafe {
        call(pool, (), |inner| {
            release(&buffer);
            inner.state().release(buffer);
        });
    }
}
