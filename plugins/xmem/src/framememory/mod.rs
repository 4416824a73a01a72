//! The `GstMemory` of a frame that was received: a `GstFdMemory` on the producer's memory, for
//! elements that pass on a descriptor instead of mapping the bytes.

use gst::glib;
use gst::prelude::*;
use gst_base::prelude::*;

mod imp;
#[cfg(test)]
mod tests;

pub(crate) use imp::{frame_of, wrap};

glib::wrapper! {
    /// The allocator of received frames' memory. It tells GStreamer what the memory is; there is
    /// nothing to allocate.
    pub struct XmemFrameAllocator(ObjectSubclass<imp::XmemFrameAllocator>)
        @extends gst_allocators::FdAllocator, gst::Allocator, gst::Object;
}

glib::wrapper! {
    /// The same, of frames in dmabufs.
    pub struct XmemDmaBufAllocator(ObjectSubclass<imp::XmemDmaBufAllocator>)
        @extends gst_allocators::DmaBufAllocator, gst_allocators::FdAllocator, gst::Allocator,
            gst::Object;
}

/// The type of the allocator whose memory is made for a Wayland compositor.
const WAYLAND_ALLOCATOR: &str = "GstWlShmAllocator";

/// Whether memory with a descriptor can be given to who takes these caps behind `source`.
///
/// `waylandsink` hands the descriptor of whatever memory has one on to the compositor, which maps it
/// to read and write. That is forbidden here, and the compositor answers with the end of the
/// connection. Plain memory it copies.
pub(crate) fn is_taken(source: &impl IsA<gst_base::BaseSrc>, caps: &gst::Caps) -> bool {
    let mut query = gst::query::Allocation::new(Some(caps), false);
    if !source.src_pad().peer_query(&mut query) {
        return true;
    }
    let mut allocators = query
        .allocation_params()
        .filter_map(|(allocator, _)| allocator);
    !allocators.any(|allocator| allocator.type_().name() == WAYLAND_ALLOCATOR)
}
