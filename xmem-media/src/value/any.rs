//! What all values have in common.

use super::convert::FromValue;
use super::text::Text;
use super::types::{Unknown, Value, Values};
use super::{codec, kind};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{DecodeError, InvalidValue, check};
use crate::limits::MAX_VALUES;

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
        super::types::Size::around(values.iter().map(Value::size))?;
        Ok(Values(values))
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
        check(
            value.size().values <= MAX_VALUES,
            "a value consists of 65536 values at most",
        )?;
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

    /// Reads a value.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are no value.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Value, DecodeError> {
        decoder.apart(codec::value)
    }

    /// Writes the value, as a record; `None` where the encoder has written too many values, or the
    /// value takes more than 4 GiB.
    pub fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.count_values(self.size().values)?;
        encoder.apart(|encoder| codec::write(self, encoder))
    }
}
