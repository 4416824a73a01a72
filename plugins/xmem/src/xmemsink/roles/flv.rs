//! FLV from `flvmux`: each buffer is a tag. Pure.
//!
//! `flvmux` sets DELTA_UNIT for video only. So an audio tag looks like a sync point even between
//! pictures that depend on others.

use xmem_core::Role;

use super::first_bytes::first_bytes;

/// The state of the stream after the previous buffers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flv {
    has_pictures: bool,
}

/// The content of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The header of the file.
    Start,
    /// A tag that describes the stream and has no frame.
    Header,
    KeyFrame,
    Picture,
    Sound,
}

/// The size of a tag's header, and of the number after the tag that repeats its size.
const AROUND: usize = 11 + 4;
/// The size of the file header, without and with this number.
const START: [usize; 2] = [9, 13];

/// Codecs whose tags have a packet type.
const AVC: u8 = 7;
const HEVC: u8 = 12;
const AAC: u8 = 10;

impl Part {
    /// `None` if the buffer is not a tag: the bytes of a file may be cut anywhere.
    fn of(buffer: &gst::BufferRef) -> Option<Part> {
        let mut bytes = [0; 13];
        let bytes = first_bytes(buffer, &mut bytes);
        if bytes.starts_with(b"FLV") && START.contains(&buffer.size()) {
            return Some(Part::Start);
        }
        let &[kind, a, b, c, ..] = bytes else {
            return None;
        };
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        if buffer.size() != len + AROUND {
            return None;
        }
        // For an empty tag, do not take the number after it for content.
        let content = bytes.get(11..).filter(|_| len >= 2);
        match (kind, content) {
            (8 | 9 | 18, None) | (18, _) => Some(Part::Header),
            (8, Some(&[first, second])) => Some(match (first >> 4, second) {
                (AAC, 0) => Part::Header,
                _ => Part::Sound,
            }),
            (9, Some(&[first, second])) => Some(picture(first, second)),
            _ => None,
        }
    }
}

/// Returns the kind of a video tag whose content begins with these bytes.
fn picture(first: u8, second: u8) -> Part {
    let is_extended = first & 0x80 != 0;
    let packet = match first & 0x0f {
        packet if is_extended => packet,
        AVC | HEVC => second,
        _ => 1,
    };
    match (packet, (first >> 4) & 7) {
        // Coded frames; 3 means coded frames of the extended format without an offset.
        (1 | 3, 1 | 4) => Part::KeyFrame,
        (1 | 3, _) => Part::Picture,
        _ => Part::Header,
    }
}

impl Flv {
    /// Returns the role of a buffer, `None` if it is not a tag.
    pub(super) fn judge(&mut self, is_delta: bool, buffer: &gst::BufferRef) -> Option<Role> {
        let part = Part::of(buffer)?;
        self.has_pictures |= matches!(part, Part::KeyFrame | Part::Picture);
        Some(match part {
            Part::Start => {
                *self = Flv::default();
                Role::Leading
            }
            Part::Header => Role::Leading,
            Part::KeyFrame if !is_delta => Role::SyncPoint,
            Part::Sound if !self.has_pictures => Role::SyncPoint,
            Part::KeyFrame | Part::Picture | Part::Sound => Role::Dependent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use Role::{Dependent as D, Leading as L, SyncPoint as S};

    fn tag(kind: u8, content: &[u8]) -> Vec<u8> {
        let len = (content.len() as u32).to_be_bytes();
        let after = (content.len() as u32 + 11).to_be_bytes();
        [&[kind][..], &len[1..], &[0; 7], content, &after].concat()
    }

    fn content(of: &str) -> Vec<u8> {
        match of {
            "start" => b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec(),
            "script" => tag(18, b"onMetaData"),
            "avcC" => tag(9, &[0x17, 0, 0, 0, 0]),
            "K" => tag(9, &[0x17, 1, 0, 0, 0, 5]),
            "d" => tag(9, &[0x27, 1, 0, 0, 0, 5]),
            "end" => tag(9, &[0x17, 2, 0, 0, 0]),
            "vp6" => tag(9, &[0x14, 1, 2]),
            "hvc1" => tag(9, &[0x91, b'h', b'v', b'c', b'1']),
            "asc" => tag(8, &[0xaf, 0, 1]),
            "aac" => tag(8, &[0xaf, 1, 1]),
            "mp3" => tag(8, &[0x2f, 1, 1]),
            "empty" => tag(8, &[]),
            "block" => [tag(9, &[0x17, 1, 0]), tag(8, &[0xaf])].concat(),
            "nothing" => Vec::new(),
            other => panic!("{other}"),
        }
    }

    fn roles(buffers: &str) -> Vec<Option<Role>> {
        gst::init().unwrap();
        let mut flv = Flv::default();
        let judge = |of| flv.judge(of == "d", &gst::Buffer::from_slice(content(of)));
        buffers.split_whitespace().map(judge).collect()
    }

    #[test]
    fn where_there_are_pictures_clients_begin_with_a_key_frame() {
        let stream = "start script avcC asc K aac d script aac avcC K aac end empty vp6 hvc1";
        let expected = [L, L, L, L, S, D, D, L, D, L, S, D, L, L, S, S];
        assert_eq!(roles(stream), expected.map(Some));
        let sound = "start script asc aac mp3 script aac";
        assert_eq!(roles(sound), [L, L, L, S, S, L, S].map(Some));
        // Another file.
        let files = roles("start K d aac start aac");
        assert_eq!(files, [L, S, D, D, L, S].map(Some));
    }

    #[test]
    fn bytes_that_are_cut_anywhere_are_no_tags() {
        assert_eq!(roles("block nothing block"), [None; 3]);
        let start = gst::Buffer::from_slice([&b"FLV\x01\x05"[..], &[0; 4091]].concat());
        assert_eq!(Flv::default().judge(false, &start), None);
    }
}
