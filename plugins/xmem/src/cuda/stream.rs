//! CUDA streams of GStreamer, since 1.24. Elements put the work on a memory on its stream.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::NonNull;

use gst::ffi::{GstObject, GstStructure};
use xmem_core::cuda::CudaError;

use super::functions::{Library, Since24, StreamObject, failed, unavailable};

type Result<T> = std::result::Result<T, CudaError>;

/// A `GstCudaStream`. It keeps its context alive.
pub(crate) struct Stream {
    stream: NonNull<StreamObject>,
    functions: &'static Since24,
}

// SAFETY: a mini object counts its references atomically, and a stream never changes. Any thread
// may free it.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Stream {
    /// Makes a stream of a context.
    ///
    /// # Safety
    /// `context` must point to a `GstCudaContext` that is alive.
    pub(super) unsafe fn of_context(
        library: &'static Library,
        context: *mut GstObject,
    ) -> Result<Stream> {
        let functions = library
            .since_24()
            .ok_or_else(|| unavailable("GStreamer has streams since 1.24"))?;
        // SAFETY: the caller promises that the context is alive.
        let stream = unsafe { (functions.stream_new)(context) };
        let stream = NonNull::new(stream).ok_or_else(|| failed("gst_cuda_stream_new"))?;
        Ok(Stream { stream, functions })
    }

    /// Takes a reference of its own; `None` for null.
    ///
    /// # Safety
    /// `stream` must be null or point to a `GstCudaStream` that is alive.
    pub(super) unsafe fn borrow(
        functions: &'static Since24,
        stream: *mut StreamObject,
    ) -> Option<Stream> {
        let stream = NonNull::new(stream)?;
        // SAFETY: the caller promises that it is alive.
        unsafe { (functions.stream_ref)(stream.as_ptr()) };
        Some(Stream { stream, functions })
    }

    /// Returns the stream that a pool is configured with.
    pub(crate) fn of_config(
        library: &'static Library,
        config: &gst::BufferPoolConfigRef,
    ) -> Option<Stream> {
        let functions = library.since_24()?;
        // SAFETY: the configuration is borrowed, and only read. The caller owns the result.
        let stream = unsafe { (functions.stream_of_config)(structure(config)) };
        let stream = NonNull::new(stream)?;
        Some(Stream { stream, functions })
    }

    /// Sets the stream that a pool is configured with.
    pub(crate) fn set_in_config(&self, config: &mut gst::BufferPoolConfigRef) {
        // SAFETY: both are borrowed, the configuration for writing; it takes a reference.
        unsafe { (self.functions.set_stream_of_config)(structure(config), self.as_ptr()) };
    }

    pub(super) fn as_ptr(&self) -> *mut StreamObject {
        self.stream.as_ptr()
    }

    /// Returns the `CUstream`. It lives as long as this stream.
    pub(crate) fn handle(&self) -> *mut c_void {
        // SAFETY: the stream is alive.
        unsafe { (self.functions.stream_handle)(self.as_ptr()) }
    }

    /// Returns whether the stream is of this context.
    pub(super) fn is_of(&self, context: *mut GstObject) -> bool {
        // SAFETY: the stream is alive, and its context never changes.
        unsafe { (*self.as_ptr()).context == context }
    }
}

/// Returns the structure that a configuration is.
fn structure(config: &gst::BufferPoolConfigRef) -> *mut GstStructure {
    let structure: &gst::StructureRef = config.as_ref();
    structure.as_ptr().cast_mut()
}

impl Clone for Stream {
    fn clone(&self) -> Stream {
        // SAFETY: the stream is alive; the result owns the reference that is taken here.
        unsafe { (self.functions.stream_ref)(self.as_ptr()) };
        Stream { ..*self }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: the value owns a reference.
        unsafe { (self.functions.stream_unref)(self.as_ptr()) };
    }
}

impl PartialEq for Stream {
    fn eq(&self, other: &Stream) -> bool {
        self.stream == other.stream
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stream").field(&self.handle()).finish()
    }
}
