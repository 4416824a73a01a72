//! From the text of caps and structures to values. Every call that goes deeper counts.

use super::error::ParseError;
use crate::error::InvalidValue;
use crate::limits::MAX_DEPTH;
use crate::value::{
    Buffer, Caps, Date, DateTime, Features, FlagSet, Fraction, IntRange, Precision, Range,
    Structure, Text, Value, Values,
};

type Result<T> = std::result::Result<T, ParseError>;

/// A word that is no value of its type.
const NO_VALUE: InvalidValue = InvalidValue("this is no value of its type");

pub(super) struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    /// Where `text` stands in the whole, for errors.
    offset: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Parser<'a> {
        Parser {
            text,
            at: 0,
            depth: 0,
            offset: 0,
        }
    }

    /// What `parse` makes of the whole text.
    pub(super) fn all<T>(mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let parsed = parse(&mut self)?;
        self.skip(|letter| letter.is_ascii_whitespace() || letter == ';');
        if self.rest().is_empty() {
            Ok(parsed)
        } else {
            Err(self.error("this is not expected here"))
        }
    }

    fn error(&self, reason: &'static str) -> ParseError {
        ParseError {
            position: self.offset + self.at,
            reason,
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Reads the letters of which this is true.
    fn skip(&mut self, is: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|letter| !is(letter)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn space(&mut self) {
        self.skip(|letter| letter.is_ascii_whitespace());
    }

    /// Reads this letter, and the space before it, if it comes next.
    fn next_is(&mut self, letter: char) -> bool {
        self.space();
        let is = self.rest().starts_with(letter);
        if is {
            self.at += letter.len_utf8();
        }
        is
    }

    fn expect(&mut self, letter: char, reason: &'static str) -> Result<()> {
        if self.next_is(letter) {
            Ok(())
        } else {
            Err(self.error(reason))
        }
    }

    /// What a constructor has made of what stands from `start` on.
    fn made<T>(&self, start: usize, made: std::result::Result<T, InvalidValue>) -> Result<T> {
        made.map_err(|error| ParseError {
            position: self.offset + start,
            reason: error.0,
        })
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == MAX_DEPTH {
            return Err(self.error("values are nested 16 deep at most"));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    pub(super) fn caps(&mut self) -> Result<Caps> {
        self.space();
        let start = self.at;
        for (word, caps) in [
            ("ANY", Caps::ANY),
            ("EMPTY", Caps::EMPTY),
            ("NONE", Caps::EMPTY),
        ] {
            if self.skip(is_plain) == word {
                return Ok(caps);
            }
            self.at = start;
        }
        let mut structures = Vec::new();
        loop {
            structures.push(self.structure_with_features()?);
            if !self.next_is(';') {
                break;
            }
            self.space();
            if self.rest().is_empty() || self.rest().starts_with(']') {
                break;
            }
        }
        self.made(start, Caps::new(structures))
    }

    /// A structure without features; a semicolon may follow it.
    pub(super) fn structure(&mut self) -> Result<Structure> {
        self.space();
        let at = self.at;
        let (features, structure) = self.structure_with_features()?;
        self.next_is(';');
        if features == Features::default() {
            Ok(structure)
        } else {
            self.at = at;
            Err(self.error("features stand in caps only"))
        }
    }

    fn structure_with_features(&mut self) -> Result<(Features, Structure)> {
        self.space();
        let start = self.at;
        let name = self.skip(is_plain);
        let mut features = Features::default();
        if self.next_is('(') {
            features = self.features()?;
        }
        let mut fields = Vec::new();
        while self.next_is(',') {
            self.space();
            let name = self.skip(is_plain);
            if name.is_empty() {
                return Err(self.error("the name of a field is expected"));
            }
            self.expect('=', "= is expected after the name of a field")?;
            fields.push((name.into(), self.value(None)?));
        }
        let structure = self.made(start, Structure::from_fields(name, fields))?;
        Ok((features, structure))
    }

    fn features(&mut self) -> Result<Features> {
        let start = self.at;
        let names = self.skip(|letter| letter != ')');
        self.expect(')', ") is expected after features")?;
        if names.trim() == "ANY" {
            return Ok(Features::ANY);
        }
        self.made(start, Features::new(names.split(',').map(str::trim)))
    }

    /// A value, of the type that stands before it, or else of the type `of`.
    fn value(&mut self, of: Option<&str>) -> Result<Value> {
        let mut of = of;
        let mut list: fn(Values) -> Value = Value::List;
        if self.next_is('(') {
            let name = self.skip(|letter| letter != ')').trim();
            of = Some(name);
            if let Some(name) = name.strip_suffix("/uniquelist") {
                of = Some(name).filter(|name| !name.is_empty());
                list = Value::UniqueList;
            }
            self.expect(')', ") is expected after a type")?;
        }
        self.space();
        let start = self.at;
        match self.rest().chars().next() {
            Some('{') => Ok(list(self.values('}', of)?)),
            Some('<') => Ok(Value::Array(self.values('>', of)?)),
            Some('[') => self.deeper(|parser| parser.bracket(of)),
            Some('"') => {
                let text = self.quoted()?;
                self.text_value(start, of, &text)
            }
            _ => {
                let is_word = |letter: char| {
                    !letter.is_ascii_whitespace() && !",;{}<>[]()\"=".contains(letter)
                };
                let word = self.skip(is_word);
                if word.is_empty() {
                    return Err(self.error("a value is expected"));
                }
                let value = match of {
                    Some(of) => scalar(of, word),
                    None => guess(word),
                };
                self.made(start, value)
            }
        }
    }

    /// The values of a list or an array.
    fn values(&mut self, close: char, of: Option<&str>) -> Result<Values> {
        let start = self.at;
        self.at += 1;
        let mut values = Vec::new();
        while !self.next_is(close) {
            if !values.is_empty() {
                self.expect(',', "a comma is expected between values")?;
            }
            values.push(self.deeper(|parser| parser.value(of))?);
        }
        self.made(start, Values::new(values))
    }

    /// A structure, caps or a range in brackets.
    fn bracket(&mut self, of: Option<&str>) -> Result<Value> {
        let start = self.at;
        self.at += 1;
        let value = match of {
            Some("structure" | "GstStructure") => self.structure()?.into(),
            Some("caps" | "GstCaps") => self.caps()?.into(),
            _ => {
                let mut ends = Vec::new();
                while ends.is_empty() || (ends.len() < 3 && self.next_is(',')) {
                    ends.push(self.value(of)?);
                }
                self.made(start, range(&ends))?
            }
        };
        self.expect(']', "] is expected")?;
        Ok(value)
    }

    /// What stands in quotes, without its escapes: a letter after a backslash stands for itself,
    /// three octal digits for a byte.
    fn quoted(&mut self) -> Result<String> {
        let start = self.at;
        let mut bytes = self.rest().bytes().enumerate().skip(1);
        let mut text = Vec::new();
        let unfinished = || self.error("a quoted text has no end");
        let length = loop {
            let (at, byte) = bytes.next().ok_or_else(unfinished)?;
            match byte {
                b'"' => break at + 1,
                b'\\' => {
                    let mut digit = || bytes.next().map(|(_, byte)| byte).ok_or_else(unfinished);
                    let first = digit()?;
                    text.push(match first {
                        b'0'..=b'3' => {
                            let digits = [first, digit()?, digit()?];
                            let is_octal = digits.iter().all(|digit| (b'0'..=b'7').contains(digit));
                            if !is_octal {
                                return Err(self.error("a byte is told in three octal digits"));
                            }
                            digits
                                .iter()
                                .fold(0, |byte, digit| byte << 3 | (digit - b'0'))
                        }
                        letter => letter,
                    });
                }
                byte => text.push(byte),
            }
        };
        self.at = start + length;
        String::from_utf8(text).map_err(|_| ParseError {
            position: self.offset + start,
            reason: "a text is UTF-8",
        })
    }

    /// A value whose text stood in quotes.
    fn text_value(&mut self, start: usize, of: Option<&str>, text: &str) -> Result<Value> {
        let nested = |text| Parser {
            text,
            at: 0,
            depth: self.depth + 1,
            offset: self.offset + start,
        };
        let value = match of {
            None | Some("string" | "str" | "s" | "gchararray") => {
                Text::new(text).map(|text| Value::String(Some(text)))
            }
            Some("structure" | "GstStructure" | "caps" | "GstCaps") if self.depth == MAX_DEPTH => {
                Err(InvalidValue("values are nested 16 deep at most"))
            }
            Some("structure" | "GstStructure") => {
                return nested(text).all(Parser::structure).map(Into::into);
            }
            Some("caps" | "GstCaps") => return nested(text).all(Parser::caps).map(Into::into),
            Some(of) => scalar(of, text),
        };
        self.made(start, value)
    }
}

fn range(ends: &[Value]) -> std::result::Result<Value, InvalidValue> {
    Ok(match *ends {
        [Value::Int(first), Value::Int(last)] => IntRange::new(first, last, 1)?.into(),
        [Value::Int(first), Value::Int(last), Value::Int(step)] => {
            IntRange::new(first, last, step)?.into()
        }
        [Value::Int64(first), Value::Int64(last)] => IntRange::new(first, last, 1)?.into(),
        [Value::Int64(first), Value::Int64(last), Value::Int64(step)] => {
            IntRange::new(first, last, step)?.into()
        }
        [Value::Double(first), Value::Double(last)] => Range::new(first, last)?.into(),
        [Value::Fraction(first), Value::Fraction(last)] => Range::new(first, last)?.into(),
        _ => return Err(InvalidValue("a range has two ends of one type, and a step")),
    })
}

/// A value whose type is not told: the first type of which the word is a value.
fn guess(word: &str) -> std::result::Result<Value, InvalidValue> {
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
fn scalar(of: &str, word: &str) -> std::result::Result<Value, InvalidValue> {
    let value = match of {
        "int" | "i" | "gint" => integer(word).map(Value::Int),
        "uint" | "u" | "guint" => integer(word).map(Value::Uint),
        "gint64" | "int64" => integer(word).map(Value::Int64),
        "guint64" | "uint64" => integer(word).map(Value::Uint64),
        "glong" => integer(word).map(Value::Long),
        "gulong" => integer(word).map(Value::Ulong),
        "gchar" => integer(word).map(Value::Char),
        "guchar" => integer(word).map(Value::Uchar),
        "float" | "f" | "gfloat" => word.parse().ok().map(Value::Float),
        "double" | "d" | "gdouble" => word.parse().ok().map(Value::Double),
        "boolean" | "bool" | "b" | "gboolean" => {
            let is = |words: &[&str]| words.iter().any(|one| word.eq_ignore_ascii_case(one));
            if is(&["true", "t", "yes", "1"]) {
                Some(Value::Bool(true))
            } else {
                is(&["false", "f", "no", "0"]).then_some(Value::Bool(false))
            }
        }
        "string" | "str" | "s" | "gchararray" if word == "NULL" => Some(Value::String(None)),
        "string" | "str" | "s" | "gchararray" => return Ok(Text::new(word)?.into()),
        "fraction" | "GstFraction" => {
            let (above, below) = word.split_once('/').unwrap_or((word, "1"));
            match (above.parse(), below.parse()) {
                (Ok(above), Ok(below)) => return Ok(Fraction::new(above, below)?.into()),
                _ => None,
            }
        }
        "bitmask" | "GstBitmask" => integer(word).map(Value::Bitmask),
        "flagset" => flag_set("GstFlagSet", word),
        "date" | "GDate" => return Ok(date(word)?.into()),
        "datetime" | "GstDateTime" => return Ok(date_time(word)?.into()),
        "buffer" | "GstBuffer" => {
            let bytes = hexadecimal(word).ok_or(NO_VALUE)?;
            let buffer = Buffer {
                bytes,
                ..Buffer::default()
            };
            return Ok(buffer.into());
        }
        "structure" | "GstStructure" => return Ok(Structure::new(word)?.into()),
        // Sets of flags have types of their own: GstVideoMultiviewFlagsSet, for example.
        of => match flag_set(of, word) {
            Some(set) => Some(set),
            None => return Err(InvalidValue("values of this type cannot be read from text")),
        },
    };
    value.ok_or(NO_VALUE)
}

/// A whole number, in decimal digits or in hexadecimal ones after `0x`.
fn integer<T: TryFrom<i128>>(word: &str) -> Option<T> {
    let digits = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    let number = match digits {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(i128::from),
        None => word.parse().ok(),
    };
    T::try_from(number?).ok()
}

/// A set of flags: bits and mask in hexadecimal digits; what follows is for people.
fn flag_set(of: &str, word: &str) -> Option<Value> {
    let mut parts = word
        .split(':')
        .map(|part| u32::from_str_radix(part, 16).ok());
    let (bits, mask) = (parts.next()??, parts.next()??);
    FlagSet::new(of, bits, mask).ok().map(Value::from)
}

fn hexadecimal(word: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = word.chars().map(|letter| letter.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    let bytes = digits
        .chunks_exact(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8);
    Some(bytes.collect())
}

/// A number of so many digits.
fn digits(word: &str, count: usize) -> std::result::Result<u32, InvalidValue> {
    let is_number = word.len() == count && word.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| word.parse().ok()).flatten();
    number.ok_or(NO_VALUE)
}

fn date(word: &str) -> std::result::Result<Date, InvalidValue> {
    let parts: Vec<&str> = word.split('-').collect();
    match parts[..] {
        [year, month, day] => {
            Date::new(digits(year, 4)? as i32, digits(month, 2)?, digits(day, 2)?)
        }
        _ => Err(NO_VALUE),
    }
}

/// A time as ISO 8601 has it, as far as it is known.
fn date_time(word: &str) -> std::result::Result<DateTime, InvalidValue> {
    let (date, time) = match word.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (word, None),
    };
    let parts: Vec<&str> = date.split('-').collect();
    let year = digits(parts[0], 4)? as i32;
    let day = match parts[1..] {
        [] => Precision::Year,
        [month] => Precision::Month(digits(month, 2)?),
        [month, day] => Precision::Day(digits(month, 2)?, digits(day, 2)?),
        _ => return Err(NO_VALUE),
    };
    let (Some(time), Precision::Day(month, day)) = (time, day) else {
        let is_whole = time.is_none();
        return if is_whole {
            DateTime::new(year, day, 0)
        } else {
            Err(NO_VALUE)
        };
    };
    let (time, zone) = time.split_at(time.find(['Z', '+', '-']).unwrap_or(time.len()));
    let offset = match zone.replace(':', "").as_str() {
        "" | "Z" => 0,
        zone => {
            let hours = digits(zone.get(1..3).unwrap_or_default(), 2)?;
            let minutes = digits(zone.get(3..).unwrap_or_default(), 2)?;
            let ahead = (hours * 60 + minutes) as i32;
            if zone.starts_with('-') { -ahead } else { ahead }
        }
    };
    let parts: Vec<&str> = time.split(':').collect();
    let precision = match parts[..] {
        [hour, minute] => Precision::Minute(month, day, digits(hour, 2)?, digits(minute, 2)?),
        [hour, minute, second] => {
            let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
            let microsecond = digits(&format!("{fraction:0<6.6}"), 6)?;
            let (hour, minute) = (digits(hour, 2)?, digits(minute, 2)?);
            Precision::Microsecond(month, day, hour, minute, digits(second, 2)?, microsecond)
        }
        _ => return Err(NO_VALUE),
    };
    DateTime::new(year, precision, offset)
}

/// Whether a letter stands for itself outside of quotes (`GST_ASCII_IS_STRING`).
pub(super) fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_-+/:.".contains(letter)
}
