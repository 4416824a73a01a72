//! The duration of a stream, and where it can be sought, as answers to queries.

use xmem_media::event::{Answers, Extent, Format, LAST_TIME, Seeking};

use super::segment::{format, gst_format};

/// The formats that are queried.
const FORMATS: [Format; 4] = [
    Format::Time,
    Format::Default,
    Format::Bytes,
    Format::Buffers,
];

/// Returns the extent of a stream. `ask` returns the duration and the seekable range in a format.
pub(crate) fn extent(
    is_live: bool,
    ask: impl Fn(gst::Format) -> (Option<i64>, Option<Seeking>),
) -> Extent {
    let answers = FORMATS.into_iter().map(|format| {
        let (duration, seeking) = ask(gst_format(format));
        Answers {
            format,
            duration: duration.map(usable),
            seeking: seeking.map(|seeking| Seeking {
                start: usable(seeking.start),
                end: usable(seeking.end),
                ..seeking
            }),
        }
    });
    Extent {
        is_live,
        answers: answers
            .filter(|answers| answers.duration.is_some() || answers.seeking.is_some())
            .collect(),
    }
}

/// Returns the answers in a format, if there are any.
pub(crate) fn answers(extent: &Extent, of: gst::Format) -> Option<&Answers> {
    let format = format(of)?;
    let mut answers = extent.answers.iter();
    answers.find(|answers| answers.format == format)
}

/// Returns the formats in which there are answers.
pub(crate) fn formats(extent: &Extent) -> impl Iterator<Item = gst::Format> {
    let answers = extent.answers.iter();
    answers.map(|answers| gst_format(answers.format))
}

/// Returns the value, or -1 (unknown) if it is out of the range that can be sent.
fn usable(value: i64) -> i64 {
    if (0..=LAST_TIME as i64).contains(&value) {
        value
    } else {
        -1
    }
}
