#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::ops::ControlFlow;
use std::ptr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use glib::translate::*;
use gst::ffi;
use gst::prelude::*;
use gst::subclass::prelude::*;
use xmem_core::{Canceller, Frame, FrameMut, Publisher};

use super::super::functions::{mem_is_span, mem_unmap};
use super::content::{Content, SlotCell};

const MEMORY_TYPE: &std::ffi::CStr = c"XmemMemory";

/// A `GstMemory`, followed by the plugin's own fields.
///
/// Invariants, established by `new_memory` and `mem_share`:
/// 1. Every memory whose allocator is an `XmemAllocator` is an `XmemMemory`, allocated by `Box`.
/// 2. `data` points to `mem.maxsize` bytes that stay mapped as long as the memory lives: `content`
///    owns the slot or the frame in whose mapping they lie.
#[repr(C)]
struct XmemMemory {
    /// In a cell, because GStreamer changes the reference and lock counts from any thread.
    mem: UnsafeCell<ffi::GstMemory>,
    data: *mut u8,
    content: Arc<Content>,
}

/// Allocates memory in slots. The publisher of the slots is its only state.
#[derive(Default)]
pub struct XmemAllocator {
    source: Mutex<Option<Source>>,
}

struct Source {
    publisher: Weak<Publisher>,
    canceller: Canceller,
}

/// The allocator of all memory that upstream has not allocated through an allocator: buffers of the
/// pool, aliases of their memory, and received frames.
static PLAIN: LazyLock<super::XmemAllocator> = LazyLock::new(|| {
    let allocator: super::XmemAllocator = glib::Object::builder().build();
    allocator.set_object_flags(gst::ObjectFlags::MAY_BE_LEAKED);
    allocator
});

/// Returns a buffer on a slot. Upstream may write its first `size` bytes.
///
/// # Errors
/// Those of [`FrameMut::as_mut_ptr`].
pub(crate) fn slot_buffer(mut frame: FrameMut, size: usize) -> xmem_core::Result<gst::Buffer> {
    let (data, capacity) = (frame.as_mut_ptr()?, frame.capacity());
    let content = Content::Slot(SlotCell::new(frame));
    let layout = Layout {
        flags: 0,
        maxsize: capacity,
        offset: 0,
        size,
    };
    let memory = new_memory(PLAIN.upcast_ref(), Arc::new(content), data, layout);
    let mut buffer = gst::Buffer::new();
    let content = buffer.make_mut();
    content.append_memory(memory);
    // SAFETY: no other code refers to the buffer yet, and `copy_buffer` is a function that copies a
    // buffer.
    unsafe { (*content.as_mut_ptr()).mini_object.copy = Some(copy_buffer) };
    Ok(buffer)
}

/// Wraps a received frame as memory without a descriptor. Freeing the memory gives the frame back.
///
/// # Errors
/// Those of [`Frame::payload`].
pub(crate) fn frame_memory(frame: Frame) -> xmem_core::Result<gst::Memory> {
    let payload = frame.payload()?;
    let (data, size) = (payload.as_ptr().cast_mut(), payload.len());
    let layout = Layout {
        flags: ffi::GST_MINI_OBJECT_FLAG_LOCK_READONLY,
        maxsize: size,
        offset: 0,
        size,
    };
    let content = Arc::new(Content::Frame(frame));
    Ok(new_memory(PLAIN.upcast_ref(), content, data, layout))
}

/// The flags, size and offset of a `GstMemory`.
#[derive(Clone, Copy)]
struct Layout {
    flags: ffi::GstMemoryFlags,
    maxsize: usize,
    offset: usize,
    size: usize,
}

/// Creates a memory. `data` must be the address of `layout.maxsize` bytes in the mapping of
/// `content`.
fn new_memory(
    allocator: &gst::Allocator,
    content: Arc<Content>,
    data: *mut u8,
    layout: Layout,
) -> gst::Memory {
    let memory = raw_memory(allocator.as_ptr(), ptr::null_mut(), content, data, layout);
    // SAFETY: the memory is new, and this function passes on its only reference.
    unsafe { from_glib_full(memory) }
}

