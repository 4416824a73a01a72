#![allow(unsafe_code)]

use std::os::fd::AsRawFd;
use std::sync::{LazyLock, OnceLock};

use glib::translate::*;
use gst::ffi;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_allocators::ffi as allocators;
use gst_allocators::subclass::prelude::*;
use xmem_core::Frame;

use super::super::functions::{mem_is_span, mem_unmap};
use super::super::slot::frame_memory;

/// The allocator of received frames' memory: `GstFdMemory` with a [`Frame`] attached as qdata.
///
/// Only GStreamer knows the layout of a `GstFdMemory`, so the frame is stored under the quark
/// [`frame_quark`]. Dropping the frame gives the lease back. Memory that GStreamer shares from it
/// has it as its parent, and keeps its parent alive: no memory on the bytes outlives the lease.
///
/// Nothing is mapped here: the core maps and prefaults a segment once, when the producer announces
/// it, and every frame's memory returns addresses in that mapping.
#[derive(Default)]
pub struct XmemFrameAllocator;

/// The allocator of the memory of frames in dmabufs. The core maps a dmabuf when the first of its
/// frames is mapped here.
#[derive(Default)]
pub struct XmemDmaBufAllocator;

fn made(allocator: impl IsA<gst::Allocator>) -> gst::Allocator {
    let allocator: gst::Allocator = allocator.upcast();
    allocator.set_object_flags(gst::ObjectFlags::MAY_BE_LEAKED);
    allocator
}

static ALLOCATOR: LazyLock<gst::Allocator> =
    LazyLock::new(|| made(glib::Object::new::<super::XmemFrameAllocator>()));
static DMA_BUF_ALLOCATOR: LazyLock<gst::Allocator> =
    LazyLock::new(|| made(glib::Object::new::<super::XmemDmaBufAllocator>()));

/// The quark under which a memory has its frame. No other code uses it.
fn frame_quark() -> glib::ffi::GQuark {
    static QUARK: LazyLock<glib::Quark> = LazyLock::new(|| glib::Quark::from_str("xmem-frame"));
    QUARK.into_glib()
}

/// Wraps a received frame in memory that the CPU reads. The frame is given back when the memory and
/// all memories that share it are freed.
///
/// # Errors
/// Those of [`Frame::payload`], if the frame has no descriptor.
pub(crate) fn wrap(frame: Frame) -> xmem_core::Result<gst::Memory> {
    wrap_with(&ALLOCATOR, frame)
}

/// Wraps a received frame in a dmabuf, as [`wrap`] does.
///
/// # Errors
/// Those of [`Frame::payload`], if the frame has no descriptor.
pub(crate) fn wrap_dma_buf(frame: Frame) -> xmem_core::Result<gst::Memory> {
    wrap_with(&DMA_BUF_ALLOCATOR, frame)
}

/// `allocator` must be one of those above.
fn wrap_with(allocator: &LazyLock<gst::Allocator>, frame: Frame) -> xmem_core::Result<gst::Memory> {
    let Some(fd) = frame.fd() else {
        return frame_memory(frame);
    };
    let (fd, offset, size) = (fd.as_raw_fd(), frame.offset(), frame.meta().size() as usize);
    // SAFETY: the allocator is a `GstFdAllocator` and alive. The memory is new and no other code
    // refers to it, so it can be resized and marked. The range is inside of it: the memory ends
    // where the frame does. The descriptor is the segment's and lives as long as the frame;
    // `drop_frame` drops the frame with the memory, and gets back exactly what was boxed here. The
    // memory does not close the descriptor.
    unsafe {
        let memory = allocators::gst_fd_allocator_alloc(
            allocator.as_ptr(),
            fd,
            offset + size,
            allocators::GST_FD_MEMORY_FLAG_DONT_CLOSE,
        );
        ffi::gst_memory_resize(memory, offset as isize, size);
        (*memory).mini_object.flags |= ffi::GST_MINI_OBJECT_FLAG_LOCK_READONLY;
        ffi::gst_mini_object_set_qdata(
            memory.cast(),
            frame_quark(),
            Box::into_raw(Box::new(frame)).cast(),
            Some(drop_frame),
        );
        Ok(from_glib_full(memory))
    }
}

unsafe extern "C" fn drop_frame(frame: glib::ffi::gpointer) {
    // SAFETY: GStreamer calls this once, with the pointer that `wrap_with` made of a box.
    drop(unsafe { Box::from_raw(frame.cast::<Frame>()) });
}

/// Returns the frame of a memory of one of these allocators, or of its parent.
///
/// # Safety
/// `memory` must be alive for `'a`, and its allocator must be an `XmemFrameAllocator` or an
/// `XmemDmaBufAllocator`.
unsafe fn frame_behind<'a>(memory: *mut ffi::GstMemory) -> Option<&'a Frame> {
    // SAFETY: the memory is alive, and keeps its parent alive. Under this quark there is only a
    // frame that `wrap_with` has boxed, which lives as long as the memory that it is attached to; or
    // nothing, if other code has allocated the memory with this allocator.
    unsafe {
        let parent = (*memory).parent;
        let whole = if parent.is_null() { memory } else { parent };
        let frame = ffi::gst_mini_object_get_qdata(whole.cast(), frame_quark());
        frame.cast::<Frame>().as_ref()
    }
}

