//! Texts.

use std::fmt;

use crate::error::{InvalidValue, check};

/// A text without zero bytes: C ends its texts with one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Box<str>);

impl Text {
    /// This text.
    ///
    /// # Errors
    /// [`InvalidValue`] where it has a zero byte.
    pub fn new(text: impl Into<Box<str>>) -> Result<Text, InvalidValue> {
        let text = text.into();
        check(!text.contains('\0'), "a text has no zero byte")?;
        Ok(Text(text))
    }
}

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
