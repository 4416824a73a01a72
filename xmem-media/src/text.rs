//! Caps and structures as text, in the syntax of GStreamer.

use std::fmt::{self, Display, Formatter, Write};
use std::str::FromStr;

use crate::value::{Caps, Date, DateTime, Features, Fraction, IntRange, Range, Structure, Value};

mod error;
mod parser;
mod scalar;
#[cfg(test)]
mod tests;

pub use error::ParseError;
use parser::{Parser, is_plain};

impl FromStr for Caps {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Caps, ParseError> {
        Parser::new(text).all(Parser::caps)
    }
}

impl FromStr for Structure {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Structure, ParseError> {
        Parser::new(text).all(Parser::structure)
    }
}

impl Display for Caps {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_any() {
            return f.write_str("ANY");
        }
        if self.structures().is_empty() {
            return f.write_str("EMPTY");
        }
        for (number, (features, structure)) in self.structures().iter().enumerate() {
            if number > 0 {
                f.write_str("; ")?;
            }
            f.write_str(structure.name())?;
            if !features.is_system_memory() {
                write!(f, "({features})")?;
            }
            write_fields(structure, f)?;
        }
        Ok(())
    }
}

impl Display for Features {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_any() {
            return f.write_str("ANY");
        }
        write_joined(self.names(), f)
    }
}

impl Display for Structure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        write_fields(self, f)
    }
}

fn write_fields(structure: &Structure, f: &mut Formatter<'_>) -> fmt::Result {
    for (name, value) in structure.fields() {
        let list = match value {
            Value::UniqueList(_) => "/uniquelist",
            _ => "",
        };
        write!(f, ", {name}=({}{list}){value}", type_name(value))?;
    }
    Ok(())
}

/// The value without its type. `NULL` where the syntax has no text for values of that type: samples,
/// tags, bytes, several texts, points in time, and unknown kinds.
impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(is) => is.fmt(f),
            Value::Int(number) => number.fmt(f),
            Value::Uint(number) => number.fmt(f),
            Value::Int64(number) | Value::Long(number) => number.fmt(f),
            Value::Uint64(number) | Value::Ulong(number) => number.fmt(f),
            Value::Float(number) => number.fmt(f),
            Value::Double(number) => number.fmt(f),
            Value::Char(number) => number.fmt(f),
            Value::Uchar(number) => number.fmt(f),
            Value::String(Some(text)) => write_string(text, f),
            Value::Fraction(fraction) => fraction.fmt(f),
            Value::Bitmask(bits) => write!(f, "0x{bits:016x}"),
            Value::FlagSet(set) => write!(f, "{:x}:{:x}", set.bits(), set.mask()),
            Value::IntRange(range) => range.fmt(f),
            Value::Int64Range(range) => range.fmt(f),
            Value::DoubleRange(range) => range.fmt(f),
            Value::FractionRange(range) => range.fmt(f),
            Value::Date(date) => date.fmt(f),
            Value::DateTime(time) => time.fmt(f),
            Value::Buffer(buffer) => buffer
                .bytes
                .iter()
                .try_for_each(|byte| write!(f, "{byte:02x}")),
            Value::Structure(structure) => write!(f, "[{structure}]"),
            Value::Caps(caps) => write!(f, "[{caps}]"),
            Value::Array(values) => {
                f.write_str("< ")?;
                write_joined(values.iter(), f)?;
                f.write_str(" >")
            }
            Value::List(values) | Value::UniqueList(values) => {
                f.write_str("{ ")?;
                write_joined(values.iter(), f)?;
                f.write_str(" }")
            }
            Value::Enum(value) => value.number().fmt(f),
            Value::Flags(value) => write!(f, "0x{:08x}", value.bits()),
            Value::String(None)
            | Value::Strings(_)
            | Value::EpochTime(_)
            | Value::Bytes(_)
            | Value::Sample(_)
            | Value::TagList(_)
            | Value::Unknown(_) => f.write_str("NULL"),
        }
    }
}

