//! Matroska, as `matroskamux` makes it: the beginning of a cluster is a buffer. Pure.
//!
//! Where a key frame was requested, an event comes before it, at which the muxer begins a cluster. Sound may come between
//! both: then the cluster has DELTA_UNIT, and the key frame begins none of its own.

use xmem_core::Role;

/// The number of a cluster, which it begins with.
const CLUSTER: [u8; 4] = [0x1f, 0x43, 0xb6, 0x75];

/// What a stream of clusters has shown so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clusters {
    is_announced: bool,
}

impl Clusters {
    /// A key frame is the next picture.
    pub(super) fn announce(&mut self) {
        self.is_announced = true;
    }

    /// `None` where the bytes of a buffer tell nothing.
    pub(super) fn judge(&mut self, buffer: &gst::BufferRef) -> Option<Role> {
        if !self.is_announced || super::beginning(buffer, &mut [0; 4]) != CLUSTER {
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
