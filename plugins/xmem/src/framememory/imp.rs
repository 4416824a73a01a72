#![allow(unsafe_code)]

use std::os::fd::AsRawFd;
use std::sync::{LazyLock, OnceLock};

use gst::ffi;
use gst::glib;
use gst::glib::translate::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_allocators::ffi as allocators;
use gst_allocators::subclass::prelude::*;
use xmem_core::Frame;

use crate::allocator::{frame_memory, mem_is_span};

/// Says of a memory what a `GstFdMemory` is: only GStreamer knows how one looks inside, so what is
/// ours hangs on it as its data.
///
/// A frame's memory is a `GstFdMemory` of its own with a [`Frame`] under the quark [`frame_quark`],
/// whose drop gives the lease back. What GStreamer shares of it has it as its parent, and so keeps
/// it: no memory on the bytes outlives the lease.
///
/// Nothing is mapped here: the core has mapped and prefaulted the segment once, when the producer
/// told of it, and every frame's memory gives out addresses in that mapping.
#[derive(Default)]
pub struct XmemFrameAllocator;

/// The same, for frames in dmabufs. They are mapped by the core when the first is mapped here.
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

/// Where a memory has its frame. Nobody else knows the name.
fn frame_quark() -> glib::ffi::GQuark {
    static QUARK: LazyLock<glib::Quark> = LazyLock::new(|| glib::Quark::from_str("xmem-frame"));
    QUARK.into_glib()
}

/// Wraps a received frame. The end of the memory, and of all that shares it, gives the frame back.
///
/// # Errors
/// As [`Frame::payload`], where there is no descriptor.
pub(crate) fn wrap(frame: Frame) -> xmem_core::Result<gst::Memory> {
    let Some(fd) = frame.fd() else {
        return frame_memory(frame);
    };
    let (fd, offset, size) = (fd.as_raw_fd(), frame.offset(), frame.meta().size as usize);
    let allocator = match frame.is_dma_buf() {
        true => &*DMA_BUF_ALLOCATOR,
        false => &*ALLOCATOR,
    };
    // SAFETY: the allocator is a `GstFdAllocator` and alive. The memory is new and ours alone, so
    // it can be resized and marked, and the range is inside of it: it ends where the frame does.
    // The descriptor is the segment's, which lives as long as the frame, and that is dropped with
    // the memory by `drop_frame`, which gets back just what was boxed here; the memory does not
    // close it.
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
    // SAFETY: GStreamer calls this once, with what `wrap` has boxed.
    drop(unsafe { Box::from_raw(frame.cast::<Frame>()) });
}

/// The frame of a memory of our allocator, or of its parent.
///
/// # Safety
/// `memory` must be alive for `'a`, and its allocator an `XmemFrameAllocator`.
unsafe fn frame_behind<'a>(memory: *mut ffi::GstMemory) -> Option<&'a Frame> {
    // SAFETY: the memory is alive, and keeps its parent alive. Under this quark there is nothing but
    // a frame that `wrap` has boxed (or nothing, in a memory that somebody else has made with our
    // allocator), which lives as long as the memory that it hangs on.
    unsafe {
        let parent = (*memory).parent;
        let whole = if parent.is_null() { memory } else { parent };
        let frame = ffi::gst_mini_object_get_qdata(whole.cast(), frame_quark());
        frame.cast::<Frame>().as_ref()
    }
}

/// The frame that a memory is on.
pub(crate) fn frame_of(memory: &gst::MemoryRef) -> Option<&Frame> {
    let allocator = memory.allocator()?.type_();
    if allocator != super::XmemFrameAllocator::static_type()
        && allocator != super::XmemDmaBufAllocator::static_type()
    {
        return None;
    }
    // SAFETY: the memory is alive for as long as it is borrowed, and its allocator is ours.
    unsafe { frame_behind(memory.as_mut_ptr()) }
}

/// What `GstFdAllocator` shares memory with.
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
        // Those of `GstDmaBufAllocator` stay, which call these and tell the device.
        set_functions(obj.as_ptr().cast());
    }
}

/// Sets what an allocator that is being constructed does with its memories.
fn set_functions(allocator: *mut ffi::GstAllocator) {
    // SAFETY: nobody else sees the object yet, and it starts with a `GstAllocator`, whose functions
    // the parent class has set already: `GstFdAllocator`'s, of which both are.
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
// SAFETY: `alloc` is the parent class's, which allocates nothing, and so is `free`, which knows
// what it has made.
unsafe impl AllocatorImpl for XmemFrameAllocator {}
impl FdAllocatorImpl for XmemFrameAllocator {}

impl ObjectImpl for XmemDmaBufAllocator {}
impl GstObjectImpl for XmemDmaBufAllocator {}
// SAFETY: as above.
unsafe impl AllocatorImpl for XmemDmaBufAllocator {}
impl FdAllocatorImpl for XmemDmaBufAllocator {}
impl DmaBufAllocatorImpl for XmemDmaBufAllocator {}

/// Tells the address of the segment's first byte, to which GStreamer adds the memory's offset.
unsafe extern "C" fn mem_map(
    memory: *mut ffi::GstMemory,
    _maxsize: usize,
    flags: ffi::GstMapFlags,
) -> glib::ffi::gpointer {
    if flags & ffi::GST_MAP_WRITE != 0 {
        return std::ptr::null_mut();
    }
    // SAFETY: GStreamer calls this for memories of our allocator, alive during the call.
    let Some(frame) = (unsafe { frame_behind(memory) }) else {
        return std::ptr::null_mut();
    };
    // Only a dmabuf is not mapped by now.
    let Ok(payload) = frame.map().and_then(|()| frame.payload()) else {
        return std::ptr::null_mut();
    };
    let start = payload.as_ptr().wrapping_sub(frame.offset());
    start.cast_mut().cast()
}

unsafe extern "C" fn mem_unmap(_memory: *mut ffi::GstMemory) {}

/// As the parent class, but for "all that follows" (-1), which that takes to be all of the segment.
unsafe extern "C" fn mem_share(
    memory: *mut ffi::GstMemory,
    offset: isize,
    size: isize,
) -> *mut ffi::GstMemory {
    let Some(share) = PARENT_SHARE.get() else {
        return std::ptr::null_mut();
    };
    // SAFETY: GStreamer calls this for memories of our allocator, alive during the call, with a range
    // that its caller promises to lie inside. The function is the one that `GstFdAllocator` has for
    // its memories, of which these are.
    unsafe {
        let size = match size {
            -1 => (*memory).size as isize - offset,
            size => size,
        };
        share(memory, offset, size)
    }
}
