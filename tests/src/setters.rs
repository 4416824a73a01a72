//! Methods that set the fields of what an order describes.

/// Defines a method for each of these fields, which sets the field and returns the value.
macro_rules! setters {
    ($of:ident { $($field:ident: $value:ty),* $(,)? }) => {
        impl $of {
            $(
                #[doc = concat!("Sets `", stringify!($field), "`.")]
                pub fn $field(mut self, $field: $value) -> $of {
                    self.$field = $field.into();
                    self
                }
            )*
        }
    };
}

/// Makes a variant of an order of each of these types.
macro_rules! variants {
    ($order:ident { $($variant:ident),* $(,)? }) => {
        $(
            impl From<$variant> for $order {
                fn from(value: $variant) -> $order {
                    $order::$variant(value)
                }
            }
        )*
    };
}

pub(crate) use {setters, variants};
