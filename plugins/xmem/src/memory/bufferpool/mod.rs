//! The buffer pool in which upstream writes straight into slots.

mod imp;
#[cfg(test)]
mod tests;

glib::wrapper! {
    /// A pool of buffers whose memory is a publisher's slots.
    pub struct XmemBufferPool(ObjectSubclass<imp::XmemBufferPool>)
        @extends gst::BufferPool, gst::Object;
}