/// Returns the frame in which a memory lies.
pub(crate) fn frame_of(memory: &gst::MemoryRef) -> Option<&Frame> {
    let allocator = memory.allocator()?.type_();
    if allocator != super::XmemFrameAllocator::static_type()
        && allocator != super::XmemDmaBufAllocator::static_type()
    {
        return None;
    }
    // SAFETY: the memory is alive for as long as it is borrowed, and its allocator is one of these
    // two.
    unsafe { frame_behind(memory.as_mut_ptr()) }
}

/// The `mem_share` function of `GstFdAllocator`.
static PARENT_SHARE: OnceLock<
    unsafe extern "C" fn(*mut ffi::GstMemory, isize, isize) -> *mut ffi::GstMemory,
> = OnceLock::new();

#[glib::object_subclass]
impl ObjectSubclass for XmemFrameAllocator {
    const NAME: &'static str = "GstXmemFrameAllocator";
    type Type = super::XmemFrameAllocator;
    type ParentType = gst_allocators::FdAllocator;

    fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
        set_functions(obj.as_ptr().cast());
    }
}

#[glib::object_subclass]
impl ObjectSubclass for XmemDmaBufAllocator {
    const NAME: &'static str = "GstXmemDmaBufAllocator";
    type Type = super::XmemDmaBufAllocator;
    type ParentType = gst_allocators::DmaBufAllocator;

    fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
        // The map functions of `GstDmaBufAllocator` stay: they call these, and synchronize with the
        // device.
        set_functions(obj.as_ptr().cast());
    }
}

/// Sets the memory functions of an allocator that is being constructed.
fn set_functions(allocator: *mut ffi::GstAllocator) {
    // SAFETY: no other code sees the object yet. It starts with a `GstAllocator`, whose functions
    // the parent class has set: both types derive from `GstFdAllocator`.
    unsafe {
        if let Some(share) = (*allocator).mem_share {
            PARENT_SHARE.get_or_init(|| share);
        }
        (*allocator).mem_map = Some(mem_map);
        (*allocator).mem_unmap = Some(mem_unmap);
        (*allocator).mem_share = Some(mem_share);
        (*allocator).mem_is_span = Some(mem_is_span);
    }
}

impl ObjectImpl for XmemFrameAllocator {}
impl GstObjectImpl for XmemFrameAllocator {}
// SAFETY: `alloc` is the parent class's, which allocates nothing, and `free` is the parent class's,
// which knows the memory that it has made.
unsafe impl AllocatorImpl for XmemFrameAllocator {}
impl FdAllocatorImpl for XmemFrameAllocator {}

impl ObjectImpl for XmemDmaBufAllocator {}
impl GstObjectImpl for XmemDmaBufAllocator {}
// SAFETY: as above.
unsafe impl AllocatorImpl for XmemDmaBufAllocator {}
impl FdAllocatorImpl for XmemDmaBufAllocator {}
impl DmaBufAllocatorImpl for XmemDmaBufAllocator {}

/// Returns the address of the segment's first byte, to which GStreamer adds the memory's offset.
unsafe extern "C" fn mem_map(
    memory: *mut ffi::GstMemory,
    _maxsize: usize,
    flags: ffi::GstMapFlags,
) -> glib::ffi::gpointer {
    if flags & ffi::GST_MAP_WRITE != 0 {
        return std::ptr::null_mut();
    }
    // SAFETY: GStreamer calls this for memories of these allocators, alive during the call.
    let Some(frame) = (unsafe { frame_behind(memory) }) else {
        return std::ptr::null_mut();
    };
    // Maps a dmabuf; other memory is mapped already.
    let Ok(payload) = frame.map().and_then(|()| frame.payload()) else {
        return std::ptr::null_mut();
    };
    let start = payload.as_ptr().wrapping_sub(frame.offset());
    start.cast_mut().cast()
}

/// Shares as the parent class does, except for the size -1 ("all that follows"), which the parent
/// class takes to be all of the segment.
unsafe extern "C" fn mem_share(
    memory: *mut ffi::GstMemory,
    offset: isize,
    size: isize,
) -> *mut ffi::GstMemory {
    let Some(share) = PARENT_SHARE.get() else {
        return std::ptr::null_mut();
    };
    // SAFETY: GStreamer calls this for memories of these allocators, alive during the call, with a
    // range that GStreamer's caller ensures to be inside. `share` is `GstFdAllocator`'s function
    // for its memories, and these are such memories.
    unsafe {
        let size = match size {
            -1 => (*memory).size as isize - offset,
            size => size,
        };
        share(memory, offset, size)
    }
}
