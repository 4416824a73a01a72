//! Samples: buffers with what is known of them.

use super::body::{Body, Record, Size};
use super::buffer::Buffer;
use super::types::{Caps, Sample, Structure};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::InvalidValue;
use crate::field;

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
        sample.size().check()?;
        Ok(sample)
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

impl Body for Sample {
    fn read(decoder: &mut Decoder<'_>) -> field::Result<Sample> {
        let parts = decoder.u32()?;
        let caps = read_part(parts & 1 != 0, decoder)?;
        let buffer = read_part(parts & 2 != 0, decoder)?;
        let info = read_part(parts & 4 != 0, decoder)?;
        Ok(Sample::new(caps, buffer, info)?)
    }

    fn write(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        let parts = [
            self.caps.is_some(),
            self.buffer.is_some(),
            self.info.is_some(),
        ];
        let bits = parts.iter().rev();
        encoder.u32(bits.fold(0, |all, &is| all << 1 | u32::from(is)));
        write_part(&self.caps, encoder)?;
        write_part(&self.buffer, encoder)?;
        write_part(&self.info, encoder)
    }

    fn size(&self) -> Size {
        let sizes = [
            self.caps.as_ref().map(Body::size),
            self.buffer.as_ref().map(Body::size),
            self.info.as_ref().map(Body::size),
        ];
        Size::around(sizes.into_iter().flatten())
    }
}

fn read_part<T: Record>(is_there: bool, decoder: &mut Decoder<'_>) -> field::Result<Option<T>> {
    is_there.then(|| T::read_record(decoder)).transpose()
}

fn write_part<T: Record>(part: &Option<T>, encoder: &mut Encoder<'_>) -> Option<()> {
    part.iter().try_for_each(|part| part.write_record(encoder))
}