fn raw_memory(
    allocator: *mut ffi::GstAllocator,
    parent: *mut ffi::GstMemory,
    content: Arc<Content>,
    data: *mut u8,
    layout: Layout,
) -> *mut ffi::GstMemory {
    let memory = Box::into_raw(Box::new(XmemMemory {
        // SAFETY: `GstMemory` is plain C data, and all zeros are a valid value of it;
        // `gst_memory_init` below fills it in before any other code sees it.
        mem: UnsafeCell::new(unsafe { std::mem::zeroed() }),
        data,
        content,
    }))
    .cast::<ffi::GstMemory>();
    // SAFETY: no other code refers to `memory` yet, and it starts with a `GstMemory` (`repr(C)`).
    // `gst_memory_init` takes references to the allocator and to the parent, which are alive
    // because the callers hold them. From here on GStreamer counts the references and calls `free`
    // below with the last one.
    unsafe {
        ffi::gst_memory_init(
            memory,
            layout.flags,
            allocator,
            parent,
            layout.maxsize,
            0,
            layout.offset,
            layout.size,
        );
    }
    memory
}

/// Copies a buffer on a slot as GStreamer does, with one difference: memory that is mapped for
/// writing is shared, too, read-only. GStreamer would copy its bytes.
///
/// A decoder that writes straight into slots keeps its frames mapped for as long as it refers to
/// them, and passes on a shallow copy (libav's decoders do so in `gst_video_decoder_finish_frame`).
/// GStreamer cannot know that the frame is finished.
unsafe extern "C" fn copy_buffer(buffer: *const ffi::GstMiniObject) -> *mut ffi::GstMiniObject {
    // SAFETY: GStreamer calls this for buffers made by `slot_buffer`, alive during the call.
    let buffer = unsafe { gst::BufferRef::from_ptr(buffer.cast::<ffi::GstBuffer>()) };
    let mut copy = gst::Buffer::new();
    let target = copy.make_mut();
    // As in GStreamer, metadata that cannot be copied is left out. GStreamer also leaves out the
    // metas that describe the memory (the video meta), because it does not know that the memory
    // stays the same; they are copied below.
    let _ = buffer.copy_into(target, gst::BUFFER_COPY_METADATA, ..);
    buffer.foreach_meta(|meta| {
        if meta.has_tag::<gst::meta::tags::Memory>() {
            let _ = meta.transform(target, &gst::meta::MetaTransformCopy::new(..));
        }
        ControlFlow::Continue(())
    });
    for memory in buffer.iter_memories_owned() {
        let shared = match ours(&memory) {
            Some(slot) if is_mapped_to_write(&memory) => alias(slot),
            _ => memory.clone(),
        };
        target.append_memory(shared);
    }
    copy.into_glib_ptr().cast()
}

/// Returns whether the memory is mapped for writing. GStreamer does not share such memory.
fn is_mapped_to_write(memory: &gst::MemoryRef) -> bool {
    let object = memory.as_ptr().cast_mut().cast::<ffi::GstMiniObject>();
    // SAFETY: the memory is alive, as it is borrowed. Any thread may change the lock state at any
    // time, as this block does: it takes an exclusive lock if possible and gives it back.
    unsafe {
        let lockable = ffi::gst_mini_object_lock(object, ffi::GST_LOCK_FLAG_EXCLUSIVE) != 0;
        if lockable {
            ffi::gst_mini_object_unlock(object, ffi::GST_LOCK_FLAG_EXCLUSIVE);
        }
        !lockable
    }
}

