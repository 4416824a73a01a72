//! Memory with a descriptor that other elements have made, and what is known of it.
//!
//! What is found out about a memory hangs on it, so that it is looked at once and not with every
//! frame, and goes when it goes.
#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;
use std::sync::{LazyLock, Mutex, PoisonError};

use gst::ffi;
use gst::glib::{self, translate::*};
use gst_allocators::ffi as allocators;
use xmem_core::ImportedMemory;

/// What is known of a memory: what it is passed on as; `None` where it can't be.
pub(crate) type Known = Option<ImportedMemory>;

/// Held while one looks at what hangs on a memory, or hangs something on it: somebody else could
/// take it away meanwhile.
static LOOKING: Mutex<()> = Mutex::new(());

/// Where a memory has what is known of it. Nobody else knows the name.
fn quark() -> glib::ffi::GQuark {
    static QUARK: LazyLock<glib::Quark> = LazyLock::new(|| glib::Quark::from_str("xmem-foreign"));
    QUARK.into_glib()
}

/// The descriptor that a memory is on.
pub(crate) fn descriptor(memory: &gst::MemoryRef) -> Option<BorrowedFd<'_>> {
    // SAFETY: the memory is alive, as it is borrowed, and with it its descriptor, which is its own
    // or its parent's.
    unsafe {
        let memory = memory.as_mut_ptr();
        if allocators::gst_is_fd_memory(memory) == glib::ffi::GFALSE {
            return None;
        }
        let fd = allocators::gst_fd_memory_get_fd(memory);
        (fd >= 0).then(|| BorrowedFd::borrow_raw(fd))
    }
}

/// The memory that another one shares; itself where it shares none.
fn whole(memory: &gst::MemoryRef) -> *mut ffi::GstMiniObject {
    let memory = memory.as_mut_ptr();
    // SAFETY: the memory is alive, as it is borrowed, keeps its parent alive, and never gets
    // another one.
    let parent = unsafe { (*memory).parent };
    if parent.is_null() { memory } else { parent }.cast()
}

/// Whether both are parts of the same memory.
pub(crate) fn is_same(one: &gst::MemoryRef, other: &gst::MemoryRef) -> bool {
    whole(one) == whole(other)
}

/// What is known of a memory, if it was looked at before.
pub(crate) fn known(memory: &gst::MemoryRef) -> Option<Known> {
    let _looking = LOOKING.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the memory is alive, as it is borrowed, and keeps its parent alive. Under this quark
    // there is nothing but what `note` has boxed, and nobody replaces it while `LOOKING` is held.
    unsafe {
        let known = ffi::gst_mini_object_get_qdata(whole(memory), quark());
        known.cast::<Known>().as_ref().cloned()
    }
}

/// Notes what is known of a memory, for as long as it lives.
pub(crate) fn note(memory: &gst::MemoryRef, known: &Known) {
    let known = Box::into_raw(Box::new(known.clone()));
    let _looking = LOOKING.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the memory is alive, as it is borrowed, and keeps its parent alive; `forget` gets
    // back just what was boxed here, once.
    unsafe {
        ffi::gst_mini_object_set_qdata(whole(memory), quark(), known.cast(), Some(forget));
    }
}

unsafe extern "C" fn forget(known: glib::ffi::gpointer) {
    // SAFETY: GStreamer calls this once, with what `note` has boxed.
    drop(unsafe { Box::from_raw(known.cast::<Known>()) });
}
