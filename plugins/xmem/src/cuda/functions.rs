//! The functions of `libgstcuda`, and the beginnings of its structures.
//!
//! Names, arguments and structures are those of the headers of GStreamer 1.22 to 1.28. Later
//! versions of a series added functions; only 1.24 changed one.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::mem::forget;

use glib::ffi::{GDestroyNotify, GType, gboolean, gpointer};
use glib::translate::{from_glib, from_glib_none};
use gst::ffi::{
    GstAllocator, GstBufferPool, GstContext, GstElement, GstMemory, GstMiniObject, GstObject,
    GstQuery, GstStructure,
};
use gst_video::ffi::GstVideoInfo;
use libloading::os::unix as loading;
use once_cell::sync::OnceCell;
use xmem_core::cuda::CudaError;

type Result<T> = std::result::Result<T, CudaError>;

/// The name of the library, and the Debian package that has it.
const LIBRARY: &str = "libgstcuda-1.0.so.0";
const PACKAGE: &str = "libgstreamer-plugins-bad1.0-0";

/// The beginning of a `GstCudaMemory`.
#[repr(C)]
pub(super) struct Memory {
    pub(super) memory: GstMemory,
    pub(super) context: *mut GstObject,
    pub(super) info: GstVideoInfo,
}

/// The beginning of a `GstCudaStream`.
#[repr(C)]
pub(super) struct StreamObject {
    object: GstMiniObject,
    pub(super) context: *mut GstObject,
}

/// A `GstCudaBufferPool`.
#[repr(C)]
pub(crate) struct BufferPool {
    pub(crate) parent: GstBufferPool,
    /// The `GstCudaContext`, which the pool owns a reference to.
    pub(crate) context: *mut GstObject,
    private: *mut c_void,
}

/// `CUDA_MEMCPY2D`.
#[repr(C)]
#[derive(Default)]
pub(super) struct Copy2d {
    pub(super) from: Side,
    pub(super) to: Side,
    pub(super) width: usize,
    pub(super) rows: usize,
}

/// One side of a [`Copy2d`].
#[repr(C)]
#[derive(Default)]
pub(super) struct Side {
    x: usize,
    y: usize,
    /// A `CUmemorytype`.
    kind: c_uint,
    host: usize,
    /// A `CUdeviceptr`.
    device: usize,
    array: usize,
    pitch: usize,
}

impl Side {
    /// Memory of a device (`CU_MEMORYTYPE_DEVICE`).
    pub(super) fn device(address: usize, pitch: usize) -> Side {
        Side {
            kind: 2,
            device: address,
            pitch,
            ..Side::default()
        }
    }
}

macro_rules! table {
    ($(#[$doc:meta])* $table:ident {
        $($name:ident: $symbol:literal ($($of:ty),*) $(-> $result:ty)?;)*
    }) => {
        $(#[$doc])*
        pub(super) struct $table {
            $(#[doc = concat!("`", $symbol, "`")]
            pub(super) $name: unsafe extern "C" fn($($of),*) $(-> $result)?,)*
        }

        impl $table {
            /// # Safety
            /// `library` must be a libgstcuda in which the functions have these types, and must
            /// never be unloaded.
            unsafe fn find(library: &loading::Library) -> Result<$table> {
                Ok($table {
                    // SAFETY: the caller promises the types.
                    $($name: *unsafe { library.get(concat!($symbol, "\0").as_bytes()) }
                        .map_err(|_| unavailable(format!("{LIBRARY} has no {}", $symbol)))?,)*
                })
            }
        }
    };
}

table! {
    /// Functions with the same arguments in all versions.
    Functions {
        load_driver: "gst_cuda_load_library" () -> gboolean;
        init_memory: "gst_cuda_memory_init_once" ();
        is_cuda_memory: "gst_is_cuda_memory" (*mut GstMemory) -> gboolean;
        push: "gst_cuda_context_push" (*mut GstObject) -> gboolean;
        pop: "gst_cuda_context_pop" (*mut *mut c_void) -> gboolean;
        handle: "gst_cuda_context_get_handle" (*mut GstObject) -> gpointer;
        ensure_context: "gst_cuda_ensure_element_context"
            (*mut GstElement, c_int, *mut *mut GstObject) -> gboolean;
        handle_set_context: "gst_cuda_handle_set_context"
            (*mut GstElement, *mut GstContext, c_int, *mut *mut GstObject) -> gboolean;
        handle_query: "gst_cuda_handle_context_query"
            (*mut GstElement, *mut GstQuery, *mut GstObject) -> gboolean;
        pool_type: "gst_cuda_buffer_pool_get_type" () -> GType;
        copy: "CuMemcpy2DAsync" (*const Copy2d, *mut c_void) -> c_uint;
        error_name: "CuGetErrorName" (c_uint, *mut *const c_char) -> c_uint;
    }
}

table! {
    /// What a version before 1.24 has in place of [`Since24`].
    Before24 {
        alloc: "gst_cuda_allocator_alloc"
            (*mut GstAllocator, *mut GstObject, *const GstVideoInfo) -> *mut GstMemory;
    }
}

table! {
    /// Functions that 1.24 added, and the one that it changed.
    Since24 {
        alloc: "gst_cuda_allocator_alloc"
            (*mut GstAllocator, *mut GstObject, *mut StreamObject, *const GstVideoInfo)
            -> *mut GstMemory;
        alloc_wrapped: "gst_cuda_allocator_alloc_wrapped"
            (*mut GstAllocator, *mut GstObject, *mut StreamObject, *const GstVideoInfo, usize,
             gpointer, GDestroyNotify) -> *mut GstMemory;
        stream_of_memory: "gst_cuda_memory_get_stream" (*mut GstMemory) -> *mut StreamObject;
        stream_new: "gst_cuda_stream_new" (*mut GstObject) -> *mut StreamObject;
        stream_handle: "gst_cuda_stream_get_handle" (*mut StreamObject) -> *mut c_void;
        stream_ref: "gst_cuda_stream_ref" (*mut StreamObject) -> *mut StreamObject;
        stream_unref: "gst_cuda_stream_unref" (*mut StreamObject);
        stream_of_config: "gst_buffer_pool_config_get_cuda_stream"
            (*mut GstStructure) -> *mut StreamObject;
        set_stream_of_config: "gst_buffer_pool_config_set_cuda_stream"
            (*mut GstStructure, *mut StreamObject);
    }
}

/// What the versions do not share. So the function whose arguments changed can be called with
/// those of its version only.
pub(super) enum Version {
    Before24(Before24),
    Since24(Since24),
}

/// The loaded library. It stays loaded, because its types are registered with GLib.
pub(crate) struct Library {
    pub(super) functions: Functions,
    pub(super) version: Version,
}

/// Loads the library and the driver, once in the process. Only a pipeline with CUDA memory may call
/// it. A failure is not kept: the next call tries again.
///
/// # Errors
/// [`CudaError::Unavailable`] names what is missing: the library, the driver, or a function.
pub(crate) fn library() -> Result<&'static Library> {
    static LIBRARY: OnceCell<Library> = OnceCell::new();
    LIBRARY.get_or_try_init(Library::load)
}

