//! From the text of caps and structures to values. Every call that goes deeper counts.

use super::error::ParseError;
use super::scalar::{guess, scalar};
use crate::error::InvalidValue;
use crate::limits::MAX_DEPTH;
use crate::value::{Caps, Features, IntRange, Range, Structure, Text, Value, Values};

type Result<T> = std::result::Result<T, ParseError>;

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
        match self.skip(is_plain) {
            "ANY" => return Ok(Caps::ANY),
            "EMPTY" | "NONE" => return Ok(Caps::EMPTY),
            _ => self.at = start,
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

/// Whether a letter stands for itself outside of quotes (`GST_ASCII_IS_STRING`).
pub(super) fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_-+/:.".contains(letter)
}
