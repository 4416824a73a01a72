//! Values: what caps, tags, structures and metas consist of.

use crate::error::{DecodeError, InvalidValue, check};
use crate::limits::{MAX_DEPTH, MAX_VALUES};
use crate::{Decoder, Encoder};

mod buffer;
mod caps;
mod codec;
mod convert;
mod kind;
mod number;
mod structure;
mod tags;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod typed;

pub use buffer::{Buffer, Sample};
pub use caps::{Caps, Features};
pub use convert::FromValue;
pub use number::{DoubleRange, Fraction, FractionRange, IntRange};
pub use structure::Structure;
pub use tags::TagList;
pub use text::Text;
pub use time::{Date, DateTime, EpochTime, Precision};
pub use typed::{EnumValue, FlagSet, FlagsValue};

/// A value of one of the types that cross between processes.
///
/// Whatever has a rule has a type of its own here, whose constructor checks it. So a value in hand
/// can be encoded, and a decoder takes it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A boolean.
    Bool(bool),
    /// A number of C's type `int`.
    Int(i32),
    /// A number of C's type `unsigned int`.
    Uint(u32),
    /// A number.
    Int64(i64),
    /// A number.
    Uint64(u64),
    /// A number.
    Float(f32),
    /// A number.
    Double(f64),
    /// A number of C's type `long`.
    Long(i64),
    /// A number of C's type `unsigned long`.
    Ulong(u64),
    /// A number of C's type `char`.
    Char(i8),
    /// A number of C's type `unsigned char`.
    Uchar(u8),
    /// A text, or none (C's null).
    String(Option<Text>),
    /// Texts.
    Strings(Vec<Text>),
    /// A fraction.
    Fraction(Fraction),
    /// Bits.
    Bitmask(u64),
    /// Flags, of which some are given.
    FlagSet(FlagSet),
    /// A range of numbers.
    IntRange(IntRange<i32>),
    /// A range of numbers.
    Int64Range(IntRange<i64>),
    /// A range of numbers.
    DoubleRange(DoubleRange),
    /// A range of fractions.
    FractionRange(FractionRange),
    /// A day.
    Date(Date),
    /// A date and time, as precise as it is known.
    DateTime(DateTime),
    /// A date and time of GLib.
    EpochTime(EpochTime),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A buffer.
    Buffer(Box<Buffer>),
    /// A buffer with its caps.
    Sample(Box<Sample>),
    /// A structure.
    Structure(Structure),
    /// Caps.
    Caps(Caps),
    /// Tags.
    TagList(TagList),
    /// Values of one type, all of which apply, in this order.
    Array(Values),
    /// Values of one type, of which one applies.
    List(Values),
    /// Values of one type, no two of them alike, all of which apply.
    UniqueList(Values),
    /// A number of an enumeration.
    Enum(EnumValue),
    /// Bits of a type of flags.
    Flags(FlagsValue),
    /// A value of a kind that this version does not know. It is encoded as it was.
    Unknown(Unknown),
}

/// The values of an array or a list: all of one type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values(Vec<Value>);

impl Values {
    /// An array's or a list's values.
    ///
    /// # Errors
    /// [`InvalidValue`] where they are not all of one type, nested too deeply, or too many. (Numbers
    /// together with ranges of them stand in caps that are not fixed; GStreamer calls it critical to
    /// compare them.)
    pub fn new(values: Vec<Value>) -> Result<Values, InvalidValue> {
        let mut types = values.iter().filter_map(basic_type);
        let first = types.next();
        check(
            first.is_none_or(|first| types.all(|other| other == first)),
            "the values of an array or a list are of one type",
        )?;
        Size::around(values.iter().map(Value::size))?;
        Ok(Values(values))
    }
}

impl std::ops::Deref for Values {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.0
    }
}

