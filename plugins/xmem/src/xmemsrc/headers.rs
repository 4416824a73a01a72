//! What has to come before a stream that is joined late: the headers that its caps tell. Pure.

use std::mem::take;

use crate::caps::headers;

/// Formats whose headers stand in the caps, for muxers, and never in the stream: a decoder would take them
/// for frames.
const NOT_IN_STREAM: [&str; 2] = ["video/x-vp8", "audio/x-opus"];

/// The stream's headers.
#[derive(Debug, Default)]
pub(super) struct Headers {
    headers: Vec<gst::Buffer>,
    /// They have to come before the next buffer: the source has joined, or a flush has dropped them.
    is_due: bool,
    /// Since the last buffer there are others.
    are_new: bool,
    /// Since the last buffer frames were lost: such headers, perhaps.
    has_lost: bool,
    /// They are on their way downstream, and a flush may drop them.
    are_underway: bool,
    /// Downstream has had such headers, from another producer.
    has_begun: bool,
    /// They belong into the first buffer: a parser takes each for a picture.
    are_parts: bool,
    /// They are at the start of a stream only.
    are_at_start: bool,
}

impl Headers {
    /// The source has joined a stream.
    pub(super) fn join(&mut self) {
        self.headers.clear();
        self.is_due = true;
        (self.are_new, self.are_underway) = (false, false);
    }

    /// Frames were lost, or dropped by a flush.
    pub(super) fn lose(&mut self) {
        self.has_lost = true;
        self.is_due |= take(&mut self.are_underway);
    }

    /// The first of what came before the first buffer was pushed, or that buffer.
    pub(super) fn begun(&mut self) {
        self.has_begun |= self.are_underway;
    }

    /// All of that was pushed.
    pub(super) fn arrived(&mut self) {
        self.has_begun |= take(&mut self.are_underway);
    }

    /// The caps, and headers that the producer tells beside these.
    pub(super) fn set_caps(&mut self, caps: &gst::CapsRef, added: &[gst::Buffer]) {
        let mut headers = caps.structure(0).map(of).unwrap_or_default();
        headers.extend_from_slice(added);
        self.are_new |= !are_same(&headers, &self.headers);
        self.headers = headers;
        let name = caps.structure(0).map(|structure| structure.name().as_str());
        self.are_parts = matches!(name, Some("video/x-h264" | "video/x-h265"));
        self.are_at_start = name.is_some_and(|name| name.ends_with("/ogg"));
    }

    /// Whether a key unit may come with all headers. `oggmux` stops at those of `theoraenc` in the middle of a
    /// stream.
    pub(super) fn may_be_requested(&self) -> bool {
        !self.are_at_start
    }

    /// Whether the headers go into the first buffer, before its frame.
    pub(super) fn are_parts(&self) -> bool {
        self.are_parts
    }

    /// Whether a buffer of the byte-stream format has all parameter sets, which each begin with a start code.
    fn are_in(&self, content: &[u8]) -> bool {
        self.headers.iter().all(|header| {
            let header = header.map_readable();
            header.is_ok_and(|header| {
                let set = header.get(4..).filter(|set| !set.is_empty());
                set.is_some_and(|set| content.windows(set.len()).any(|bytes| bytes == set))
            })
        })
    }

    /// Whether the first buffer can stand at the start of a stream only, and downstream has had one.
    pub(super) fn is_repeated(&self, first: &gst::Buffer) -> bool {
        self.is_due && self.has_begun && is_start(first)
    }

    /// What has to come before the first buffer: all headers, or those before it, where it is one of them.
    pub(super) fn before(&mut self, first: &gst::BufferRef) -> Vec<gst::Buffer> {
        let (are_new, has_lost) = (take(&mut self.are_new), take(&mut self.has_lost));
        let is_due = take(&mut self.is_due) || (are_new && has_lost);
        if !is_due || self.headers.is_empty() {
            return Vec::new();
        }
        self.are_underway = true;
        let map = first.map_readable().ok();
        let is_it = |header: &gst::Buffer| {
            let header = header.map_readable().ok();
            map.is_some() && map.as_deref() == header.as_deref()
        };
        if self.are_parts && map.as_ref().is_some_and(|map| self.are_in(map)) {
            return Vec::new();
        }
        let at = self.headers.iter().position(is_it);
        let headers = &self.headers[..at.unwrap_or(self.headers.len())];
        let headers = headers
            .iter()
            .filter(|header| !(self.has_begun && is_start(header)));
        headers.cloned().collect()
    }
}

fn are_same(some: &[gst::Buffer], others: &[gst::Buffer]) -> bool {
    let is_same = |(one, other): (&gst::Buffer, &gst::Buffer)| {
        let (one, other) = (one.map_readable().ok(), other.map_readable().ok());
        one.as_deref() == other.as_deref()
    };
    some.len() == others.len() && some.iter().zip(others).all(is_same)
}

/// Whether a header can stand at the start of a stream only: flvdemux takes one for a tag that comes later.
fn is_start(header: &gst::Buffer) -> bool {
    let map = header.map_readable();
    map.is_ok_and(|map| map.starts_with(b"FLV"))
}

