//! The `GstMemory` of a received frame: a `GstFdMemory` on the producer's memory, for elements that
//! pass on a descriptor instead of mapping the bytes.

mod imp;
#[cfg(test)]
mod tests;

pub(super) use imp::{frame_of, wrap, wrap_dma_buf};

glib::wrapper! {
    /// The allocator of received frames' memory. It tells GStreamer the type of the memory; it
    /// allocates nothing.
    pub struct XmemFrameAllocator(ObjectSubclass<imp::XmemFrameAllocator>)
        @extends gst_allocators::FdAllocator, gst::Allocator, gst::Object;
}

glib::wrapper! {
    /// The allocator of the memory of received frames in dmabufs.
    pub struct XmemDmaBufAllocator(ObjectSubclass<imp::XmemDmaBufAllocator>)
        @extends gst_allocators::DmaBufAllocator, gst_allocators::FdAllocator, gst::Allocator,
            gst::Object;
}
