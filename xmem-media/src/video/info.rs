//! Where the planes of a picture lie by its caps alone.

use super::format::{PALETTE, Packing, TILED, VideoFormat};
use super::table::FORMATS;
use crate::value::Caps;

/// The number of the first format; the others follow without gaps.
const FIRST: usize = 2;
/// Most planes of a picture.
pub const MAX_PLANES: usize = 4;

/// In which order the rows of pictures are captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interlacing {
    /// One after another.
    #[default]
    Progressive,
    /// Every second one, and then the others; a frame has both fields.
    Interleaved,
    /// Flags of each frame tell.
    Mixed,
    /// A frame has one field or two, one after the other.
    Fields,
    /// A frame is one field, and has half of the rows.
    Alternate,
}

/// What caps say of raw video, and where the planes lie where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoInfo {
    /// The format.
    pub format: VideoFormat,
    /// The width in pixels.
    pub width: u32,
    /// The height in pixels, of both fields.
    pub height: u32,
    /// Whether it is interlaced.
    pub interlacing: Interlacing,
    /// Where each plane begins.
    pub offset: [u64; MAX_PLANES],
    /// The bytes from one row to the next; of tiled formats the tiles in a column, shifted left by 16,
    /// and in a row.
    pub stride: [i32; MAX_PLANES],
    /// The bytes of a frame.
    pub size: u64,
}

impl VideoFormat {
    /// The format that caps call so.
    pub fn named(name: &str) -> Option<&'static VideoFormat> {
        FORMATS.iter().find(|format| format.name == name)
    }

    /// The format with this number.
    pub fn numbered(number: u32) -> Option<&'static VideoFormat> {
        FORMATS.get((number as usize).checked_sub(FIRST)?)
    }

    /// All formats.
    pub fn all() -> &'static [VideoFormat] {
        FORMATS
    }
}

impl VideoInfo {
    /// Reads fixed caps; `None` where they are not of raw video, or the picture is too large.
    pub fn from_caps(caps: &Caps) -> Option<VideoInfo> {
        let video = caps.structure(0).filter(|_| caps.is_fixed())?;
        let format = VideoFormat::named(video.get("format")?)?;
        let number = |field| u32::try_from(video.get::<i32>(field)?).ok();
        let interlacing = match video.get("interlace-mode") {
            Some("interleaved") => Interlacing::Interleaved,
            Some("mixed") => Interlacing::Mixed,
            Some("fields") => Interlacing::Fields,
            Some("alternate") => Interlacing::Alternate,
            _ => Interlacing::Progressive,
        };
        if video.name() != "video/x-raw" {
            return None;
        }
        VideoInfo::new(*format, number("width")?, number("height")?, interlacing)
    }

    /// A picture of this size; `None` where GStreamer's numbers do not hold it.
    pub fn new(
        format: VideoFormat,
        width: u32,
        height: u32,
        interlacing: Interlacing,
    ) -> Option<VideoInfo> {
        let mut info = VideoInfo {
            format,
            width,
            height,
            interlacing,
            offset: [0; MAX_PLANES],
            stride: [0; MAX_PLANES],
            size: 0,
        };
        let depths = format.components().iter().map(|one| u64::from(one.depth));
        let pixel = depths.sum::<u64>().div_ceil(8);
        let pixels = u64::from(width).next_multiple_of(128) * u64::from(info.rows());
        let is_too_large = pixel > 0 && pixels >= u64::from(u32::MAX) / pixel;
        if is_too_large || width.max(height) > i32::MAX as u32 {
            return None;
        }
        for plane in 0..format.planes() {
            let (stride, length) = match format.packing {
                Packing::Tiles { bytes, rows } => info.tiles(plane, bytes.into(), rows.into())?,
                _ if format.has(PALETTE) && plane == 1 => (4, 4 * 256),
                _ => info.lines(plane),
            };
            info.offset[plane] = info.size;
            info.stride[plane] = i32::try_from(stride).ok()?;
            info.size += length;
        }
        info.is_sound().then_some(info)
    }

