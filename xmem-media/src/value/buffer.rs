//! Buffers within values: headers in caps, images in tags.

use super::{Caps, Size, Structure};
use crate::error::InvalidValue;

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

/// A buffer with its caps, and a structure that says more about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    caps: Option<Caps>,
    buffer: Option<Buffer>,
    info: Option<Structure>,
}

impl Sample {
    /// A sample of these parts.
    ///
    /// # Errors
    /// [`InvalidValue`] where they are nested too deeply, or consist of too many values.
    pub fn new(
        caps: Option<Caps>,
        buffer: Option<Buffer>,
        info: Option<Structure>,
    ) -> Result<Sample, InvalidValue> {
        let sample = Sample { caps, buffer, info };
        Size::around(sample.parts())?;
        Ok(sample)
    }

    fn parts(&self) -> impl Iterator<Item = Size> {
        let caps = self.caps.as_ref().map(Caps::size);
        let info = self.info.as_ref().map(Structure::size);
        caps.into_iter()
            .chain(self.buffer.as_ref().map(|_| Size::ONE))
            .chain(info)
    }

    pub(super) fn size(&self) -> Size {
        Size::unchecked_around(self.parts())
    }

    /// The caps.
    pub fn caps(&self) -> Option<&Caps> {
        self.caps.as_ref()
    }

    /// The buffer.
    pub fn buffer(&self) -> Option<&Buffer> {
        self.buffer.as_ref()
    }

    /// The structure.
    pub fn info(&self) -> Option<&Structure> {
        self.info.as_ref()
    }

    /// Caps, buffer and structure.
    pub fn into_parts(self) -> (Option<Caps>, Option<Buffer>, Option<Structure>) {
        (self.caps, self.buffer, self.info)
    }
}
