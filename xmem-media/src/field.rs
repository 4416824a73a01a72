//! Fields: what values, metas and events consist of, and what consists of nothing but fields.

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::DecodeError;

pub(crate) type Result<T> = std::result::Result<T, DecodeError>;

/// What is read and written without a record of its own.
pub trait Field: Sized {
    /// Fewest bytes of one.
    const LEAST: usize = 4;
    /// Reads one.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are none.
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self>;
    /// Writes it; `None` where no decoder would take it.
    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()>;
}

macro_rules! numbers {
    ($($of:ident)*) => {$(
        impl Field for $of {
            const LEAST: usize = size_of::<$of>();

            fn decode(decoder: &mut Decoder<'_>) -> Result<$of> {
                decoder.$of()
            }

            fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
                encoder.$of(*self);
                Some(())
            }
        }
    )*};
}

numbers! { u32 i32 u64 i64 f32 f64 }

macro_rules! fields {
    ($($of:ty, $least:literal: $read:expr, $write:expr;)*) => {$(
        impl Field for $of {
            const LEAST: usize = $least;

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

fields! {
    bool, 4: |decoder| decoder.bool(), |&is, encoder| u32::from(is).encode(encoder);
    // A distance in nanoseconds; the lowest number where there is none.
    Option<i64>, 8: |decoder| {
        let distance = decoder.i64()?;
        Ok((distance != i64::MIN).then_some(distance))
    }, |distance, encoder| distance.unwrap_or(i64::MIN).encode(encoder);
    // A time in nanoseconds; the highest number where there is none.
    Option<u64>, 8: |decoder| decoder.time(), |time, encoder| time.unwrap_or(u64::MAX).encode(encoder);
    // All bytes that are left.
    Vec<u8>, 0: |decoder| Ok(decoder.rest().to_vec()), |bytes, encoder| {
        encoder.raw(bytes);
        Some(())
    };
    // Bytes with their length.
    Box<[u8]>, 4: |decoder| Ok(decoder.blob()?.into()), |bytes, encoder| encoder.blob(bytes);
    [u8; 16], 16: |decoder| {
        let bytes = decoder.raw(16)?.try_into();
        bytes.map_err(|_| DecodeError::Invalid("a UUID has 16 bytes"))
    }, |bytes, encoder| {
        encoder.raw(bytes);
        Some(())
    };
}

/// Defines fields that can be absent: a boolean, and the field where it is true.
macro_rules! optional {
    ($($of:ty)*) => {$(
        impl $crate::field::Field for Option<$of> {
            fn decode(
                decoder: &mut $crate::decoder::Decoder<'_>,
            ) -> $crate::field::Result<Option<$of>> {
                if decoder.bool()? {
                    Ok(Some($crate::field::Field::decode(decoder)?))
                } else {
                    Ok(None)
                }
            }

            fn encode(&self, encoder: &mut $crate::encoder::Encoder<'_>) -> Option<()> {
                encoder.u32(self.is_some().into());
                if let Some(field) = self {
                    $crate::field::Field::encode(field, encoder)?;
                }
                Some(())
            }
        }
    )*};
}
pub(crate) use optional;

/// How many there are, and those.
impl<T: Field> Field for Vec<T> {
    fn decode(decoder: &mut Decoder<'_>) -> Result<Vec<T>> {
        let mut values = Vec::new();
        for _ in 0..decoder.count(T::LEAST)? {
            values.push(T::decode(decoder)?);
        }
        Ok(values)
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.count(self.len())?;
        for value in self {
            value.encode(encoder)?;
        }
        Some(())
    }
}

impl<T: Field + Copy + Default, const N: usize> Field for [T; N] {
    const LEAST: usize = N * T::LEAST;

    fn decode(decoder: &mut Decoder<'_>) -> Result<[T; N]> {
        let mut values = [T::default(); N];
        for value in &mut values {
            *value = T::decode(decoder)?;
        }
        Ok(values)
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        for value in self {
            value.encode(encoder)?;
        }
        Some(())
    }
}

/// Nothing but fields, of which lists can have a limit. The function in brackets checks the whole.
macro_rules! plain {
    ($(
        $(#[$about:meta])*
        $name:ident $(($check:path))? {
            $($(#[$field_about:meta])* $field:ident: $of:ty $([$most:expr])?,)*
        }
    )*) => {$(
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[$field_about])* pub $field: $of,)*
        }

        impl $name {
            fn check_lists(&self) -> std::result::Result<(), $crate::error::InvalidValue> {
                $($($crate::error::check(
                    self.$field.len() <= $most,
                    concat!("there are too many ", stringify!($field)),
                )?;)?)*
                $($check(self)?;)?
                Ok(())
            }
        }

        impl $crate::field::Field for $name {
            const LEAST: usize = 0 $(+ <$of as $crate::field::Field>::LEAST)*;

            fn decode(decoder: &mut $crate::decoder::Decoder<'_>) -> $crate::field::Result<$name> {
                let read = $name { $($field: $crate::field::Field::decode(decoder)?,)* };
                read.check_lists()?;
                Ok(read)
            }

            fn encode(&self, encoder: &mut $crate::encoder::Encoder<'_>) -> Option<()> {
                self.check_lists().ok()?;
                $($crate::field::Field::encode(&self.$field, encoder)?;)*
                Some(())
            }
        }
    )*};
}
pub(crate) use plain;

/// An enum of records: for each kind its number, the constant that names it, the variant and the
/// fields that this holds. Where each holds one type, the enum can be made of these. A record of
/// another kind, or one that is not supported, is `Unknown`.
macro_rules! records {
    (
        $(#[$kinds_about:meta])* kinds $kinds:ident;
        $(#[$enum_about:meta])* enum $enum:ident;
        $($(#[$about:meta])* $number:literal $kind:ident $name:ident($of:ty);)*
    ) => {
        $crate::field::records! {
            $(#[$kinds_about])* kinds $kinds;
            $(#[$enum_about])* enum $enum;
            $($(#[$about])* $number $kind $name(content: $of);)*
        }

        $(impl From<$of> for $enum {
            fn from(content: $of) -> $enum {
                $enum::$name(content)
            }
        })*
    };
    (
        $(#[$kinds_about:meta])* kinds $kinds:ident;
        $(#[$enum_about:meta])* enum $enum:ident;
        $(
            $(#[$about:meta])* $number:literal $kind:ident
            $name:ident $(($($field:ident: $of:ty),*))?;
        )*
    ) => {
        $(#[$kinds_about])*
        pub mod $kinds {
            $($(#[$about])* pub const $kind: u32 = $number;)*
        }

        $(#[$enum_about])*
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum $enum {
            $($(#[$about])* $name $(($($of),*))?,)*
            /// One of a kind that is not known here. It is encoded as it was.
            Unknown {
                /// Its kind.
                kind: u32,
                /// Its body.
                bytes: Vec<u8>,
            },
        }

        impl $enum {
            /// The number of its kind.
            pub fn kind(&self) -> u32 {
                match self {
                    $($enum::$name { .. } => $number,)*
                    $enum::Unknown { kind, .. } => *kind,
                }
            }

            /// Reads the body of a record.
            pub(crate) fn decode(
                kind: u32,
                decoder: &mut $crate::decoder::Decoder<'_>,
            ) -> $crate::field::Result<$enum> {
                let bytes = decoder.clone().rest();
                match $enum::decode_known(kind, decoder) {
                    Err($crate::error::DecodeError::Unsupported(_)) => {
                        Ok($enum::Unknown { kind, bytes: bytes.to_vec() })
                    }
                    read => read,
                }
            }

            fn decode_known(
                kind: u32,
                decoder: &mut $crate::decoder::Decoder<'_>,
            ) -> $crate::field::Result<$enum> {
                Ok(match kind {
                    $($number => {
                        $enum::$name $(($(<$of as $crate::field::Field>::decode(decoder)?),*))?
                    })*
                    _ => return Err($crate::error::DecodeError::Unsupported("a kind")),
                })
            }

            /// Writes the body of a record.
            pub(crate) fn encode(&self, encoder: &mut $crate::encoder::Encoder<'_>) -> Option<()> {
                match self {
                    $($enum::$name $(($($field),*))? => {
                        $($($crate::field::Field::encode($field, encoder)?;)*)?
                    })*
                    $enum::Unknown { bytes, .. } => encoder.raw(bytes),
                }
                Some(())
            }
        }
    };
}
pub(crate) use records;
