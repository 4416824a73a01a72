//! Buffers within values: headers in caps, images in tags.

use super::body::Body;
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::field::Result;

/// The times and the bytes of a buffer. Its metas do not cross.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// The presentation time, in nanoseconds.
    pub pts: Option<u64>,
    /// The decoding time, in nanoseconds.
    pub dts: Option<u64>,
    /// The duration, in nanoseconds.
    pub duration: Option<u64>,
    /// The offset, which means something else in each kind of stream; the highest number where there
    /// is none.
    pub offset: u64,
    /// The offset of the end.
    pub offset_end: u64,
    /// The bits of `GstBufferFlags`.
    pub flags: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Default for Buffer {
    /// A buffer without bytes, times and offsets.
    fn default() -> Buffer {
        Buffer {
            pts: None,
            dts: None,
            duration: None,
            offset: u64::MAX,
            offset_end: u64::MAX,
            flags: 0,
            bytes: Vec::new(),
        }
    }
}

impl Body for Buffer {
    fn read(decoder: &mut Decoder<'_>) -> Result<Buffer> {
        Ok(Buffer {
            pts: decoder.time()?,
            dts: decoder.time()?,
            duration: decoder.time()?,
            offset: decoder.u64()?,
            offset_end: decoder.u64()?,
            flags: decoder.u32()?,
            bytes: decoder.rest().to_vec(),
        })
    }

    fn write(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        for time in [self.pts, self.dts, self.duration] {
            encoder.time(time);
        }
        encoder.u64(self.offset);
        encoder.u64(self.offset_end);
        encoder.u32(self.flags);
        encoder.raw(&self.bytes);
        Some(())
    }
}
