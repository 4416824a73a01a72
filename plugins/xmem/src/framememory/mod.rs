//! The `GstMemory` of a received frame: a `GstFdMemory` on the producer's memory, for elements that
//! pass on a descriptor instead of mapping the bytes.

use gst::glib;
use gst::prelude::*;
use gst_base::prelude::*;

use crate::allocator::XmemAllocator;

mod imp;
#[cfg(test)]
mod tests;

pub(crate) use imp::{frame_of, wrap};

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

/// The type of the allocator that `waylandsink` proposes.
const WAYLAND_ALLOCATOR: &str = "GstWlShmAllocator";

/// Returns what the elements downstream of `source` do with memory of these caps.
///
/// `waylandsink` passes the descriptor of any fd-backed memory to the compositor, which maps it for
/// reading and writing. The seals of a segment forbid that, and the compositor then closes the
/// connection. Memory without a descriptor it copies.
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

/// How downstream uses the memory of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Downstream may get memory with a descriptor.
    pub(crate) takes_descriptors: bool,
    /// An xmemsink downstream publishes the memory.
    pub(crate) is_forwarded: bool,
}
