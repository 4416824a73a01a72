//! Samples: buffers with what is known of them.

use super::buffer::Buffer;
use super::types::{Caps, Sample, Size, Structure};
use crate::error::InvalidValue;

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
