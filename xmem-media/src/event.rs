//! Events: what a producer says between its frames, and what its clients say upstream.
//!
//! `xmem-core` carries the bytes. An event has the number that GStreamer gave it, as a
//! [`SequenceNumber`] that means the same in every process, and its [`EventContent`].

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{DecodeError, InvalidValue, check};
use crate::field::{Field, Result, optional, plain, records};
use crate::value::{Buffer, Caps, Structure, TagList, Text};

mod extent;
mod field;
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
use segment::check_position;

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

records! {
    /// The kinds of what a producer says. The numbers are part of the protocol.
    kinds kind;
    /// What an event says. An *offset* is how far `CLOCK_MONOTONIC` is ahead of the producer's running
    /// time, in nanoseconds.
    enum EventContent;
    /// A stream begins.
    1 STREAM_START StreamStart(start: StreamStart);
    /// Where the buffers to come stand in time, and the offset.
    2 SEGMENT Segment(segment: Segment, offset: Option<i64>);
    /// How late the producer passes on its buffers, in nanoseconds.
    3 LATENCY Latency(latency: Option<u64>);
    /// The kinds of upstream events that the producer takes, as bits.
    4 ACCEPTS Accepts(kinds: u32);
    /// The streams that there are.
    5 STREAM_COLLECTION StreamCollection(collection: StreamCollection);
    /// Tags.
    6 TAGS Tags(tags: TagList);
    /// A custom event.
    7 CUSTOM Custom(custom: Custom);
    /// There are no buffers for a while.
    8 GAP Gap(gap: Gap);
    /// Buffers that are not shown yet are dropped.
    9 FLUSH Flush;
    /// The producer needs the memory of the buffers before it.
    10 DRAIN Drain;
    /// A segment is over at this position; -1 where it is not known.
    11 SEGMENT_DONE SegmentDone(format: Format, position: i64);
    /// How a stream is encrypted.
    12 PROTECTION Protection(protection: Protection);
    /// A table of contents.
    13 TOC Toc(toc: Toc);
    /// The stream ends next.
    14 END End;
    /// Whether the producer waits for its clients, so that they have all of its frames.
    15 WAITS Waits(waits: bool);
    /// How long the stream is, and where it can be sought.
    16 EXTENT Extent(extent: Extent);
    /// Whether the frames to come are shown in PAUSED.
    17 STILL Still(is_still: bool);
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

/// A custom event.
#[derive(Clone, Debug, PartialEq)]
pub struct Custom {
    /// 0 downstream, 1 sticky, 2 out of band, 3 both ways, 4 both ways out of band.
    pub kind: u32,
    /// What it says. A running time in it is a point on `CLOCK_MONOTONIC`.
    pub structure: Structure,
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
        let content = EventContent::decode(kind, &mut decoder)?;
        content.check()?;
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
    /// Checks that elements can reckon with its numbers.
    fn check(&self) -> std::result::Result<(), InvalidValue> {
        match self {
            EventContent::Segment(segment, _) => segment.check(),
            EventContent::Latency(latency) => check_time(*latency),
            EventContent::Gap(gap) => {
                check(
                    gap.timestamp <= LAST_TIME,
                    "a gap has a time, of 2^61 - 1 at most",
                )?;
                check_time(gap.duration)
            }
            EventContent::SegmentDone(_, position) => check_position(*position),
            _ => Ok(()),
        }
    }
}

impl Field for Custom {
    fn decode(decoder: &mut Decoder<'_>) -> Result<Custom> {
        let kind = decoder.u32()?;
        if kind >= CUSTOM_KINDS {
            return Err(DecodeError::Unsupported("a kind of custom events"));
        }
        let structure = Structure::decode(decoder)?;
        Ok(Custom { kind, structure })
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.u32(self.kind);
        self.structure.encode(encoder)
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
        self.caps.iter().try_for_each(|caps| caps.encode(encoder))?;
        self.tags.iter().try_for_each(|tags| tags.encode(encoder))
    }
}

optional! { Stream }
