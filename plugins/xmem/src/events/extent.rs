//! How long a stream is, and where it can be sought.

use gst::glib::translate::IntoGlib;

use super::{Result, segment};
use crate::timestamps::LAST_TIME;
use crate::values::{DecodeError, Encoder, Reader};

/// What positions may be counted in.
pub(crate) const FORMATS: [gst::Format; 4] = [
    gst::Format::Time,
    gst::Format::Default,
    gst::Format::Bytes,
    gst::Format::Buffers,
];

/// What the elements before a sink answer to questions of the duration and of seeking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// They are live: positions are nothing but the time since the stream's start.
    pub(crate) is_live: bool,
    answers: Vec<Answers>,
}

/// The answers in one format. A value that is not known is -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answers {
    pub(crate) format: gst::Format,
    pub(crate) duration: Option<i64>,
    pub(crate) seeking: Option<Seeking>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seeking {
    pub(crate) is_seekable: bool,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// Of the parts of [`Answers`], those that are there.
const DURATION: u32 = 1;
const SEEKING: u32 = 1 << 1;
const SEEKABLE: u32 = 1 << 2;

impl Extent {
    /// What `ask` answers in each format.
    pub(crate) fn of(is_live: bool, ask: impl Fn(gst::Format) -> Answers) -> Extent {
        let answers = FORMATS.iter().map(|format| ask(*format).usable());
        Extent {
            is_live,
            answers: answers.filter(|answers| answers.parts() != 0).collect(),
        }
    }

    /// The answers in a format, if there are any.
    pub(crate) fn answers(&self, format: gst::Format) -> Option<&Answers> {
        let mut answers = self.answers.iter();
        answers.find(|answers| answers.format == format)
    }

    pub(crate) fn formats(&self) -> impl Iterator<Item = gst::Format> {
        self.answers.iter().map(|answers| answers.format)
    }

    /// `u32` 1 for a live stream, else 0; `u32` how many; of each format `u32` GstFormat, `u32` parts (1 a duration, 2 an answer on seeking, 4
    /// can be sought), `i64` duration, start, end.
    pub(super) fn write(&self, writer: &mut Encoder<'_>) {
        writer.u32(self.is_live.into());
        writer.u32(self.answers.len() as u32);
        for answers in &self.answers {
            writer.u32(answers.format.into_glib() as u32);
            writer.u32(answers.parts());
            writer.i64(answers.duration.unwrap_or(-1));
            let seeking = answers.seeking.map(|seeking| (seeking.start, seeking.end));
            let (start, end) = seeking.unwrap_or((-1, -1));
            writer.i64(start);
            writer.i64(end);
        }
    }

    /// What [`write`](Extent::write) has written.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Extent> {
        let is_live = reader.bool()?;
        let count = reader.u32()? as usize;
        if count > FORMATS.len() {
            return Err(DecodeError::Invalid(
                "answers in more formats than there are",
            ));
        }
        let mut extent = Extent {
            is_live,
            answers: Vec::new(),
        };
        for _ in 0..count {
            let format = segment::read_format(reader)?;
            let parts = reader.u32()?;
            let [duration, start, end] = [reader.i64()?, reader.i64()?, reader.i64()?];
            let is_known = |value: i64| value == -1 || is_usable(value);
            if ![duration, start, end].into_iter().all(is_known) || extent.answers(format).is_some()
            {
                return Err(DecodeError::Invalid(
                    "an answer is 2^61 - 1 at most, and stands once",
                ));
            }
            extent.answers.push(Answers {
                format,
                duration: (parts & DURATION != 0).then_some(duration),
                seeking: (parts & SEEKING != 0).then_some(Seeking {
                    is_seekable: parts & SEEKABLE != 0,
                    start,
                    end,
                }),
            });
        }
        Ok(extent)
    }
}

impl Answers {
    fn parts(&self) -> u32 {
        let is_seekable = self.seeking.is_some_and(|seeking| seeking.is_seekable);
        u32::from(self.duration.is_some()) * DURATION
            + u32::from(self.seeking.is_some()) * SEEKING
            + u32::from(is_seekable) * SEEKABLE
    }

    /// The same, where what does not cross is not known.
    fn usable(self) -> Answers {
        let usable = |value: i64| if is_usable(value) { value } else { -1 };
        Answers {
            duration: self.duration.map(usable),
            seeking: self.seeking.map(|seeking| Seeking {
                start: usable(seeking.start),
                end: usable(seeking.end),
                ..seeking
            }),
            ..self
        }
    }
}

fn is_usable(value: i64) -> bool {
    (0..=LAST_TIME as i64).contains(&value)
}
