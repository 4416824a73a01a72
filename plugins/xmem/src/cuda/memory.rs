//! CUDA memory of GStreamer (`GstCudaMemory`): a view on that of others, and how to make some.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use glib::translate::{ToGlibPtr, from_glib, from_glib_full, from_glib_none};
use gst::ffi;
use gst_video::VideoInfo;
use xmem_core::cuda::CudaError;

use super::context::Context;
use super::formats::BEFORE_24;
use super::functions::{self, Library, Version, failed, library, unavailable};
use super::stream::Stream;
use crate::log::CAT;

type Result<T> = std::result::Result<T, CudaError>;

/// The type of CUDA memory, and the name of its allocator (`GST_CUDA_MEMORY_TYPE_NAME`).
const TYPE: &std::ffi::CStr = c"gst.cuda.memory";
/// `GST_MAP_CUDA`
const MAP_CUDA: ffi::GstMapFlags = ffi::GST_MAP_FLAG_LAST << 1;
/// `GST_CUDA_MEMORY_TRANSFER_NEED_DOWNLOAD`, `_UPLOAD` and `_SYNC`
#[cfg(test)]
const NEEDS_DOWNLOAD: u32 = ffi::GST_MEMORY_FLAG_LAST;
#[cfg(test)]
const NEEDS_UPLOAD: u32 = ffi::GST_MEMORY_FLAG_LAST << 1;
const NEEDS_SYNC: u32 = ffi::GST_MEMORY_FLAG_LAST << 2;

/// A CUDA memory of a buffer.
#[derive(Clone, Copy)]
pub(crate) struct CudaMemory<'a> {
    memory: &'a gst::MemoryRef,
    library: &'static Library,
}

impl<'a> CudaMemory<'a> {
    /// Returns the view on a memory; `None` if it is other memory. Other memory loads nothing.
    pub(crate) fn of(memory: &'a gst::MemoryRef) -> Option<CudaMemory<'a>> {
        // SAFETY: the memory is borrowed, and the name ends with a null.
        let named = unsafe { ffi::gst_memory_is_type(memory.as_mut_ptr(), TYPE.as_ptr()) };
        // SAFETY: a number of C.
        if !unsafe { from_glib::<_, bool>(named) } {
            return None;
        }
        let library = library().ok()?;
        // SAFETY: the memory is borrowed.
        let is_cuda = unsafe { (library.functions.is_cuda_memory)(memory.as_mut_ptr()) };
        // SAFETY: as above.
        unsafe { from_glib::<_, bool>(is_cuda) }.then_some(CudaMemory { memory, library })
    }

    /// Returns the memory.
    pub(crate) fn memory(&self) -> &'a gst::MemoryRef {
        self.memory
    }

    fn as_ptr(&self) -> *mut functions::Memory {
        self.memory.as_mut_ptr().cast()
    }

    /// Returns the context in which the memory is used.
    pub(crate) fn context(&self) -> Context {
        // SAFETY: the memory is a `GstCudaMemory`, which keeps its context alive.
        let context = unsafe { Context::borrow(self.library, (*self.as_ptr()).context) };
        context.expect("CUDA memory has a context")
    }

    /// Returns whether the memory is used in this context.
    pub(crate) fn is_of(&self, context: &Context) -> bool {
        // SAFETY: the memory is a `GstCudaMemory`; the pointer is only compared.
        unsafe { (*self.as_ptr()).context == context.as_ptr() }
    }

    /// Returns how the picture lies in the memory: sizes, strides and offsets of the planes. Those of
    /// the caps do not hold for CUDA memory.
    pub(crate) fn info(&self) -> VideoInfo {
        // SAFETY: the memory is a `GstCudaMemory`, whose description never changes; it is copied.
        unsafe { from_glib_none(&raw const (*self.as_ptr()).info) }
    }

    /// Returns the stream on which the memory is written. `None` is the default stream; before
    /// GStreamer 1.24 elements wait for their work before they pass memory on.
    pub(crate) fn stream(&self) -> Option<Stream> {
        let functions = self.library.since_24()?;
        // SAFETY: the memory is a `GstCudaMemory`, which keeps its stream alive.
        unsafe {
            let stream = (functions.stream_of_memory)(self.memory.as_mut_ptr());
            Stream::borrow(functions, stream)
        }
    }

    fn flags(&self) -> &AtomicU32 {
        // SAFETY: the memory is alive, and its flags are an aligned number. Other threads may change
        // them, for example by a map.
        unsafe {
            let flags = &raw mut (*self.memory.as_mut_ptr()).mini_object.flags;
            AtomicU32::from_ptr(flags)
        }
    }

    #[cfg(test)]
    fn has(&self, flag: u32) -> bool {
        self.flags().load(Ordering::Relaxed) & flag != 0
    }

    /// Notes that the work is done that writes the memory, or that nothing needs it: to read or to free
    /// the memory, GStreamer does not wait for its stream.
    pub(crate) fn set_done(&self) {
        self.flags().fetch_and(!NEEDS_SYNC, Ordering::Relaxed);
    }

