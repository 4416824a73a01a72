//! What all values have in common.

use super::body::{Body, Size};
use super::text::Text;
use super::types::{FromValue, Unknown, Value, Values, kind};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{InvalidValue, check};
use crate::field;

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
        let values = Values(values);
        values.size().check()?;
        Ok(values)
    }
}

impl Body for Values {
    fn read(decoder: &mut Decoder<'_>) -> field::Result<Values> {
        Ok(Values::new(Value::read_all(decoder)?)?)
    }

    fn write(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        Value::write_all(self, encoder)
    }

    fn size(&self) -> Size {
        Size::around(self.iter().map(Value::size))
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

impl Value {
    /// The texts as a value.
    ///
    /// # Errors
    /// [`InvalidValue`] where they are too many.
    pub fn strings(texts: Vec<Text>) -> Result<Value, InvalidValue> {
        let value = Value::Strings(texts);
        value.size().check()?;
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

    /// Reads a value, within another or by itself.
    pub(super) fn read(decoder: &mut Decoder<'_>) -> field::Result<Value> {
        decoder.count_value()?;
        decoder.record(|decoder, kind| Value::read_body(kind, decoder))
    }

    /// Writes a value that the encoder has counted.
    pub(super) fn write(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.record(self.kind(), |encoder| self.write_body(encoder))
    }

    /// Reads how many values there are, and those.
    pub(super) fn read_all(decoder: &mut Decoder<'_>) -> field::Result<Vec<Value>> {
        let mut values = Vec::new();
        for _ in 0..decoder.count(8)? {
            values.push(Value::read(decoder)?);
        }
        Ok(values)
    }

    pub(super) fn write_all(values: &[Value], encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.count(values.len())?;
        for value in values {
            value.write(encoder)?;
        }
        Some(())
    }
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