impl Library {
    fn load() -> Result<Library> {
        let flags = loading::RTLD_NOW | loading::RTLD_LOCAL;
        // SAFETY: loading a library runs its constructors. Those of GStreamer's libraries may run
        // at any time and on any thread.
        let library = unsafe { loading::Library::open(Some(LIBRARY), flags) }.map_err(|error| {
            unavailable(format!(
                "GStreamer's library for it is missing, which is in {PACKAGE} on Debian: {error}"
            ))
        })?;
        // Streams came with the change of `gst_cuda_allocator_alloc`.
        // SAFETY: the symbol is only looked up.
        let has_streams = unsafe { library.get::<*const c_void>(b"gst_cuda_stream_new\0") }.is_ok();
        // SAFETY: the types are those of the headers: without streams of 1.22, with streams of 1.24
        // and later. The library is never unloaded.
        let found = unsafe {
            let version = if has_streams {
                Since24::find(&library).map(Version::Since24)
            } else {
                Before24::find(&library).map(Version::Before24)
            };
            Functions::find(&library).and_then(|functions| Ok((functions, version?)))
        };
        forget(library);
        let (functions, version) = found?;
        // SAFETY: the function takes no argument, and may be called on any thread.
        if !unsafe { from_glib((functions.load_driver)()) } {
            return Err(unavailable(
                "GStreamer found no driver that it can use (libcuda.so.1)",
            ));
        }
        // SAFETY: as above, and the driver is loaded.
        unsafe { (functions.init_memory)() };
        Ok(Library { functions, version })
    }

    /// Returns whether there are streams and memory can be wrapped: since GStreamer 1.24.
    pub(crate) fn has_streams(&self) -> bool {
        self.since_24().is_some()
    }

    /// Returns the type of GStreamer's pools of CUDA memory. Elements use no other pool for it.
    pub(crate) fn pool_type(&self) -> glib::Type {
        // SAFETY: the function registers a type once.
        unsafe { from_glib((self.functions.pool_type)()) }
    }

    pub(super) fn since_24(&self) -> Option<&Since24> {
        match &self.version {
            Version::Since24(functions) => Some(functions),
            Version::Before24(_) => None,
        }
    }

    /// Returns the error of a driver call with this result; `Ok` for 0.
    pub(super) fn check(&self, call: &'static str, code: c_uint) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        let mut name = std::ptr::null();
        // SAFETY: the driver sets `name` to a static text, or leaves it null.
        let name = unsafe {
            (self.functions.error_name)(code, &mut name);
            from_glib_none::<_, Option<String>>(name)
        };
        let name = name.unwrap_or_else(|| "unknown to this driver".into());
        Err(CudaError::Failed { call, code, name })
    }
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let streams = self.has_streams();
        f.debug_struct("Library")
            .field("streams", &streams)
            .finish()
    }
}

pub(super) fn unavailable(reason: impl Into<String>) -> CudaError {
    CudaError::Unavailable {
        reason: reason.into(),
    }
}

/// Returns the error of a function of the library that says only that it failed.
pub(super) fn failed(function: &str) -> CudaError {
    unavailable(format!("{function} failed, GST_DEBUG=cuda*:2 shows why"))
}