/// Returns the memory as an `XmemMemory`, if it is one.
fn ours(memory: &gst::MemoryRef) -> Option<&XmemMemory> {
    // The type is final, so a comparison with this one type is enough, without its ancestors.
    if memory.allocator()?.type_() != super::XmemAllocator::static_type() {
        return None;
    }
    // SAFETY: the allocator is an `XmemAllocator`, so the memory is an `XmemMemory` (invariant 1).
    // It is alive as long as the borrow. `data` and `content` never change, and `mem`, which does,
    // is in a cell.
    Some(unsafe { &*memory.as_ptr().cast::<XmemMemory>() })
}

/// Returns the slot in which a memory lies; `None` if it lies in none.
pub(crate) fn slot_of(memory: &gst::MemoryRef) -> Option<&SlotCell> {
    match &*ours(memory)?.content {
        Content::Slot(slot) => Some(slot),
        Content::Frame(_) => None,
    }
}

/// Returns another memory on the same bytes, read-only. Its lock state is independent of the first
/// memory's.
fn alias(memory: &XmemMemory) -> gst::Memory {
    let mem = memory.mem.get();
    // SAFETY: the memory is alive, as it is borrowed. Only code with exclusive access to a memory
    // changes its size and offset, and no code has exclusive access to a memory while it is mapped.
    let layout = unsafe {
        Layout {
            flags: ffi::GST_MINI_OBJECT_FLAG_LOCK_READONLY,
            maxsize: (*mem).maxsize,
            offset: (*mem).offset,
            size: (*mem).size,
        }
    };
    new_memory(
        PLAIN.upcast_ref(),
        memory.content.clone(),
        memory.data,
        layout,
    )
}

impl super::XmemAllocator {
    /// Creates an allocator of a publisher's slots.
    pub(crate) fn new(publisher: &Arc<Publisher>, canceller: &Canceller) -> Self {
        let allocator: Self = glib::Object::builder().build();
        *allocator.imp().lock() = Some(Source {
            publisher: Arc::downgrade(publisher),
            canceller: canceller.clone(),
        });
        allocator
    }
}

impl XmemAllocator {
    fn lock(&self) -> MutexGuard<'_, Option<Source>> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, len: usize) -> Option<FrameMut> {
        let (publisher, canceller) = {
            let source = self.lock();
            let source = source.as_ref()?;
            (source.publisher.upgrade()?, source.canceller.clone())
        };
        let slot = || publisher.acquire_timeout(len, Some(Duration::ZERO), &canceller.begin()?);
        slot()
            .inspect_err(|error| {
                gst::debug!(
                    crate::log::CAT,
                    imp = self,
                    "{error}: allocating system memory"
                );
            })
            .ok()
    }
}

#[glib::object_subclass]
impl ObjectSubclass for XmemAllocator {
    const NAME: &'static str = "GstXmemAllocator";
    type Type = super::XmemAllocator;
    type ParentType = gst::Allocator;

    fn instance_init(obj: &glib::subclass::InitializingObject<Self>) {
        let allocator = obj.as_ptr().cast::<ffi::GstAllocator>();
        // SAFETY: the object is being constructed, so no other code sees it yet, and it starts with
        // a `GstAllocator`, which the parent class has initialized.
        unsafe {
            (*allocator).mem_type = MEMORY_TYPE.as_ptr();
            (*allocator).mem_map = Some(mem_map);
            (*allocator).mem_unmap = Some(mem_unmap);
            (*allocator).mem_share = Some(mem_share);
            (*allocator).mem_is_span = Some(mem_is_span);
        }
    }
}

impl ObjectImpl for XmemAllocator {}
impl GstObjectImpl for XmemAllocator {}

