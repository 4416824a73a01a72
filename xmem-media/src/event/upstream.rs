//! What clients say upstream.

use super::field::SequenceNumber;
use super::segment::{Format, LAST_TIME, is_usable, is_usable_rate};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{DecodeError, InvalidValue, check};
use crate::field::{Field, Result, plain};
use crate::value::Structure;

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

plain! {
    /// Quality of service: how late buffers are.
    #[derive(Copy)]
    Qos(Qos::check) {
        /// The number of a `GstQOSType`: 0 overflow, 1 underflow, 2 throttle.
        kind: u32,
        /// How much slower upstream should be.
        proportion: f64,
        /// How late the buffer was, in nanoseconds.
        difference: i64,
        /// The buffer's running time as a point on `CLOCK_MONOTONIC`, in nanoseconds.
        time: Option<u64>,
    }
    /// A seek.
    #[derive(Copy)]
    Seek(Seek::check) {
        /// The rate.
        rate: f64,
        /// What the bounds are counted in.
        format: Format,
        /// The bits of `GstSeekFlags`.
        flags: u32,
        /// Where to start.
        start: Bound,
        /// Where to stop.
        stop: Bound,
    }
    /// A bound of a seek.
    #[derive(Copy, Eq)]
    Bound(Bound::check) {
        /// The number of a `GstSeekType`: 0 none, 1 set, 2 from the end.
        kind: u32,
        /// The position; -1 where it is not known.
        value: i64,
    }
}

impl Bound {
    /// The number of `GST_SEEK_TYPE_END`.
    const END: u32 = 2;

    fn check(&self) -> std::result::Result<(), InvalidValue> {
        check(
            self.kind <= Bound::END,
            "a bound is none, a position, or from the end",
        )
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

    fn check(&self) -> std::result::Result<(), InvalidValue> {
        check(self.is_usable(), "a seek leads to a segment that may cross")
    }
}

impl Qos {
    fn check(&self) -> std::result::Result<(), InvalidValue> {
        check(
            self.kind <= 2 && self.proportion.is_finite(),
            "a qos event has a type and a proportion",
        )
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
            QOS => UpstreamContent::Qos(Field::decode(&mut decoder)?),
            SEEK => UpstreamContent::Seek(Field::decode(&mut decoder)?),
            NAVIGATION | CUSTOM_UPSTREAM | CUSTOM_BOTH | CUSTOM_BOTH_OOB => {
                UpstreamContent::Structure(kind, Structure::decode(&mut decoder)?)
            }
            _ => return Err(DecodeError::Unsupported("a kind of upstream events")),
        };
        Ok(UpstreamEvent { sequence, content })
    }

    /// The bytes of the event; `None` where it has more values than a decoder takes, or elements can't
    /// reckon with it.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        encoder.u32(match &self.content {
            UpstreamContent::Structure(kind, _) => *kind,
            UpstreamContent::Qos(_) => QOS,
            UpstreamContent::Seek(_) => SEEK,
        });
        self.sequence.encode(&mut encoder)?;
        match &self.content {
            UpstreamContent::Structure(_, structure) => structure.encode(&mut encoder)?,
            UpstreamContent::Qos(qos) => qos.encode(&mut encoder)?,
            UpstreamContent::Seek(seek) => seek.encode(&mut encoder)?,
        }
        Some(bytes)
    }
}
