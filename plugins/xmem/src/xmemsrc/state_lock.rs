//! Changing a pipeline as an application does: not while it changes its state.
//!
//! A flush takes a sink's state away, and the sink gets it back with the next buffer. Where that comes
//! while a bin brings its sinks to PLAYING, both can end with the bin in PLAYING and the sink waiting
//! to be told. `gst_element_send_event()` takes the lock for state changes of the element that it is
//! called on; an application calls it on its pipeline, and so must who flushes a part of that.
#![allow(unsafe_code)]

use gst::glib;
use gst::glib::translate::ToGlibPtr;
use gst::prelude::*;

/// Runs `change` while the pipeline that the element is part of does not change its state.
pub(super) fn with_state_lock<T>(
    element: &impl IsA<gst::Element>,
    change: impl FnOnce() -> T,
) -> T {
    /// Gives the lock back, also where `change` panics.
    struct Locked(gst::Element);
    impl Drop for Locked {
        fn drop(&mut self) {
            let element: *mut gst::ffi::GstElement = self.0.to_glib_none().0;
            // SAFETY: the element is alive, as it is held, and with it its lock, which this thread
            // has taken below and not given back since.
            unsafe { glib::ffi::g_rec_mutex_unlock(&raw mut (*element).state_lock) }
        }
    }
    let mut top = element.as_ref().clone();
    while let Some(parent) = top.parent().and_then(|parent| parent.downcast().ok()) {
        top = parent;
    }
    let locked = {
        let element: *mut gst::ffi::GstElement = top.to_glib_none().0;
        // SAFETY: the element is alive, as it is held, and its lock is initialized as long as it
        // lives. It can be taken more than once by the same thread.
        unsafe { glib::ffi::g_rec_mutex_lock(&raw mut (*element).state_lock) };
        Locked(top)
    };
    let result = change();
    drop(locked);
    result
}
