//! From bytes of another process to numbers, texts and records.

use crate::error::DecodeError;
use crate::limits::{MAX_DEPTH, MAX_VALUES};

type Result<T> = std::result::Result<T, DecodeError>;

const CUT_OFF: DecodeError = DecodeError::Invalid("the bytes end within a field");

/// Reads from the front of bytes, and checks every length before it uses it.
///
/// A decoder takes memory in proportion to the bytes, and to
/// [`MAX_VALUES`](crate::limits::MAX_VALUES).
#[derive(Clone, Debug, Default)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    values: u32,
    depth: u32,
}

macro_rules! numbers {
    ($($of:ident)*) => {
        impl Decoder<'_> {
            $(
                /// Reads a number.
                pub fn $of(&mut self) -> Result<$of> {
                    self.array().map(<$of>::from_le_bytes)
                }
            )*
        }
    };
}

numbers! { u32 u64 i32 i64 f32 f64 }

impl<'a> Decoder<'a> {
    /// Reads these bytes.
    pub fn new(bytes: &'a [u8]) -> Decoder<'a> {
        Decoder {
            bytes,
            values: MAX_VALUES,
            depth: 0,
        }
    }

    /// Whether all bytes have been read.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (first, rest) = self.bytes.split_first_chunk().ok_or(CUT_OFF)?;
        self.bytes = rest;
        Ok(*first)
    }

    /// Reads a `u32` that is 0 or 1.
    pub fn bool(&mut self) -> Result<bool> {
        match self.u32()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Invalid("a boolean is 0 or 1")),
        }
    }

    /// Reads a time in nanoseconds; `None` where the highest number says that there is none.
    pub fn time(&mut self) -> Result<Option<u64>> {
        let time = self.u64()?;
        Ok((time != u64::MAX).then_some(time))
    }

    /// Reads `length` bytes.
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8]> {
        let (first, rest) = self.bytes.split_at_checked(length).ok_or(CUT_OFF)?;
        self.bytes = rest;
        Ok(first)
    }

    /// Reads all that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    /// Reads a length (`u32`) and so many bytes.
    pub fn blob(&mut self) -> Result<&'a [u8]> {
        let length = self.u32()? as usize;
        self.raw(length)
    }

    /// Reads a length (`u32`) and a text of so many bytes, none of which is zero.
    pub fn text(&mut self) -> Result<&'a str> {
        text(self.blob()?)
    }

    /// Reads all that is left, as a text.
    pub fn rest_text(&mut self) -> Result<&'a str> {
        text(self.rest())
    }

    /// Reads how many things of at least `size` bytes follow, and checks that there is room for
    /// them.
    pub fn count(&mut self, size: usize) -> Result<usize> {
        let count = self.u32()? as usize;
        if count <= self.bytes.len() / size {
            Ok(count)
        } else {
            Err(DecodeError::Invalid(
                "a count is higher than the bytes allow",
            ))
        }
    }

    /// Reads a record: `body` gets its kind, and reads the bytes of this record alone. What it
    /// leaves unread is skipped, also where it fails.
    ///
    /// # Errors
    /// Those of `body`; and [`DecodeError::Invalid`] where the bytes end within the record, or it is
    /// nested too deeply.
    pub fn record<T, E: From<DecodeError>>(
        &mut self,
        body: impl FnOnce(&mut Self, u32) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let (kind, rest) = self.enter()?;
        let outcome = body(self, kind);
        self.depth -= 1;
        self.bytes = rest;
        outcome
    }

    /// Goes to the body of a record. Returns its kind, and the bytes after it.
    fn enter(&mut self) -> Result<(u32, &'a [u8])> {
        let kind = self.u32()?;
        let bytes = self.blob()?;
        if self.depth == MAX_DEPTH {
            return Err(DecodeError::Invalid("records are nested too deeply"));
        }
        self.depth += 1;
        Ok((kind, std::mem::replace(&mut self.bytes, bytes)))
    }

    /// Reads a record that has to be of the kind `of`.
    pub(crate) fn record_of<T>(
        &mut self,
        of: u32,
        body: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.record(|decoder, kind| {
            if kind == of {
                body(decoder)
            } else {
                Err(DecodeError::Invalid("a record of another kind is expected"))
            }
        })
    }

    /// Runs `body`, in which the depth of records is counted from 0.
    pub(crate) fn apart<T>(&mut self, body: impl FnOnce(&mut Self) -> T) -> T {
        let depth = std::mem::take(&mut self.depth);
        let outcome = body(self);
        self.depth = depth;
        outcome
    }

    /// Counts one value.
    pub(crate) fn count_value(&mut self) -> Result<()> {
        let left = self.values.checked_sub(1);
        self.values = left.ok_or(DecodeError::Invalid("there are too many values"))?;
        Ok(())
    }
}

fn text(bytes: &[u8]) -> Result<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(DecodeError::Invalid("a text is UTF-8 without zero bytes")),
    }
}
