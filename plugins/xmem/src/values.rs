//! GStreamer's values as bytes, and back: numbers, texts, whole structures, caps, tag lists.
//!
//! GStreamer can write values as text, but its parser trusts what it reads (see `caps/text.rs`).
//! What is written here is read by another process, which trusts nothing.
//!
//! Numbers are little-endian. What has no fixed size is a *record*: kind (`u32`), length (`u32`),
//! then so many bytes. So a reader can skip what it does not know.

use gst::glib::Type;
use gst::glib::value::SendValue;

mod names;
mod reader;
#[cfg(test)]
mod tests;
mod untyped;
mod writer;

pub(crate) use names::{Names, Told, is_feature_name, is_structure_name};
pub(crate) use reader::{Reader, Unreadable, one_of};
pub(crate) use writer::Writer;

/// Most records within one another.
pub(crate) const MAX_DEPTH: u32 = 16;
/// Most values that one writer writes and one reader reads, whatever they are part of: what they
/// take in memory is more than their bytes.
pub(crate) const MAX_VALUES: u32 = 1 << 16;
/// Most fields of a structure: GStreamer looks through all of them before it adds another.
pub(crate) const MAX_FIELDS: usize = 4096;
/// Most features of a structure of caps: GStreamer looks through all of them too.
pub(crate) const MAX_FEATURES: usize = 64;
/// Most values of one tag: GStreamer copies all that there are to add another.
pub(crate) const MAX_TAG_VALUES: usize = 256;

/// Days that cross, the first being the first of January of year 1: until the end of year 9999.
const DAYS: std::ops::RangeInclusive<u32> = 1..=3_652_059;
/// Seconds of a day. No time is as far from UTC.
const DAY: u32 = 24 * 60 * 60;

/// Whether values can be an array or a list together.
///
/// GStreamer takes numbers together with ranges of them too, which stand in caps that are not fixed:
/// and calls it critical to compare them.
fn are_of_one_type(values: &[SendValue]) -> bool {
    let first = values.first().and_then(basic_type);
    first.is_none_or(|first| {
        let mut others = values.iter().filter_map(basic_type);
        others.all(|other| other == first)
    })
}

/// The type of a value, or of the first that is inside of it; `None` where there is none.
fn basic_type(value: &SendValue) -> Option<Type> {
    let first = if let Ok(array) = value.get::<gst::ArrayRef>() {
        array.as_slice().first()
    } else if let Ok(list) = value.get::<gst::ListRef>() {
        list.as_slice().first()
    } else {
        return Some(value.type_());
    };
    first.and_then(basic_type)
}

/// What a value's record has in it. The numbers are part of the protocol.
mod kind {
    /// `u32`, 0 or 1.
    pub(super) const BOOL: u32 = 1;
    pub(super) const INT: u32 = 2;
    pub(super) const UINT: u32 = 3;
    pub(super) const INT64: u32 = 4;
    pub(super) const UINT64: u32 = 5;
    pub(super) const FLOAT: u32 = 6;
    pub(super) const DOUBLE: u32 = 7;
    /// The record's bytes are UTF-8, without a zero.
    pub(super) const STRING: u32 = 8;
    /// A string that is none. No bytes.
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
    /// `u32`: days since the end of the year before year 1.
    pub(super) const DATE: u32 = 17;
    /// `i32` year, month, day, hour, minute, second, microsecond: -1 for those that are not known;
    /// `i32` minutes that the time is ahead of UTC.
    pub(super) const DATE_TIME: u32 = 18;
    /// `u32` 1 where it is any caps, else 0; `u32` structures; for each a record of kind FEATURES
    /// and one of kind STRUCTURE.
    pub(super) const CAPS: u32 = 19;
    /// `u32` 1 where it is any features, else 0; `u32` features; their texts.
    pub(super) const FEATURES: u32 = 20;
    /// The record's bytes are the value's.
    pub(super) const BYTES: u32 = 21;
    /// `u64` PTS, DTS, duration, offset, end offset; `u32` flags; then bytes to the end.
    pub(super) const BUFFER: u32 = 22;
    /// `u32` parts (1 caps, 2 buffer, 4 info, or-ed together); their records in this order.
    pub(super) const SAMPLE: u32 = 23;
    /// Text: the name; `u32` fields; for each the text of its name, and its value's record.
    pub(super) const STRUCTURE: u32 = 24;
    /// `u32` values, their records.
    pub(super) const ARRAY: u32 = 25;
    /// `u32` values, their records.
    pub(super) const LIST: u32 = 26;
    /// `u32` scope; `u32` tags; for each the text of its name, `u32` values, their records.
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
    /// Of GLib's type, not GStreamer's: `i64` seconds since the beginning of 1970 in UTC, `i32`
    /// microseconds, `i32` seconds that the time is ahead of UTC.
    pub(super) const G_DATE_TIME: u32 = 35;
}