impl IntoIterator for Values {
    type Item = Value;
    type IntoIter = std::vec::IntoIter<Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The type of a value, or of the first one inside it; `None` where there is none.
fn basic_type(value: &Value) -> Option<(u32, Option<&str>)> {
    match value {
        Value::Array(values) | Value::List(values) | Value::UniqueList(values) => {
            values.first().and_then(basic_type)
        }
        // An absent text is a text.
        Value::String(_) => Some((kind::STRING, None)),
        Value::Enum(value) => Some((kind::ENUM, Some(value.type_name()))),
        Value::Flags(value) => Some((kind::FLAGS, Some(value.type_name()))),
        Value::FlagSet(value) => Some((kind::FLAG_SET, Some(value.type_name()))),
        value => Some((value.kind(), None)),
    }
}

/// The record of a value whose kind this version does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    kind: u32,
    bytes: Vec<u8>,
}

impl Unknown {
    /// A value of this kind, which consists of these bytes.
    ///
    /// # Errors
    /// [`InvalidValue`] where this version knows the kind: then a value of that kind has to be made.
    pub fn new(kind: u32, bytes: impl Into<Vec<u8>>) -> Result<Unknown, InvalidValue> {
        check(
            !kind::is_known(kind),
            "an unknown value is of a kind that is not known",
        )?;
        Ok(Unknown {
            kind,
            bytes: bytes.into(),
        })
    }

    /// The kind of the record.
    pub fn kind(&self) -> u32 {
        self.kind
    }

    /// The bytes of the record.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// How much of the limits a value takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Values in all, this one included.
    values: u32,
    /// Records within one another, its own included.
    depth: u32,
}

impl Size {
    const ONE: Size = Size {
        values: 1,
        depth: 1,
    };

    /// The size of a value that consists of these.
    fn around(parts: impl IntoIterator<Item = Size>) -> Result<Size, InvalidValue> {
        let size = Size::unchecked_around(parts);
        check(size.depth <= MAX_DEPTH, "values are nested 16 deep at most")?;
        check(
            size.values <= MAX_VALUES,
            "a value consists of 65536 values at most",
        )?;
        Ok(size)
    }

    fn unchecked_around(parts: impl IntoIterator<Item = Size>) -> Size {
        parts.into_iter().fold(Size::ONE, |whole, part| Size {
            values: whole.values.saturating_add(part.values),
            depth: whole.depth.max(part.depth + 1),
        })
    }
}

impl Value {
    /// How much of the limits this value takes.
    pub(crate) fn size(&self) -> Size {
        match self {
            Value::Strings(texts) => Size {
                values: u32::try_from(texts.len())
                    .unwrap_or(u32::MAX)
                    .saturating_add(1),
                depth: 1,
            },
            Value::Array(values) | Value::List(values) | Value::UniqueList(values) => {
                Size::unchecked_around(values.iter().map(Value::size))
            }
            Value::Structure(structure) => structure.size(),
            Value::Caps(caps) => caps.size(),
            Value::TagList(tags) => tags.size(),
            Value::Sample(sample) => sample.size(),
            _ => Size::ONE,
        }
    }

    /// The texts as a value.
    ///
    /// # Errors
    /// [`InvalidValue`] where they are too many.
    pub fn strings(texts: Vec<Text>) -> Result<Value, InvalidValue> {
        let value = Value::Strings(texts);
        check(
            value.size().values <= MAX_VALUES,
            "a value consists of 65536 values at most",
        )?;
        Ok(value)
    }

    /// The value as a type, where it is of that type.
    pub fn get<'a, T: FromValue<'a>>(&'a self) -> Option<T> {
        T::from_value(self)
    }

    /// Whether the value is a single one, as those of fixed caps are: not a range, nor a list.
    /// Structures and caps count as single values, whatever they hold.
    pub fn is_fixed(&self) -> bool {
        match self {
            Value::IntRange(_)
            | Value::Int64Range(_)
            | Value::DoubleRange(_)
            | Value::FractionRange(_)
            | Value::List(_) => false,
            Value::FlagSet(flags) => flags.mask() == u32::MAX,
            Value::Array(values) => values.iter().all(Value::is_fixed),
            _ => true,
        }
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are no value.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Value, DecodeError> {
        decoder.apart(codec::value)
    }

    /// Writes the value, as a record; `None` where the encoder has written too many values, or the
    /// value takes more than 4 GiB.
    pub fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.count_values(self.size().values)?;
        encoder.apart(|encoder| codec::write(self, encoder))
    }
}
