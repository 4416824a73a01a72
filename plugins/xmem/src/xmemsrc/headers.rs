//! The headers that must be pushed first when a stream is joined late: those in its caps. Pure.

use std::mem::take;

use crate::caps::headers;

/// Formats whose headers are in the caps for muxers, and never in the stream: a decoder would treat
/// them as frames.
const NOT_IN_STREAM: [&str; 2] = ["video/x-vp8", "audio/x-opus"];

/// The headers of the stream, and whether they are due.
#[derive(Debug, Default)]
pub(super) struct Headers {
    headers: Vec<gst::Buffer>,
    /// The headers must come before the next buffer: the source has joined, or a flush has dropped
    /// them.
    is_due: bool,
    /// The headers have changed since the last buffer.
    are_new: bool,
    /// Frames were lost since the last buffer, which may have been headers.
    has_lost: bool,
    /// The headers are being pushed, and a flush may drop them.
    are_underway: bool,
    /// Downstream has received headers before, from this or another producer.
    has_begun: bool,
    /// The headers must be in the first buffer: a parser would treat a separate one as a picture.
    are_parts: bool,
    /// The headers can only be at the start of a stream.
    are_at_start: bool,
}

impl Headers {
    /// Notes that the source has joined a stream.
    pub(super) fn join(&mut self) {
        self.headers.clear();
        self.is_due = true;
        (self.are_new, self.are_underway) = (false, false);
    }

    /// Notes that frames were lost, or dropped by a flush.
    pub(super) fn lose(&mut self) {
        self.has_lost = true;
        self.is_due |= take(&mut self.are_underway);
    }

    /// Notes that the first header or leading frame before the first buffer was pushed, or that
    /// buffer itself.
    pub(super) fn begun(&mut self) {
        self.has_begun |= self.are_underway;
    }

    /// Notes that the headers and the first buffer were pushed.
    pub(super) fn arrived(&mut self) {
        self.has_begun |= take(&mut self.are_underway);
    }

    /// Sets the caps, and the headers that the producer sends beside them.
    pub(super) fn set_caps(&mut self, caps: &gst::CapsRef, added: &[gst::Buffer]) {
        let mut headers = caps.structure(0).map(of).unwrap_or_default();
        headers.extend_from_slice(added);
        self.are_new |= !are_same(&headers, &self.headers);
        self.headers = headers;
        let name = caps.structure(0).map(|structure| structure.name().as_str());
        self.are_parts = matches!(name, Some("video/x-h264" | "video/x-h265"));
        self.are_at_start = name.is_some_and(|name| name.ends_with("/ogg"));
    }

    /// Returns whether a key unit may be requested with all headers. In the middle of a stream,
    /// `oggmux` stops at the headers of `theoraenc`.
    pub(super) fn may_be_requested(&self) -> bool {
        !self.are_at_start
    }

    /// Returns whether the headers go into the first buffer, before its frame.
    pub(super) fn are_parts(&self) -> bool {
        self.are_parts
    }

    /// Returns whether a byte-stream buffer contains all parameter sets. Each of them begins with a
    /// start code of four bytes.
    fn are_in(&self, content: &[u8]) -> bool {
        self.headers.iter().all(|header| {
            let header = header.map_readable();
            header.is_ok_and(|header| {
                let set = header.get(4..).filter(|set| !set.is_empty());
                set.is_some_and(|set| content.windows(set.len()).any(|bytes| bytes == set))
            })
        })
    }

    /// Returns whether the first buffer can only be at the start of a stream, and downstream has
    /// received headers before.
    pub(super) fn is_repeated(&self, first: &gst::Buffer) -> bool {
        self.is_due && self.has_begun && is_start(first)
    }

    /// Returns the headers to push before the first buffer: all, or the preceding ones if the
    /// buffer is itself one of the headers.
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

/// Returns whether a header can only be at the start of a stream: flvdemux would treat a later one
/// as a tag.
fn is_start(header: &gst::Buffer) -> bool {
    let map = header.map_readable();
    map.is_ok_and(|map| map.starts_with(b"FLV"))
}

/// Returns the headers in the caps.
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
        // The changed headers are in the stream, before or after the caps.
        let mut headers = begun();
        others(&mut headers);
        assert_eq!(before(&mut headers, &[7]), 0);
        headers.lose();
        assert_eq!(before(&mut headers, &[7]), 0);
        // The headers in the stream were lost: all, the first, or none.
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
        // A header of the start is pushed again if it has not arrived.
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
