//! How long a stream is, and where it can be sought.

use super::segment::{Format, position};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::DecodeError;
use crate::field::{Field, Result};

/// Formats in which there can be answers.
const FORMATS: usize = 4;

/// Of the parts of [`Answers`], those that are there.
const DURATION: u32 = 1;
const SEEKING: u32 = 1 << 1;
const SEEKABLE: u32 = 1 << 2;

/// What the elements before a producer answer to queries of the duration and of seeking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// They are live: positions are nothing but the time since the start of the stream.
    pub is_live: bool,
    /// The answers, each in another format.
    pub answers: Vec<Answers>,
}

/// The answers in one format. A value that is not known is -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answers {
    /// The format.
    pub format: Format,
    /// The duration.
    pub duration: Option<i64>,
    /// Where the stream can be sought.
    pub seeking: Option<Seeking>,
}

/// Where a stream can be sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeking {
    /// Whether it can be sought at all.
    pub is_seekable: bool,
    /// The first position.
    pub start: i64,
    /// The last position.
    pub end: i64,
}

impl Field for Extent {
    const LEAST: usize = 8;

    fn decode(decoder: &mut Decoder<'_>) -> Result<Extent> {
        let is_live = decoder.bool()?;
        let count = decoder.u32()? as usize;
        if count > FORMATS {
            let rule = "there are answers in 4 formats at most";
            return Err(DecodeError::Invalid(rule));
        }
        let mut answers: Vec<Answers> = Vec::with_capacity(count);
        for _ in 0..count {
            let format = Format::decode(decoder)?;
            let parts = decoder.u32()?;
            let [duration, start, end] =
                [position(decoder)?, position(decoder)?, position(decoder)?];
            if answers.iter().any(|before| before.format == format) {
                return Err(DecodeError::Invalid("there is one answer in each format"));
            }
            answers.push(Answers {
                format,
                duration: (parts & DURATION != 0).then_some(duration),
                seeking: (parts & SEEKING != 0).then_some(Seeking {
                    is_seekable: parts & SEEKABLE != 0,
                    start,
                    end,
                }),
            });
        }
        Ok(Extent { is_live, answers })
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.u32(self.is_live.into());
        encoder.u32(self.answers.len() as u32);
        for answers in &self.answers {
            encoder.u32(answers.format as u32);
            encoder.u32(answers.parts());
            encoder.i64(answers.duration.unwrap_or(-1));
            let seeking = answers.seeking.map(|seeking| (seeking.start, seeking.end));
            let (start, end) = seeking.unwrap_or((-1, -1));
            encoder.i64(start);
            encoder.i64(end);
        }
        Some(())
    }
}

impl Answers {
    fn parts(&self) -> u32 {
        let is_seekable = self.seeking.is_some_and(|seeking| seeking.is_seekable);
        u32::from(self.duration.is_some()) * DURATION
            + u32::from(self.seeking.is_some()) * SEEKING
            + u32::from(is_seekable) * SEEKABLE
    }
}
