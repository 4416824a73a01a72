//! Values to and from bytes: each is a record, whose kind says what it holds.

use super::body::{Body, Record, field_bodies};
use super::buffer::Buffer;
use super::number::{DoubleRange, Fraction, FractionRange, IntRange};
use super::text::Text;
use super::time::{Date, DateTime, EpochTime};
use super::typed::{EnumValue, FlagSet, FlagsValue};
use super::types::{Caps, Structure, TagList, Value, kind};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{DecodeError, InvalidValue};
use crate::field::{Field, Result, optional};

field_bodies! { Fraction IntRange<i32> IntRange<i64> DoubleRange FractionRange }
field_bodies! { Date DateTime FlagSet EnumValue FlagsValue }
optional! { Text Structure TagList EpochTime }

/// Defines how a type is read and written by itself, and as bytes that hold nothing else.
macro_rules! standalone {
    ($($of:ident: $kind:ident;)*) => {$(
        impl Record for $of {
            const KIND: u32 = kind::$kind;
        }

        impl Field for $of {
            const LEAST: usize = 8;

            fn decode(decoder: &mut Decoder<'_>) -> Result<$of> {
                $of::decode(decoder)
            }

            fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
                $of::encode(self, encoder)
            }
        }

        impl $of {
            /// Reads one.
            ///
            /// # Errors
            /// [`DecodeError`] where the bytes are none.
            pub fn decode(decoder: &mut Decoder<'_>) -> Result<$of> {
                decoder.apart($of::read_record)
            }

            /// Writes it, as a record; `None` where the encoder has written too many values, or this
            /// takes more than 4 GiB.
            pub fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
                encoder.count_values(self.size().values)?;
                encoder.apart(|encoder| self.write_record(encoder))
            }

            /// Reads bytes that hold one.
            ///
            /// # Errors
            /// [`DecodeError`] where the bytes are none, or more than one.
            pub fn from_bytes(bytes: &[u8]) -> Result<$of> {
                let mut decoder = Decoder::new(bytes);
                let read = Self::decode(&mut decoder)?;
                if decoder.is_empty() {
                    Ok(read)
                } else {
                    Err(DecodeError::Invalid("there are bytes after the value"))
                }
            }

            /// Its bytes.
            ///
            /// # Errors
            /// [`InvalidValue`] where these are more than 4 GiB.
            pub fn to_bytes(&self) -> std::result::Result<Vec<u8>, InvalidValue> {
                let mut bytes = Vec::new();
                match self.encode(&mut Encoder::new(&mut bytes)) {
                    Some(()) => Ok(bytes),
                    None => Err(InvalidValue("a value takes 4 GiB at most")),
                }
            }
        }
    )*};
}

standalone! {
    Structure: STRUCTURE;
    Caps: CAPS;
    TagList: TAG_LIST;
    Buffer: BUFFER;
    EpochTime: EPOCH_TIME;
}

impl Value {
    /// Reads a value.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are no value.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Value> {
        decoder.apart(Value::read)
    }

    /// Writes the value, as a record; `None` where the encoder has written too many values, or the
    /// value takes more than 4 GiB.
    pub fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.count_values(self.size().values)?;
        encoder.apart(|encoder| self.write(encoder))
    }
}