impl<T> Display for IntRange<T>
where
    T: Copy + Ord + Default + std::ops::Rem<Output = T> + From<bool> + Display,
{
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "[ {}, {}", self.first(), self.last())?;
        if self.step() != T::from(true) {
            write!(f, ", {}", self.step())?;
        }
        f.write_str(" ]")
    }
}

impl<T: Copy + PartialOrd + Display> Display for Range<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "[ {}, {} ]", self.first(), self.last())
    }
}

impl Display for Fraction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.numerator(), self.denominator())
    }
}

impl Display for Date {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.parts();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl Display for DateTime {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let known = self.precision().known();
        write!(f, "{:04}", self.year())?;
        for (part, before) in known.iter().zip("--T::".chars()) {
            write!(f, "{before}{part:02}")?;
        }
        if let Some(microsecond) = known.get(5).filter(|&&microsecond| microsecond != 0) {
            write!(f, ".{microsecond:06}")?;
        }
        if known.len() <= 2 {
            return Ok(());
        }
        let ahead = self.offset().abs();
        let sign = if self.offset() < 0 { '-' } else { '+' };
        if ahead == 0 {
            f.write_str("Z")
        } else {
            write!(f, "{sign}{:02}{:02}", ahead / 60, ahead % 60)
        }
    }
}

fn write_joined<T: Display>(
    all: impl IntoIterator<Item = T>,
    f: &mut Formatter<'_>,
) -> fmt::Result {
    for (number, one) in all.into_iter().enumerate() {
        if number > 0 {
            f.write_str(", ")?;
        }
        one.fmt(f)?;
    }
    Ok(())
}

/// The type that stands before a value: of lists and arrays, that of what they hold.
fn type_name(value: &Value) -> &str {
    match value {
        Value::Bool(_) => "boolean",
        Value::Int(_) | Value::IntRange(_) => "int",
        Value::Uint(_) => "uint",
        Value::Int64(_) | Value::Int64Range(_) => "gint64",
        Value::Uint64(_) => "guint64",
        Value::Float(_) => "float",
        Value::Double(_) | Value::DoubleRange(_) => "double",
        Value::Long(_) => "glong",
        Value::Ulong(_) => "gulong",
        Value::Char(_) => "gchar",
        Value::Uchar(_) => "guchar",
        Value::String(_) => "string",
        Value::Strings(_) => "GStrv",
        Value::Fraction(_) | Value::FractionRange(_) => "fraction",
        Value::Bitmask(_) => "bitmask",
        Value::FlagSet(set) => set.type_name(),
        Value::Date(_) => "date",
        Value::DateTime(_) => "datetime",
        Value::EpochTime(_) => "GDateTime",
        Value::Bytes(_) => "GBytes",
        Value::Buffer(_) => "buffer",
        Value::Sample(_) => "sample",
        Value::Structure(_) => "structure",
        Value::Caps(_) => "GstCaps",
        Value::TagList(_) => "taglist",
        Value::Array(values) | Value::List(values) | Value::UniqueList(values) => {
            values.first().map_or("int", type_name)
        }
        Value::Enum(value) => value.type_name(),
        Value::Flags(value) => value.type_name(),
        Value::Unknown(_) => "unknown",
    }
}

/// A text, in quotes where it is more than a word.
fn write_string(text: &str, f: &mut Formatter<'_>) -> fmt::Result {
    if !text.is_empty() && text.chars().all(is_plain) && text != "NULL" {
        return f.write_str(text);
    }
    f.write_char('"')?;
    for byte in text.bytes() {
        match char::from(byte) {
            letter if is_plain(letter) => f.write_char(letter)?,
            // GStreamer ends a structure at the first bracket, whether it is in quotes or not.
            letter if (' '..='~').contains(&letter) && !"[]".contains(letter) => {
                write!(f, "\\{letter}")?;
            }
            _ => write!(f, "\\{byte:03o}")?,
        }
    }
    f.write_char('"')
}
