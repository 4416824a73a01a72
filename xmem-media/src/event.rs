//! Events: what a producer says between its frames, and what its clients say upstream.
//!
//! `xmem-core` carries the bytes. An event has the number that GStreamer gave it, as a
//! [`SequenceNumber`] that means the same in every process, and its [`EventContent`].

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{DecodeError, InvalidValue, check};
use crate::field::{Field, Result, optional, plain};
use crate::value::{Buffer, Caps, Structure, TagList, Text};

mod extent;
mod field;
pub mod kind;
mod segment;
#[cfg(test)]
mod tests;
mod toc;
mod upstream;

pub use extent::{Answers, Extent, Seeking};
pub use field::SequenceNumber;
pub use segment::{Format, LAST_TIME, Segment};
pub use toc::{Toc, TocEntry};
pub use upstream::{Bound, Qos, Seek, UpstreamContent, UpstreamEvent};

use field::check_time;

/// Most streams of a collection.
const MAX_STREAMS: usize = 1024;
/// Kinds of custom events: downstream, sticky, out of band, both ways, both ways out of band.
const CUSTOM_KINDS: u32 = 5;

/// What a producer says between its frames.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The event's number.
    pub sequence: SequenceNumber,
    /// What it says.
    pub content: EventContent,
}

/// What an event says. An *offset* is how far `CLOCK_MONOTONIC` is ahead of the producer's running
/// time, in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EventContent {
    /// A stream begins.
    StreamStart(StreamStart),
    /// Where the buffers to come stand in time, and the offset.
    Segment(Segment, Option<i64>),
    /// How late the producer passes on its buffers, in nanoseconds.
    Latency(u64),
    /// The kinds of upstream events that the producer takes, as bits.
    Accepts(u32),
    /// The streams that there are.
    StreamCollection(StreamCollection),
    /// Tags.
    Tags(TagList),
    /// A custom event.
    Custom(Custom),
    /// There are no buffers for a while.
    Gap(Gap),
    /// Buffers that are not shown yet are dropped.
    Flush,
    /// The producer needs the memory of the buffers before it.
    Drain,
    /// A segment is over at this position; -1 where it is not known.
    SegmentDone(Format, i64),
    /// How a stream is encrypted.
    Protection(Protection),
    /// A table of contents.
    Toc(Toc),
    /// The stream ends next.
    End,
    /// Whether the producer waits for its clients, so that they have all of its frames.
    Waits(bool),
    /// How long the stream is, and where it can be sought.
    Extent(Extent),
    /// Whether the frames to come are shown in PAUSED.
    Still(bool),
    /// An event that this version does not know. It is encoded as it was.
    Unknown {
        /// Its kind.
        kind: u32,
        /// Its body.
        bytes: Vec<u8>,
    },
}

plain! {
    /// A stream begins.
    #[derive(Default)]
    StreamStart {
        /// The stream's name.
        id: Text,
        /// The bits of `GstStreamFlags`.
        flags: u32,
        /// The process that numbered the group.
        process: u64,
        /// The number of the group there; 0 for none.
        group: u32,
        /// What else is known of the stream.
        stream: Option<Stream>,
    }
    /// The streams that there are.
    #[derive(Default)]
    StreamCollection {
        /// The name of the collection upstream.
        upstream_id: Option<Text>,
        /// The streams.
        streams: Vec<Stream> [MAX_STREAMS],
    }
    /// A custom event.
    Custom {
        /// 0 downstream, 1 sticky, 2 out of band, 3 both ways, 4 both ways out of band.
        kind: u32,
        /// What it says. A running time in it is a point on `CLOCK_MONOTONIC`.
        structure: Structure,
    }
    /// There are no buffers for a while. Times are in nanoseconds.
    #[derive(Copy, Eq)]
    Gap {
        /// When it begins.
        timestamp: u64,
        /// How long it takes.
        duration: Option<u64>,
        /// The bits of `GstGapFlags`.
        flags: u32,
        /// The offset.
        offset: Option<i64>,
    }
    /// How a stream is encrypted.
    Protection {
        /// The system.
        system: Text,
        /// Where the data was found.
        origin: Option<Text>,
        /// What the system needs.
        data: Buffer,
    }
}

/// One stream of several.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    /// Its name.
    pub id: Text,
    /// The bits of `GstStreamType`.
    pub kind: u32,
    /// The bits of `GstStreamFlags`.
    pub flags: u32,
    /// Its caps.
    pub caps: Option<Caps>,
    /// Its tags.
    pub tags: Option<TagList>,
}

impl Event {
    /// Decodes an event: its kind, its number and its body.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] where the bytes are no event. One that this version does not know is
    /// [`EventContent::Unknown`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Event> {
        let mut decoder = Decoder::new(bytes);
        let kind = decoder.u32()?;
        let sequence = SequenceNumber::decode(&mut decoder)?;
        let body = decoder.clone().rest();
        let content = match EventContent::decode(kind, &mut decoder) {
            Err(DecodeError::Unsupported(_)) => EventContent::Unknown {
                kind,
                bytes: body.to_vec(),
            },
            content => content?,
        };
        Ok(Event { sequence, content })
    }

    /// The bytes of the event; `None` where it has more values, or deeper ones, than a decoder takes.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        encoder.u32(self.content.kind());
        self.sequence.encode(&mut encoder)?;
        self.content.encode(&mut encoder)?;
        Some(bytes)
    }
}

