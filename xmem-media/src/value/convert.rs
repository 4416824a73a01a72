//! Values to and from Rust's own types.

use super::buffer::Buffer;
use super::number::{DoubleRange, Fraction, FractionRange, IntRange};
use super::text::Text;
use super::time::{Date, DateTime, EpochTime};
use super::typed::{EnumValue, FlagSet, FlagsValue};
use super::types::{Caps, Sample, Structure, TagList, Value};

/// A type that values can be looked at as.
pub trait FromValue<'a>: Sized {
    /// The value as this type; `None` where it is of another.
    fn from_value(value: &'a Value) -> Option<Self>;
}

/// From a type to its variant, and back to the type.
macro_rules! copied {
    ($($variant:ident: $of:ty,)*) => {$(
        impl From<$of> for Value {
            fn from(value: $of) -> Value {
                Value::$variant(value)
            }
        }

        impl FromValue<'_> for $of {
            fn from_value(value: &Value) -> Option<$of> {
                if let Value::$variant(value) = value { Some(*value) } else { None }
            }
        }
    )*};
}

/// From a type to its variant, and back to a borrow of the type.
macro_rules! borrowed {
    ($($variant:ident: $of:ty,)*) => {$(
        impl From<$of> for Value {
            fn from(value: $of) -> Value {
                Value::$variant(value.into())
            }
        }

        impl<'a> FromValue<'a> for &'a $of {
            fn from_value(value: &'a Value) -> Option<&'a $of> {
                if let Value::$variant(value) = value { Some(value) } else { None }
            }
        }
    )*};
}

copied! {
    Bool: bool,
    Int: i32,
    Uint: u32,
    Int64: i64,
    Uint64: u64,
    Float: f32,
    Double: f64,
    Char: i8,
    Uchar: u8,
    Fraction: Fraction,
    IntRange: IntRange<i32>,
    Int64Range: IntRange<i64>,
    DoubleRange: DoubleRange,
    FractionRange: FractionRange,
    Date: Date,
    DateTime: DateTime,
    EpochTime: EpochTime,
}

borrowed! {
    FlagSet: FlagSet,
    Enum: EnumValue,
    Flags: FlagsValue,
    Buffer: Buffer,
    Sample: Sample,
    Structure: Structure,
    Caps: Caps,
    TagList: TagList,
}

impl From<Text> for Value {
    fn from(text: Text) -> Value {
        Value::String(Some(text))
    }
}

impl<'a> FromValue<'a> for &'a str {
    fn from_value(value: &'a Value) -> Option<&'a str> {
        if let Value::String(Some(text)) = value {
            Some(text)
        } else {
            None
        }
    }
}

/// The values of an array or a list of either kind.
impl<'a> FromValue<'a> for &'a [Value] {
    fn from_value(value: &'a Value) -> Option<&'a [Value]> {
        if let Value::Array(values) | Value::List(values) | Value::UniqueList(values) = value {
            Some(values)
        } else {
            None
        }
    }
}
