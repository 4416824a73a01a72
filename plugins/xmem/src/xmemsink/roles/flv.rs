//! FLV, as `flvmux` makes it: a tag is a buffer. Pure.
//!
//! It sets DELTA_UNIT for pictures only: a tag of sound looks as one to begin with, also between pictures that need
//! others.

use xmem_core::Role;

/// What a stream of tags has shown so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flv {
    has_pictures: bool,
}

/// What a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The beginning of the file.
    Start,
    /// It tells of the stream, and is no frame.
    Header,
    KeyFrame,
    Picture,
    Sound,
}

/// A tag's header, and the number after it that says how long the tag was.
const AROUND: usize = 11 + 4;
/// The beginning of the file, without and with such a number.
const START: [usize; 2] = [9, 13];

/// Codecs whose frames say what they are beside that.
const AVC: u8 = 7;
const HEVC: u8 = 12;
const AAC: u8 = 10;

impl Part {
    /// `None` where it is no tag: a file's bytes may be cut anywhere.
    fn of(buffer: &gst::BufferRef) -> Option<Part> {
        let mut bytes = [0; 13];
        let bytes = super::beginning(buffer, &mut bytes);
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
        // The number after an empty tag is none of it.
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

/// What a tag of pictures is whose content begins with these.
fn picture(first: u8, second: u8) -> Part {
    let is_extended = first & 0x80 != 0;
    let packet = match first & 0x0f {
        packet if is_extended => packet,
        AVC | HEVC => second,
        _ => 1,
    };
    match (packet, (first >> 4) & 7) {
        // Coded frames; the third are those of the extended format without an offset.
        (1 | 3, 1 | 4) => Part::KeyFrame,
        (1 | 3, _) => Part::Picture,
        _ => Part::Header,
    }
}

impl Flv {
    /// Whether a client can begin with a buffer; `None` where it is no tag.
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