    /// From now on a map for writing fails, and `gst_buffer_map` copies.
    pub(crate) fn set_read_only(&self) {
        self.flags()
            .fetch_or(ffi::GST_MEMORY_FLAG_READONLY, Ordering::Relaxed);
    }

    /// Returns whether only the caller refers to the memory. What others did with it has happened then.
    pub(crate) fn has_one_owner(&self) -> bool {
        // SAFETY: the memory is alive, and its count is an aligned number that other threads change by
        // atomic operations.
        let owners = unsafe {
            let owners = &raw mut (*self.memory.as_mut_ptr()).mini_object.refcount;
            AtomicI32::from_ptr(owners)
        };
        // Acquire: pairs with the release with which GLib counts down.
        owners.load(Ordering::Acquire) == 1
    }

    /// Returns whether work on the stream may still write the memory. Ask after [`map`], which may
    /// put an upload there.
    ///
    /// [`map`]: CudaMemory::map
    #[cfg(test)]
    pub(crate) fn needs_sync(&self) -> bool {
        self.has(NEEDS_SYNC)
    }

    /// Returns whether the CPU has written a copy that a map for the device uploads.
    #[cfg(test)]
    pub(crate) fn needs_upload(&self) -> bool {
        self.has(NEEDS_UPLOAD)
    }

    /// Returns whether a map for the CPU downloads.
    #[cfg(test)]
    pub(crate) fn needs_download(&self) -> bool {
        self.has(NEEDS_DOWNLOAD)
    }

    /// Maps the memory for work of the device that reads it. Bytes that the CPU wrote are uploaded
    /// first, on the stream of the memory.
    ///
    /// # Errors
    /// [`CudaError::Unavailable`] if it is mapped for writing, or the upload fails.
    pub(crate) fn map(&self) -> Result<Mapped<'a>> {
        // SAFETY: the memory is borrowed for as long as the result is.
        unsafe { Mapped::new(self.memory.as_mut_ptr(), ffi::GST_MAP_READ) }
    }
}

/// Maps CUDA memory for work of the device that writes it. On a stream, the memory then
/// needs to be synchronized.
///
/// # Errors
/// [`CudaError::Unavailable`] if it is no CUDA memory, or may not be written.
pub(crate) fn map_writable(memory: &mut gst::MemoryRef) -> Result<Mapped<'_>> {
    if CudaMemory::of(memory).is_none() {
        return Err(unavailable("this is no CUDA memory"));
    }
    // SAFETY: the memory is borrowed for as long as the result is.
    unsafe { Mapped::new(memory.as_mut_ptr(), ffi::GST_MAP_WRITE) }
}

/// CUDA memory that is mapped for the device until this is dropped.
pub(crate) struct Mapped<'a> {
    memory: *mut ffi::GstMemory,
    info: ffi::GstMapInfo,
    borrowed: PhantomData<&'a gst::MemoryRef>,
}

impl Mapped<'_> {
    /// # Safety
    /// `memory` must be a `GstCudaMemory` that lives for as long as the result.
    unsafe fn new(memory: *mut ffi::GstMemory, access: ffi::GstMapFlags) -> Result<Self> {
        let mut info = MaybeUninit::uninit();
        // SAFETY: the caller promises that the memory is alive. GStreamer writes `info` if it returns
        // true, and does not write through the address of the device.
        let info = unsafe {
            if !from_glib::<_, bool>(ffi::gst_memory_map(
                memory,
                info.as_mut_ptr(),
                access | MAP_CUDA,
            )) {
                return Err(failed("gst_memory_map"));
            }
            info.assume_init()
        };
        Ok(Mapped {
            memory,
            info,
            borrowed: PhantomData,
        })
    }

    /// Returns the address on the device.
    pub(crate) fn address(&self) -> u64 {
        self.info.data.addr() as u64
    }

    /// Returns the number of bytes.
    pub(crate) fn size(&self) -> usize {
        self.info.size
    }
}

impl Drop for Mapped<'_> {
    fn drop(&mut self) {
        // SAFETY: it was mapped once, with this info.
        unsafe { ffi::gst_memory_unmap(self.memory, &mut self.info) };
    }
}

/// What elements may do with wrapped memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// A map for writing fails, and `gst_buffer_map` copies.
    Read,
    /// Elements may write it.
    Write,
}

