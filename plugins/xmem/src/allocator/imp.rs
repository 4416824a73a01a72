#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::ops::ControlFlow;
use std::ptr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use gst::ffi;
use gst::glib;
use gst::glib::translate::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use xmem_core::{Canceller, Frame, FrameMut, PublishedSlot, Publisher};

const MEMORY_TYPE: &std::ffi::CStr = c"XmemMemory";

/// What a memory of ours is made of: the one enum where the kinds of memory meet.
pub(crate) enum Content {
    /// A slot of a producer.
    Slot(SlotCell),
    /// A frame that a client has received, read-only. Its drop gives the lease back.
    Frame(#[expect(dead_code, reason = "held for its drop")] Frame),
}

/// A slot and how far it has come.
pub(crate) struct SlotCell(Mutex<SlotState>);

enum SlotState {
    /// Upstream may write.
    Writable(FrameMut),
    /// Clients may read; upstream too.
    Published(#[expect(dead_code, reason = "held for its drop")] PublishedSlot),
    /// Only while the sink publishes it.
    Publishing,
}

impl SlotCell {
    /// Publishes the slot with `publish`, if it can still be written. What that returns is
    /// returned; `None` where the slot was published already.
    pub(crate) fn publish<E>(
        &self,
        publish: impl FnOnce(FrameMut) -> Result<PublishedSlot, (Box<FrameMut>, E)>,
    ) -> Option<Result<(), E>> {
        // Not under the lock: publishing may wait. Meanwhile the memory can't be written.
        let taken = std::mem::replace(&mut *self.lock(), SlotState::Publishing);
        let (next, result) = match taken {
            SlotState::Writable(frame) => match publish(frame) {
                Ok(published) => (SlotState::Published(published), Some(Ok(()))),
                Err((frame, error)) => (SlotState::Writable(*frame), Some(Err(error))),
            },
            other => (other, None),
        };
        *self.lock() = next;
        result
    }

