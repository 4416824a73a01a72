//! Boxes of ISO media from `mp4mux` in fragments: each buffer is a box or a sample. Pure.

use xmem_core::Role;

use super::first_bytes::first_bytes;

/// The media types of streams of boxes.
pub(in crate::xmemsink) const MEDIA_TYPES: [&str; 4] = [
    "video/quicktime",
    "audio/x-m4a",
    "application/x-3gp",
    "video/mj2",
];

type Name = [u8; 4];

/// The size of a box header: size, name, and the size again if it needs 8 bytes.
const BEGINNING: usize = 16;

/// The state of the stream after the previous buffers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Boxes {
    progress: Progress,
    /// No sample has followed the last `moof` yet.
    is_led: bool,
    /// The tracks of the fragment, one bit for each.
    tracks: u64,
    /// The tracks that have samples with DELTA_UNIT. If there are any, only samples of these tracks
    /// are sync points.
    tracks_with_deltas: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd)]
enum Progress {
    /// The bytes of a file may be cut anywhere.
    #[default]
    Bytes,
    /// A buffer was a `ftyp` box.
    FileType,
    /// After that, a buffer was a `moov` box.
    Movie,
    /// After that, a buffer was a `moof` box: buffers are boxes and samples.
    Fragments,
}

/// The content of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// One box.
    Box(Name),
    /// The header of a `mdat`, without its content.
    MediaHeader,
    /// A box, and more bytes after it.
    Several(Name),
    Other,
}

impl Part {
    fn of(buffer: &gst::BufferRef) -> Part {
        let mut bytes = [0; BEGINNING];
        let Some(beginning) = Beginning::of(first_bytes(buffer, &mut bytes)) else {
            return Part::Other;
        };
        let len = buffer.size() as u64;
        if beginning.name == *b"mdat" && len == beginning.header as u64 {
            return Part::MediaHeader;
        }
        match beginning.size {
            size if size == len => Part::Box(beginning.name),
            size if size < len => Part::Several(beginning.name),
            _ => Part::Other,
        }
    }
}

/// The header of a box.
struct Beginning {
    size: u64,
    name: Name,
    /// The size of the header.
    header: usize,
}

impl Beginning {
    fn of(bytes: &[u8]) -> Option<Beginning> {
        let (size, rest) = bytes.split_first_chunk()?;
        let (name, rest) = rest.split_first_chunk()?;
        let (size, header) = match u32::from_be_bytes(*size) {
            1 => (u64::from_be_bytes(*rest.first_chunk()?), 16),
            size => (size.into(), 8),
        };
        // A `mdat` whose size is not known yet has the size 0.
        let is_box = size >= header as u64 || size == 0 && name == b"mdat";
        (is_box && name.is_ascii()).then_some(Beginning {
            size,
            name: *name,
            header,
        })
    }
}

/// Iterates over the content of the boxes of this name in the content of another box.
fn children(mut content: &[u8], name: Name) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        loop {
            let child = Beginning::of(content)?;
            let (whole, rest) = content.split_at_checked(usize::try_from(child.size).ok()?)?;
            if whole.is_empty() {
                return None;
            }
            content = rest;
            if child.name == name {
                return whole.get(child.header..);
            }
        }
    })
}

/// Returns the tracks of a `moof`, one bit for each.
fn tracks(moof: &[u8]) -> u64 {
    let headers = children(moof, *b"moof")
        .flat_map(|content| children(content, *b"traf"))
        .flat_map(|content| children(content, *b"tfhd"));
    let ids = headers.filter_map(|header| header.get(4..8)?.last());
    ids.fold(0, |tracks, id| tracks | 1 << (id % 64))
}

impl Boxes {
    /// Returns the role of a buffer, `None` if the bytes of the stream may be cut anywhere.
    pub(super) fn judge(&mut self, is_delta: bool, buffer: &gst::BufferRef) -> Option<Role> {
        let part = Part::of(buffer);
        let is_fragments = self.progress == Progress::Fragments;
        match part {
            Part::Box(name) if name == *b"ftyp" => {
                *self = Boxes {
                    progress: Progress::FileType,
                    ..Boxes::default()
                };
                Some(Role::Leading)
            }
            Part::Box(name) if name == *b"moov" => {
                if self.progress == Progress::FileType {
                    self.progress = Progress::Movie;
                }
                Some(Role::Leading)
            }
            Part::Box(name) if name == *b"moof" && self.progress >= Progress::Movie => {
                self.progress = Progress::Fragments;
                self.is_led = true;
                self.tracks = buffer.map_readable().map_or(0, |map| tracks(&map));
                Some(Role::Leading)
            }
            Part::Box(_) | Part::MediaHeader if is_fragments => Some(Role::Leading),
            Part::Several(name) if is_fragments && [*b"moof", *b"styp"].contains(&name) => {
                // A whole fragment.
                self.is_led = false;
                Some(if is_delta {
                    Role::Dependent
                } else {
                    Role::SyncPoint
                })
            }
            _ if is_fragments => Some(self.judge_sample(is_delta)),
            // The samples are not in fragments.
            Part::MediaHeader | Part::Box(_) => {
                self.progress = Progress::Bytes;
                None
            }
            _ => None,
        }
    }

