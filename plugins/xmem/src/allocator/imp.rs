#![allow(unsafe_code)]

use std::ptr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use gst::ffi;
use gst::glib;
use gst::glib::translate::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use xmem_core::{Canceller, Frame, FrameMut, Published, Publisher};

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
    Published(#[expect(dead_code, reason = "held for its drop")] Published),
    /// Only while the sink publishes it.
    Publishing,
}

impl SlotCell {
    /// Publishes the slot with `publish`, if it can still be written. What that returns is
    /// returned; `None` where the slot was published already.
    pub(crate) fn publish<E>(
        &self,
        publish: impl FnOnce(FrameMut) -> Result<Published, (FrameMut, E)>,
    ) -> Option<Result<(), E>> {
        // Not under the lock: publishing may wait. Meanwhile the memory can't be written.
        let taken = std::mem::replace(&mut *self.lock(), SlotState::Publishing);
        let (next, result) = match taken {
            SlotState::Writable(frame) => match publish(frame) {
                Ok(published) => (SlotState::Published(published), Some(Ok(()))),
                Err((frame, error)) => (SlotState::Writable(frame), Some(Err(error))),
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
/// 2. `data` points to `mem.maxsize` bytes that stay mapped as long as the memory (or its
///    parent) lives: `content` holds the slot or the frame, whose mapping that is.
/// 3. `content` is `None` exactly where `mem.parent` is not null; the parent is one of ours and
///    has content.
#[repr(C)]
struct XmemMemory {
    mem: ffi::GstMemory,
    data: *mut u8,
    content: Option<Content>,
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

/// Wraps a slot, whose first `size` bytes are upstream's to write.
pub(crate) fn slot_memory(frame: FrameMut, size: usize) -> gst::Memory {
    let (data, capacity) = (frame.as_mut_ptr(), frame.capacity());
    let content = Content::Slot(SlotCell(Mutex::new(SlotState::Writable(frame))));
    new_memory(PLAIN.upcast_ref(), content, data, capacity, 0, size, false)
}

/// Wraps a received frame. The memory's end gives the frame back.
pub(crate) fn frame_memory(frame: Frame) -> gst::Memory {
    let (data, size) = (frame.payload().as_ptr().cast_mut(), frame.payload().len());
    let content = Content::Frame(frame);
    new_memory(PLAIN.upcast_ref(), content, data, size, 0, size, true)
}

/// `data` must be the address of `maxsize` bytes of `content`'s own mapping.
fn new_memory(
    allocator: &gst::Allocator,
    content: Content,
    data: *mut u8,
    maxsize: usize,
    offset: usize,
    size: usize,
    read_only: bool,
) -> gst::Memory {
    let flags = match read_only {
        true => ffi::GST_MINI_OBJECT_FLAG_LOCK_READONLY,
        false => 0,
    };
    let memory = Box::into_raw(Box::new(XmemMemory {
        // SAFETY: `GstMemory` is plain C data, for which zeros are a value; `gst_memory_init`
        // below fills it in before anybody sees it.
        mem: unsafe { std::mem::zeroed() },
        data,
        content: Some(content),
    }));
    // SAFETY: `memory` is ours alone and is a `GstMemory` at its start (`repr(C)`); the
    // allocator outlives the memory, since `gst_memory_init` takes a reference. From here on
    // GStreamer counts references, and calls `free` below with the last.
    unsafe {
        ffi::gst_memory_init(
            memory.cast(),
            flags,
            allocator.to_glib_none().0,
            ptr::null_mut(),
            maxsize,
            0,
            offset,
            size,
        );
        from_glib_full(memory.cast::<ffi::GstMemory>())
    }
}

/// What is behind a memory of ours, its own or its parent's; `None` for others' memory.
pub(crate) fn content_of(memory: &gst::MemoryRef) -> Option<&Content> {
    if !memory.allocator()?.is::<super::XmemAllocator>() {
        return None;
    }
    let memory = memory.as_ptr().cast::<XmemMemory>();
    // SAFETY: the allocator is ours, so the memory is an `XmemMemory` (invariant 1) that lives as
    // long as the borrow; where it has no content, its parent has (invariant 3), and a memory
    // keeps its parent alive.
    unsafe {
        match &(*memory).content {
            Some(content) => Some(content),
            None => {
                let parent = (*memory).mem.parent.cast::<XmemMemory>();
                (*parent).content.as_ref()
            }
        }
    }
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
        publisher
            .acquire_cancellable(len, Some(Duration::ZERO), &canceller)
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
        let Some(frame) = aligned.then(|| self.slot(maxsize)).flatten() else {
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
        let obj = self.obj();
        let allocator = obj.upcast_ref();
        new_memory(
            allocator,
            content,
            data,
            capacity,
            params.prefix(),
            size,
            false,
        )
        .into_glib_ptr()
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
    let memory = memory.cast::<XmemMemory>();
    // SAFETY: GStreamer calls this for memories of our allocator (invariant 1), alive during the
    // call; the borrow ends with it.
    let (reference, data) = unsafe { (gst::MemoryRef::from_ptr(memory.cast()), (*memory).data) };
    let write = flags & ffi::GST_MAP_WRITE != 0;
    let allowed = match content_of(reference) {
        // A published frame never changes. GStreamer then writes to a copy.
        Some(Content::Slot(slot)) => !write || slot.is_writable(),
        Some(Content::Frame(_)) => !write,
        None => false,
    };
    match allowed {
        true => data.cast(),
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
    // call, and with a range that lies inside (it checks that before). The new memory refers to
    // the one with content as its parent, which `gst_memory_init` references (invariant 3).
    unsafe {
        let mem = &*memory;
        let parent = if mem.parent.is_null() {
            memory
        } else {
            mem.parent
        };
        let size = match size {
            -1 => (mem.size as isize - offset) as usize,
            size => size as usize,
        };
        let shared = Box::into_raw(Box::new(XmemMemory {
            mem: std::mem::zeroed(),
            data: (*memory.cast::<XmemMemory>()).data,
            content: None,
        }));
        // Shared memory is read-only, as GStreamer's own.
        ffi::gst_memory_init(
            shared.cast(),
            (*parent).mini_object.flags | ffi::GST_MINI_OBJECT_FLAG_LOCK_READONLY,
            mem.allocator,
            parent,
            mem.maxsize,
            mem.align,
            (mem.offset as isize + offset) as usize,
            size,
        );
        shared.cast()
    }
}

unsafe extern "C" fn mem_is_span(
    first: *mut ffi::GstMemory,
    second: *mut ffi::GstMemory,
    offset: *mut usize,
) -> glib::ffi::gboolean {
    // SAFETY: GStreamer calls this for two memories of our allocator with the same parent
    // (invariant 1), and with a null or writable `offset`.
    unsafe {
        if !offset.is_null() {
            let parent = (*first).parent;
            *offset = (*first).offset - (*parent).offset;
        }
        ((*first).offset + (*first).size == (*second).offset).into_glib()
    }
}
