//! What elements and applications do with CUDA memory: calls of GStreamer's CUDA library and of the
//! driver, which are loaded with the first of them.

// Functions of C libraries.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::OnceLock;

use gst::ffi::{self, GstBufferPool, GstContext, GstMapFlags, GstMapInfo, GstMemory, GstObject};
use gst::glib::translate::{ToGlibPtr, from_glib_full};
use gst::prelude::*;

/// Maps the address on the device (`GST_MAP_CUDA`).
const MAP_CUDA: GstMapFlags = ffi::GST_MAP_FLAG_LAST << 1;

/// The beginning of a `GstCudaMemory`.
#[repr(C)]
struct Memory {
    memory: GstMemory,
    context: *mut GstObject,
}

fn find(library: &CStr, function: &CStr) -> Option<*mut c_void> {
    // SAFETY: both names end with a zero. The initialization of these libraries has no requirements.
    let found = unsafe {
        let library = libc::dlopen(library.as_ptr(), libc::RTLD_NOW);
        assert!(!library.is_null(), "there is no {library:?}");
        libc::dlsym(library, function.as_ptr())
    };
    (!found.is_null()).then_some(found)
}

/// A function of a library, of the type of the arguments here.
macro_rules! function {
    ($library:literal, $function:literal, ($($of:ty),*) $(-> $result:ty)?) => {{
        let found = find($library, $function);
        let found = found.unwrap_or_else(|| panic!("no {:?}", $function));
        // SAFETY: the library has the function with these arguments.
        unsafe {
            std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($of),*) $(-> $result)?>(found)
        }
    }};
}

macro_rules! gstreamer {
    ($function:literal, $($types:tt)*) => { function!(c"libgstcuda-1.0.so.0", $function, $($types)*) };
}

macro_rules! driver {
    ($function:literal, $($types:tt)*) => { function!(c"libcuda.so.1", $function, $($types)*) };
}

#[track_caller]
fn check(code: c_uint) {
    assert_eq!(code, 0, "the driver refuses");
}

/// Loads the library and the driver.
fn load() {
    let load = gstreamer!(c"gst_cuda_load_library", () -> c_int);
    // SAFETY: it can be called at any time.
    let loaded = unsafe { load() };
    assert_ne!(loaded, 0, "GStreamer finds no driver");
}

/// Runs a function while a context is current.
fn within<T>(context: *mut GstObject, run: impl FnOnce() -> T) -> T {
    let push = gstreamer!(c"gst_cuda_context_push", (*mut GstObject) -> c_int);
    let pop = gstreamer!(c"gst_cuda_context_pop", (*mut *mut c_void) -> c_int);
    // SAFETY: the object is a context that is alive, and null says that its handle is not needed.
    unsafe {
        assert_ne!(push(context), 0);
        let result = run();
        assert_ne!(pop(null_mut()), 0);
        result
    }
}

/// Runs a function with the context, the address and the size of a buffer in CUDA memory.
fn with_address<T>(
    buffer: &gst::BufferRef,
    access: GstMapFlags,
    run: impl FnOnce(*mut GstObject, u64, usize) -> T,
) -> T {
    let memory = buffer.peek_memory(0).as_mut_ptr();
    let is_cuda = gstreamer!(c"gst_is_cuda_memory", (*mut GstMemory) -> c_int);
    let mut map = MaybeUninit::<GstMapInfo>::uninit();
    // SAFETY: the memory is borrowed, and unmapped after its use. That it is CUDA memory is checked
    // before it is read as such.
    unsafe {
        assert_ne!(is_cuda(memory), 0, "{buffer:?} is in other memory");
        let mapped = ffi::gst_memory_map(memory, map.as_mut_ptr(), access | MAP_CUDA);
        assert_ne!(mapped, 0, "{buffer:?} cannot be mapped");
        let context = (*memory.cast::<Memory>()).context;
        let mut map = map.assume_init();
        let result = run(context, map.data.expose_provenance() as u64, map.size);
        ffi::gst_memory_unmap(memory, &mut map);
        result
    }
}

