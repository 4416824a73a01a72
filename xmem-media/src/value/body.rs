//! How the types that values hold are read and written: as the body of a record.

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{DecodeError, InvalidValue, check};
use crate::field::{Field, Result};
use crate::limits::{MAX_DEPTH, MAX_VALUES};

/// What the record of a value holds.
pub(super) trait Body: Sized {
    /// Reads it from the bytes of a record.
    fn read(decoder: &mut Decoder<'_>) -> Result<Self>;

    /// Writes it.
    fn write(&self, encoder: &mut Encoder<'_>) -> Option<()>;

    /// How much of the limits a value takes that is this.
    fn size(&self) -> Size {
        Size::ONE
    }
}

/// What is a value of one kind only.
pub(super) trait Record: Body {
    /// The kind.
    const KIND: u32;

    /// Reads a value of this kind.
    fn read_record(decoder: &mut Decoder<'_>) -> Result<Self> {
        decoder.count_value()?;
        decoder.record_of(Self::KIND, Self::read)
    }

    /// Writes a value of this kind, which the encoder has counted.
    fn write_record(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.record(Self::KIND, |encoder| self.write(encoder))
    }
}

/// Bodies that are nothing but a field.
macro_rules! field_bodies {
    ($($of:ty)*) => {$(
        impl $crate::value::body::Body for $of {
            fn read(decoder: &mut $crate::decoder::Decoder<'_>) -> $crate::field::Result<$of> {
                $crate::field::Field::decode(decoder)
            }

            fn write(&self, encoder: &mut $crate::encoder::Encoder<'_>) -> Option<()> {
                $crate::field::Field::encode(self, encoder)
            }
        }
    )*};
}
pub(super) use field_bodies;

field_bodies! { bool i32 u32 i64 u64 f32 f64 Vec<u8> }

impl Body for i8 {
    fn read(decoder: &mut Decoder<'_>) -> Result<i8> {
        let out_of_range = |_| DecodeError::Invalid("a char is -128 to 127");
        i8::try_from(decoder.i32()?).map_err(out_of_range)
    }

    fn write(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        i32::from(*self).encode(encoder)
    }
}

impl Body for u8 {
    fn read(decoder: &mut Decoder<'_>) -> Result<u8> {
        let out_of_range = |_| DecodeError::Invalid("an unsigned char is 0 to 255");
        u8::try_from(decoder.u32()?).map_err(out_of_range)
    }

    fn write(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        u32::from(*self).encode(encoder)
    }
}

impl<T: Body> Body for Box<T> {
    fn read(decoder: &mut Decoder<'_>) -> Result<Box<T>> {
        T::read(decoder).map(Box::new)
    }

    fn write(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        T::write(self, encoder)
    }

    fn size(&self) -> Size {
        T::size(self)
    }
}

/// How much of the limits a value takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// Values in all, this one included.
    pub(super) values: u32,
    /// Records within one another, its own included.
    pub(super) depth: u32,
}

impl Size {
    pub(super) const ONE: Size = Size {
        values: 1,
        depth: 1,
    };

    /// The size of a value that consists of these.
    pub(super) fn around(parts: impl IntoIterator<Item = Size>) -> Size {
        parts.into_iter().fold(Size::ONE, |whole, part| Size {
            values: whole.values.saturating_add(part.values),
            depth: whole.depth.max(part.depth + 1),
        })
    }

    /// Checks that it keeps the limits.
    pub(super) fn check(self) -> std::result::Result<(), InvalidValue> {
        check(self.depth <= MAX_DEPTH, "values are nested 16 deep at most")?;
        check(
            self.values <= MAX_VALUES,
            "a value consists of 65536 values at most",
        )
    }
}
