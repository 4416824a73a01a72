//! The `GstMemory` of a frame that was received: a `GstFdMemory` on the producer's memory, for
//! elements that pass on a descriptor instead of mapping the bytes.

use gst::glib;
use gst::prelude::*;
use gst_base::prelude::*;

use crate::allocator::XmemAllocator;

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

/// What the elements behind `source` do with memory of these caps.
///
/// `waylandsink` hands the descriptor of whatever memory has one on to the compositor, which maps it
/// to read and write. That is forbidden here, and the compositor answers with the end of the
/// connection. Plain memory it copies.
pub(crate) fn usage(source: &impl IsA<gst_base::BaseSrc>, caps: &gst::Caps) -> Usage {
    let mut query = gst::query::Allocation::new(Some(caps), false);
    let is_answered = source.src_pad().peer_query(&mut query);
    let allocators = query
        .allocation_params()
        .filter_map(|(allocator, _)| allocator);
    let mut usage = Usage {
        takes_descriptors: true,
        is_forwarded: false,
    };
    for allocator in allocators.filter(|_| is_answered) {
        usage.takes_descriptors &= allocator.type_().name() != WAYLAND_ALLOCATOR;
        usage.is_forwarded |= allocator.is::<XmemAllocator>();
    }
    usage
}

/// What downstream does with the memory of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// It can have memory with a descriptor.
    pub(crate) takes_descriptors: bool,
    /// An xmemsink publishes it.
    pub(crate) is_forwarded: bool,
}
