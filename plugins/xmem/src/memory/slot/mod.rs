//! The `GstMemory` of a slot that upstream writes, and of a received frame without a descriptor.

use gst::glib;

mod content;
mod imp;

pub(crate) use content::Content;
pub(crate) use imp::{content_of, frame_memory, mem_is_span, slot_buffer};

glib::wrapper! {
    /// Allocates slots of a publisher for upstream elements that use no buffer pool.
    pub struct XmemAllocator(ObjectSubclass<imp::XmemAllocator>)
        @extends gst::Allocator, gst::Object;
}
