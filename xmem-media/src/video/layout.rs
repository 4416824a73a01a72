//! Where the planes of one frame lie.

use thiserror::Error;

use super::format::VideoFormat;
use super::info::{MAX_PLANES, VideoInfo};
use super::plane::{Misfit, Plane, PlaneKind, planes_fit};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{DecodeError, check};
use crate::field::Field;

/// Where the planes of a picture lie in a frame (`GstVideoMeta`).
///
/// [`check`](VideoLayout::check) says whether they lie inside of the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VideoLayout {
    /// The bits of `GstVideoFrameFlags`.
    pub flags: u32,
    /// The number of the format.
    pub format: u32,
    /// The width in pixels.
    pub width: u32,
    /// The height in pixels.
    pub height: u32,
    /// How many planes there are.
    pub planes: usize,
    /// Where each plane begins.
    pub offset: [u64; MAX_PLANES],
    /// The bytes from one row of a plane to the next.
    pub stride: [i32; MAX_PLANES],
    /// The pixels beside the picture: above, below, left and right of it.
    pub padding: [u32; 4],
    /// The alignment of each plane's stride, less 1.
    pub stride_align: [u32; MAX_PLANES],
}

/// Why planes cannot lie where a layout says.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LayoutError {
    /// The layout is one of another format than the caps.
    #[error("it describes {} and the caps say {caps}", name(*.said))]
    Format {
        /// The number of its format.
        said: u32,
        /// The format of the caps.
        caps: &'static str,
    },
    /// The layout is that of a picture smaller than the caps, which cannot be mapped.
    #[error("it describes a picture of {}x{}, smaller than {}x{} in the caps", said.0, said.1, caps.0, caps.1)]
    Smaller {
        /// Its width and height.
        said: (u32, u32),
        /// Those of the caps.
        caps: (u32, u32),
    },
    /// The picture is too large for GStreamer's own numbers.
    #[error("a picture of {}x{} is too large", said.0, said.1)]
    TooLarge {
        /// Its width and height.
        said: (u32, u32),
    },
    /// A plane lies outside of the frame, or its rows lie over one another.
    #[error(transparent)]
    Planes(#[from] Misfit),
}

fn name(number: u32) -> &'static str {
    VideoFormat::numbered(number).map_or("an unknown format", |format| format.name)
}

/// Bytes to copy, from a place in a buffer to one in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowCopy {
    /// The first byte in the buffer.
    pub from: usize,
    /// The first byte in the frame.
    pub to: usize,
    /// How many bytes.
    pub length: usize,
}

impl From<&VideoInfo> for VideoLayout {
    /// Where the caps alone say that the planes lie.
    fn from(info: &VideoInfo) -> VideoLayout {
        VideoLayout {
            format: info.format.number,
            width: info.width,
            height: info.height,
            planes: info.format.planes(),
            offset: info.offset,
            stride: info.stride,
            ..VideoLayout::default()
        }
    }
}

impl VideoLayout {
    fn planes(&self) -> (&[u64], &[i32]) {
        let planes = self.planes.min(MAX_PLANES);
        (&self.offset[..planes], &self.stride[..planes])
    }

    /// The format of the picture: that of the caps, which may describe the layout of a dmabuf in words of
    /// DRM (`DMA_DRM`). Then it is the raw format that is the same or nearest to that; `None` where
    /// only a device can read the picture.
    pub fn raw_format(&self, info: &VideoInfo) -> Option<VideoFormat> {
        if is_drm(info) {
            let format = VideoFormat::numbered(self.format).copied();
            format.filter(|format| format.planes() > 0)
        } else {
            Some(info.format)
        }
    }

    /// Checks that the picture is one of the caps, and that every row of every plane lies inside of a
    /// frame of `size` bytes.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, info: &VideoInfo, size: u64) -> Result<(), LayoutError> {
        self.check_with(info, size, |format, (width, height)| {
            VideoInfo::new(*format, width, height, info.interlacing)
        })
    }

    /// As [`check`](VideoLayout::check), where `usual` knows how a picture of another size, or of the raw
    /// format of a dmabuf, is laid out. Versions of GStreamer differ in that.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check_with(
        &self,
        info: &VideoInfo,
        size: u64,
        usual: impl FnOnce(&VideoFormat, (u32, u32)) -> Option<VideoInfo>,
    ) -> Result<(), LayoutError> {
        let caps = (info.width, info.height);
        let said = (self.width, self.height);
        let format = self.raw_format(info);
        let format = format.filter(|format| format.number == self.format);
        let format = format.ok_or(LayoutError::Format {
            said: self.format,
            caps: info.format.name,
        })?;
        if said.0 < caps.0 || said.1 < caps.1 {
            return Err(LayoutError::Smaller { said, caps });
        }
        let (offset, stride) = self.planes();
        if !is_drm(info) && said == caps {
            planes_fit(size, info, offset, stride)?;
        } else {
            let other = usual(&format, said).ok_or(LayoutError::TooLarge { said })?;
            planes_fit(size, &other, offset, stride)?;
        }
        Ok(())
    }

    /// What has to be copied out of a buffer of `size` bytes, row by row, so that the picture lies
    /// where its caps say. `None` where this leads to no such picture in the buffer.
    ///
    /// It may lead to one although [`check`](VideoLayout::check) fails: rows may lie one before the
    /// other, or closer than their pixels are long.
    pub fn copies(&self, info: &VideoInfo, size: usize) -> Option<Vec<RowCopy>> {
        let is_one_of_the_caps = self.format == info.format.number
            && self.planes == info.format.planes()
            && self.width >= info.width
            && self.height >= info.height;
        if !is_one_of_the_caps || self.planes == 0 || size == 0 {
            return None;
        }
        let mut copies = Vec::new();
        for at in 0..self.planes.min(MAX_PLANES) {
            let usual = Plane::of(info, at)?;
            if usual.kind == PlaneKind::Tiles && self.stride[at] != info.stride[at] {
                return None;
            }
            for row in 0..usual.rows {
                let from = i128::from(self.offset[at]);
                let from = from + i128::from(row) * i128::from(self.stride[at]);
                let copy = RowCopy {
                    from: usize::try_from(from).ok()?,
                    to: usize::try_from(usual.start + row * usual.stride).ok()?,
                    length: usize::try_from(usual.row).ok()?,
                };
                if copy.from.checked_add(copy.length)? > size {
                    return None;
                }
                copies.push(copy);
            }
        }
        Some(copies)
    }
}

impl Field for VideoLayout {
    const LEAST: usize = 100;

    /// Where the planes lie is not checked.
    fn decode(decoder: &mut Decoder<'_>) -> Result<VideoLayout, DecodeError> {
        let layout = VideoLayout {
            flags: decoder.u32()?,
            format: decoder.u32()?,
            width: decoder.u32()?,
            height: decoder.u32()?,
            planes: decoder.u32()? as usize,
            offset: Field::decode(decoder)?,
            stride: Field::decode(decoder)?,
            padding: Field::decode(decoder)?,
            stride_align: Field::decode(decoder)?,
        };
        check(
            layout.planes <= MAX_PLANES,
            "a picture has 4 planes at most",
        )?;
        Ok(layout)
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        let planes = self.planes as u32;
        [self.flags, self.format, self.width, self.height, planes].encode(encoder)?;
        self.offset.encode(encoder)?;
        self.stride.encode(encoder)?;
        self.padding.encode(encoder)?;
        self.stride_align.encode(encoder)
    }
}

/// Whether the caps describe the layout in words of DRM.
fn is_drm(info: &VideoInfo) -> bool {
    info.format.name == "DMA_DRM"
}
