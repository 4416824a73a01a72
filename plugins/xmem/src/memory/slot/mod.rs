//! The `GstMemory` of a slot that upstream writes, and of a received frame without a descriptor.

mod content;
mod imp;

pub(crate) use content::{Held, SlotCell};
pub(super) use imp::{frame_memory, slot_buffer, slot_of};

glib::wrapper! {
    /// Allocates slots of a publisher for upstream elements that use no buffer pool.
    pub struct XmemAllocator(ObjectSubclass<imp::XmemAllocator>)
        @extends gst::Allocator, gst::Object;
}
