//! Segments: where buffers stand in time.

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{DecodeError, InvalidValue, check};
use crate::field::{Field, Result, plain};

/// The last time, or count, that crosses: 73 years in nanoseconds. Four of them fit into 64 bits with
/// a sign, so that what elements reckon of them does not overflow.
pub const LAST_TIME: u64 = u64::MAX >> 3;
/// Most times faster, or slower, than usual.
const MAX_RATE: f64 = 1024.0;

/// What positions are counted in: `GstFormat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Format {
    /// Whatever the stream counts.
    Default = 1,
    /// Bytes.
    Bytes = 2,
    /// Nanoseconds.
    Time = 3,
    /// Buffers.
    Buffers = 4,
}

impl Format {
    /// The format with this number.
    pub fn of(number: u32) -> Option<Format> {
        use Format as F;
        let all = [F::Default, F::Bytes, F::Time, F::Buffers];
        all.into_iter().find(|format| *format as u32 == number)
    }
}

impl Field for Format {
    fn decode(decoder: &mut Decoder<'_>) -> Result<Format> {
        let format = decoder.u32()?;
        Format::of(format).ok_or(DecodeError::Invalid("a format is 1 to 4"))
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        (*self as u32).encode(encoder)
    }
}

plain! {
    /// A segment. Values that are not known are the highest number.
    #[derive(Copy)]
    Segment {
        /// What the values are counted in.
        format: Format,
        /// The bits of `GstSegmentFlags`.
        flags: u32,
        /// The rate.
        rate: f64,
        /// The rate that the data has already.
        applied_rate: f64,
        /// The running time of the start.
        base: u64,
        /// How much of the segment is over.
        offset: u64,
        /// The first position.
        start: u64,
        /// The position after the last.
        stop: u64,
        /// The stream time of the start.
        time: u64,
        /// The newest position.
        position: u64,
        /// The duration of the stream.
        duration: u64,
    }
}

/// Whether a segment may have such a rate. A number that is none may not.
pub(super) fn is_usable_rate(rate: f64) -> bool {
    (1.0 / MAX_RATE..=MAX_RATE).contains(&rate.abs())
}

pub(super) fn is_usable(value: i64) -> bool {
    (0..=LAST_TIME as i64).contains(&value)
}

/// Checks a position; -1 where it is not known.
pub(super) fn check_position(position: i64) -> std::result::Result<(), InvalidValue> {
    check(
        position == -1 || is_usable(position),
        "a position is 2^61 - 1 at most",
    )
}

impl Segment {
    /// Checks that GStreamer and elements can reckon with its numbers.
    pub(super) fn check(&self) -> std::result::Result<(), InvalidValue> {
        check(
            is_usable_rate(self.rate) && is_usable_rate(self.applied_rate),
            "a rate is 1/1024 to 1024",
        )?;
        let (needed, others) = (
            [self.base, self.offset, self.start],
            [self.stop, self.time, self.position, self.duration],
        );
        let is_usable = |value: u64| value == u64::MAX || value <= LAST_TIME;
        check(
            needed.into_iter().chain(others).all(is_usable),
            "a time is 2^61 - 1 at most",
        )?;
        check(
            !needed.contains(&u64::MAX) && self.start <= self.stop,
            "a segment has a base, an offset and a start, and ends after it",
        )?;
        let has_stop = self.stop != u64::MAX;
        // Backwards, running time counts from the stop.
        check(
            self.rate > 0.0 || (has_stop && self.offset <= self.stop),
            "a segment that plays backwards has a stop",
        )?;
        // How long it takes, here and in the stream.
        let span = (self.stop - self.start) as f64;
        let longest = (span / self.rate.abs()).max(span * self.applied_rate.abs());
        check(
            !has_stop || longest <= LAST_TIME as f64,
            "a segment takes 2^61 - 1 at most",
        )
    }
}
