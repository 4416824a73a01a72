//! Finds the headers that a client needs before it can begin with a frame, in streams that carry
//! them only at the start and not in the caps. The sink adds them to the caps for xmemsrc, which
//! removes them again. Pure.

use gst::prelude::*;

use super::roles::boxes;
use super::roles::units::{Codec, Unit};
use crate::caps::HEADERS;

/// The maximum size of the headers, in bytes.
const MAX_SIZE: usize = 1 << 20;

/// The caps field of streams whose caps have the headers.
const FIELD: &str = "streamheader";

/// The headers of a stream, and the search for new ones.
#[derive(Debug)]
pub(super) struct Headers {
    kind: Kind,
    /// The headers that are in the caps.
    told: Vec<Vec<u8>>,
    /// The headers that were found since, incomplete.
    found: Vec<Vec<u8>>,
    is_looking: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Boxes of ISO media from `mp4mux`: those before the first fragment.
    Boxes,
    /// Parameter sets of H.264 or H.265 in the byte-stream format.
    ParameterSets(Codec),
}

impl Headers {
    /// Returns the search for a stream of these caps. `None` if such streams have no headers, or if
    /// the caps have them.
    pub(super) fn of(caps: &gst::CapsRef) -> Option<Headers> {
        let structure = caps.structure(0)?;
        if structure.has_field(FIELD) {
            return None;
        }
        let name = structure.name().as_str();
        let kind = match Codec::of(name) {
            Some(codec) => {
                let format = structure.get::<&str>("stream-format").ok()?;
                (format == "byte-stream").then_some(Kind::ParameterSets(codec))?
            }
            None => boxes::MEDIA_TYPES.contains(&name).then_some(Kind::Boxes)?,
        };
        Some(Headers {
            kind,
            told: Vec::new(),
            found: Vec::new(),
            is_looking: true,
        })
    }

    /// Takes over the headers that were found under earlier caps. They apply until others are
    /// found, because an encoder may send them once.
    pub(super) fn follow(&mut self, before: Headers) {
        if before.kind == self.kind {
            self.told = before.told;
        }
    }

    /// Forgets all headers, because another stream begins.
    pub(super) fn restart(&mut self) {
        self.told.clear();
        self.found.clear();
        self.is_looking = true;
    }

    pub(super) fn are_looked_for(&self) -> bool {
        self.is_looking
    }

    /// Returns the caps with the headers.
    pub(super) fn in_caps(&self, caps: &gst::CapsRef) -> gst::Caps {
        let mut caps = caps.to_owned();
        if !self.told.is_empty() {
            let headers = self.told.iter().map(|bytes| {
                let mut header = gst::Buffer::from_slice(bytes.clone());
                header.make_mut().set_flags(gst::BufferFlags::HEADER);
                header.to_send_value()
            });
            caps.make_mut().set(HEADERS, gst::Array::new(headers));
        }
        caps
    }

    /// Looks at a buffer before it is published. Returns whether the headers have changed.
    pub(super) fn take_in(&mut self, buffer: &gst::BufferRef) -> bool {
        let Ok(map) = buffer.map_readable() else {
            return false;
        };
        let is_complete = match self.kind {
            Kind::Boxes => take_in_box(&mut self.found, &map),
            Kind::ParameterSets(codec) => {
                let is_complete = take_in_sets(codec, &mut self.found, &map);
                self.is_looking = !is_complete;
                is_complete
            }
        };
        if !is_complete {
            return false;
        }
        let found = std::mem::take(&mut self.found);
        let is_other = !found.is_empty() && found != self.told;
        if is_other {
            self.told = found;
        }
        is_other
    }
}

/// Adds a box. Returns true if a fragment begins, so that all headers are found.
fn take_in_box(boxes: &mut Vec<Vec<u8>>, content: &[u8]) -> bool {
    let name = content.get(4..8);
    let is_movie = |content: &Vec<u8>| content.get(4..8) == Some(b"moov");
    match name {
        Some(b"ftyp") => boxes.clear(),
        Some(b"moov") if !boxes.is_empty() => {}
        Some(b"moof") => {
            return boxes.last().is_some_and(is_movie);
        }
        // The samples are not in fragments.
        Some(b"mdat") => {
            boxes.clear();
            return false;
        }
        _ => return false,
    }
    let size: usize = boxes.iter().map(Vec::len).sum();
    if size + content.len() > MAX_SIZE {
        boxes.clear();
    } else {
        boxes.push(content.to_vec());
    }
    false
}

