//! The result of an import, attached to the memory that was imported. So each memory is examined
//! once and not with every frame. The result is dropped with the memory.
#![allow(unsafe_code)]

use std::sync::{LazyLock, Mutex, PoisonError};

use glib::translate::*;
use gst::ffi;
use xmem_core::ImportedMemory;

/// The result of an import: the imported memory, or `None` if the memory cannot be imported.
pub(crate) type Import = Option<ImportedMemory>;

/// Held while qdata of a memory is read or set: another thread could replace it meanwhile.
static QDATA: Mutex<()> = Mutex::new(());

/// The quark under which a memory has its import. No other code uses it.
fn quark() -> glib::ffi::GQuark {
    static QUARK: LazyLock<glib::Quark> = LazyLock::new(|| glib::Quark::from_str("xmem-import"));
    QUARK.into_glib()
}

/// Returns the parent of a memory that shares another memory's bytes, or the memory itself.
fn whole(memory: &gst::MemoryRef) -> *mut ffi::GstMiniObject {
    let memory = memory.as_mut_ptr();
    // SAFETY: the memory is alive, as it is borrowed. It keeps its parent alive, and its parent
    // never changes.
    let parent = unsafe { (*memory).parent };
    if parent.is_null() { memory } else { parent }.cast()
}

/// Returns whether both are parts of the same memory.
pub(crate) fn is_same(one: &gst::MemoryRef, other: &gst::MemoryRef) -> bool {
    whole(one) == whole(other)
}

/// Returns the result of an earlier import; `None` if there was none.
pub(crate) fn import_of(memory: &gst::MemoryRef) -> Option<Import> {
    let _guard = QDATA.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the memory is alive, as it is borrowed, and keeps its parent alive. Under this quark
    // there is only what `attach` has boxed, and no thread replaces it while `QDATA` is held.
    unsafe {
        let import = ffi::gst_mini_object_get_qdata(whole(memory), quark());
        import.cast::<Import>().as_ref().cloned()
    }
}

/// Attaches the result of an import to a memory, for as long as the memory lives.
pub(crate) fn attach(memory: &gst::MemoryRef, import: &Import) {
    let import = Box::into_raw(Box::new(import.clone()));
    let _guard = QDATA.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the memory is alive, as it is borrowed, and keeps its parent alive; GStreamer passes
    // the pointer that was boxed here to `forget`, once.
    unsafe {
        ffi::gst_mini_object_set_qdata(whole(memory), quark(), import.cast(), Some(forget));
    }
}

unsafe extern "C" fn forget(import: glib::ffi::gpointer) {
    // SAFETY: GStreamer calls this once, with the pointer that `attach` made of a box.
    drop(unsafe { Box::from_raw(import.cast::<Import>()) });
}
