//! The types that hold one another: values, and what consists of them.

use super::buffer::Buffer;
use super::features::Features;
use super::number::{DoubleRange, Fraction, FractionRange, IntRange};
use super::text::Text;
use super::time::{Date, DateTime, EpochTime};
use super::typed::{EnumValue, FlagSet, FlagsValue};
use crate::error::{InvalidValue, check};
use crate::limits::{MAX_DEPTH, MAX_VALUES};

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
pub struct Values(pub(super) Vec<Value>);

/// The record of a value whose kind this version does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    pub(super) kind: u32,
    pub(super) bytes: Vec<u8>,
}

/// A name, and fields that have names, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Structure {
    pub(super) name: Box<str>,
    pub(super) fields: Vec<(Box<str>, Value)>,
}

/// Structures, each with the features of its memory; or any caps.
#[derive(Clone, Debug, PartialEq)]
pub struct Caps(pub(super) Content);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Any,
    Structures(Vec<(Features, Structure)>),
}

/// Tags with their values, for a stream or for all streams.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TagList {
    pub(super) is_global: bool,
    pub(super) tags: Vec<(Box<str>, Vec<Value>)>,
}

/// A buffer with its caps, and a structure that says more about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    pub(super) caps: Option<Caps>,
    pub(super) buffer: Option<Buffer>,
    pub(super) info: Option<Structure>,
}

/// How much of the limits a value takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
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
    pub(super) fn around(parts: impl IntoIterator<Item = Size>) -> Result<Size, InvalidValue> {
        let size = Size::unchecked_around(parts);
        check(size.depth <= MAX_DEPTH, "values are nested 16 deep at most")?;
        check(
            size.values <= MAX_VALUES,
            "a value consists of 65536 values at most",
        )?;
        Ok(size)
    }

    pub(super) fn unchecked_around(parts: impl IntoIterator<Item = Size>) -> Size {
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
}