    fn is_writable(&self) -> bool {
        matches!(*self.lock(), SlotState::Writable(_))
    }

    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Our memory: GStreamer's, and behind it what only we know.
///
/// Invariants, set up by `new_memory` and `mem_share`:
/// 1. Every memory whose allocator is an `XmemAllocator` is one of these, made by `Box`.
/// 2. `data` points to `mem.maxsize` bytes that stay mapped as long as the memory lives:
///    `content` holds the slot or the frame, whose mapping that is.
#[repr(C)]
struct XmemMemory {
    /// GStreamer changes it from any thread: reference and lock counts.
    mem: UnsafeCell<ffi::GstMemory>,
    data: *mut u8,
    content: Arc<Content>,
}

/// Allocates memory in slots; holds no state but where to get them.
#[derive(Default)]
pub struct XmemAllocator {
    source: Mutex<Option<Source>>,
}

struct Source {
    publisher: Weak<Publisher>,
    canceller: Canceller,
}

/// The allocator of all memory that no upstream element has allocated itself.
static PLAIN: LazyLock<super::XmemAllocator> = LazyLock::new(|| {
    let allocator: super::XmemAllocator = glib::Object::builder().build();
    allocator.set_object_flags(gst::ObjectFlags::MAY_BE_LEAKED);
    allocator
});

/// A buffer on a slot, whose first `size` bytes are upstream's to write.
pub(crate) fn slot_buffer(mut frame: FrameMut, size: usize) -> gst::Buffer {
    let (data, capacity) = (frame.as_mut_ptr(), frame.capacity());
    let content = Content::Slot(SlotCell(Mutex::new(SlotState::Writable(frame))));
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
    // SAFETY: the buffer is ours alone, and the function is one that copies a buffer.
    unsafe { (*content.as_mut_ptr()).mini_object.copy = Some(copy_buffer) };
    buffer
}

/// Wraps a received frame whose memory there is no descriptor of. The memory's end gives the frame
/// back.
///
/// # Errors
/// As [`Frame::payload`].
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

/// The numbers of a `GstMemory`.
#[derive(Clone, Copy)]
struct Layout {
    flags: ffi::GstMemoryFlags,
    maxsize: usize,
    offset: usize,
    size: usize,
}

/// Makes a memory. `data` must be the address of `layout.maxsize` bytes of `content`'s mapping.
fn new_memory(
    allocator: &gst::Allocator,
    content: Arc<Content>,
    data: *mut u8,
    layout: Layout,
) -> gst::Memory {
    let memory = raw_memory(allocator.as_ptr(), ptr::null_mut(), content, data, layout);
    // SAFETY: the memory is new, and its one reference is ours to give.
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
        // SAFETY: `GstMemory` is plain C data, for which zeros are a value; `gst_memory_init`
        // below fills it in before anybody sees it.
        mem: UnsafeCell::new(unsafe { std::mem::zeroed() }),
        data,
        content,
    }))
    .cast::<ffi::GstMemory>();
    // SAFETY: `memory` is ours alone and is a `GstMemory` at its start (`repr(C)`). It takes
    // references to the allocator and to the parent, which are alive as the callers hold them.
    // From here on GStreamer counts references, and calls `free` below with the last.
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

/// Copies a buffer on a slot as GStreamer does, with one difference: memory that somebody has
/// mapped to write is shared too, read-only, instead of being copied.
///
/// A decoder that writes straight into our slots keeps its frames mapped for as long as it refers
/// to them, and hands on a shallow copy (libav's does so in `gst_video_decoder_finish_frame`).
/// GStreamer can't know that the frame is finished, and copies its bytes.
unsafe extern "C" fn copy_buffer(buffer: *const ffi::GstMiniObject) -> *mut ffi::GstMiniObject {
    // SAFETY: GStreamer calls this for buffers made by `slot_buffer`, alive during the call.
    let buffer = unsafe { gst::BufferRef::from_ptr(buffer.cast::<ffi::GstBuffer>()) };
    let mut copy = gst::Buffer::new();
    let target = copy.make_mut();
    // What can't be copied is left out, as GStreamer does. It leaves out as well what describes
    // the memory (the video meta), since it does not know that the memory stays the same.
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

/// Whether somebody has the memory mapped to write, so that GStreamer would not share it.
fn is_mapped_to_write(memory: &gst::MemoryRef) -> bool {
    let object = memory.as_ptr().cast_mut().cast::<ffi::GstMiniObject>();
    // SAFETY: the memory is alive, as it is borrowed; its lock state may be changed by any thread
    // at any time, and is here: taken where that is possible, and given back.
    unsafe {
        let lockable = ffi::gst_mini_object_lock(object, ffi::GST_LOCK_FLAG_EXCLUSIVE) != 0;
        if lockable {
            ffi::gst_mini_object_unlock(object, ffi::GST_LOCK_FLAG_EXCLUSIVE);
        }
        !lockable
    }
}

/// One of our memories, for as long as GStreamer's reference to it is borrowed.
fn ours(memory: &gst::MemoryRef) -> Option<&XmemMemory> {
    // The type is final: asking for just this one spares a look at its ancestors.
    if memory.allocator()?.type_() != super::XmemAllocator::static_type() {
        return None;
    }
    // SAFETY: the allocator is ours, so this is an `XmemMemory` (invariant 1), alive as long as
    // the borrow. `data` and `content` never change, and what does is in a cell.
    Some(unsafe { &*memory.as_ptr().cast::<XmemMemory>() })
}

/// What is behind a memory of ours; `None` for others' memory.
pub(crate) fn content_of(memory: &gst::MemoryRef) -> Option<&Content> {
    ours(memory).map(|memory| &*memory.content)
}

/// Another memory on the same bytes, read-only, and independent of who has mapped the first.
fn alias(memory: &XmemMemory) -> gst::Memory {
    let mem = memory.mem.get();
    // SAFETY: the memory is alive, as it is borrowed. Its size and offset change only by who has
    // it alone, which is not so while somebody has it mapped.
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
    /// An allocator of slots of a publisher.
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
                gst::debug!(crate::CAT, imp = self, "{error}: allocating system memory");
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
        // SAFETY: the object is being constructed, so nobody else sees it, and it starts with a
        // `GstAllocator`, whose parent class has initialized it already.
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

// SAFETY: `alloc` returns a memory of GStreamer's or ours, with all fields set, or null; `free` is
// called by GStreamer with the last reference to a memory whose allocator this is.
unsafe impl AllocatorImpl for XmemAllocator {
    unsafe fn alloc(&self, size: usize, params: &gst::AllocationParams) -> *mut ffi::GstMemory {
        let maxsize = size
            .checked_add(params.prefix())
            .and_then(|size| size.checked_add(params.padding()));
        let Some(maxsize) = maxsize else {
            return ptr::null_mut();
        };
        // Slots start at a page: larger alignments are for others.
        let aligned = params.align() < 4096;
        let Some(mut frame) = aligned.then(|| self.slot(maxsize)).flatten() else {
            // SAFETY: null is the default allocator, and the parameters are valid as long as
            // they are borrowed.
            return unsafe {
                ffi::gst_allocator_alloc(
                    ptr::null_mut(),
                    size,
                    mut_override(params.to_glib_none().0),
                )
            };
        };
        let (data, capacity) = (frame.as_mut_ptr(), frame.capacity());
        if params.flags().contains(gst::MemoryFlags::ZERO_PREFIXED) {
            frame.payload().write(0, &vec![0; params.prefix()]);
        }
        if params.flags().contains(gst::MemoryFlags::ZERO_PADDED) {
            let end = params.prefix() + size;
            frame.payload().write(end, &vec![0; params.padding()]);
        }
        let content = Content::Slot(SlotCell(Mutex::new(SlotState::Writable(frame))));
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

/// Maps by telling the address: the memory is mapped for as long as it lives.
unsafe extern "C" fn mem_map(
    memory: *mut ffi::GstMemory,
    _maxsize: usize,
    flags: ffi::GstMapFlags,
) -> glib::ffi::gpointer {
    // SAFETY: GStreamer calls this for memories of our allocator (invariant 1), alive during the
    // call; the borrow ends with it.
    let memory = unsafe { &*memory.cast::<XmemMemory>() };
    let write = flags & ffi::GST_MAP_WRITE != 0;
    let allowed = match &*memory.content {
        // A published frame never changes. GStreamer then writes to a copy.
        Content::Slot(slot) => !write || slot.is_writable(),
        Content::Frame(_) => !write,
    };
    match allowed {
        true => memory.data.cast(),
        false => ptr::null_mut(),
    }
}

unsafe extern "C" fn mem_unmap(_memory: *mut ffi::GstMemory) {}

unsafe extern "C" fn mem_share(
    memory: *mut ffi::GstMemory,
    offset: isize,
    size: isize,
) -> *mut ffi::GstMemory {
    // SAFETY: GStreamer calls this for memories of our allocator (invariant 1), alive during the
    // call; the borrow ends with it.
    let whole = unsafe { &*memory.cast::<XmemMemory>() };
    // SAFETY: as above; of these fields none changes while a reference is held.
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
    // The range lies inside, as GStreamer's caller promises; -1 is all that follows.
    let size = match size {
        -1 => (rest - offset) as usize,
        size => size as usize,
    };
    let layout = Layout {
        // Shared memory is read-only, as GStreamer's own.
        flags: flags | ffi::GST_MINI_OBJECT_FLAG_LOCK_READONLY,
        maxsize,
        offset: (from + offset) as usize,
        size,
    };
    raw_memory(allocator, parent, whole.content.clone(), whole.data, layout)
}

/// Whether one memory ends where another begins, and where in their parent the first one does.
///
/// # Safety
/// They are alive and have the same parent; `offset` is null or writable.
pub(crate) unsafe extern "C" fn mem_is_span(
    first: *mut ffi::GstMemory,
    second: *mut ffi::GstMemory,
    offset: *mut usize,
) -> glib::ffi::gboolean {
    // SAFETY: as the caller, GStreamer, promises: a memory keeps its parent alive.
    unsafe {
        if !offset.is_null() {
            *offset = (*first).offset - (*(*first).parent).offset;
        }
        ((*first).offset + (*first).size == (*second).offset).into_glib()
    }
}
