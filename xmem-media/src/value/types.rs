//! The types that hold one another: values, and what consists of them.

use super::buffer::Buffer;
use super::features::Features;
use super::number::{DoubleRange, Fraction, FractionRange, IntRange};
use super::table::values;
use super::text::Text;
use super::time::{Date, DateTime, EpochTime};
use super::typed::{EnumValue, FlagSet, FlagsValue};

values! {
    /// A value of one of the types that cross between processes.
    ///
    /// Whatever has a rule has a type of its own here, whose constructor checks it. So a value in hand
    /// can be encoded, and a decoder takes it.
    enum Value;
    /// A boolean.
    1 BOOL Bool(bool), copied(bool);
    /// A number of C's type `int`.
    2 INT Int(i32), copied(i32);
    /// A number of C's type `unsigned int`.
    3 UINT Uint(u32), copied(u32);
    /// A number.
    4 INT64 Int64(i64), copied(i64);
    /// A number.
    5 UINT64 Uint64(u64), copied(u64);
    /// A number.
    6 FLOAT Float(f32), copied(f32);
    /// A number.
    7 DOUBLE Double(f64), copied(f64);
    /// A text, or none (C's null).
    8 STRING String(Option<Text>);
    /// A fraction.
    10 FRACTION Fraction(Fraction), copied(Fraction);
    /// Bits.
    11 BITMASK Bitmask(u64);
    /// Flags, of which some are given.
    12 FLAG_SET FlagSet(FlagSet), borrowed(FlagSet);
    /// A range of numbers.
    13 INT_RANGE IntRange(IntRange<i32>), copied(IntRange<i32>);
    /// A range of numbers.
    14 INT64_RANGE Int64Range(IntRange<i64>), copied(IntRange<i64>);
    /// A range of numbers.
    15 DOUBLE_RANGE DoubleRange(DoubleRange), copied(DoubleRange);
    /// A range of fractions.
    16 FRACTION_RANGE FractionRange(FractionRange), copied(FractionRange);
    /// A day.
    17 DATE Date(Date), copied(Date);
    /// A date and time, as precise as it is known.
    18 DATE_TIME DateTime(DateTime), copied(DateTime);
    /// Caps.
    19 CAPS Caps(Caps), borrowed(Caps);
    /// Bytes.
    21 BYTES Bytes(Vec<u8>);
    /// A buffer.
    22 BUFFER Buffer(Box<Buffer>), borrowed(Buffer);
    /// A buffer with its caps.
    23 SAMPLE Sample(Box<Sample>), borrowed(Sample);
    /// A structure.
    24 STRUCTURE Structure(Structure), borrowed(Structure);
    /// Values of one type, all of which apply, in this order.
    25 ARRAY Array(Values);
    /// Values of one type, of which one applies.
    26 LIST List(Values);
    /// Tags.
    27 TAG_LIST TagList(TagList), borrowed(TagList);
    /// A number of an enumeration.
    28 ENUM Enum(EnumValue), borrowed(EnumValue);
    /// Bits of a type of flags.
    29 FLAGS Flags(FlagsValue), borrowed(FlagsValue);
    /// A number of C's type `long`.
    30 LONG Long(i64);
    /// A number of C's type `unsigned long`.
    31 ULONG Ulong(u64);
    /// A number of C's type `char`.
    32 CHAR Char(i8), copied(i8);
    /// A number of C's type `unsigned char`.
    33 UCHAR Uchar(u8), copied(u8);
    /// Texts.
    34 STRINGS Strings(Vec<Text>);
    /// A date and time of GLib.
    35 EPOCH_TIME EpochTime(EpochTime), copied(EpochTime);
    /// Values of one type, no two of them alike, all of which apply.
    36 UNIQUE_LIST UniqueList(Values);
}

/// A type that values can be looked at as.
pub trait FromValue<'a>: Sized {
    /// The value as this type; `None` where it is of another.
    fn from_value(value: &'a Value) -> Option<Self>;
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
