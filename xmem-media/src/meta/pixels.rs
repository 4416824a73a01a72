//! The pictures that metas hold.

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::DecodeError;
use crate::field::{Field, Result};

/// How long the sides of a picture in a meta can be, in pixels.
pub(super) const SIDES: std::ops::RangeInclusive<u32> = 1..=32767;

/// Pixels, row by row without gaps. What they belong to says how many bytes each has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pixels {
    /// The width in pixels.
    pub width: u32,
    /// The height in pixels.
    pub height: u32,
    /// Their bytes.
    pub bytes: Vec<u8>,
}

impl Pixels {
    /// Whether GStreamer has such pictures: the sides are 1 to 32767 pixels long.
    pub fn is_picture(&self) -> bool {
        SIDES.contains(&self.width) && SIDES.contains(&self.height)
    }

    /// Reads pixels of `size` bytes.
    fn read(size: u64, decoder: &mut Decoder<'_>) -> Result<Pixels> {
        let mut pixels = Pixels {
            width: decoder.u32()?,
            height: decoder.u32()?,
            bytes: Vec::new(),
        };
        let length = pixels.length(size).unwrap_or(usize::MAX);
        pixels.bytes = decoder.raw(length)?.to_vec();
        Ok(pixels)
    }

    fn write(&self, size: u64, encoder: &mut Encoder<'_>) -> Option<()> {
        [self.width, self.height].encode(encoder)?;
        encoder.raw(&self.bytes);
        (self.length(size) == Some(self.bytes.len())).then_some(())
    }

    fn length(&self, size: u64) -> Option<usize> {
        let pixels = u64::from(self.width) * u64::from(self.height);
        usize::try_from(pixels.checked_mul(size)?).ok()
    }
}

/// Of 4 bytes each.
impl Field for Pixels {
    const LEAST: usize = 8;

    fn decode(decoder: &mut Decoder<'_>) -> Result<Pixels> {
        Pixels::read(4, decoder)
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        self.write(4, encoder)
    }
}

/// Which pixels of a picture belong to which region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// The format of the pixels.
    pub format: MaskFormat,
    /// A number of a region for each pixel.
    pub pixels: Pixels,
}

/// The format of a mask. The numbers are part of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskFormat {
    /// 8 bits.
    Gray8 = 0,
    /// 16 bits, little-endian.
    Gray16Le = 1,
    /// 16 bits, big-endian.
    Gray16Be = 2,
}

impl MaskFormat {
    /// The bytes of a pixel.
    pub fn size(self) -> usize {
        if self == MaskFormat::Gray8 { 1 } else { 2 }
    }
}

impl Field for Mask {
    const LEAST: usize = 12;

    fn decode(decoder: &mut Decoder<'_>) -> Result<Mask> {
        let format = match decoder.u32()? {
            0 => MaskFormat::Gray8,
            1 => MaskFormat::Gray16Le,
            2 => MaskFormat::Gray16Be,
            _ => return Err(DecodeError::Unsupported("a format of masks")),
        };
        let pixels = Pixels::read(format.size() as u64, decoder)?;
        Ok(Mask { format, pixels })
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.u32(self.format as u32);
        self.pixels.write(self.format.size() as u64, encoder)
    }
}
