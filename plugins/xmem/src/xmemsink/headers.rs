//! What a client needs before it can begin with a frame, where a stream tells it once, at its start, and
//! not in its caps: it is added to these for xmemsrc, which takes it out. Pure.

use gst::prelude::*;

use crate::caps::HEADERS;

/// Most bytes of it.
const MOST: usize = 1 << 20;

/// Where caps say it.
const FIELD: &str = "streamheader";

/// What such streams tell.
#[derive(Debug)]
pub(super) enum Headers {
    /// Boxes of ISO media, as `mp4mux` makes them: those before the first fragment.
    Boxes(Vec<Vec<u8>>),
    /// Parameter sets of H.264 or H.265 in the byte-stream format.
    ParameterSets(Codec, Vec<Vec<u8>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    H264,
    H265,
}

impl Headers {
    /// What is looked for in a stream of these caps; none where there is nothing, or the caps say it.
    pub(super) fn of(caps: &gst::CapsRef) -> Option<Headers> {
        let structure = caps.structure(0)?;
        if structure.has_field(FIELD) {
            return None;
        }
        let codec = match structure.name().as_str() {
            "video/quicktime" | "audio/x-m4a" | "application/x-3gp" | "video/mj2" => {
                return Some(Headers::Boxes(Vec::new()));
            }
            "video/x-h264" => Codec::H264,
            "video/x-h265" => Codec::H265,
            _ => return None,
        };
        let format = structure.get::<&str>("stream-format").ok()?;
        (format == "byte-stream").then(|| Headers::ParameterSets(codec, Vec::new()))
    }

    pub(super) fn are_boxes(&self) -> bool {
        matches!(self, Headers::Boxes(_))
    }

    /// Takes in a buffer before it is published. Tells the headers once they are complete, and whether to go on
    /// looking.
    pub(super) fn take_in(&mut self, buffer: &gst::BufferRef) -> (Option<Vec<Vec<u8>>>, bool) {
        let Ok(map) = buffer.map_readable() else {
            return (None, true);
        };
        match self {
            Headers::Boxes(boxes) => (take_in_box(boxes, &map), true),
            Headers::ParameterSets(codec, sets) => take_in_sets(*codec, sets, &map),
        }
    }
}

/// The caps with these headers.
pub(super) fn in_caps(headers: Vec<Vec<u8>>, caps: &gst::CapsRef) -> gst::Caps {
    let headers = headers.into_iter().map(|bytes| {
        let mut header = gst::Buffer::from_slice(bytes);
        header.make_mut().set_flags(gst::BufferFlags::HEADER);
        header.to_send_value()
    });
    let mut caps = caps.to_owned();
    caps.make_mut().set(HEADERS, gst::Array::new(headers));
    caps
}

fn take_in_box(boxes: &mut Vec<Vec<u8>>, content: &[u8]) -> Option<Vec<Vec<u8>>> {
    let name = content.get(4..8);
    let is_movie = |content: &Vec<u8>| content.get(4..8) == Some(b"moov");
    match name {
        Some(b"ftyp") => boxes.clear(),
        Some(b"moov") if !boxes.is_empty() => {}
        Some(b"moof") => {
            let boxes = std::mem::take(boxes);
            return boxes.last().is_some_and(is_movie).then_some(boxes);
        }
        // Its samples are not in fragments.
        Some(b"mdat") => {
            boxes.clear();
            return None;
        }
        _ => return None,
    }
    let size: usize = boxes.iter().map(Vec::len).sum();
    if size + content.len() > MOST {
        boxes.clear();
    } else {
        boxes.push(content.to_vec());
    }
    None
}

/// What a NAL unit is.
#[derive(PartialEq, Eq)]
enum Unit {
    ParameterSet,
    Slice,
    Other,
}

impl Unit {
    fn of(codec: Codec, first: u8) -> Unit {
        match (codec, first & 0x1f, (first >> 1) & 0x3f) {
            (Codec::H264, 7 | 8 | 13 | 15, _) | (Codec::H265, _, 32..=34) => Unit::ParameterSet,
            (Codec::H264, 1..=5, _) | (Codec::H265, _, 0..=31) => Unit::Slice,
            _ => Unit::Other,
        }
    }
}

/// Those before the first slice are all that there are.
fn take_in_sets(
    codec: Codec,
    sets: &mut Vec<Vec<u8>>,
    content: &[u8],
) -> (Option<Vec<Vec<u8>>>, bool) {
    const START: [u8; 3] = [0, 0, 1];
    let mut rest = content;
    let next = |bytes: &[u8]| bytes.windows(START.len()).position(|three| three == START);
    while let Some(at) = next(rest) {
        let unit = &rest[at + START.len()..];
        let end = next(unit).unwrap_or(unit.len());
        match unit.first().map(|first| Unit::of(codec, *first)) {
            Some(Unit::ParameterSet) if sets.iter().map(Vec::len).sum::<usize>() + end <= MOST => {
                // Zeros at its end belong to the next start code.
                let last = unit[..end].iter().rposition(|byte| *byte != 0);
                let unit = &unit[..last.map_or(0, |last| last + 1)];
                sets.push([&[0, 0, 0, 1], unit].concat());
            }
            Some(Unit::Slice) => {
                let sets = std::mem::take(sets);
                return ((!sets.is_empty()).then_some(sets), false);
            }
            _ => {}
        }
        rest = &unit[end..];
    }
    (None, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(headers: &mut Headers, contents: &[&[u8]]) -> Option<Vec<Vec<u8>>> {
        let mut told = None;
        for content in contents {
            let buffer = gst::Buffer::from_slice(content.to_vec());
            let (headers, goes_on) = headers.take_in(&buffer);
            told = headers.or(told);
            if !goes_on {
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
    fn caps_that_say_all_are_left_as_they_are() {
        for caps in [
            "video/x-h264,stream-format=avc",
            "video/x-raw",
            "video/quicktime,streamheader=(buffer)<00>",
        ] {
            assert!(headers(caps).is_none(), "{caps}");
        }
        let caps = in_caps(
            vec![vec![1, 2]],
            &gst::Caps::new_empty_simple("video/x-h265"),
        );
        assert!(
            caps.to_string().contains("streamheader=(buffer)< 0102 >"),
            "{caps}"
        );
    }
}
