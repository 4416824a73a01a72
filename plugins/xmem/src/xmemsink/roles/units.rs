//! H.264 and H.265 in which each buffer is a NAL unit, so that a picture is several buffers. Pure.
//!
//! `h264parse` sets DELTA_UNIT on each slice that is not part of a key frame, and on every unit
//! that precedes the first slice of its picture.

use xmem_core::Role;

use super::first_bytes::first_bytes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::xmemsink) enum Codec {
    H264,
    H265,
}

impl Codec {
    /// Returns the codec of caps with this media type.
    pub(in crate::xmemsink) fn of(name: &str) -> Option<Codec> {
        match name {
            "video/x-h264" => Some(Codec::H264),
            "video/x-h265" => Some(Codec::H265),
            _ => None,
        }
    }
}

/// The type of a NAL unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::xmemsink) enum Unit {
    ParameterSet,
    /// It belongs to the following picture.
    Prefix,
    /// A prefix that says that a decoder can begin there: an encoder without key frames refreshes
    /// pictures in parts.
    RecoveryPoint,
    FirstSlice,
    Slice,
    Other,
}

impl Unit {
    /// Returns the type of a unit that begins with these bytes, without a start code.
    pub(in crate::xmemsink) fn of(codec: Codec, bytes: &[u8]) -> Option<Unit> {
        let first = *bytes.first()?;
        // H.264: the first number of a slice is `first_mb_in_slice`, which is 0 (one bit, set) in
        // the first slice of a picture. H.265 has a flag at that place.
        let is_first = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0x80 != 0);
        let slice = |at| {
            if is_first(at) {
                Unit::FirstSlice
            } else {
                Unit::Slice
            }
        };
        // The payload type of the first message of an SEI unit.
        let is_recovery_point = |at: usize| bytes.get(at) == Some(&6);
        Some(match (codec, first & 0x1f, (first >> 1) & 0x3f) {
            (Codec::H264, 6, _) if is_recovery_point(1) => Unit::RecoveryPoint,
            (Codec::H265, _, 39) if is_recovery_point(2) => Unit::RecoveryPoint,
            (Codec::H264, 7 | 8 | 13 | 15, _) | (Codec::H265, _, 32..=34) => Unit::ParameterSet,
            (Codec::H264, 6 | 9 | 14, _) | (Codec::H265, _, 35 | 39) => Unit::Prefix,
            (Codec::H264, 1 | 2 | 5, _) => slice(1),
            (Codec::H265, _, 0..=31) => slice(2),
            (Codec::H264, 3 | 4, _) => Unit::Slice,
            _ => Unit::Other,
        })
    }
}

/// The state of a stream of NAL units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    codec: Codec,
    has_start_codes: bool,
    has_sync: bool,
    /// A decoder can begin with the next picture.
    recovers: bool,
}

impl Units {
    /// `None` if buffers of these caps are not NAL units.
    pub(super) fn of(structure: &gst::StructureRef) -> Option<Units> {
        let codec = Codec::of(structure.name())?;
        let is = |field, value| structure.get::<&str>(field) == Ok(value);
        is("alignment", "nal").then(|| Units {
            codec,
            has_start_codes: is("stream-format", "byte-stream"),
            has_sync: false,
            recovers: false,
        })
    }

    /// Forgets what was seen of the stream.
    pub(super) fn restart(&mut self) {
        (self.has_sync, self.recovers) = (false, false);
    }

