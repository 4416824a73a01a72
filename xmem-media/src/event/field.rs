//! Fields that several kinds of events have.

use super::segment::LAST_TIME;
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::DecodeError;
use crate::value::Text;

type Result<T> = std::result::Result<T, DecodeError>;

/// A GstEvent's sequence number, by the process that counted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SequenceNumber {
    /// The process.
    pub process: u64,
    /// The number there; 0 where the event has none.
    pub number: u32,
}

impl SequenceNumber {
    pub(super) fn decode(decoder: &mut Decoder<'_>) -> Result<SequenceNumber> {
        Ok(SequenceNumber {
            process: decoder.u64()?,
            number: decoder.u32()?,
        })
    }

    pub(super) fn encode(self, encoder: &mut Encoder<'_>) {
        encoder.u64(self.process);
        encoder.u32(self.number);
    }
}

pub(super) fn text(decoder: &mut Decoder<'_>) -> Result<Text> {
    Ok(Text::new(decoder.text()?)?)
}

/// Reads a boolean, and where it is true what follows.
pub(super) fn optional<T>(
    decoder: &mut Decoder<'_>,
    read: impl FnOnce(&mut Decoder<'_>) -> Result<T>,
) -> Result<Option<T>> {
    let is_there = decoder.bool()?;
    is_there.then(|| read(decoder)).transpose()
}

pub(super) fn write_optional<T>(
    value: Option<&T>,
    encoder: &mut Encoder<'_>,
    write: impl FnOnce(&T, &mut Encoder<'_>) -> Option<()>,
) -> Option<()> {
    encoder.u32(value.is_some().into());
    value.map_or(Some(()), |value| write(value, encoder))
}

/// Reads a time with which elements can reckon, or none.
pub(super) fn usable_time(decoder: &mut Decoder<'_>) -> Result<Option<u64>> {
    match decoder.time()? {
        Some(time) if time > LAST_TIME => Err(DecodeError::Invalid("a time is 2^61 - 1 at most")),
        time => Ok(time),
    }
}

pub(super) fn offset(decoder: &mut Decoder<'_>) -> Result<Option<i64>> {
    let offset = decoder.i64()?;
    Ok((offset != i64::MIN).then_some(offset))
}

pub(super) fn write_offset(offset: Option<i64>, encoder: &mut Encoder<'_>) {
    encoder.i64(offset.unwrap_or(i64::MIN));
}