    /// Returns the role of a sample. Only the first sample after a `moof` can be decoded with that
    /// `moof` alone.
    fn judge_sample(&mut self, is_delta: bool) -> Role {
        let is_led = std::mem::take(&mut self.is_led);
        if is_delta {
            self.tracks_with_deltas |= self.tracks;
        }
        let with_deltas = self.tracks_with_deltas;
        if is_led && !is_delta && (with_deltas == 0 || with_deltas & self.tracks != 0) {
            Role::SyncPoint
        } else {
            Role::Dependent
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use Role::{Dependent as D, Leading as L, SyncPoint as S};

    fn boxed(name: &str, content: &[u8]) -> Vec<u8> {
        let size = 8 + content.len() as u32;
        [&size.to_be_bytes()[..], name.as_bytes(), content].concat()
    }

    /// The header of a fragment of one track.
    fn moof(track: u8) -> Vec<u8> {
        let tfhd = boxed("tfhd", &[0, 0, 0, 0, 0, 0, 0, track]);
        let traf = boxed("traf", &[boxed("free", b"x"), tfhd].concat());
        boxed("moof", &[boxed("mfhd", &[0; 8]), traf].concat())
    }

    fn is_delta(of: &str) -> bool {
        of == "d"
    }

    /// `K` and `d` are samples, a number is a `moof` of that track, `m` the header of a `mdat`, and
    /// `+` a fragment in one buffer. Others are names of boxes.
    fn content(of: &str) -> Vec<u8> {
        match of {
            "K" | "d" => vec![0, 0, 0, 6, 0x65, 1, 2, 3, 4, 5],
            "m" => vec![0, 0, 1, 0, b'm', b'd', b'a', b't'],
            "+" => [moof(1), boxed("mdat", b"abcd")].concat(),
            of => match of.parse() {
                Ok(track) => moof(track),
                Err(_) => boxed(of, b"content"),
            },
        }
    }

    fn roles(buffers: &str) -> Vec<Option<Role>> {
        gst::init().unwrap();
        let mut boxes = Boxes::default();
        let buffers = buffers.split_whitespace();
        let judge = |of| boxes.judge(is_delta(of), &gst::Buffer::from_slice(content(of)));
        buffers.map(judge).collect()
    }

    fn all(roles: &[Role]) -> Vec<Option<Role>> {
        roles.iter().copied().map(Some).collect()
    }

    #[test]
    fn a_sample_needs_the_box_before_it() {
        let fragments = "ftyp moov 1 m K d 1 m d d 1 m K d";
        let expected = [L, L, L, L, S, D, L, L, D, D, L, L, S, D];
        assert_eq!(roles(fragments), all(&expected));
        let sound = "ftyp moov 1 m K K 1 m K K styp sidx + K";
        let expected = [L, L, L, L, S, D, L, L, S, D, L, L, S, D];
        assert_eq!(roles(sound), all(&expected));
    }

    #[test]
    fn where_a_track_has_deltas_clients_begin_with_that_one() {
        let fragments = "ftyp moov 2 m K K 1 m K d 2 m K K 1 m d d 2 m K 1 m K";
        let expected = [
            L, L, L, L, S, D, L, L, S, D, L, L, D, D, L, L, D, D, L, L, D, L, L, S,
        ];
        assert_eq!(roles(fragments), all(&expected));
        // Another file has other tracks.
        let files = format!("{fragments} ftyp moov 2 m K K 2 m K");
        assert_eq!(
            roles(&files)[expected.len()..],
            all(&[L, L, L, L, S, D, L, L, S])
        );
    }

    #[test]
    fn bytes_that_are_cut_anywhere_are_as_those_of_other_streams() {
        for (buffers, expected) in [
            ("K d K", vec![None; 3]),
            ("1 m K", vec![None; 3]),
            ("+ + +", vec![None; 3]),
            ("ftyp moov m K", vec![Some(L), Some(L), None, None]),
            ("ftyp moov + +", vec![Some(L), Some(L), None, None]),
        ] {
            assert_eq!(roles(buffers), expected, "{buffers}");
        }
    }

    #[test]
    fn boxes_that_lead_nowhere_have_no_tracks() {
        let whole = moof(3);
        assert_eq!(tracks(&whole), 1 << 3);
        for end in 0..whole.len() {
            assert_eq!(tracks(&whole[..end]), 0, "{end}");
        }
        for at in 0..whole.len() {
            let mut odd = whole.clone();
            odd[at] = 0;
            tracks(&odd);
            odd[at] = 255;
            tracks(&odd);
        }
    }
}