/// Makes memory of `info.size()` bytes at an address on the device, since GStreamer 1.24. `owner` is
/// dropped with the memory, on any thread and with the context current; work that elements have put
/// on any stream may still use the memory then.
///
/// # Errors
/// [`CudaError::Unavailable`] before 1.24, if `info` describes no picture, or if the stream is of
/// another context. The owner is dropped.
///
/// # Safety
/// The context must be able to use the bytes until the owner is dropped and the work above is done;
/// to write them, if `access` says so.
pub(crate) unsafe fn wrap<T: Send + 'static>(
    context: &Context,
    stream: Option<&Stream>,
    info: &VideoInfo,
    address: u64,
    access: Access,
    owner: T,
) -> Result<gst::Memory> {
    let functions = context
        .library()
        .since_24()
        .ok_or_else(|| unavailable("GStreamer wraps CUDA memory since 1.24"))?;
    let address = usize::try_from(address).unwrap_or(0);
    // GStreamer divides by the first stride, and takes the width from the first component.
    if address == 0 || !is_picture(info) {
        return Err(unavailable("there is no picture to wrap"));
    }
    context.stream_handle(stream)?;
    let owner = Box::into_raw(Box::new(owner));
    // SAFETY: all are borrowed, and the caller promises the bytes. The memory owns the box, which
    // `drop_owner` takes back once.
    let memory = unsafe {
        (functions.alloc_wrapped)(
            null_mut(),
            context.as_ptr(),
            stream.map_or(null_mut(), Stream::as_ptr),
            info.to_glib_none().0,
            address,
            owner.cast(),
            Some(drop_owner::<T>),
        )
    };
    if memory.is_null() {
        // SAFETY: no memory owns it.
        drop(unsafe { Box::from_raw(owner) });
        return Err(failed("gst_cuda_allocator_alloc_wrapped"));
    }
    // SAFETY: no other code has the new memory.
    unsafe {
        if access == Access::Read {
            (*memory).mini_object.flags |= ffi::GST_MEMORY_FLAG_READONLY;
        }
        Ok(from_glib_full(memory))
    }
}

/// Drops the owner of wrapped memory. A panic ends here.
unsafe extern "C" fn drop_owner<T>(owner: *mut c_void) {
    // SAFETY: GStreamer calls it once, with the box that `wrap` made.
    let owner = unsafe { Box::from_raw(owner.cast::<T>()) };
    if catch_unwind(AssertUnwindSafe(|| drop(owner))).is_err() {
        gst::error!(CAT, "The owner of CUDA memory panicked in its drop");
    }
}

/// Allocates memory for a picture of this format and size. Its strides and offsets are those that
/// [`CudaMemory::info`] says, and depend on the version of GStreamer. Before 1.24, `stream` is
/// ignored, as no stream can be had.
///
/// # Errors
/// [`CudaError::Unavailable`] if there is no memory left, or GStreamer has no such picture in CUDA
/// memory.
pub(crate) fn alloc(
    context: &Context,
    stream: Option<&Stream>,
    info: &VideoInfo,
) -> Result<gst::Memory> {
    let unfit = || {
        unavailable(format!(
            "this GStreamer has no {} in CUDA memory",
            info.format()
        ))
    };
    if !is_picture(info) {
        return Err(unfit());
    }
    context.stream_handle(stream)?;
    let picture = info.to_glib_none().0;
    let memory = match &context.library().version {
        Version::Since24(functions) => {
            let stream = stream.map_or(null_mut(), Stream::as_ptr);
            // SAFETY: all are borrowed. Null is the allocator of the library.
            unsafe { (functions.alloc)(null_mut(), context.as_ptr(), stream, picture) }
        }
        Version::Before24(functions) => {
            // GStreamer ends the process for other formats.
            if !BEFORE_24.contains(&info.format()) {
                return Err(unfit());
            }
            // SAFETY: the name ends with a null. The library has registered the allocator, and never
            // removes it; so the reference that is returned here can be given back after the call.
            // All others are borrowed.
            unsafe {
                let allocator = ffi::gst_allocator_find(TYPE.as_ptr());
                if allocator.is_null() {
                    return Err(failed("gst_allocator_find"));
                }
                let memory = (functions.alloc)(allocator, context.as_ptr(), picture);
                ffi::gst_object_unref(allocator.cast());
                memory
            }
        }
    };
    if memory.is_null() {
        return Err(unavailable(format!(
            "GStreamer has no {} in CUDA memory, or the device has no memory left \
             (gst_cuda_allocator_alloc failed, GST_DEBUG=cuda*:2 shows why)",
            info.format()
        )));
    }
    // SAFETY: the caller owns the memory.
    Ok(unsafe { from_glib_full(memory) })
}

/// Returns how GStreamer lays out a picture of this format and size in CUDA memory: it allocates one, and
/// frees it.
///
/// # Errors
/// Those of [`alloc`].
pub(crate) fn picture(context: &Context, info: &VideoInfo) -> Result<VideoInfo> {
    let memory = alloc(context, None, info)?;
    let memory = CudaMemory::of(&memory).ok_or_else(|| failed("gst_cuda_allocator_alloc"))?;
    Ok(memory.info())
}

/// Returns whether GStreamer can compute with the description.
fn is_picture(info: &VideoInfo) -> bool {
    info.is_valid() && info.n_planes() > 0 && info.stride()[0] > 0 && info.size() > 0
}