/// The headers that caps tell.
fn of(structure: &gst::StructureRef) -> Vec<gst::Buffer> {
    if NOT_IN_STREAM.contains(&structure.name().as_str()) {
        return Vec::new();
    }
    headers(structure, "streamheader")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &str) -> Headers {
        gst::init().unwrap();
        let text = format!("{name}, streamheader=(buffer)<00, 0102, 03>");
        let caps = text.parse::<gst::Caps>().unwrap();
        let mut headers = Headers::default();
        headers.join();
        headers.set_caps(&caps, &[]);
        headers
    }

    fn before(headers: &mut Headers, first: &[u8]) -> usize {
        let first = gst::Buffer::from_slice(first.to_vec());
        headers.before(&first).len()
    }

    #[test]
    fn headers_come_once_and_none_of_them_twice() {
        for (first, expected) in [(&[7][..], 3), (&[1, 2], 1), (&[0], 0), (&[], 3)] {
            let mut headers = headers("video/x-matroska");
            assert_eq!(before(&mut headers, first), expected, "{first:?}");
            assert_eq!(before(&mut headers, first), 0);
            headers.join();
            assert_eq!(before(&mut headers, first), 0, "no caps were told");
        }
    }

    #[test]
    fn what_stands_at_the_start_alone_comes_once() {
        gst::init().unwrap();
        let text = "video/x-flv, streamheader=(buffer)<464c5601, 12>";
        let caps = text.parse::<gst::Caps>().unwrap();
        let mut headers = Headers::default();
        for expected in [2, 1, 1] {
            headers.join();
            headers.set_caps(&caps, &[]);
            let start = gst::Buffer::from_slice(*b"FLV\x01");
            assert_eq!(headers.is_repeated(&start), expected == 1);
            assert_eq!(before(&mut headers, &[7]), expected);
            headers.arrived();
            assert!(!headers.is_repeated(&start));
        }
    }

    #[test]
    fn parameter_sets_are_pushed_where_the_first_frame_has_none() {
        gst::init().unwrap();
        let text = "video/x-h265, streamheader=(buffer)<00000001424344, 000000014546>";
        let caps = text.parse::<gst::Caps>().unwrap();
        for (first, expected) in [
            (&[0, 0, 1, 0x42, 0x43, 0x44, 0, 0, 1, 0x45, 0x46][..], 0),
            (&[0, 0, 1, 0x42, 0x43, 0x44], 2),
            (&[0, 0, 1, 0x26], 2),
        ] {
            let mut headers = Headers::default();
            headers.join();
            headers.set_caps(&caps, &[]);
            assert!(headers.are_parts());
            assert_eq!(before(&mut headers, first), expected);
        }
    }

    #[test]
    fn headers_that_are_for_muxers_alone_are_left_out() {
        assert_eq!(before(&mut headers("audio/x-opus"), &[7]), 0);
        assert_eq!(before(&mut headers("audio/x-vorbis"), &[7]), 3);
    }

    #[test]
    fn headers_that_have_changed_come_where_frames_were_lost() {
        let others = |headers: &mut Headers| {
            let text = "video/x-matroska, streamheader=(buffer)<10, 1112>";
            headers.set_caps(&text.parse::<gst::Caps>().unwrap(), &[]);
        };
        let same = |headers: &mut Headers| {
            let text = "video/x-matroska, streamheader=(buffer)<00, 0102, 03>, width=2";
            headers.set_caps(&text.parse::<gst::Caps>().unwrap(), &[]);
        };
        let begun = || {
            let mut headers = headers("video/x-matroska");
            assert_eq!(before(&mut headers, &[7]), 3);
            headers.arrived();
            headers
        };
        // They are in the stream, before or after the caps.
        let mut headers = begun();
        others(&mut headers);
        assert_eq!(before(&mut headers, &[7]), 0);
        headers.lose();
        assert_eq!(before(&mut headers, &[7]), 0);
        // Of those in the stream all were lost, the first, or none.
        for (first, expected) in [(&[7][..], 2), (&[0x11, 0x12], 1), (&[0x10], 0)] {
            let mut headers = begun();
            others(&mut headers);
            headers.lose();
            assert_eq!(before(&mut headers, first), expected);
            assert_eq!(before(&mut headers, &[7]), 0);
        }
        let mut headers = begun();
        same(&mut headers);
        headers.lose();
        assert_eq!(before(&mut headers, &[7]), 0);
    }

    #[test]
    fn headers_that_a_flush_has_dropped_come_again() {
        let mut headers = headers("video/x-matroska");
        assert_eq!(before(&mut headers, &[7]), 3);
        headers.begun();
        headers.lose();
        assert_eq!(before(&mut headers, &[7]), 3);
        headers.arrived();
        headers.lose();
        assert_eq!(before(&mut headers, &[7]), 0);
        // What stands at the start alone comes again where it has not arrived.
        for (arrives, expected) in [(false, 2), (true, 1)] {
            let text = "video/x-flv, streamheader=(buffer)<464c5601, 12>";
            let mut headers = Headers::default();
            headers.join();
            headers.set_caps(&text.parse::<gst::Caps>().unwrap(), &[]);
            assert_eq!(before(&mut headers, &[7]), 2);
            if arrives {
                headers.begun();
            }
            headers.lose();
            assert_eq!(before(&mut headers, &[7]), expected);
        }
    }
}
