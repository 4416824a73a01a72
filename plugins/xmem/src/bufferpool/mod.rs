//! The buffer pool that lets upstream write straight into slots.

use gst::glib;

mod imp;
#[cfg(test)]
mod tests;

pub(crate) use imp::OnFailure;

glib::wrapper! {
    /// Buffers whose memory is slots of a publisher.
    pub struct XmemBufferPool(ObjectSubclass<imp::XmemBufferPool>)
        @extends gst::BufferPool, gst::Object;
}
