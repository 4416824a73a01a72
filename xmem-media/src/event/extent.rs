//! How long a stream is, and where it can be sought.

use std::collections::HashSet;

use super::segment::{Format, check_position};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{InvalidValue, check};
use crate::field::{Field, Result, plain};

/// Formats in which there can be answers.
const FORMATS: usize = 4;

/// Of the parts of [`Answers`], those that are there.
const DURATION: u32 = 1;
const SEEKING: u32 = 1 << 1;
const SEEKABLE: u32 = 1 << 2;

plain! {
    /// What the elements before a producer answer to queries of the duration and of seeking.
    #[derive(Default, Eq)]
    Extent(Extent::check) {
        /// They are live: positions are nothing but the time since the start of the stream.
        is_live: bool,
        /// The answers, each in another format.
        answers: Vec<Answers> [FORMATS],
    }
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

impl Extent {
    fn check(&self) -> std::result::Result<(), InvalidValue> {
        let mut formats = HashSet::new();
        check(
            self.answers.iter().all(|one| formats.insert(one.format)),
            "there is one answer in each format",
        )
    }
}

impl Field for Answers {
    const LEAST: usize = 32;

    fn decode(decoder: &mut Decoder<'_>) -> Result<Answers> {
        let (format, parts) = (Format::decode(decoder)?, decoder.u32()?);
        let [duration, start, end] = Field::decode(decoder)?;
        [duration, start, end]
            .into_iter()
            .try_for_each(check_position)?;
        Ok(Answers {
            format,
            duration: (parts & DURATION != 0).then_some(duration),
            seeking: (parts & SEEKING != 0).then_some(Seeking {
                is_seekable: parts & SEEKABLE != 0,
                start,
                end,
            }),
        })
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        self.format.encode(encoder)?;
        encoder.u32(self.parts());
        let seeking = self.seeking.map(|seeking| (seeking.start, seeking.end));
        let (start, end) = seeking.unwrap_or((-1, -1));
        [self.duration.unwrap_or(-1), start, end].encode(encoder)
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
