//! Converts events to and from those of `xmem-media`, whose encoded form crosses between processes.
//! Pure.

use std::hash::{DefaultHasher, Hash, Hasher};

use xmem_core::EventKind;
use xmem_media::event::{
    Custom, Event, EventContent, Extent, Gap, Protection, Stream, StreamCollection, StreamStart,
    kind,
};
use xmem_media::is_structure_name;
use xmem_media::value::Text;

use crate::bindings;
use crate::timestamps::MonotonicOffset;
use crate::values::{DecodeError, Names, Rules, Told, from_gst, to_gst};

pub(crate) mod extent;
mod group;
mod key_unit;
pub(crate) mod segment;
mod seqnum;
mod toc;
pub(crate) mod upstream;

use seqnum::Use;
use upstream::UpstreamEvents;

type Result<T> = std::result::Result<T, DecodeError>;

/// A decoded event of the producer.
#[derive(Clone, Debug)]
pub(crate) enum DecodedEvent {
    /// An event to push unchanged.
    Event(gst::Event),
    /// A gap, and the distance by which `CLOCK_MONOTONIC` was ahead of the producer's running time.
    Gap(gst::Event, Option<MonotonicOffset>),
    /// The producer's segment of the following buffers; the offset as for `Gap`.
    Segment(gst::Segment, Option<MonotonicOffset>, gst::Seqnum),
    /// The latency with which the producer publishes its buffers.
    Latency(gst::ClockTime),
    /// The upstream events that the producer accepts.
    Accepts(UpstreamEvents),
    /// Whether the producer waits for its clients, so that they receive all frames.
    Waits(bool),
    /// The duration of the stream, and where it can be sought.
    Extent(Extent),
    /// Whether the following frames are shown in PAUSED: at once, and until the producer resumes.
    Still(bool),
    /// FLUSH_START: frames that are not shown yet are dropped.
    Flush(gst::Seqnum),
    /// The sequence number of the end of the stream, if the end comes next.
    End(gst::Seqnum),
    /// A drain: upstream wants the memory of the earlier buffers back.
    Drain,
}

/// Returns the key of a sticky event. A client that joins receives the sticky events in the order
/// of their keys: stream-start comes before the caps, and all others after them. The key of the
/// caps has only the highest bit.
fn key(rank: u32, name: &str) -> EventKind {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let after_caps = u64::from(rank != kind::STREAM_START) << 63;
    EventKind::Sticky(after_caps | u64::from(rank) << 32 | (hasher.finish() & 0xffff_ffff))
}

/// Returns how long the sequence number of an event of this kind is needed.
fn used(kind: u32) -> Use {
    match kind {
        kind::STREAM_START | kind::SEGMENT | kind::FLUSH | kind::SEGMENT_DONE | kind::END => {
            Use::Lasting
        }
        _ => Use::Passing,
    }
}

/// An event that has more parts, or deeper ones, than a client decodes.
#[derive(Debug)]
pub(crate) struct Oversized;

/// Encodes an event. Returns `None` for an event that has no meaning for another process, or that
/// is sent in another way (caps, flushes). The end of a stream has its sequence number encoded
/// here; it comes before the core's own end.
///
/// # Errors
/// If clients cannot decode the event.
pub(crate) fn encode(
    event: &gst::EventRef,
    offset: Option<MonotonicOffset>,
) -> std::result::Result<Option<(EventKind, Vec<u8>)>, Oversized> {
    let Some((name, content)) = content(event, offset) else {
        return Ok(None);
    };
    let kind = match event.type_() {
        gst::EventType::CustomDownstreamOob | gst::EventType::CustomBothOob => EventKind::Urgent,
        of if of.is_sticky() => key(content.kind(), &name),
        _ => EventKind::Passing,
    };
    let bytes = bytes(Some(event.seqnum()), content).ok_or(Oversized)?;
    Ok(Some((kind, bytes)))
}

