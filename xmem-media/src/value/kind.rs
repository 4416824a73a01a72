//! The kinds of records that values are. The numbers are part of the protocol.

use super::types::Value;

/// `u32`, 0 or 1.
pub(super) const BOOL: u32 = 1;
pub(super) const INT: u32 = 2;
pub(super) const UINT: u32 = 3;
pub(super) const INT64: u32 = 4;
pub(super) const UINT64: u32 = 5;
pub(super) const FLOAT: u32 = 6;
pub(super) const DOUBLE: u32 = 7;
/// The bytes of the record are UTF-8, none of them zero.
pub(super) const STRING: u32 = 8;
/// An absent string. No bytes.
pub(super) const NO_STRING: u32 = 9;
/// `i32` numerator, `i32` denominator, which is above 0.
pub(super) const FRACTION: u32 = 10;
pub(super) const BITMASK: u32 = 11;
/// Text: the type; `u32` flags, `u32` mask.
pub(super) const FLAG_SET: u32 = 12;
/// `i32` first, last, step.
pub(super) const INT_RANGE: u32 = 13;
/// `i64` first, last, step.
pub(super) const INT64_RANGE: u32 = 14;
/// `f64` first, last.
pub(super) const DOUBLE_RANGE: u32 = 15;
/// Two fractions.
pub(super) const FRACTION_RANGE: u32 = 16;
/// `u32`: days; the first of January of year 1 is day 1.
pub(super) const DATE: u32 = 17;
/// `i32` year, month, day, hour, minute, second, microsecond: -1 for those that are not known;
/// `i32` minutes that the time is ahead of UTC.
pub(super) const DATE_TIME: u32 = 18;
/// `u32` 1 for any caps, else 0; `u32` structures; for each a record of kind FEATURES and one of
/// kind STRUCTURE.
pub(super) const CAPS: u32 = 19;
/// `u32` 1 for any features, else 0; `u32` features; their texts.
pub(super) const FEATURES: u32 = 20;
/// The bytes of the record are those of the value.
pub(super) const BYTES: u32 = 21;
/// `u64` PTS, DTS, duration, offset, end offset; `u32` flags; then bytes to the end.
pub(super) const BUFFER: u32 = 22;
/// `u32` parts (1 caps, 2 buffer, 4 info, or-ed together); their records in this order.
pub(super) const SAMPLE: u32 = 23;
/// Text: the name; `u32` fields; for each the text of its name, and the record of its value.
pub(super) const STRUCTURE: u32 = 24;
/// `u32` values, their records.
pub(super) const ARRAY: u32 = 25;
/// `u32` values, their records.
pub(super) const LIST: u32 = 26;
/// `u32` 1 for tags of all streams, else 0; `u32` tags; for each the text of its name, `u32` values,
/// their records.
pub(super) const TAG_LIST: u32 = 27;
/// Text: the type; `i32`.
pub(super) const ENUM: u32 = 28;
/// Text: the type; `u32`.
pub(super) const FLAGS: u32 = 29;
/// `i64`, of C's type `long`.
pub(super) const LONG: u32 = 30;
/// `u64`, of C's type `unsigned long`.
pub(super) const ULONG: u32 = 31;
/// `i32`, of C's type `char`.
pub(super) const CHAR: u32 = 32;
/// `u32`, of C's type `unsigned char`.
pub(super) const UCHAR: u32 = 33;
/// `u32` texts, the texts.
pub(super) const STRINGS: u32 = 34;
/// A date and time of GLib: `i64` seconds since the beginning of 1970 in UTC, `i32` microseconds,
/// `i32` seconds that the time is ahead of UTC.
pub(super) const EPOCH_TIME: u32 = 35;
/// `u32` values, their records.
pub(super) const UNIQUE_LIST: u32 = 36;

/// Whether this version knows a value of this kind.
pub(super) fn is_known(kind: u32) -> bool {
    (BOOL..=UNIQUE_LIST).contains(&kind)
}

impl Value {
    /// The kind of the value's record.
    pub(super) fn kind(&self) -> u32 {
        match self {
            Value::Bool(_) => BOOL,
            Value::Int(_) => INT,
            Value::Uint(_) => UINT,
            Value::Int64(_) => INT64,
            Value::Uint64(_) => UINT64,
            Value::Float(_) => FLOAT,
            Value::Double(_) => DOUBLE,
            Value::Long(_) => LONG,
            Value::Ulong(_) => ULONG,
            Value::Char(_) => CHAR,
            Value::Uchar(_) => UCHAR,
            Value::String(Some(_)) => STRING,
            Value::String(None) => NO_STRING,
            Value::Strings(_) => STRINGS,
            Value::Fraction(_) => FRACTION,
            Value::Bitmask(_) => BITMASK,
            Value::FlagSet(_) => FLAG_SET,
            Value::IntRange(_) => INT_RANGE,
            Value::Int64Range(_) => INT64_RANGE,
            Value::DoubleRange(_) => DOUBLE_RANGE,
            Value::FractionRange(_) => FRACTION_RANGE,
            Value::Date(_) => DATE,
            Value::DateTime(_) => DATE_TIME,
            Value::EpochTime(_) => EPOCH_TIME,
            Value::Bytes(_) => BYTES,
            Value::Buffer(_) => BUFFER,
            Value::Sample(_) => SAMPLE,
            Value::Structure(_) => STRUCTURE,
            Value::Caps(_) => CAPS,
            Value::TagList(_) => TAG_LIST,
            Value::Array(_) => ARRAY,
            Value::List(_) => LIST,
            Value::UniqueList(_) => UNIQUE_LIST,
            Value::Enum(_) => ENUM,
            Value::Flags(_) => FLAGS,
            Value::Unknown(unknown) => unknown.kind,
        }
    }
}
