//! From single words to values.

use std::str::FromStr;

use crate::error::InvalidValue;
use crate::value::{Buffer, Date, DateTime, FlagSet, Fraction, Precision, Structure, Text, Value};

type Result<T> = std::result::Result<T, InvalidValue>;

/// A word that is no value of its type.
const NO_VALUE: InvalidValue = InvalidValue("this is no value of its type");

/// A value whose type is not told: the first type of which the word is a value.
pub(super) fn guess(word: &str) -> Result<Value> {
    let types = ["int", "double", "fraction", "flagset", "boolean"];
    // A word such as `inf` or `t` is a text.
    let is_number = word.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
    let mut types = types.into_iter().filter(|of| is_number || *of == "boolean");
    match types.find_map(|of| scalar(of, word).ok()) {
        Some(value) => Ok(value),
        None => scalar("string", word),
    }
}

/// A value of this type that is one word.
pub(super) fn scalar(of: &str, word: &str) -> Result<Value> {
    Ok(match of {
        "int" | "i" | "gint" => Value::Int(integer(word)?),
        "uint" | "u" | "guint" => Value::Uint(integer(word)?),
        "gint64" | "int64" => Value::Int64(integer(word)?),
        "guint64" | "uint64" => Value::Uint64(integer(word)?),
        "glong" => Value::Long(integer(word)?),
        "gulong" => Value::Ulong(integer(word)?),
        "gchar" => Value::Char(integer(word)?),
        "guchar" => Value::Uchar(integer(word)?),
        "float" | "f" | "gfloat" => Value::Float(number(word)?),
        "double" | "d" | "gdouble" => Value::Double(number(word)?),
        "boolean" | "bool" | "b" | "gboolean" => boolean(word)?.into(),
        "string" | "str" | "s" | "gchararray" if word == "NULL" => Value::String(None),
        "string" | "str" | "s" | "gchararray" => Text::new(word)?.into(),
        "fraction" | "GstFraction" => {
            let (above, below) = word.split_once('/').unwrap_or((word, "1"));
            Fraction::new(number(above)?, number(below)?)?.into()
        }
        "bitmask" | "GstBitmask" => Value::Bitmask(integer(word)?),
        "flagset" => flag_set("GstFlagSet", word)?.into(),
        "date" | "GDate" => date(word)?.into(),
        "datetime" | "GstDateTime" => date_time(word)?.into(),
        "buffer" | "GstBuffer" => Value::from(Buffer {
            bytes: hexadecimal(word)?,
            ..Buffer::default()
        }),
        "structure" | "GstStructure" => Structure::new(word)?.into(),
        // Sets of flags have types of their own: GstVideoMultiviewFlagsSet, for example.
        of => match flag_set(of, word) {
            Ok(set) => set.into(),
            Err(_) => return Err(InvalidValue("values of this type cannot be read from text")),
        },
    })
}

fn number<T: FromStr>(word: &str) -> Result<T> {
    word.parse().map_err(|_| NO_VALUE)
}

/// A whole number, in decimal digits or in hexadecimal ones after `0x`.
fn integer<T: TryFrom<i128>>(word: &str) -> Result<T> {
    let digits = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    let number = match digits {
        Some(digits) => u64::from_str_radix(digits, 16)
            .map_err(|_| NO_VALUE)?
            .into(),
        None => number(word)?,
    };
    T::try_from(number).map_err(|_| NO_VALUE)
}

fn boolean(word: &str) -> Result<bool> {
    let is = |words: &[&str]| words.iter().any(|one| word.eq_ignore_ascii_case(one));
    if is(&["true", "t", "yes", "1"]) {
        Ok(true)
    } else if is(&["false", "f", "no", "0"]) {
        Ok(false)
    } else {
        Err(NO_VALUE)
    }
}

/// A set of flags: bits and mask in hexadecimal digits; what follows is for people.
fn flag_set(of: &str, word: &str) -> Result<FlagSet> {
    let mut parts = word.split(':');
    let mut next = || u32::from_str_radix(parts.next()?, 16).ok();
    let (bits, mask) = next().zip(next()).ok_or(NO_VALUE)?;
    FlagSet::new(of, bits, mask)
}

fn hexadecimal(word: &str) -> Result<Vec<u8>> {
    let digits: Option<Vec<u32>> = word.chars().map(|letter| letter.to_digit(16)).collect();
    match digits.as_deref().map(<[u32]>::as_chunks) {
        Some((pairs, [])) => Ok(pairs
            .iter()
            .map(|[high, low]| (high << 4 | low) as u8)
            .collect()),
        _ => Err(NO_VALUE),
    }
}

/// A number of so many digits.
fn digits(word: &str, count: usize) -> Result<u32> {
    if word.len() == count && word.bytes().all(|byte| byte.is_ascii_digit()) {
        number(word)
    } else {
        Err(NO_VALUE)
    }
}

fn date(word: &str) -> Result<Date> {
    let date = date_time(word)?;
    match date.precision() {
        Precision::Day(month, day) => Date::new(date.year(), month, day),
        _ => Err(NO_VALUE),
    }
}

/// A time as ISO 8601 has it, as far as it is known.
fn date_time(word: &str) -> Result<DateTime> {
    let (date, time) = match word.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (word, None),
    };
    let (year, mut known) = match date.split_once('-') {
        Some((year, parts)) => (year, pairs(parts, '-')?),
        None => (date, Vec::new()),
    };
    let year = digits(year, 4)? as i32;
    if known.len() > 2 || (known.len() < 2 && time.is_some()) {
        return Err(NO_VALUE);
    }
    let mut offset = 0;
    if let Some(time) = time {
        let (time, zone) = time.split_at(time.find(['Z', '+', '-']).unwrap_or(time.len()));
        let (time, fraction) = match time.split_once('.') {
            Some((time, fraction)) if !fraction.contains(':') => (time, Some(fraction)),
            _ => (time, None),
        };
        known.extend(pairs(time, ':')?);
        match (known.len(), fraction) {
            (4, None) => {}
            (5, fraction) => {
                let fraction = fraction.unwrap_or("0");
                known.push(digits(&format!("{fraction:0<6.6}"), 6)?);
            }
            _ => return Err(NO_VALUE),
        }
        offset = minutes_ahead(zone)?;
    }
    let precision = Precision::of(&known).ok_or(NO_VALUE)?;
    DateTime::new(year, precision, offset)
}

/// Numbers of two digits.
fn pairs(word: &str, between: char) -> Result<Vec<u32>> {
    word.split(between).map(|part| digits(part, 2)).collect()
}

/// How far a time zone is ahead of UTC.
fn minutes_ahead(zone: &str) -> Result<i32> {
    let zone = zone.replace(':', "");
    if zone.is_empty() || zone == "Z" {
        return Ok(0);
    }
    let hours = digits(zone.get(1..3).unwrap_or_default(), 2)?;
    let minutes = digits(zone.get(3..).unwrap_or_default(), 2)?;
    let ahead = (hours * 60 + minutes) as i32;
    Ok(if zone.starts_with('-') { -ahead } else { ahead })
}
