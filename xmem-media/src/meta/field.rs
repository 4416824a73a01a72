//! The fields that metas consist of, and metas that are nothing but fields.

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::DecodeError;
use crate::value::{Buffer, Caps, EpochTime, Fraction, Structure, Text};
use crate::video::VideoLayout;

pub(super) type Result<T> = std::result::Result<T, DecodeError>;

/// What is read and written without a record of its own.
pub trait Field: Sized {
    /// Reads one.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are none.
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self>;
    /// Writes it; `None` where no decoder would take it.
    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()>;
}

macro_rules! fields {
    ($($of:ty: $read:expr, $write:expr;)*) => {$(
        impl Field for $of {
            fn decode(decoder: &mut Decoder<'_>) -> Result<$of> {
                let read: fn(&mut Decoder<'_>) -> Result<$of> = $read;
                read(decoder)
            }

            fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
                let write: fn(&$of, &mut Encoder<'_>) -> Option<()> = $write;
                write(self, encoder)
            }
        }
    )*};
}

/// Always written.
macro_rules! always {
    ($write:expr) => {
        |value, encoder| {
            $write(value, encoder);
            Some(())
        }
    };
}

fields! {
    u32: |decoder| decoder.u32(), always!(|value: &u32, to: &mut Encoder<'_>| to.u32(*value));
    i32: |decoder| decoder.i32(), always!(|value: &i32, to: &mut Encoder<'_>| to.i32(*value));
    u64: |decoder| decoder.u64(), always!(|value: &u64, to: &mut Encoder<'_>| to.u64(*value));
    f32: |decoder| decoder.f32(), always!(|value: &f32, to: &mut Encoder<'_>| to.f32(*value));
    bool: |decoder| decoder.bool(),
        always!(|value: &bool, to: &mut Encoder<'_>| to.u32((*value).into()));
    Option<u64>: |decoder| decoder.time(),
        always!(|time: &Option<u64>, to: &mut Encoder<'_>| to.time(*time));
    Vec<u8>: |decoder| Ok(decoder.rest().to_vec()),
        always!(|bytes: &Vec<u8>, to: &mut Encoder<'_>| to.raw(bytes));
    [u8; 16]: |decoder| {
        let bytes = decoder.raw(16)?.try_into();
        bytes.map_err(|_| DecodeError::Invalid("a UUID has 16 bytes"))
    }, always!(|bytes: &[u8; 16], to: &mut Encoder<'_>| to.raw(bytes));
    [f32; 16]: |decoder| {
        let mut numbers = [0.0; 16];
        for number in &mut numbers {
            *number = decoder.f32()?;
        }
        Ok(numbers)
    }, |numbers, encoder| {
        numbers.iter().for_each(|&number| encoder.f32(number));
        Some(())
    };
    Text: |decoder| Ok(Text::new(decoder.text()?)?), |text, encoder| encoder.text(text);
    Fraction: Fraction::decode, always!(|value: &Fraction, to: &mut Encoder<'_>| Fraction::encode(*value, to));
    Caps: Caps::decode, Caps::encode;
    Structure: Structure::decode, Structure::encode;
    Buffer: Buffer::decode, Buffer::encode;
    EpochTime: EpochTime::decode, EpochTime::encode;
    VideoLayout: VideoLayout::decode, always!(VideoLayout::encode);
    Option<Structure>: read_optional, write_optional;
    Option<EpochTime>: read_optional, write_optional;
    Vec<i32>: |decoder| read_list(decoder, 4), |list, encoder| write_list(list, encoder);
    Vec<Text>: |decoder| read_list(decoder, 4), |list, encoder| write_list(list, encoder);
    Vec<Structure>: |decoder| read_list(decoder, 8), |list, encoder| write_list(list, encoder);
}

fn read_optional<T: Field>(decoder: &mut Decoder<'_>) -> Result<Option<T>> {
    let is_there = decoder.bool()?;
    is_there.then(|| T::decode(decoder)).transpose()
}

fn write_optional<T: Field>(value: &Option<T>, encoder: &mut Encoder<'_>) -> Option<()> {
    encoder.u32(value.is_some().into());
    value
        .as_ref()
        .map_or(Some(()), |value| value.encode(encoder))
}

fn read_list<T: Field>(decoder: &mut Decoder<'_>, least: usize) -> Result<Vec<T>> {
    let count = decoder.count(least)?;
    (0..count).map(|_| T::decode(decoder)).collect()
}

pub(super) fn write_list<T: Field>(values: &[T], encoder: &mut Encoder<'_>) -> Option<()> {
    encoder.count(values.len())?;
    values.iter().try_for_each(|value| value.encode(encoder))
}

/// Defines a meta that is nothing but fields, of which lists can have a limit.
macro_rules! plain {
    ($(
        $(#[$about:meta])*
        $name:ident { $($(#[$field_about:meta])* $field:ident: $of:ty $([$most:literal])?,)* }
    )*) => {$(
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[$field_about])* pub $field: $of,)*
        }

        impl Field for $name {
            fn decode(decoder: &mut Decoder<'_>) -> Result<$name> {
                let meta = $name { $($field: Field::decode(decoder)?,)* };
                $($(if meta.$field.len() > $most {
                    let rule = concat!("there are ", $most, " ", stringify!($field), " at most");
                    return Err(DecodeError::Invalid(rule));
                })?)*
                Ok(meta)
            }

            fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
                $($((self.$field.len() <= $most).then_some(())?;)?)*
                $(Field::encode(&self.$field, encoder)?;)*
                Some(())
            }
        }
    )*};
}
pub(super) use plain;
