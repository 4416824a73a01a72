//! From numbers, texts and records to bytes.

use crate::limits::{MAX_DEPTH, MAX_VALUES};

/// Writes at the end of bytes.
///
/// What can fail returns `None` where there are more values than a decoder takes, records are nested
/// too deeply, or a length does not fit into a `u32`. A record that fails leaves no bytes behind.
#[derive(Debug)]
pub struct Encoder<'a> {
    bytes: &'a mut Vec<u8>,
    values: u32,
    depth: u32,
}

macro_rules! numbers {
    ($($of:ident)*) => {
        impl Encoder<'_> {
            $(
                /// Writes a number.
                pub fn $of(&mut self, number: $of) {
                    self.raw(&number.to_le_bytes());
                }
            )*
        }
    };
}

numbers! { u32 u64 i32 i64 f32 f64 }

impl<'a> Encoder<'a> {
    /// Writes after the bytes that are there.
    pub fn new(bytes: &'a mut Vec<u8>) -> Encoder<'a> {
        Encoder {
            bytes,
            values: MAX_VALUES,
            depth: 0,
        }
    }

    /// How many bytes there are, those from before included.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Removes all but the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Writes a time in nanoseconds, or the highest number where there is none.
    pub fn time(&mut self, time: Option<u64>) {
        self.u64(time.unwrap_or(u64::MAX));
    }

    /// Writes bytes, without their length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes the length (`u32`) and the bytes of a text.
    pub fn text(&mut self, text: &str) -> Option<()> {
        self.blob(text.as_bytes())
    }

    /// Writes a length (`u32`) and the bytes.
    pub fn blob(&mut self, bytes: &[u8]) -> Option<()> {
        self.count(bytes.len())?;
        self.raw(bytes);
        Some(())
    }

    /// Writes how many things follow (`u32`).
    pub fn count(&mut self, count: usize) -> Option<()> {
        self.u32(count.try_into().ok()?);
        Some(())
    }

    /// Writes how many things follow, which `write` writes and counts.
    pub fn counted(&mut self, write: impl FnOnce(&mut Self) -> usize) {
        let at = self.bytes.len();
        self.u32(0);
        let written = write(self) as u32;
        self.bytes[at..at + 4].copy_from_slice(&written.to_le_bytes());
    }

    /// Writes a record: its kind, its length, and what `body` writes. Where `body` fails, there is
    /// no record.
    pub fn record(&mut self, kind: u32, body: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let (start, values) = (self.bytes.len(), self.values);
        self.u32(kind);
        self.u32(0);
        self.depth += 1;
        let is_too_deep = self.depth > MAX_DEPTH;
        let written = if is_too_deep { None } else { body(self) };
        self.depth -= 1;
        let finished = written.and_then(|()| self.finish(start));
        if finished.is_none() {
            self.bytes.truncate(start);
            self.values = values;
        }
        finished
    }

    /// Writes the length of the record that begins at `start`, and ends here.
    fn finish(&mut self, start: usize) -> Option<()> {
        let body = start + 8;
        let length = u32::try_from(self.bytes.len() - body).ok()?;
        self.bytes[body - 4..body].copy_from_slice(&length.to_le_bytes());
        Some(())
    }

    /// Runs `body`, in which the depth of records is counted from 0.
    pub(crate) fn apart<T>(&mut self, body: impl FnOnce(&mut Self) -> T) -> T {
        let depth = std::mem::take(&mut self.depth);
        let outcome = body(self);
        self.depth = depth;
        outcome
    }

    /// Counts so many values.
    pub(crate) fn count_values(&mut self, values: u32) -> Option<()> {
        self.values = self.values.checked_sub(values)?;
        Some(())
    }
}