impl EventContent {
    /// The number of its kind.
    pub fn kind(&self) -> u32 {
        match self {
            EventContent::StreamStart(_) => kind::STREAM_START,
            EventContent::Segment(..) => kind::SEGMENT,
            EventContent::Latency(_) => kind::LATENCY,
            EventContent::Accepts(_) => kind::ACCEPTS,
            EventContent::StreamCollection(_) => kind::STREAM_COLLECTION,
            EventContent::Tags(_) => kind::TAGS,
            EventContent::Custom(_) => kind::CUSTOM,
            EventContent::Gap(_) => kind::GAP,
            EventContent::Flush => kind::FLUSH,
            EventContent::Drain => kind::DRAIN,
            EventContent::SegmentDone(..) => kind::SEGMENT_DONE,
            EventContent::Protection(_) => kind::PROTECTION,
            EventContent::Toc(_) => kind::TOC,
            EventContent::End => kind::END,
            EventContent::Waits(_) => kind::WAITS,
            EventContent::Extent(_) => kind::EXTENT,
            EventContent::Still(_) => kind::STILL,
            EventContent::Unknown { kind, .. } => *kind,
        }
    }

    fn decode(kind: u32, decoder: &mut Decoder<'_>) -> Result<EventContent> {
        Ok(match kind {
            kind::STREAM_START => EventContent::StreamStart(Field::decode(decoder)?),
            kind::SEGMENT => {
                let segment = Segment::decode(decoder)?;
                segment.check()?;
                EventContent::Segment(segment, Field::decode(decoder)?)
            }
            kind::LATENCY => {
                let latency = decoder.time()?;
                check_time(latency)?;
                EventContent::Latency(latency.unwrap_or(0))
            }
            kind::ACCEPTS => EventContent::Accepts(decoder.u32()?),
            kind::STREAM_COLLECTION => EventContent::StreamCollection(Field::decode(decoder)?),
            kind::TAGS => EventContent::Tags(TagList::decode(decoder)?),
            kind::CUSTOM => {
                if decoder.clone().u32()? >= CUSTOM_KINDS {
                    return Err(DecodeError::Unsupported("a kind of custom events"));
                }
                EventContent::Custom(Field::decode(decoder)?)
            }
            kind::GAP => {
                let gap = Gap::decode(decoder)?;
                gap.check()?;
                EventContent::Gap(gap)
            }
            kind::FLUSH => EventContent::Flush,
            kind::DRAIN => EventContent::Drain,
            kind::SEGMENT_DONE => {
                EventContent::SegmentDone(Format::decode(decoder)?, segment::position(decoder)?)
            }
            kind::PROTECTION => EventContent::Protection(Field::decode(decoder)?),
            kind::TOC => EventContent::Toc(Toc::decode(decoder)?),
            kind::END => EventContent::End,
            kind::WAITS => EventContent::Waits(decoder.bool()?),
            kind::EXTENT => EventContent::Extent(Extent::decode(decoder)?),
            kind::STILL => EventContent::Still(decoder.bool()?),
            _ => return Err(DecodeError::Unsupported("a kind of events")),
        })
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        match self {
            EventContent::StreamStart(start) => start.encode(encoder)?,
            EventContent::Segment(segment, offset) => {
                segment.encode(encoder)?;
                offset.encode(encoder)?;
            }
            EventContent::Latency(latency) => encoder.u64(*latency),
            EventContent::Accepts(bits) => encoder.u32(*bits),
            EventContent::StreamCollection(collection) => collection.encode(encoder)?,
            EventContent::Tags(tags) => tags.encode(encoder)?,
            EventContent::Custom(custom) => custom.encode(encoder)?,
            EventContent::Gap(gap) => gap.encode(encoder)?,
            EventContent::Flush | EventContent::Drain | EventContent::End => {}
            EventContent::SegmentDone(format, position) => {
                format.encode(encoder)?;
                encoder.i64(*position);
            }
            EventContent::Protection(protection) => protection.encode(encoder)?,
            EventContent::Toc(toc) => toc.encode(encoder)?,
            EventContent::Waits(is) | EventContent::Still(is) => is.encode(encoder)?,
            EventContent::Extent(extent) => extent.encode(encoder)?,
            EventContent::Unknown { bytes, .. } => encoder.raw(bytes),
        }
        Some(())
    }
}

impl Gap {
    fn check(&self) -> std::result::Result<(), InvalidValue> {
        check(
            self.timestamp <= LAST_TIME,
            "a gap has a time, of 2^61 - 1 at most",
        )?;
        check_time(self.duration)
    }
}

impl Field for Stream {
    const LEAST: usize = 16;

    fn decode(decoder: &mut Decoder<'_>) -> Result<Stream> {
        let mut stream = Stream {
            id: Field::decode(decoder)?,
            kind: decoder.u32()?,
            flags: decoder.u32()?,
            ..Stream::default()
        };
        let parts = decoder.u32()?;
        if parts & 1 != 0 {
            stream.caps = Some(Caps::decode(decoder)?);
        }
        if parts & 2 != 0 {
            stream.tags = Some(TagList::decode(decoder)?);
        }
        Ok(stream)
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.text(&self.id)?;
        encoder.u32(self.kind);
        encoder.u32(self.flags);
        encoder.u32(u32::from(self.caps.is_some()) | u32::from(self.tags.is_some()) << 1);
        if let Some(caps) = &self.caps {
            caps.encode(encoder)?;
        }
        self.tags
            .as_ref()
            .map_or(Some(()), |tags| tags.encode(encoder))
    }
}

optional! { Stream }
