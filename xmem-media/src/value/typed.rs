//! Values of types that a library registers by name: enumerations and flags.

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::InvalidValue;
use crate::field::{self, Field};
use crate::names::check_name;

/// Defines a value of such a type: its name, and numbers.
macro_rules! typed {
    ($($(#[$about:meta])* $name:ident { $($(#[$field_about:meta])* $field:ident: $of:ty,)* })*) => {$(
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            type_name: Box<str>,
            $($field: $of,)*
        }

        impl $name {
            /// A value of the type `type_name`.
            ///
            /// # Errors
            /// [`InvalidValue`] where no type can have that name.
            pub fn new(type_name: &str, $($field: $of),*) -> Result<$name, InvalidValue> {
                check_name(type_name)?;
                Ok($name { type_name: type_name.into(), $($field),* })
            }

            /// The name of the type: `GstTagScope`, for example.
            pub fn type_name(&self) -> &str {
                &self.type_name
            }

            $($(#[$field_about])*
            pub fn $field(&self) -> $of {
                self.$field
            })*
        }

        impl Field for $name {
            fn decode(decoder: &mut Decoder<'_>) -> field::Result<$name> {
                Ok($name::new(decoder.text()?, $(<$of>::decode(decoder)?),*)?)
            }

            fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
                encoder.text(&self.type_name)?;
                $(self.$field.encode(encoder)?;)*
                Some(())
            }
        }
    )*};
}

typed! {
    /// A number of an enumeration.
    EnumValue {
        /// The number.
        number: i32,
    }
    /// Bits of a type of flags.
    FlagsValue {
        /// The bits.
        bits: u32,
    }
    /// Flags, of which those in a mask are given.
    FlagSet {
        /// The bits.
        bits: u32,
        /// Which of the bits are given.
        mask: u32,
    }
}