    /// The rows of a frame.
    pub fn rows(&self) -> u32 {
        match self.interlacing {
            Interlacing::Alternate => self.height.div_ceil(2),
            _ => self.height,
        }
    }

    /// The stride and the length of a plane that consists of rows.
    fn lines(&self, plane: usize) -> (u64, u64) {
        let format = &self.format;
        let stride = match format.packing {
            Packing::Groups {
                pixels,
                bytes,
                align,
            } => {
                let groups = u64::from(self.width).div_ceil(pixels.into());
                (groups * u64::from(bytes)).next_multiple_of(align.into())
            }
            _ => self.row_bytes(plane).unwrap_or(0).next_multiple_of(4),
        };
        let shift = format.components_of(plane).next();
        let shift = shift.map_or(0, |component| component.height_shift);
        let rows = u64::from(self.rows()).div_ceil(1 << shift);
        let is_even = if shift == 0 {
            format.rows.is_even
        } else {
            format.rows.is_paired && self.interlacing != Interlacing::Progressive
        };
        (
            stride,
            stride
                * if is_even {
                    rows.next_multiple_of(2)
                } else {
                    rows
                },
        )
    }

    /// The stride and the length of a plane that consists of tiles.
    fn tiles(&self, plane: usize, bytes: u64, rows: u64) -> Option<(u64, u64)> {
        let depth = self.format.components()[0].depth;
        let line = (u64::from(self.width) * u64::from(depth)).div_ceil(8);
        let (mut wide, mut tile) = (line.div_ceil(bytes), bytes * rows);
        // Those of Amlogic and others are pairs, those of Mediatek cover both fields.
        let (mut height, mut pair) = (self.rows(), false);
        let mut is_halved = false;
        match self.format.name {
            "NV12_64Z32" => wide = wide.next_multiple_of(2),
            "NV12_8L128" | "NV12_10BE_8L128" => {
                pair = self.interlacing != Interlacing::Progressive;
            }
            name => {
                height = self.height;
                is_halved = matches!(name, "NV12_16L32S" | "MT2110T" | "MT2110R");
            }
        }
        let mut high = u64::from(height).div_ceil(rows);
        if pair {
            high = high.next_multiple_of(2);
        }
        if plane == 1 && is_halved {
            tile /= 2;
        } else if plane == 1 {
            high = high.div_ceil(2);
        }
        (wide.max(high) <= 0xffff).then_some((high << 16 | wide, wide * high * tile))
    }

    /// Bytes of a plane's row that hold pixels; `None` for formats that pack pixels in other ways.
    pub(super) fn row_bytes(&self, plane: usize) -> Option<u64> {
        if self.format.has(super::format::COMPLEX) {
            return None;
        }
        let components = self.format.components_of(plane);
        let bytes = components.map(|one| {
            let values = u64::from(self.width).div_ceil(1 << one.width_shift);
            values * u64::from(one.pixel_stride)
        });
        bytes.max().filter(|&bytes| bytes > 0)
    }

    /// Whether GStreamer's numbers hold such a picture. GStreamer computes them in 32 bits, and looks
    /// for overflow without what lies between the components.
    pub fn is_sound(&self) -> bool {
        let is_other = self.format.has(TILED | PALETTE);
        let has_rows = (0..self.format.planes()).all(|plane| {
            let stride = u64::try_from(self.stride[plane]);
            let row = self.row_bytes(plane).unwrap_or(0);
            is_other || stride.is_ok_and(|stride| stride >= row)
        });
        // Rows of tiles, of palettes and of packed groups say less: of each pixel the first component
        // has to be there.
        let depth = self.format.components().first().map_or(0, |one| one.depth);
        let pixels = u64::from(self.width) * u64::from(self.rows());
        has_rows && self.size >= pixels * u64::from(depth) / 8
    }
}