/// Returns the content of an event, and what distinguishes it from other sticky events of its type.
fn content(
    event_ref: &gst::EventRef,
    offset: Option<MonotonicOffset>,
) -> Option<(String, EventContent)> {
    use gst::EventView as E;
    let nseconds = offset.map(MonotonicOffset::nseconds);
    Some(match event_ref.view() {
        E::StreamStart(event) => (
            String::new(),
            EventContent::StreamStart(stream_start(event)?),
        ),
        E::Segment(event) => {
            let segment = segment::from_gst(event.segment())?;
            (String::new(), EventContent::Segment(segment, nseconds))
        }
        E::StreamCollection(event) => {
            let collection = collection(&event.stream_collection())?;
            (String::new(), EventContent::StreamCollection(collection))
        }
        // As on a pad, tags of the stream and global tags are kept separately.
        E::Tag(event) => (
            format!("{:?}", event.tag().scope()),
            EventContent::Tags(from_gst::tag_list(event.tag())),
        ),
        E::Gap(event) => {
            let (timestamp, duration) = event.get();
            let gap = Gap {
                timestamp: timestamp.nseconds(),
                duration: duration.map(gst::ClockTime::nseconds),
                flags: event.gap_flags().bits(),
                offset: nseconds,
            };
            (String::new(), EventContent::Gap(gap))
        }
        E::SegmentDone(event) => {
            let position = event.get();
            let format = segment::format(position.format())?;
            (
                String::new(),
                EventContent::SegmentDone(format, position.value()),
            )
        }
        // As on a pad, events of different systems and origins are kept separately.
        E::Protection(event) => (
            event_ref.structure()?.name().to_string(),
            EventContent::Protection(protection(event)?),
        ),
        E::Toc(event) => (
            format!("{:?}", event.toc().0.scope()),
            EventContent::Toc(toc::from_event(event)?),
        ),
        E::Eos(_) => (String::new(), EventContent::End),
        _ => {
            let custom = custom(event_ref, offset)?;
            (event_ref.structure()?.name().to_string(), custom)
        }
    })
}

/// Encodes an event with this sequence number.
fn bytes(seqnum: Option<gst::Seqnum>, content: EventContent) -> Option<Vec<u8>> {
    let sequence = seqnum.map(|seqnum| seqnum::name(seqnum, used(content.kind())));
    let sequence = sequence.unwrap_or_default();
    Event { sequence, content }.to_bytes()
}

/// Returns whether a sticky event ends with its stream: tags, the table of contents, and the
/// sequence number of the end. Other sticky events stay until the end of the run.
pub(crate) fn ends_with_stream(kind: EventKind) -> bool {
    let EventKind::Sticky(key) = kind else {
        return false;
    };
    let rank = key << 1 >> 33;
    [kind::TAGS, kind::TOC, kind::END]
        .map(u64::from)
        .contains(&rank)
}

/// Encodes an event of the sink itself. It has no sequence number, and stays as long as it is true.
pub(crate) fn encode_own(content: EventContent) -> (EventKind, Vec<u8>) {
    let kind = match content {
        EventContent::Drain => EventKind::Passing,
        _ => key(content.kind(), ""),
    };
    (kind, bytes(None, content).unwrap_or_default())
}

/// Encodes FLUSH_START: frames that are not shown yet are dropped. Clients flush at once and make
/// FLUSH_STOP themselves, so none is sent.
pub(crate) fn encode_flush(seqnum: gst::Seqnum) -> (EventKind, Vec<u8>) {
    let bytes = bytes(Some(seqnum), EventContent::Flush);
    (EventKind::Flush, bytes.unwrap_or_default())
}