    /// Returns the role of a buffer, `None` if it is not a NAL unit.
    pub(super) fn judge(&mut self, is_delta: bool, buffer: &gst::BufferRef) -> Option<Role> {
        let mut bytes = [0; 8];
        let bytes = first_bytes(buffer, &mut bytes);
        let unit = if self.has_start_codes {
            bytes
                .strip_prefix(&[0, 0, 0, 1])
                .or_else(|| bytes.strip_prefix(&[0, 0, 1]))?
        } else {
            // The unit follows its length.
            bytes.get(4..)?
        };
        let unit = Unit::of(self.codec, unit)?;
        let recovers = match unit {
            Unit::FirstSlice | Unit::Slice => std::mem::take(&mut self.recovers),
            _ => false,
        };
        Some(match unit {
            Unit::RecoveryPoint => {
                self.recovers = true;
                Role::Leading
            }
            Unit::ParameterSet | Unit::Prefix => Role::Leading,
            Unit::FirstSlice if !is_delta || recovers => {
                self.has_sync = true;
                Role::SyncPoint
            }
            // A stream may have no key frames at all.
            Unit::FirstSlice if !self.has_sync => Role::SyncPoint,
            Unit::FirstSlice | Unit::Slice | Unit::Other => Role::Dependent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use Role::{Dependent as D, Leading as L, SyncPoint as S};

    fn roles(caps: &str, units: &[(bool, &[u8])]) -> Vec<Option<Role>> {
        gst::init().unwrap();
        let caps = caps.parse::<gst::Caps>().unwrap();
        let mut stream = Units::of(caps.structure(0).unwrap()).unwrap();
        let judge = |(is_delta, unit): &(bool, &[u8])| {
            stream.judge(*is_delta, &gst::Buffer::from_slice(unit.to_vec()))
        };
        units.iter().map(judge).collect()
    }

    #[test]
    fn a_client_begins_with_the_first_slice_of_a_key_frame_and_what_leads_to_it() {
        let h264 = "video/x-h264,alignment=nal,stream-format=";
        let picture = [
            (true, &[0, 0, 0, 1, 9, 16][..]),
            (true, &[0, 0, 0, 1, 0x67, 1]),
            (true, &[0, 0, 1, 0x68, 1]),
            (true, &[0, 0, 1, 6, 5]),
            (false, &[0, 0, 1, 0x65, 0x88]),
            (false, &[0, 0, 1, 0x65, 0x10]),
            (false, &[0, 0, 1, 0x65, 0x01]),
            (true, &[0, 0, 0, 1, 9, 16]),
            (true, &[0, 0, 1, 0x41, 0x9a]),
            (true, &[0, 0, 1, 0x41, 0x10]),
            (true, &[0, 0, 1, 12, 0xff]),
        ];
        let expected = [L, L, L, L, S, D, D, L, D, D, D].map(Some);
        assert_eq!(roles(&format!("{h264}byte-stream"), &picture), expected);
        let avc = [
            (true, &[0, 0, 0, 2, 0x67, 1][..]),
            (false, &[0, 0, 1, 5, 0x65, 0x88]),
            (false, &[0, 0, 1, 5, 0x65, 0x10]),
            (true, &[0, 0, 1, 5, 0x41, 0x9a]),
        ];
        assert_eq!(roles(&format!("{h264}avc"), &avc), [L, S, D, D].map(Some));
        let h265 = [
            (true, &[0, 0, 1, 0x46, 1, 0x50][..]),
            (true, &[0, 0, 1, 0x40, 1, 1]),
            (false, &[0, 0, 1, 0x28, 1, 0xaf]),
            (false, &[0, 0, 1, 0x28, 1, 0x2f]),
            (true, &[0, 0, 1, 2, 1, 0xd0]),
            (true, &[0, 0, 1, 0x50, 1, 5]),
        ];
        let caps = "video/x-h265,alignment=nal,stream-format=byte-stream";
        assert_eq!(roles(caps, &h265), [L, L, S, D, D, D].map(Some));
    }

    #[test]
    fn a_client_begins_where_a_decoder_recovers() {
        for (caps, delimiter, recovery, slices) in [
            (
                "video/x-h264",
                &[0, 0, 1, 9, 16][..],
                &[0, 0, 1, 6, 6, 1][..],
                [&[0, 0, 1, 0x41, 0x9a][..], &[0, 0, 1, 0x41, 0x10]],
            ),
            (
                "video/x-h265",
                &[0, 0, 1, 0x46, 1, 0x50],
                &[0, 0, 1, 0x4e, 1, 6, 1],
                [&[0, 0, 1, 2, 1, 0xd0], &[0, 0, 1, 2, 1, 0x50]],
            ),
        ] {
            let [first, second] = slices.map(|slice| (true, slice));
            let (delimiter, recovery) = ((true, delimiter), (true, recovery));
            let units = [
                delimiter, recovery, first, second, delimiter, first, second, recovery, second,
                first,
            ];
            let caps = format!("{caps},alignment=nal,stream-format=byte-stream");
            let expected = [L, L, S, D, L, D, D, L, D, D].map(Some);
            assert_eq!(roles(&caps, &units), expected, "{caps}");
        }
    }

    #[test]
    fn without_key_frames_a_client_begins_anywhere_with_a_picture() {
        let units = [
            (true, &[0, 0, 1, 0x41, 0x9a][..]),
            (true, &[0, 0, 1, 0x41, 0x10]),
            (true, &[0, 0, 1, 0x41, 0x9a]),
            (true, &[1, 2, 3]),
            (true, &[]),
        ];
        let caps = "video/x-h264,alignment=nal,stream-format=byte-stream";
        let expected = [Some(S), Some(D), Some(S), None, None];
        assert_eq!(roles(caps, &units), expected);
    }
}
