//! What the elements downstream do with the memory of frames.

use gst::prelude::*;
use gst_base::prelude::*;

use super::slot::XmemAllocator;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waylandsink_is_not_given_descriptors() {
        gst::init().unwrap();
        let caps: gst::Caps = "video/x-raw,format=BGRx,width=64,height=48"
            .parse()
            .unwrap();
        let source = gst::ElementFactory::make("appsrc").build().unwrap();
        let source = source.downcast::<gst_base::BaseSrc>().unwrap();
        assert!(usage(&source, &caps).takes_descriptors, "without a peer");
        let sink = gst::ElementFactory::make("fakesink").build().unwrap();
        source.link(&sink).unwrap();
        assert!(usage(&source, &caps).takes_descriptors, "of fakesink");
        // The allocator that waylandsink proposes exists once the element does.
        let there = gst::ElementFactory::make("waylandsink").build();
        let Some(allocator) = there
            .ok()
            .and_then(|_| gst::Allocator::find(Some("wl_shm")))
        else {
            eprintln!("skipped: waylandsink is not installed");
            return;
        };
        let pad = sink.static_pad("sink").unwrap();
        pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, move |_, info| {
            let gst::QueryViewMut::Allocation(query) = info.query_mut().unwrap().view_mut() else {
                return gst::PadProbeReturn::Ok;
            };
            query.add_allocation_param(Some(&allocator), gst::AllocationParams::default());
            gst::PadProbeReturn::Handled
        });
        assert!(!usage(&source, &caps).takes_descriptors, "of waylandsink");
    }
}
