//! RTP packets of pictures: a client cannot begin in the middle of a picture. Pure.
//!
//! Payloaders set DELTA_UNIT on the packets of a delta picture only. All packets of one picture have
//! the same RTP timestamp (RFC 3550, 5.1).

use xmem_core::Role;

use super::first_bytes::first_bytes;

/// The size of the packet header up to the end of the timestamp.
const BEGINNING: usize = 8;

/// The state of the stream after the previous buffers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Packets {
    timestamp: Option<[u8; 4]>,
}

impl Packets {
    /// Returns the state if RTP caps are those of pictures.
    pub(super) fn of(structure: &gst::StructureRef) -> Option<Packets> {
        let media = structure.get::<&str>("media").ok();
        (media == Some("video")).then(Packets::default)
    }

    /// `None` if the bytes of the buffer do not determine its role.
    pub(super) fn judge(&mut self, buffer: &gst::BufferRef) -> Option<Role> {
        let mut bytes = [0; BEGINNING];
        let timestamp = match first_bytes(buffer, &mut bytes) {
            [_, _, _, _, timestamp @ ..] => <[u8; 4]>::try_from(timestamp).ok(),
            _ => None,
        };
        let before = std::mem::replace(&mut self.timestamp, timestamp);
        (timestamp.is_some() && timestamp == before).then_some(Role::Dependent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_with_the_timestamp_of_the_one_before_is_the_middle_of_a_picture() {
        gst::init().unwrap();
        let mut packets = Packets::default();
        let mut judge = |number, timestamp| {
            let packet = [0x80, 96, 0, number, 1, 2, 3, timestamp, 0, 0, 0, 7, 1, 2];
            packets.judge(&gst::Buffer::from_slice(packet))
        };
        assert_eq!([judge(1, 5), judge(2, 5)], [None, Some(Role::Dependent)]);
        assert_eq!([judge(3, 5), judge(4, 6)], [Some(Role::Dependent), None]);
        assert_eq!(packets.judge(&gst::Buffer::from_slice([0x80])), None);
        assert_eq!(packets.judge(&gst::Buffer::new()), None);
    }

    #[test]
    fn sound_has_no_packets_that_depend_on_others() {
        gst::init().unwrap();
        let of = |caps: &str| {
            let caps: gst::Caps = caps.parse().unwrap();
            Packets::of(caps.structure(0).unwrap())
        };
        assert!(of("application/x-rtp,media=video,encoding-name=RAW").is_some());
        for other in ["application/x-rtp,media=audio", "application/x-rtp"] {
            assert!(of(other).is_none(), "{other}");
        }
    }
}
