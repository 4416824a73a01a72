//! Changes a pipeline while it does not change its state, as an application does.
//!
//! A flush makes a sink lose its state, and the sink regains it with the next buffer. If that
//! buffer arrives while a bin brings its sinks to PLAYING, the bin can end in PLAYING while the
//! sink still waits for its state change. `gst_element_send_event()` takes the state lock of the
//! element on which it is called. An application calls it on the pipeline, so code that flushes a
//! part of the pipeline must take the same lock.
#![allow(unsafe_code)]

use glib::translate::ToGlibPtr;
use gst::prelude::*;

/// Runs `change` while the pipeline of the element does not change its state.
pub(super) fn with_state_lock<T>(
    element: &impl IsA<gst::Element>,
    change: impl FnOnce() -> T,
) -> T {
    /// Unlocks on drop, also if `change` panics.
    struct Locked(gst::Element);
    impl Drop for Locked {
        fn drop(&mut self) {
            let element: *mut gst::ffi::GstElement = self.0.to_glib_none().0;
            // SAFETY: the element is held, so it and its lock are alive. This thread has locked it
            // below and has not unlocked it since.
            unsafe { glib::ffi::g_rec_mutex_unlock(&raw mut (*element).state_lock) }
        }
    }
    let mut top = element.as_ref().clone();
    while let Some(parent) = top.parent().and_then(|parent| parent.downcast().ok()) {
        top = parent;
    }
    let locked = {
        let element: *mut gst::ffi::GstElement = top.to_glib_none().0;
        // SAFETY: the element is held, so it is alive, and its lock is initialized as long as it
        // lives. The lock is recursive, so this thread may hold it already.
        unsafe { glib::ffi::g_rec_mutex_lock(&raw mut (*element).state_lock) };
        Locked(top)
    };
    let result = change();
    drop(locked);
    result
}