/// Adds parameter sets. Returns true at the first slice, so that all headers are found.
fn take_in_sets(codec: Codec, sets: &mut Vec<Vec<u8>>, content: &[u8]) -> bool {
    const START: [u8; 3] = [0, 0, 1];
    let mut rest = content;
    let next = |bytes: &[u8]| bytes.windows(START.len()).position(|three| three == START);
    while let Some(at) = next(rest) {
        let unit = &rest[at + START.len()..];
        let end = next(unit).unwrap_or(unit.len());
        match Unit::of(codec, &unit[..end]) {
            Some(Unit::ParameterSet)
                if sets.iter().map(Vec::len).sum::<usize>() + end <= MAX_SIZE =>
            {
                // Zeros at the end of the unit belong to the next start code.
                let last = unit[..end].iter().rposition(|byte| *byte != 0);
                let unit = &unit[..last.map_or(0, |last| last + 1)];
                sets.push([&[0, 0, 0, 1], unit].concat());
            }
            Some(Unit::FirstSlice | Unit::Slice) => return true,
            _ => {}
        }
        rest = &unit[end..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(headers: &mut Headers, contents: &[&[u8]]) -> Option<Vec<Vec<u8>>> {
        let mut told = None;
        for content in contents {
            if headers.take_in(&gst::Buffer::from_slice(content.to_vec())) {
                told = Some(headers.told.clone());
            }
            if !headers.are_looked_for() {
                break;
            }
        }
        told
    }

    fn headers(caps: &str) -> Option<Headers> {
        gst::init().unwrap();
        Headers::of(&caps.parse::<gst::Caps>().unwrap())
    }

    #[test]
    fn boxes_before_the_first_fragment_are_headers() {
        let boxes = |names: &[&str]| {
            let contents: Vec<_> = names
                .iter()
                .map(|name| ["....", name, "x"].concat())
                .collect();
            let contents: Vec<_> = contents.iter().map(|content| content.as_bytes()).collect();
            let told = told(&mut headers("video/quicktime").unwrap(), &contents);
            told.map(|told| told.len())
        };
        assert_eq!(boxes(&["ftyp", "moov", "moof", "mdat", "abcd"]), Some(2));
        for others in [
            &["ftyp", "mdat", "moov", "moof"][..],
            &["moof", "mdat"],
            &["ftyp", "moov", "mdat"],
            &["ftyp", "moof"],
        ] {
            assert_eq!(boxes(others), None, "{others:?}");
        }
    }

    #[test]
    fn parameter_sets_before_the_first_slice_are_headers() {
        let stream = |contents: &[&[u8]]| {
            let mut headers = headers("video/x-h264,stream-format=byte-stream").unwrap();
            told(&mut headers, contents)
        };
        let unit = [
            0, 0, 0, 1, 9, 16, 0, 0, 0, 1, 7, 1, 2, 0, 0, 1, 8, 3, 0, 0, 1, 0x65, 4,
        ];
        let expected = vec![vec![0, 0, 0, 1, 7, 1, 2], vec![0, 0, 0, 1, 8, 3]];
        assert_eq!(stream(&[&unit]), Some(expected.clone()));
        assert_eq!(stream(&[&unit[..18], &unit[18..]]), Some(expected));
        assert_eq!(stream(&[&[0, 0, 1, 0x65, 1], &unit]), None);
        let mut h265 = headers("video/x-h265,stream-format=byte-stream").unwrap();
        let sets = [
            0, 0, 1, 0x40, 1, 5, 0, 0, 1, 0x42, 1, 6, 0, 0, 1, 0x44, 1, 7, 0, 0, 1, 0x2a, 1,
        ];
        let told = told(&mut h265, &[&sets]).unwrap();
        assert_eq!(told.iter().map(Vec::len).collect::<Vec<_>>(), [7; 3]);
    }

    #[test]
    fn caps_with_headers_are_not_changed() {
        for caps in [
            "video/x-h264,stream-format=avc",
            "video/x-raw",
            "video/quicktime,streamheader=(buffer)<00>",
        ] {
            assert!(headers(caps).is_none(), "{caps}");
        }
        let mut h265 = headers("video/x-h265,stream-format=byte-stream").unwrap();
        h265.told = vec![vec![1, 2]];
        let caps = h265.in_caps(&gst::Caps::new_empty_simple("video/x-h265"));
        assert!(
            caps.to_string().contains("streamheader=(buffer)< 0102 >"),
            "{caps}"
        );
    }

    #[test]
    fn headers_apply_until_others_are_found() {
        let caps = "video/x-h264,stream-format=byte-stream";
        let with_sets = |set: u8| [0, 0, 1, 7, set, 0, 0, 1, 0x65, 1];
        let slice: &[u8] = &[0, 0, 1, 0x65, 1];
        let mut before = headers(caps).unwrap();
        assert!(told(&mut before, &[&with_sets(1)]).is_some());
        let mut after = headers(&format!("{caps},framerate=5/1")).unwrap();
        after.follow(before);
        assert!(after.are_looked_for());
        assert_eq!(told(&mut after, &[slice]), None);
        assert_eq!(after.told, [[0, 0, 0, 1, 7, 1]]);
        let mut last = headers(caps).unwrap();
        last.follow(after);
        assert!(told(&mut last, &[&with_sets(2)]).is_some());
        assert_eq!(last.told, [[0, 0, 0, 1, 7, 2]]);
        let mut other = headers("video/x-h265,stream-format=byte-stream").unwrap();
        other.follow(last);
        assert!(other.told.is_empty());
        let mut again = headers(caps).unwrap();
        told(&mut again, &[&with_sets(1)]);
        again.restart();
        assert!(again.told.is_empty() && again.are_looked_for());
    }
}