/// Decodes the result of [`encode`]; `None` if the kind of the event is unknown here. `ahead` is
/// how far this process's `CLOCK_MONOTONIC` is ahead of the producer's, in nanoseconds.
///
/// # Errors
/// The bytes are no event: they come from another process and may have any content.
pub(crate) fn decode<'a>(
    content: impl Into<Told<'a>>,
    offset: Option<MonotonicOffset>,
    ahead: i64,
) -> Result<Option<DecodedEvent>> {
    let Told { bytes, names } = content.into();
    let rules = Rules::lenient(names);
    let offset_there = offset.map(|offset| offset.on_clock_ahead(-ahead));
    let offset_here = |nseconds: Option<i64>| {
        let there = nseconds.map(MonotonicOffset::from_nseconds);
        there.map(|offset| offset.on_clock_ahead(ahead))
    };
    let Event { sequence, content } = Event::from_bytes(bytes)?;
    let used = used(content.kind());
    let number = || seqnum::number(sequence, used);
    let numbered = |mut event: gst::Event| {
        event.make_mut().set_seqnum(number());
        event
    };
    let event = match content {
        EventContent::StreamStart(start) => to_stream_start(start, rules)?,
        EventContent::StreamCollection(collection) => to_collection(collection, rules)?,
        EventContent::Tags(tags) => gst::event::Tag::new(to_gst::tag_list(tags, rules)),
        EventContent::Custom(custom) => to_custom(custom, offset_there, rules)?,
        EventContent::SegmentDone(format, position) => {
            gst::event::SegmentDone::new(segment::position(format, position))
        }
        EventContent::Protection(protection) => to_protection(protection, names)?,
        EventContent::Toc(toc) => toc::to_event(toc, rules)?,
        EventContent::Gap(gap) => {
            let offset = offset_here(gap.offset);
            return Ok(Some(DecodedEvent::Gap(numbered(to_gap(&gap)), offset)));
        }
        EventContent::Segment(segment, offset) => {
            let (segment, offset) = (segment::to_gst(&segment), offset_here(offset));
            return Ok(Some(DecodedEvent::Segment(segment, offset, number())));
        }
        EventContent::Latency(latency) => {
            let latency = gst::ClockTime::from_nseconds(latency.unwrap_or(0));
            return Ok(Some(DecodedEvent::Latency(latency)));
        }
        EventContent::Accepts(bits) => {
            let accepts = UpstreamEvents::from_bits_truncate(bits);
            return Ok(Some(DecodedEvent::Accepts(accepts)));
        }
        EventContent::Waits(waits) => return Ok(Some(DecodedEvent::Waits(waits))),
        EventContent::Still(still) => return Ok(Some(DecodedEvent::Still(still))),
        EventContent::Extent(extent) => return Ok(Some(DecodedEvent::Extent(extent))),
        EventContent::Flush => return Ok(Some(DecodedEvent::Flush(number()))),
        EventContent::End => return Ok(Some(DecodedEvent::End(number()))),
        EventContent::Drain => return Ok(Some(DecodedEvent::Drain)),
        _ => return Ok(None),
    };
    Ok(Some(DecodedEvent::Event(numbered(event))))
}

fn stream_start(event: &gst::event::StreamStart) -> Option<StreamStart> {
    let structure = event.event().structure();
    let group = structure.and_then(|structure| structure.get::<u32>("group-id").ok());
    let mut start = StreamStart {
        id: Text::new(event.stream_id()).ok()?,
        flags: event.stream_flags().bits(),
        process: *group::PROCESS,
        group: group.unwrap_or(0),
        stream: None,
    };
    if let Some(of) = event.stream() {
        start.stream = Some(stream(&of)?);
    }
    Some(start)
}

fn to_stream_start(from: StreamStart, rules: Rules<'_>) -> Result<gst::Event> {
    let mut start = gst::event::StreamStart::builder(&from.id)
        .flags(gst::StreamFlags::from_bits_truncate(from.flags));
    if from.group != 0 {
        start = start.group_id(group::local_id((from.process, from.group)));
    }
    if let Some(stream) = from.stream {
        start = start.stream(to_stream(stream, rules)?);
    }
    Ok(start.build())
}

fn stream(stream: &gst::Stream) -> Option<Stream> {
    let mut from = Stream {
        id: Text::new(stream.stream_id().as_deref().unwrap_or_default()).ok()?,
        kind: stream.stream_type().bits(),
        flags: stream.stream_flags().bits(),
        caps: None,
        tags: stream.tags().map(|tags| from_gst::tag_list(&tags)),
    };
    if let Some(caps) = stream.caps() {
        from.caps = Some(from_gst::caps(&caps)?);
    }
    Some(from)
}

fn to_stream(from: Stream, rules: Rules<'_>) -> Result<gst::Stream> {
    let kind = gst::StreamType::from_bits_truncate(from.kind);
    let flags = gst::StreamFlags::from_bits_truncate(from.flags);
    let caps = from
        .caps
        .map(|caps| to_gst::caps(caps, rules))
        .transpose()?;
    let stream = gst::Stream::new(Some(&*from.id), caps.as_ref(), kind, flags);
    let tags = from.tags.map(|tags| to_gst::tag_list(tags, rules));
    stream.set_tags(tags.as_ref());
    Ok(stream)
}

