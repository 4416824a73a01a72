//! The functions of `GstMemory` that are the same for all memory of xmem.

#![allow(unsafe_code)]

use glib::translate::IntoGlib;
use gst::ffi;

/// Does nothing: the memory stays mapped for as long as it lives.
pub(super) unsafe extern "C" fn mem_unmap(_memory: *mut ffi::GstMemory) {}

/// Returns whether `first` ends where `second` begins. Sets `offset` to the offset of `first` in
/// their parent.
///
/// # Safety
/// Both memories must be alive and have the same parent; `offset` must be null or writable.
pub(super) unsafe extern "C" fn mem_is_span(
    first: *mut ffi::GstMemory,
    second: *mut ffi::GstMemory,
    offset: *mut usize,
) -> glib::ffi::gboolean {
    // SAFETY: GStreamer, the caller, meets the requirements above, and a memory keeps its parent
    // alive.
    unsafe {
        if !offset.is_null() {
            *offset = (*first).offset - (*(*first).parent).offset;
        }
        ((*first).offset + (*first).size == (*second).offset).into_glib()
    }
}
