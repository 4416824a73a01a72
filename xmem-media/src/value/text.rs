//! Texts.

use std::fmt;

use super::body::{Body, Size};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{InvalidValue, check};
use crate::field::{self, Field};

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

impl Field for Text {
    fn decode(decoder: &mut Decoder<'_>) -> field::Result<Text> {
        Ok(Text::new(decoder.text()?)?)
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.text(self)
    }
}

/// The text is all of the record. Where it is absent, the kind of the record says so.
impl Body for Option<Text> {
    fn read(decoder: &mut Decoder<'_>) -> field::Result<Option<Text>> {
        Ok(Some(Text::new(decoder.rest_text()?)?))
    }

    fn write(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.raw(self.as_deref().unwrap_or_default().as_bytes());
        Some(())
    }
}

/// Each of the texts counts as a value.
impl Body for Vec<Text> {
    fn read(decoder: &mut Decoder<'_>) -> field::Result<Vec<Text>> {
        let texts: Vec<Text> = Field::decode(decoder)?;
        texts.iter().try_for_each(|_| decoder.count_value())?;
        Ok(texts)
    }

    fn write(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        self.encode(encoder)
    }

    fn size(&self) -> Size {
        Size {
            values: u32::try_from(self.len())
                .unwrap_or(u32::MAX)
                .saturating_add(1),
            depth: 1,
        }
    }
}