fn collection(collection: &gst::StreamCollection) -> Option<StreamCollection> {
    let id = collection.upstream_id();
    let streams = bindings::streams(collection);
    Some(StreamCollection {
        upstream_id: id.map(|id| Text::new(id.as_str())).transpose().ok()?,
        streams: streams.map(|of| stream(&of)).collect::<Option<_>>()?,
    })
}

fn to_collection(from: StreamCollection, rules: Rules<'_>) -> Result<gst::Event> {
    let mut collection = gst::StreamCollection::builder(from.upstream_id.as_deref());
    for stream in from.streams {
        collection = collection.stream(to_stream(stream, rules)?);
    }
    Ok(gst::event::StreamCollection::new(&collection.build()))
}

fn to_gap(from: &Gap) -> gst::Event {
    let flags = gst::GapFlags::from_bits_truncate(from.flags);
    let mut gap = gst::event::Gap::builder(gst::ClockTime::from_nseconds(from.timestamp))
        .duration(from.duration.map(gst::ClockTime::from_nseconds));
    if !flags.is_empty() {
        gap = gap.gap_flags(flags);
    }
    gap.build()
}

fn protection(event: &gst::event::Protection) -> Option<Protection> {
    let (system, data, origin) = event.get();
    Some(Protection {
        system: Text::new(system).ok()?,
        origin: origin.map(Text::new).transpose().ok()?,
        data: from_gst::buffer(data)?,
    })
}

fn to_protection(from: Protection, names: &Names) -> Result<gst::Event> {
    let origin = from.origin.as_deref();
    // The name of the structure that GStreamer makes.
    let origin_in_name = origin.map_or(String::new(), |origin| format!("-{origin}"));
    let name = format!("GstProtectionEvent{origin_in_name}-{}", &*from.system);
    if !is_structure_name(&name) {
        return Err(DecodeError::Invalid("the name of a protection event"));
    }
    if !names.admit(&name) {
        let why = "one more name than a user may bring in";
        return Err(DecodeError::Unsupported(why));
    }
    let data = to_gst::buffer(from.data);
    let event = gst::event::Protection::builder(&from.system, &data);
    Ok(event.origin_if_some(origin).build())
}

/// The kinds of custom events, in the order of their numbers in the protocol.
const CUSTOM_KINDS: [gst::EventType; 5] = [
    gst::EventType::CustomDownstream,
    gst::EventType::CustomDownstreamSticky,
    gst::EventType::CustomDownstreamOob,
    gst::EventType::CustomBoth,
    gst::EventType::CustomBothOob,
];

/// Encodes a custom event; `None` for other events.
fn custom(event: &gst::EventRef, offset: Option<MonotonicOffset>) -> Option<EventContent> {
    let mut kinds = CUSTOM_KINDS.iter();
    let number = kinds.position(|kind| *kind == event.type_())?;
    let structure = key_unit::to_monotonic(event.structure()?, offset);
    Some(EventContent::Custom(Custom {
        kind: number as u32,
        structure: from_gst::structure(&structure)?,
    }))
}

fn to_custom(
    from: Custom,
    offset: Option<MonotonicOffset>,
    rules: Rules<'_>,
) -> Result<gst::Event> {
    let unknown = DecodeError::Unsupported("a kind of custom events");
    let kind = CUSTOM_KINDS.get(from.kind as usize).ok_or(unknown)?;
    let structure = to_gst::structure(from.structure, rules)?;
    let structure = key_unit::to_running_time(structure, offset);
    Ok(match kind {
        gst::EventType::CustomDownstream => gst::event::CustomDownstream::new(structure),
        gst::EventType::CustomDownstreamSticky => {
            gst::event::CustomDownstreamSticky::new(structure)
        }
        gst::EventType::CustomDownstreamOob => gst::event::CustomDownstreamOob::new(structure),
        gst::EventType::CustomBoth => gst::event::CustomBoth::new(structure),
        _ => gst::event::CustomBothOob::new(structure),
    })
}

#[cfg(test)]
mod tests;
