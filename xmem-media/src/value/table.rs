//! What is made of the table of the kinds of values.

/// The table has for each kind of values its number, the constant that names it, the variant, and
/// the type that this holds, which is read and written as its [`Body`](super::body::Body). A type in
/// `copied` or `borrowed` can be made a value, and values can be looked at as it, or as a borrow of
/// it.
macro_rules! values {
    (
        $(#[$enum_about:meta])* enum Value;
        $($(#[$about:meta])* $number:literal $kind:ident $name:ident($of:ty)
            $(, $get:ident($as:ty))?;)*
    ) => {
        /// The kinds of the records that values are. The numbers are part of the protocol.
        pub(super) mod kind {
            $($(#[$about])* pub const $kind: u32 = $number;)*
            /// A [`STRING`] that is absent. No bytes.
            pub const NO_STRING: u32 = 9;
            /// Features. No value: they stand in the records of caps.
            pub const FEATURES: u32 = 20;

            /// Whether this version knows the kind.
            pub fn is_known(kind: u32) -> bool {
                matches!(kind, NO_STRING | FEATURES $(| $kind)*)
            }
        }

        $(#[$enum_about])*
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Value {
            $($(#[$about])* $name($of),)*
            /// A value of a kind that this version does not know. It is encoded as it was.
            Unknown(Unknown),
        }

        $($($crate::value::table::$get! { $name: $as })?)*

        impl Value {
            /// The kind of the value's record.
            pub(super) fn kind(&self) -> u32 {
                match self {
                    Value::String(None) => kind::NO_STRING,
                    $(Value::$name(_) => kind::$kind,)*
                    Value::Unknown(unknown) => unknown.kind,
                }
            }

            /// Reads the body of a record of this kind.
            pub(super) fn read_body(
                kind: u32,
                decoder: &mut $crate::decoder::Decoder<'_>,
            ) -> $crate::field::Result<Value> {
                Ok(match kind {
                    kind::NO_STRING => Value::String(None),
                    $(kind::$kind => Value::$name($crate::value::body::Body::read(decoder)?),)*
                    _ => Value::Unknown(Unknown::new(kind, decoder.rest())?),
                })
            }

            /// Writes the body of the value's record.
            pub(super) fn write_body(
                &self,
                encoder: &mut $crate::encoder::Encoder<'_>,
            ) -> Option<()> {
                match self {
                    $(Value::$name(body) => $crate::value::body::Body::write(body, encoder),)*
                    Value::Unknown(unknown) => {
                        encoder.raw(&unknown.bytes);
                        Some(())
                    }
                }
            }

            /// How much of the limits the value takes.
            pub(super) fn size(&self) -> $crate::value::body::Size {
                match self {
                    $(Value::$name(body) => $crate::value::body::Body::size(body),)*
                    Value::Unknown(_) => $crate::value::body::Size::ONE,
                }
            }
        }
    };
}
pub(super) use values;

/// From a type to its variant, and back to the type.
macro_rules! copied {
    ($name:ident: $of:ty) => {
        impl From<$of> for Value {
            fn from(value: $of) -> Value {
                Value::$name(value)
            }
        }

        impl FromValue<'_> for $of {
            fn from_value(value: &Value) -> Option<$of> {
                if let Value::$name(value) = value {
                    Some(*value)
                } else {
                    None
                }
            }
        }
    };
}
pub(super) use copied;

/// From a type to its variant, and back to a borrow of the type.
macro_rules! borrowed {
    ($name:ident: $of:ty) => {
        impl From<$of> for Value {
            fn from(value: $of) -> Value {
                Value::$name(value.into())
            }
        }

        impl<'a> FromValue<'a> for &'a $of {
            fn from_value(value: &'a Value) -> Option<&'a $of> {
                if let Value::$name(value) = value {
                    Some(value)
                } else {
                    None
                }
            }
        }
    };
}
pub(super) use borrowed;
