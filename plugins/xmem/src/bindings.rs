//! Calls of GStreamer where its Rust bindings are not right for all callers. `clippy.toml` lists
//! those of the bindings that the plugin does not use because of that.
#![allow(unsafe_code)]

use gst::ffi;
use gst::glib::translate::{ToGlibPtr, from_glib_full};

/// The pads that what comes in by a pad goes out by, or the other way round. None, and not a NULL
/// that is taken for an iterator, where the pad has no parent or its element does not tell.
pub(crate) fn internal_links(pad: &gst::Pad) -> Option<gst::Iterator<gst::Pad>> {
    // SAFETY: the pad is alive, as it is borrowed; the iterator is the caller's.
    unsafe { from_glib_full(ffi::gst_pad_iterate_internal_links(pad.to_glib_none().0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pad_without_a_parent_has_no_links() {
        gst::init().unwrap();
        let pad = gst::Pad::new(gst::PadDirection::Sink);
        assert!(internal_links(&pad).is_none());
    }
}