// SAFETY: `alloc` returns a memory of GStreamer's default allocator or an `XmemMemory`, with all
// fields set, or null. GStreamer calls `free` with the last reference to a memory whose allocator
// this is.
unsafe impl AllocatorImpl for XmemAllocator {
    unsafe fn alloc(&self, size: usize, params: &gst::AllocationParams) -> *mut ffi::GstMemory {
        let maxsize = size
            .checked_add(params.prefix())
            .and_then(|size| size.checked_add(params.padding()));
        let Some(maxsize) = maxsize else {
            return ptr::null_mut();
        };
        // Slots are aligned to pages; the default allocator allocates for larger alignments.
        let aligned = params.align() < 4096;
        let slot = aligned.then(|| self.slot(maxsize)).flatten();
        // Slots of a device are not for the CPU to write.
        let slot = slot.and_then(|mut frame| Some((frame.as_mut_ptr().ok()?, frame)));
        let Some((data, mut frame)) = slot else {
            // SAFETY: null means the default allocator, and the parameters are valid as long as
            // they are borrowed.
            return unsafe {
                ffi::gst_allocator_alloc(
                    ptr::null_mut(),
                    size,
                    mut_override(params.to_glib_none().0),
                )
            };
        };
        let capacity = frame.capacity();
        let mut clear = |flag, at, len| {
            if let Ok(payload) = frame.payload()
                && params.flags().contains(flag)
            {
                payload.write(at, &vec![0; len]);
            }
        };
        let end = params.prefix() + size;
        clear(gst::MemoryFlags::ZERO_PREFIXED, 0, params.prefix());
        clear(gst::MemoryFlags::ZERO_PADDED, end, params.padding());
        let content = Content::Slot(SlotCell::new(frame));
        let layout = Layout {
            flags: 0,
            maxsize: capacity,
            offset: params.prefix(),
            size,
        };
        let allocator = self.obj();
        new_memory(allocator.upcast_ref(), Arc::new(content), data, layout).into_glib_ptr()
    }

    unsafe fn free(&self, memory: *mut ffi::GstMemory) {
        // SAFETY: the memory is an `XmemMemory` made by `Box` (invariant 1), and this was the
        // last reference to it.
        drop(unsafe { Box::from_raw(memory.cast::<XmemMemory>()) });
    }
}

/// Returns the address: the memory is mapped for as long as it lives.
unsafe extern "C" fn mem_map(
    memory: *mut ffi::GstMemory,
    _maxsize: usize,
    flags: ffi::GstMapFlags,
) -> glib::ffi::gpointer {
    // SAFETY: GStreamer calls this for memories of an `XmemAllocator` (invariant 1) that are alive
    // during the call; the borrow ends with the call.
    let memory = unsafe { &*memory.cast::<XmemMemory>() };
    let write = flags & ffi::GST_MAP_WRITE != 0;
    let allowed = match &*memory.content {
        // A published frame never changes. To write, GStreamer makes a copy.
        Content::Slot(slot) => !write || slot.is_writable(),
        Content::Frame(_) => !write,
    };
    if allowed {
        memory.data.cast()
    } else {
        ptr::null_mut()
    }
}

unsafe extern "C" fn mem_share(
    memory: *mut ffi::GstMemory,
    offset: isize,
    size: isize,
) -> *mut ffi::GstMemory {
    // SAFETY: GStreamer calls this for memories of an `XmemAllocator` (invariant 1) that are alive
    // during the call; the borrow ends with the call.
    let whole = unsafe { &*memory.cast::<XmemMemory>() };
    // SAFETY: as above; none of these fields changes while a reference is held.
    let (flags, parent, allocator, maxsize, from, rest) = unsafe {
        let mem = &raw const *memory;
        (
            (*mem).mini_object.flags,
            (*mem).parent,
            (*mem).allocator,
            (*mem).maxsize,
            (*mem).offset as isize,
            (*mem).size as isize,
        )
    };
    let parent = if parent.is_null() { memory } else { parent };
    // The caller of GStreamer's function ensures that the range is inside; -1 means all that
    // follows.
    let size = match size {
        -1 => (rest - offset) as usize,
        size => size as usize,
    };
    let layout = Layout {
        // Shared memory is read-only, as GStreamer's own is.
        flags: flags | ffi::GST_MINI_OBJECT_FLAG_LOCK_READONLY,
        maxsize,
        offset: (from + offset) as usize,
        size,
    };
    raw_memory(allocator, parent, whole.content.clone(), whole.data, layout)
}
