//! Matroska from `matroskamux`: a cluster begins with a buffer. Pure.
//!
//! If a key frame was requested, an event precedes it, and the muxer begins a cluster at that
//! event. Audio may come between the event and the key frame. Then the cluster has DELTA_UNIT, and
//! the key frame begins no cluster of its own.

use xmem_core::Role;

use super::first_bytes::first_bytes;

/// The element ID of a cluster, with which it begins.
const CLUSTER: [u8; 4] = [0x1f, 0x43, 0xb6, 0x75];

/// The state of the stream after the previous buffers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clusters {
    is_announced: bool,
}

impl Clusters {
    /// Notes that the next picture is a key frame.
    pub(super) fn announce(&mut self) {
        self.is_announced = true;
    }

    /// `None` if the bytes of the buffer do not determine its role.
    pub(super) fn judge(&mut self, buffer: &gst::BufferRef) -> Option<Role> {
        if !self.is_announced || first_bytes(buffer, &mut [0; 4]) != CLUSTER {
            return None;
        }
        self.is_announced = false;
        Some(Role::SyncPoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_after_an_announcement_is_one_to_begin_with() {
        gst::init().unwrap();
        let mut clusters = Clusters::default();
        let cluster = gst::Buffer::from_slice([0x1f, 0x43, 0xb6, 0x75, 0xff]);
        let block = gst::Buffer::from_slice([0xa3, 0x43, 0xb6, 0x75, 0xff]);
        assert_eq!(clusters.judge(&cluster), None);
        clusters.announce();
        for other in [&block, &gst::Buffer::new()] {
            assert_eq!(clusters.judge(other), None);
        }
        assert_eq!(clusters.judge(&cluster), Some(Role::SyncPoint));
        assert_eq!(clusters.judge(&cluster), None);
    }
}
