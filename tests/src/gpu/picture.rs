//! Pictures that a producer publishes, and the bytes of them that a client has to show.

use gst_video::VideoInfo;
use serde::{Deserialize, Serialize};

use crate::pipeline::fill;

/// A picture in a frame.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Picture {
    /// The fields of its caps, as in `format=NV12,width=320,height=240`.
    pub caps: String,
    /// Determines its bytes.
    pub seed: u64,
    /// Where each plane begins.
    pub offset: Vec<u64>,
    /// The bytes from one row of a plane to the next.
    pub stride: Vec<i32>,
    /// The bytes of the frame.
    pub size: usize,
    /// The number of the format that the layout names, if it is not that of the caps.
    pub format: Option<u32>,
}

impl Picture {
    /// A picture as GStreamer lays it out in system memory.
    ///
    /// # Panics
    /// If these are no caps of raw video, here and below.
    pub fn usual(caps: &str) -> Picture {
        let info = info(caps);
        Picture {
            caps: caps.to_owned(),
            seed: 1,
            offset: info.offset().iter().map(|&offset| offset as u64).collect(),
            stride: info.stride().to_vec(),
            size: info.size(),
            format: None,
        }
    }

    /// A picture whose planes have these strides, one after another.
    pub fn with_strides(caps: &str, stride: impl Fn(i32) -> i32) -> Picture {
        let info = info(caps);
        let stride: Vec<_> = info.stride().iter().map(|&usual| stride(usual)).collect();
        let (mut offset, mut end) = (Vec::new(), 0);
        for (plane, stride) in stride.iter().enumerate() {
            offset.push(end);
            end += *stride as u64 * visible(&info, plane).1 as u64;
        }
        Picture {
            offset,
            stride,
            size: end as usize,
            ..Picture::usual(caps)
        }
    }

    /// A picture as GStreamer lays it out in CUDA memory: all planes have one stride.
    pub fn in_cuda(caps: &str) -> Picture {
        let pitch = 512 * (info(caps).stride()[0] / 512 + 1);
        Picture::with_strides(caps, |_| pitch)
    }

    /// Determines its bytes.
    pub fn seed(self, seed: u64) -> Picture {
        Picture { seed, ..self }
    }

    /// The bytes of the frame.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.size];
        fill(self.seed, &mut bytes);
        bytes
    }

    /// The pixels of the picture, row by row.
    pub fn pixels(&self) -> Vec<u8> {
        let place = |plane: usize| (self.offset[plane] as usize, self.stride[plane] as usize);
        pixels(&info(&self.caps), place, &self.bytes())
    }
}

/// The pixels of the whole pictures in a file that a pipeline has written, row by row.
pub fn written(caps: &str, file: &[u8]) -> Vec<Vec<u8>> {
    let info = info(caps);
    let pictures = file.chunks_exact(info.size());
    let place = |plane: usize| (info.offset()[plane], info.stride()[plane] as usize);
    pictures
        .map(|picture| pixels(&info, place, picture))
        .collect()
}

fn info(caps: &str) -> VideoInfo {
    gst::init().expect("GStreamer can be initialized");
    let caps: gst::Caps = format!("video/x-raw,{caps}").parse().expect("caps");
    VideoInfo::from_caps(&caps).expect("caps of raw video")
}

fn pixels(info: &VideoInfo, place: impl Fn(usize) -> (usize, usize), bytes: &[u8]) -> Vec<u8> {
    let mut pixels = Vec::new();
    for plane in 0..info.n_planes() as usize {
        let ((width, rows), (offset, stride)) = (visible(info, plane), place(plane));
        for row in 0..rows {
            let start = offset + row * stride;
            pixels.extend_from_slice(&bytes[start..start + width]);
        }
    }
    pixels
}

/// The bytes of a row of a plane that hold pixels, and the number of rows.
fn visible(info: &VideoInfo, plane: usize) -> (usize, usize) {
    let components = (0..info.n_components() as u8)
        .filter(|&component| info.comp_plane(component) as usize == plane);
    components.fold((0, 0), |(width, rows), component| {
        let own = info.comp_width(component) as usize * info.comp_pstride(component) as usize;
        let height = info.comp_height(component) as usize;
        (width.max(own), rows.max(height))
    })
}
