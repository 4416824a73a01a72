//! Segments: where buffers stand in time.

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::DecodeError;

type Result<T> = std::result::Result<T, DecodeError>;

/// The last time, or count, that crosses: 73 years in nanoseconds. Four of them fit into 64 bits with
/// a sign, so that what elements reckon of them does not overflow.
pub const LAST_TIME: u64 = u64::MAX >> 3;
/// Most times faster, or slower, than usual.
const MAX_RATE: f64 = 1024.0;

/// What positions are counted in: `GstFormat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub(super) fn decode(decoder: &mut Decoder<'_>) -> Result<Format> {
        let format = decoder.u32()?;
        Format::of(format).ok_or(DecodeError::Invalid("a format is 1 to 4"))
    }

    /// The format with this number.
    pub fn of(number: u32) -> Option<Format> {
        use Format as F;
        let all = [F::Default, F::Bytes, F::Time, F::Buffers];
        all.into_iter().find(|format| *format as u32 == number)
    }
}

/// A segment. Values that are not known are the highest number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    /// What the values are counted in.
    pub format: Format,
    /// The bits of `GstSegmentFlags`.
    pub flags: u32,
    /// The rate.
    pub rate: f64,
    /// The rate that the data has already.
    pub applied_rate: f64,
    /// The running time of the start.
    pub base: u64,
    /// How much of the segment is over.
    pub offset: u64,
    /// The first position.
    pub start: u64,
    /// The position after the last.
    pub stop: u64,
    /// The stream time of the start.
    pub time: u64,
    /// The newest position.
    pub position: u64,
    /// The duration of the stream.
    pub duration: u64,
}

/// Whether a segment may have such a rate. A number that is none may not.
pub(super) fn is_usable_rate(rate: f64) -> bool {
    (1.0 / MAX_RATE..=MAX_RATE).contains(&rate.abs())
}

pub(super) fn is_usable(value: i64) -> bool {
    (0..=LAST_TIME as i64).contains(&value)
}

/// Reads a position; -1 where it is not known.
pub(super) fn position(decoder: &mut Decoder<'_>) -> Result<i64> {
    let position = decoder.i64()?;
    if position == -1 || is_usable(position) {
        Ok(position)
    } else {
        Err(DecodeError::Invalid("a position is 2^61 - 1 at most"))
    }
}

impl Segment {
    /// Reads a segment with whose numbers GStreamer and elements can reckon.
    pub(super) fn decode(decoder: &mut Decoder<'_>) -> Result<Segment> {
        let segment = Segment {
            format: Format::decode(decoder)?,
            flags: decoder.u32()?,
            rate: decoder.f64()?,
            applied_rate: decoder.f64()?,
            base: decoder.u64()?,
            offset: decoder.u64()?,
            start: decoder.u64()?,
            stop: decoder.u64()?,
            time: decoder.u64()?,
            position: decoder.u64()?,
            duration: decoder.u64()?,
        };
        segment.check().map_err(DecodeError::Invalid)?;
        Ok(segment)
    }

    fn values(&self) -> [u64; 7] {
        let (time, position, duration) = (self.time, self.position, self.duration);
        [
            self.base,
            self.offset,
            self.start,
            self.stop,
            time,
            position,
            duration,
        ]
    }

    fn check(&self) -> std::result::Result<(), &'static str> {
        if ![self.rate, self.applied_rate]
            .into_iter()
            .all(is_usable_rate)
        {
            return Err("a rate is 1/1024 to 1024");
        }
        let is_usable = |value: &u64| *value == u64::MAX || *value <= LAST_TIME;
        if !self.values().iter().all(is_usable) {
            return Err("a time is 2^61 - 1 at most");
        }
        if [self.base, self.offset, self.start].contains(&u64::MAX) || self.stop < self.start {
            return Err("a segment has a base, an offset and a start, and ends after it");
        }
        // Backwards, running time counts from the stop.
        if self.rate < 0.0 && (self.stop == u64::MAX || self.stop < self.offset) {
            return Err("a segment that plays backwards has a stop");
        }
        // How long it takes, here and in the stream.
        if self.stop != u64::MAX {
            let span = (self.stop - self.start) as f64;
            let longest = (span / self.rate.abs()).max(span * self.applied_rate.abs());
            if longest > LAST_TIME as f64 {
                return Err("a segment takes 2^61 - 1 at most");
            }
        }
        Ok(())
    }

    pub(super) fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.u32(self.format as u32);
        encoder.u32(self.flags);
        encoder.f64(self.rate);
        encoder.f64(self.applied_rate);
        self.values()
            .into_iter()
            .for_each(|value| encoder.u64(value));
    }
}
