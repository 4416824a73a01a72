//! What clients say upstream.

use super::field::SequenceNumber;
use super::segment::{Format, LAST_TIME, is_usable, is_usable_rate};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::DecodeError;
use crate::value::Structure;

type Result<T> = std::result::Result<T, DecodeError>;

/// The numbers of `GstEventType`.
const QOS: u32 = 190 << 8 | 1;
const SEEK: u32 = 200 << 8 | 1;
const NAVIGATION: u32 = 210 << 8 | 1;
const CUSTOM_UPSTREAM: u32 = 270 << 8 | 1;
const CUSTOM_BOTH: u32 = 310 << 8 | 7;
const CUSTOM_BOTH_OOB: u32 = 320 << 8 | 3;

/// An event from a client to the elements before the producer.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamEvent {
    /// The event's number.
    pub sequence: SequenceNumber,
    /// What it says.
    pub content: UpstreamContent,
}

/// What an upstream event says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum UpstreamContent {
    /// Custom or navigation: the number of its `GstEventType`, and its structure. A running time in it
    /// is a point on `CLOCK_MONOTONIC`.
    Structure(u32, Structure),
    /// Quality of service.
    Qos(Qos),
    /// A seek.
    Seek(Seek),
}

/// Quality of service: how late buffers are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Qos {
    /// The number of a `GstQOSType`: 0 overflow, 1 underflow, 2 throttle.
    pub kind: u32,
    /// How much slower upstream should be.
    pub proportion: f64,
    /// How late the buffer was, in nanoseconds.
    pub difference: i64,
    /// The buffer's running time as a point on `CLOCK_MONOTONIC`, in nanoseconds.
    pub time: Option<u64>,
}

/// A seek.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seek {
    /// The rate.
    pub rate: f64,
    /// What the bounds are counted in.
    pub format: Format,
    /// The bits of `GstSeekFlags`.
    pub flags: u32,
    /// Where to start.
    pub start: Bound,
    /// Where to stop.
    pub stop: Bound,
}

/// A bound of a seek.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The number of a `GstSeekType`: 0 none, 1 set, 2 from the end.
    pub kind: u32,
    /// The position; -1 where it is not known.
    pub value: i64,
}

impl Bound {
    /// The number of `GST_SEEK_TYPE_END`.
    const END: u32 = 2;

    fn decode(decoder: &mut Decoder<'_>) -> Result<Bound> {
        let kind = decoder.u32()?;
        if kind > Bound::END {
            return Err(DecodeError::Invalid(
                "a bound is none, a position, or from the end",
            ));
        }
        let value = decoder.i64()?;
        Ok(Bound { kind, value })
    }

    /// Whether elements can reckon with it. From the end positions count backwards, below zero.
    fn is_usable(self) -> bool {
        if self.kind == Bound::END {
            self.value.unsigned_abs() <= LAST_TIME
        } else {
            self.value == -1 || is_usable(self.value)
        }
    }
}

impl Seek {
    /// Whether the seek leads to a segment that may cross.
    pub fn is_usable(&self) -> bool {
        is_usable_rate(self.rate) && self.start.is_usable() && self.stop.is_usable()
    }
}

impl UpstreamEvent {
    /// Decodes an event: its kind, its number and its body.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are no event, or one of a kind that is not known.
    pub fn from_bytes(bytes: &[u8]) -> Result<UpstreamEvent> {
        let mut decoder = Decoder::new(bytes);
        let kind = decoder.u32()?;
        let sequence = SequenceNumber::decode(&mut decoder)?;
        let content = match kind {
            QOS => UpstreamContent::Qos(read_qos(&mut decoder)?),
            SEEK => UpstreamContent::Seek(read_seek(&mut decoder)?),
            NAVIGATION | CUSTOM_UPSTREAM | CUSTOM_BOTH | CUSTOM_BOTH_OOB => {
                UpstreamContent::Structure(kind, Structure::decode(&mut decoder)?)
            }
            _ => return Err(DecodeError::Unsupported("a kind of upstream events")),
        };
        Ok(UpstreamEvent { sequence, content })
    }

    /// The bytes of the event; `None` where it has more values than a decoder takes, or is a seek with
    /// which elements can't reckon.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        encoder.u32(match &self.content {
            UpstreamContent::Structure(kind, _) => *kind,
            UpstreamContent::Qos(_) => QOS,
            UpstreamContent::Seek(_) => SEEK,
        });
        self.sequence.encode(&mut encoder);
        match &self.content {
            UpstreamContent::Structure(_, structure) => structure.encode(&mut encoder)?,
            UpstreamContent::Qos(qos) => {
                encoder.u32(qos.kind);
                encoder.f64(qos.proportion);
                encoder.i64(qos.difference);
                encoder.time(qos.time);
            }
            UpstreamContent::Seek(seek) => {
                seek.is_usable().then_some(())?;
                encoder.f64(seek.rate);
                encoder.u32(seek.format as u32);
                encoder.u32(seek.flags);
                for bound in [seek.start, seek.stop] {
                    encoder.u32(bound.kind);
                    encoder.i64(bound.value);
                }
            }
        }
        Some(bytes)
    }
}

fn read_qos(decoder: &mut Decoder<'_>) -> Result<Qos> {
    let qos = Qos {
        kind: decoder.u32()?,
        proportion: decoder.f64()?,
        difference: decoder.i64()?,
        time: decoder.time()?,
    };
    if qos.kind <= 2 && qos.proportion.is_finite() {
        Ok(qos)
    } else {
        Err(DecodeError::Invalid(
            "a qos event has a type and a proportion",
        ))
    }
}

fn read_seek(decoder: &mut Decoder<'_>) -> Result<Seek> {
    let seek = Seek {
        rate: decoder.f64()?,
        format: Format::decode(decoder)?,
        flags: decoder.u32()?,
        start: Bound::decode(decoder)?,
        stop: Bound::decode(decoder)?,
    };
    if seek.is_usable() {
        Ok(seek)
    } else {
        Err(DecodeError::Invalid(
            "a seek leads to a segment that may cross",
        ))
    }
}