/// Has the device copy a buffer, on a stream of its context that no element knows. Nothing waits for that.
pub(crate) fn copy(buffer: &gst::BufferRef) {
    static STREAM: OnceLock<u64> = OnceLock::new();
    let make = driver!(c"cuStreamCreate", (*mut u64, c_uint) -> c_uint);
    let allocate = driver!(c"cuMemAlloc_v2", (*mut u64, usize) -> c_uint);
    let copy = driver!(c"cuMemcpyDtoDAsync_v2", (u64, u64, usize, u64) -> c_uint);
    // With streams of GStreamer's, elements know that frames are complete. Without them, all work is in
    // order with the default stream.
    let has_streams = find(c"libgstcuda-1.0.so.0", c"gst_cuda_stream_new").is_some();
    with_address(buffer, ffi::GST_MAP_READ, |context, address, size| {
        within(context, || {
            let stream = *STREAM.get_or_init(|| {
                let mut stream = 0;
                // SAFETY: the result can be written, and the context is current.
                check(unsafe { make(&raw mut stream, has_streams.into()) });
                stream
            });
            let mut to = 0;
            // SAFETY: the result can be written. It is never freed, and so the copy can take any time.
            check(unsafe { allocate(&raw mut to, size) });
            // SAFETY: both have so many bytes.
            check(unsafe { copy(to, address, size, stream) });
        });
    });
}

/// Pushes pictures from a pool with so many buffers. All bytes of each are its number.
pub(crate) fn push(source: &gst::Element, caps: &str, count: u8, buffers: u32) -> String {
    load();
    let caps: gst::Caps = caps.parse().expect("caps");
    source.set_property("caps", &caps);
    let prepare = gstreamer!(c"gst_cuda_memory_init_once", ());
    let new_context = gstreamer!(c"gst_cuda_context_new", (c_uint) -> *mut GstObject);
    let new_pool = gstreamer!(c"gst_cuda_buffer_pool_new", (*mut GstObject) -> *mut GstBufferPool);
    let set = driver!(c"cuMemsetD8Async", (u64, u8, usize, u64) -> c_uint);
    // SAFETY: both objects are new, and are owned here. The pool takes a reference to the context.
    let pool = unsafe {
        prepare();
        let context: gst::Object = from_glib_full(new_context(0));
        let pool: gst::BufferPool = from_glib_full(new_pool(context.to_glib_none().0));
        pool
    };
    let info = gst_video::VideoInfo::from_caps(&caps).expect("raw video");
    let mut config = pool.config();
    config.set_params(Some(&caps), info.size() as u32, buffers, buffers);
    pool.set_config(config).expect("the pool takes these caps");
    pool.set_active(true).expect("the pool has memory");
    let mut flow = gst::FlowReturn::Ok;
    for number in 0..count {
        let mut buffer = pool.acquire_buffer(None).expect("a buffer");
        with_address(&buffer, ffi::GST_MAP_WRITE, |context, address, size| {
            // SAFETY: there are so many bytes, and no other code uses them.
            within(context, || check(unsafe { set(address, number, size, 0) }));
        });
        let time = gst::ClockTime::from_mseconds(number.into());
        buffer.make_mut().set_pts(time);
        flow = source.emit_by_name("push-buffer", &[&buffer]);
    }
    // The buffers that are still in use are freed when they come back.
    pool.set_active(false).expect("the pool was active");
    format!("{flow:?}")
}

/// Sets a context that wraps the primary one of the first device.
pub(crate) fn share(pipeline: &gst::Pipeline) {
    load();
    let initialize = driver!(c"cuInit", (c_uint) -> c_uint);
    let retain = driver!(c"cuDevicePrimaryCtxRetain", (*mut *mut c_void, c_int) -> c_uint);
    let wrap = gstreamer!(c"gst_cuda_context_new_wrapped", (*mut c_void, c_int) -> *mut GstObject);
    let tell = gstreamer!(c"gst_context_new_cuda_context", (*mut GstObject) -> *mut GstContext);
    // SAFETY: the results can be written, the primary context is never released, and the new objects are
    // owned here.
    let context: gst::Context = unsafe {
        let mut primary = null_mut();
        check(initialize(0));
        check(retain(&raw mut primary, 0));
        let wrapped: gst::Object = from_glib_full(wrap(primary, 0));
        from_glib_full(tell(wrapped.to_glib_none().0))
    };
    pipeline.set_context(&context);
}
