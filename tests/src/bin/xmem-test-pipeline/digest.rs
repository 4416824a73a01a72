//! A digest of the content of a buffer. Equal pictures have equal digests, whatever their strides
//! and offsets.

use gst_video::prelude::*;
use gst_video::{VideoFormatFlags, VideoFrameRef, VideoInfo};

/// Number of bytes that are added at once.
const BLOCK: usize = 32;

/// Four sums side by side, so that the memory limits the speed and not the additions.
pub(crate) struct Digest([u64; 4]);

impl Digest {
    pub(crate) fn new() -> Digest {
        Digest([1, 2, 3, 4])
    }

    /// Adds the bytes of one row.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let blocks = bytes.chunks_exact(BLOCK);
        let mut last = [0; BLOCK];
        last[..blocks.remainder().len()].copy_from_slice(blocks.remainder());
        for block in blocks {
            self.mix(block);
        }
        self.mix(&last);
        self.0[0] ^= bytes.len() as u64;
    }

    fn mix(&mut self, block: &[u8]) {
        for (sum, word) in self.0.iter_mut().zip(block.chunks_exact(8)) {
            let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
            *sum = (*sum ^ word)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29);
        }
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.iter().fold(0, |value: u64, sum| {
            (value.rotate_left(17) ^ sum).wrapping_mul(0xff51_afd7_ed55_8ccd)
        })
    }
}

/// The digest of a buffer. With `info`, of its visible picture.
pub(crate) fn digest(buffer: &gst::BufferRef, info: Option<&VideoInfo>) -> u64 {
    let mut digest = Digest::new();
    match info {
        Some(info) if buffer.size() > 0 => {
            let frame = VideoFrameRef::from_buffer_ref_readable(buffer, info)
                .expect("raw video can be mapped as its caps say");
            add_picture(&mut digest, &frame);
        }
        _ => digest.add(&buffer.map_readable().expect("a buffer can be read")),
    }
    digest.value()
}

fn add_picture(digest: &mut Digest, frame: &VideoFrameRef<&gst::BufferRef>) {
    let format = frame.format_info();
    let plain = VideoInfo::builder(frame.format(), frame.width(), frame.height())
        .build()
        .expect("the picture has a format");
    for plane in 0..frame.n_planes() {
        let data = frame.plane_data(plane).expect("a plane of the picture");
        if format.flags().contains(VideoFormatFlags::TILED) {
            digest.add(data);
            continue;
        }
        let component = (0..frame.n_components())
            .find(|&component| frame.comp_plane(component) == plane)
            .expect("a plane has components");
        let rows = frame.comp_height(component) as usize;
        let stride = frame.plane_stride()[plane as usize] as usize;
        let visible = (0..frame.n_components())
            .filter(|&component| frame.comp_plane(component) == plane)
            .map(|component| {
                frame.comp_width(component) as usize * frame.comp_pstride(component).max(0) as usize
            })
            .max()
            .filter(|&bytes| bytes > 0)
            // If pixels share bytes with others, the whole usual row is added.
            .unwrap_or(plain.stride()[plane as usize] as usize);
        for row in 0..rows {
            let start = row * stride;
            digest.add(&data[start..start + visible.min(stride)]);
        }
    }
}
