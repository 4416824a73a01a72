//! Where the pixels of a frame lie: three planes, and at the end of most rows some padding.

use std::ops::Range;

use gst_video::{VideoFormat, VideoInfo, VideoMeta};
use xmem_core::Frame;

use crate::Result;

/// Kind and length of a video meta in a frame's extra bytes; see "Extra bytes" in
/// `docs/protocol.md`.
const VIDEO: u32 = 1;
const VIDEO_LEN: usize = 100;
/// `GST_VIDEO_FORMAT_I420`.
const I420: u32 = 2;

/// The layout of an I420 picture in its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    planes: [Plane; 3],
}

/// One plane: brightness, or one of the two colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane {
    offset: usize,
    stride: usize,
    width: usize,
    height: usize,
}

impl Plane {
    /// The bytes of each row, padding left out.
    pub fn rows(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.height).map(move |row| {
            let start = self.offset + row * self.stride;
            start..start + self.width
        })
    }
}

impl Layout {
    /// Of a GStreamer buffer: its video meta says where, else its caps do.
    pub fn of_buffer(buffer: &gst::BufferRef, info: &VideoInfo) -> Result<Layout> {
        if info.format() != VideoFormat::I420 {
            return Err(format!("the pictures are {}, not I420", info.format()).into());
        }
        let size = (info.width() as usize, info.height() as usize);
        match buffer.meta::<VideoMeta>() {
            Some(meta) => Layout::new(size, meta.offset(), meta.stride()),
            None => Layout::new(size, info.offset(), info.stride()),
        }?
        .within(buffer.size())
    }

    /// Of a frame, for who has no GStreamer: the video meta among its extra bytes says where, else
    /// its caps do.
    pub fn of_frame(frame: &Frame) -> Result<Layout> {
        let extra = frame.extra()?;
        match video_meta(&extra) {
            Some(body) => Layout::of_meta(body),
            None => Layout::of_caps(frame.format().map_or("", |caps| caps)),
        }?
        .within(frame.payload().len())
    }

    fn of_meta(body: &[u8]) -> Result<Layout> {
        let number = |at: usize| {
            let bytes = body[at..].first_chunk().copied();
            bytes.map_or(0, u32::from_le_bytes)
        };
        if number(4) != I420 {
            return Err(format!("the pictures are of format {}, not I420", number(4)).into());
        }
        let size = (number(8) as usize, number(12) as usize);
        // 64 bits each, of which a frame needs 32.
        let offsets = [0, 1, 2].map(|plane| number(20 + 8 * plane) as usize);
        let strides = [0, 1, 2].map(|plane| number(52 + 4 * plane) as i32);
        Layout::new(size, &offsets, &strides)
    }

    /// As GStreamer lays out a picture that nobody has asked for more of.
    fn of_caps(caps: &str) -> Result<Layout> {
        let field = |name: &str| {
            let after = caps.split_once(&format!(" {name}=("))?.1.split_once(')')?.1;
            after.split([',', ';']).next()
        };
        let number = |name: &str| field(name).and_then(|number| number.parse::<usize>().ok());
        let (Some("I420"), Some(width), Some(height)) =
            (field("format"), number("width"), number("height"))
        else {
            return Err(format!("\"{caps}\" are no caps of I420 pictures").into());
        };
        let strides = [width, width.div_ceil(2)].map(|width| width.next_multiple_of(4));
        let luma = strides[0] * height.next_multiple_of(2);
        let colour = strides[1] * height.div_ceil(2);
        let [stride, half] = strides.map(|stride| stride as i32);
        Layout::new(
            (width, height),
            &[0, luma, luma + colour],
            &[stride, half, half],
        )
    }

    fn new((width, height): (usize, usize), offsets: &[usize], strides: &[i32]) -> Result<Layout> {
        let half = |pixels: usize| pixels.div_ceil(2);
        let sizes = [
            (width, height),
            (half(width), half(height)),
            (half(width), half(height)),
        ];
        if offsets.len() < sizes.len() || strides.len() < sizes.len() {
            return Err("a picture has less than three planes".into());
        }
        let plane = |index: usize| Plane {
            offset: offsets[index],
            stride: strides[index].unsigned_abs() as usize,
            width: sizes[index].0,
            height: sizes[index].1,
        };
        Ok(Layout {
            planes: [plane(0), plane(1), plane(2)],
        })
    }

    /// Itself, if a frame of `len` bytes holds all of it.
    fn within(self, len: usize) -> Result<Layout> {
        if self.rows().any(|row| row.end > len) {
            return Err(format!("the picture exceeds its frame of {len} bytes").into());
        }
        Ok(self)
    }

    /// The plane of brightness.
    pub fn luma(&self) -> Plane {
        self.planes[0]
    }

    /// The bytes of each row of each plane.
    pub fn rows(&self) -> impl Iterator<Item = Range<usize>> {
        self.planes.into_iter().flat_map(Plane::rows)
    }
}

/// The body of the video meta among a frame's extra bytes: a list of metas, each after its kind
/// and its length.
fn video_meta(mut extra: &[u8]) -> Option<&[u8]> {
    loop {
        let (kind, rest) = extra.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        if u32::from_le_bytes(*kind) == VIDEO && body.len() == VIDEO_LEN {
            return Some(body);
        }
        extra = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extra(format: u32) -> Vec<u8> {
        let mut body = Vec::new();
        for number in [0, format, 5, 3, 3] {
            body.extend(u32::to_le_bytes(number));
        }
        for offset in [0u64, 24, 34, 0] {
            body.extend(offset.to_le_bytes());
        }
        for stride in [8i32, 5, 5, 0] {
            body.extend(stride.to_le_bytes());
        }
        body.resize(VIDEO_LEN, 0);
        // Another meta comes first.
        let mut extra = vec![2, 0, 0, 0, 1, 0, 0, 0, 77];
        extra.extend(VIDEO.to_le_bytes());
        extra.extend((VIDEO_LEN as u32).to_le_bytes());
        extra.extend(body);
        extra
    }

    #[test]
    fn rows_leave_out_the_padding() {
        let layout = Layout::of_meta(video_meta(&extra(I420)).unwrap()).unwrap();
        let luma: Vec<_> = layout.luma().rows().collect();
        assert_eq!(luma, [0..5, 8..13, 16..21]);
        let colour: Vec<_> = layout.rows().skip(3).collect();
        assert_eq!(colour, [24..27, 29..32, 34..37, 39..42]);
    }

    #[test]
    fn what_is_no_picture_is_an_error() {
        assert!(Layout::of_meta(video_meta(&extra(23)).unwrap()).is_err());
        assert_eq!(video_meta(&extra(I420)[..50]), None);
        assert_eq!(video_meta(&[]), None);
        assert!(Layout::of_caps("").is_err());
        assert!(Layout::of_caps("audio/x-raw, format=(string)S16LE").is_err());
        let layout = Layout::of_meta(video_meta(&extra(I420)).unwrap()).unwrap();
        assert!(layout.clone().within(42).is_ok());
        assert!(layout.within(41).is_err());
    }

    #[test]
    fn caps_lay_out_a_picture_as_gstreamer_does() {
        gst::init().unwrap();
        for (width, height) in [(1280, 720), (641, 359), (6, 5)] {
            let info = VideoInfo::builder(VideoFormat::I420, width, height)
                .build()
                .unwrap();
            let caps = info.to_caps().unwrap().to_string();
            let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
            let buffer = buffer.get_mut().unwrap();
            let layout = Layout::of_buffer(buffer, &info).unwrap();
            assert_eq!(Layout::of_caps(&caps).unwrap(), layout);
        }
    }
}
