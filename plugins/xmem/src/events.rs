//! Events across processes: to what an `xmemsink` says between its frames, and back. Pure.
//!
//! What is said starts with a kind (`u32`) and the name of a sequence number (`u64`, `u32`), then a
//! body as [`values`](crate::values) writes it. A kind that is not known here is skipped. `docs/protocol.md` is the norm.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{LazyLock, Mutex, PoisonError};

use gst::glib::translate::IntoGlib;
use xmem_core::EventKind;
use xmem_media::is_structure_name;

use crate::bindings;
use crate::timestamps::{LAST_TIME, MonotonicOffset};
use crate::values::{DecodeError, EncodeGst, Encoder, Reader, Told};

pub(crate) mod extent;
mod key_unit;
mod segment;
mod seqnum;
mod toc;
pub(crate) mod upstream;

use extent::Extent;
use seqnum::{Name, Use};
use upstream::UpstreamEvents;

/// Kinds of what is said. The numbers are part of the protocol.
mod kind {
    pub(super) const STREAM_START: u32 = 1;
    pub(super) const SEGMENT: u32 = 2;
    pub(super) const LATENCY: u32 = 3;
    pub(super) const ACCEPTS: u32 = 4;
    pub(super) const STREAM_COLLECTION: u32 = 5;
    pub(super) const TAGS: u32 = 6;
    pub(super) const CUSTOM: u32 = 7;
    pub(super) const GAP: u32 = 8;
    pub(super) const FLUSH: u32 = 9;
    pub(super) const DRAIN: u32 = 10;
    pub(super) const SEGMENT_DONE: u32 = 11;
    pub(super) const PROTECTION: u32 = 12;
    pub(super) const TOC: u32 = 13;
    pub(super) const END: u32 = 14;
    pub(super) const WAITS: u32 = 15;
    pub(super) const EXTENT: u32 = 16;
    pub(super) const STILL: u32 = 17;
}

/// Most streams of a collection.
const MAX_STREAMS: usize = 1024;
/// Most groups of streams of other processes that are told apart.
const MAX_GROUPS: usize = 1024;

type Result<T> = std::result::Result<T, DecodeError>;

/// What a producer says, decoded.
#[derive(Clone, Debug)]
pub(crate) enum DecodedEvent {
    /// An event to push as it is.
    Event(gst::Event),
    /// A gap, and how far `CLOCK_MONOTONIC` was ahead of the producer's running time.
    Gap(gst::Event, Option<MonotonicOffset>),
    /// The segment of the buffers to come, as the producer has it; the offset as above.
    Segment(gst::Segment, Option<MonotonicOffset>, gst::Seqnum),
    /// How late the producer passes on its buffers.
    Latency(gst::ClockTime),
    /// The upstream events that the producer takes.
    Accepts(UpstreamEvents),
    /// Whether the producer waits for its clients, so that they have all of its frames.
    Waits(bool),
    /// How long the stream is, and where it can be sought.
    Extent(Extent),
    /// Whether the frames to come are shown in PAUSED: at once, and until the producer goes on.
    Still(bool),
    /// What is not shown yet is not to be shown any more.
    Flush(gst::Seqnum),
    /// The number of the end of the stream, if that comes next.
    End(gst::Seqnum),
    /// The memory of the buffers before it is wanted back.
    Drain,
}

/// Where a sticky event stands among those that a client is told of when it joins: stream-start
/// comes before the caps, whose key has the highest bit alone.
fn key(rank: u32, name: &str) -> EventKind {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let after_caps = u64::from(rank != kind::STREAM_START) << 63;
    EventKind::Sticky(after_caps | u64::from(rank) << 32 | (hasher.finish() & 0xffff_ffff))
}

/// For how long the number of such an event counts.
fn used(kind: u32) -> Use {
    match kind {
        kind::STREAM_START | kind::SEGMENT | kind::FLUSH | kind::SEGMENT_DONE | kind::END => {
            Use::Lasting
        }
        _ => Use::Passing,
    }
}

/// What is said of a kind: that, the number's name, and a body.
fn content(
    kind: u32,
    seqnum: Option<gst::Seqnum>,
    body: impl FnOnce(&mut Encoder<'_>) -> Option<()>,
) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut writer = Encoder::new(&mut bytes);
    writer.u32(kind);
    let name = seqnum.map_or(Name::NONE, |seqnum| Name::of(seqnum, used(kind)));
    name.write(&mut writer);
    body(&mut writer)?;
    Some(bytes)
}

/// What has no number, and whose body is always as one likes.
fn unnumbered(kind: u32, body: impl FnOnce(&mut Encoder<'_>)) -> Vec<u8> {
    let content = content(kind, None, |writer| {
        body(writer);
        Some(())
    });
    content.unwrap_or_default()
}

/// What is said for an event; `None` for one that says nothing to another process, or what is
/// said in other ways (caps, flushes). The end of a stream says its number, before the core's.
pub(crate) fn encode(
    event_ref: &gst::EventRef,
    offset: Option<MonotonicOffset>,
) -> Option<(EventKind, Vec<u8>)> {
    use gst::EventView as E;
    let body = |kind, write: &dyn Fn(&mut Encoder<'_>) -> Option<()>| {
        content(kind, Some(event_ref.seqnum()), write)
    };
    let (kind, body) = match event_ref.view() {
        E::StreamStart(event) => (
            key(kind::STREAM_START, ""),
            body(kind::STREAM_START, &|writer| stream_start(event, writer))?,
        ),
        E::Segment(event) => (
            key(kind::SEGMENT, ""),
            body(kind::SEGMENT, &|writer| {
                segment::write(event.segment(), writer);
                write_offset(offset, writer);
                Some(())
            })?,
        ),
        E::StreamCollection(event) => (
            key(kind::STREAM_COLLECTION, ""),
            body(kind::STREAM_COLLECTION, &|writer| {
                collection(&event.stream_collection(), writer)
            })?,
        ),
        E::Tag(event) => (
            // As on a pad: those of the stream and those of all streams stand beside one another.
            key(kind::TAGS, &format!("{:?}", event.tag().scope())),
            body(kind::TAGS, &|writer| writer.tag_list(event.tag()))?,
        ),
        E::Gap(event) => (
            EventKind::Passing,
            body(kind::GAP, &|writer| {
                let (timestamp, duration) = event.get();
                writer.clock_time(Some(timestamp));
                writer.clock_time(duration);
                writer.u32(event.gap_flags().bits());
                write_offset(offset, writer);
                Some(())
            })?,
        ),
        E::SegmentDone(event) => (
            EventKind::Passing,
            body(kind::SEGMENT_DONE, &|writer| {
                let position = event.get();
                writer.u32(position.format().into_glib() as u32);
                writer.i64(position.value());
                Some(())
            })?,
        ),
        E::Protection(event) => (
            // As on a pad: beside one another stand those of other systems and origins.
            key(kind::PROTECTION, event_ref.structure()?.name()),
            body(kind::PROTECTION, &|writer| {
                let (system, data, origin) = event.get();
                writer.text(system)?;
                writer.u32(origin.is_some().into());
                if let Some(origin) = origin {
                    writer.text(origin)?;
                }
                writer.buffer(data)
            })?,
        ),
        E::Toc(event) => (
            key(kind::TOC, &format!("{:?}", event.toc().0.scope())),
            body(kind::TOC, &|writer| toc::write(event, writer))?,
        ),
        E::Eos(_) => (key(kind::END, ""), body(kind::END, &|_| Some(()))?),
        E::CustomDownstream(_) | E::CustomBoth(_) => {
            (EventKind::Passing, custom(event_ref, offset)?)
        }
        E::CustomDownstreamOob(_) | E::CustomBothOob(_) => {
            (EventKind::Urgent, custom(event_ref, offset)?)
        }
        E::CustomDownstreamSticky(_) => {
            let name = event_ref.structure()?.name();
            (key(kind::CUSTOM, name), custom(event_ref, offset)?)
        }
        _ => return None,
    };
    Some((kind, body))
}

/// Whether a sticky event is one that ends with its stream: its tags, its table of contents, and the
/// number of its end. What ends with the run is all.
pub(crate) fn ends_with_stream(kind: EventKind) -> bool {
    let EventKind::Sticky(key) = kind else {
        return false;
    };
    let rank = key << 1 >> 33;
    [kind::TAGS, kind::TOC, kind::END]
        .map(u64::from)
        .contains(&rank)
}

/// How late the sink passes on its buffers.
pub(crate) fn encode_latency(latency: gst::ClockTime) -> (EventKind, Vec<u8>) {
    let content = unnumbered(kind::LATENCY, |writer| writer.clock_time(Some(latency)));
    (key(kind::LATENCY, ""), content)
}

/// The upstream events that the sink takes.
pub(crate) fn encode_accepts(accepts: UpstreamEvents) -> (EventKind, Vec<u8>) {
    let content = unnumbered(kind::ACCEPTS, |writer| writer.u32(accepts.bits()));
    (key(kind::ACCEPTS, ""), content)
}

/// Whether the sink waits for its clients.
pub(crate) fn encode_waits(waits: bool) -> (EventKind, Vec<u8>) {
    let content = unnumbered(kind::WAITS, |writer| writer.u32(waits.into()));
    (key(kind::WAITS, ""), content)
}

/// Whether the frames to come are shown in PAUSED.
pub(crate) fn encode_still(still: bool) -> (EventKind, Vec<u8>) {
    let content = unnumbered(kind::STILL, |writer| writer.u32(still.into()));
    (key(kind::STILL, ""), content)
}

/// How long the stream is, and where it can be sought.
pub(crate) fn encode_extent(extent: &Extent) -> (EventKind, Vec<u8>) {
    let content = unnumbered(kind::EXTENT, |writer| extent.write(writer));
    (key(kind::EXTENT, ""), content)
}

/// What is not shown yet is not to be shown any more. A client flushes at once, and then waits for
/// what comes; so it needs no end of it.
pub(crate) fn encode_flush(seqnum: gst::Seqnum) -> (EventKind, Vec<u8>) {
    let content = content(kind::FLUSH, Some(seqnum), |_| Some(()));
    (EventKind::Flush, content.unwrap_or_default())
}

/// The memory of the buffers before it is wanted back.
pub(crate) fn encode_drain() -> (EventKind, Vec<u8>) {
    (EventKind::Passing, unnumbered(kind::DRAIN, |_| ()))
}

/// What [`encode`] has made; `None` where it is nothing that is known here. This process's
/// `CLOCK_MONOTONIC` is ahead of the producer's by `ahead` nanoseconds.
///
/// # Errors
/// The bytes come from another process: they may be none of ours.
pub(crate) fn decode<'a>(
    content: impl Into<Told<'a>>,
    offset: Option<MonotonicOffset>,
    ahead: i64,
) -> Result<Option<DecodedEvent>> {
    let offset_there = offset.map(|offset| offset.on_clock_ahead(-ahead));
    let mut reader = Reader::new(content);
    let kind = reader.u32()?;
    let name = Name::read(&mut reader)?;
    let number = || name.here(used(kind));
    let numbered = |mut event: gst::Event| {
        event.make_mut().set_seqnum(number());
        event
    };
    let event = match kind {
        kind::STREAM_START => read_stream_start(&mut reader)?,
        kind::STREAM_COLLECTION => read_collection(&mut reader)?,
        kind::TAGS => gst::event::Tag::new(reader.tag_list()?),
        kind::CUSTOM => read_custom(&mut reader, offset_there)?,
        kind::SEGMENT_DONE => read_segment_done(&mut reader)?,
        kind::PROTECTION => read_protection(&mut reader)?,
        kind::TOC => toc::read(&mut reader)?,
        kind::GAP => {
            let gap = numbered(read_gap(&mut reader)?);
            return Ok(Some(DecodedEvent::Gap(
                gap,
                read_offset(&mut reader, ahead)?,
            )));
        }
        kind::SEGMENT => {
            let segment = segment::read(&mut reader)?;
            let offset = read_offset(&mut reader, ahead)?;
            return Ok(Some(DecodedEvent::Segment(segment, offset, number())));
        }
        kind::LATENCY => {
            let latency = known_time(reader.time()?)?;
            return Ok(Some(DecodedEvent::Latency(latency.unwrap_or_default())));
        }
        kind::ACCEPTS => {
            let accepts = UpstreamEvents::from_bits_truncate(reader.u32()?);
            return Ok(Some(DecodedEvent::Accepts(accepts)));
        }
        kind::WAITS => return Ok(Some(DecodedEvent::Waits(reader.bool()?))),
        kind::STILL => return Ok(Some(DecodedEvent::Still(reader.bool()?))),
        kind::EXTENT => return Ok(Some(DecodedEvent::Extent(Extent::read(&mut reader)?))),
        kind::FLUSH => return Ok(Some(DecodedEvent::Flush(number()))),
        kind::END => return Ok(Some(DecodedEvent::End(number()))),
        kind::DRAIN => return Ok(Some(DecodedEvent::Drain)),
        _ => return Ok(None),
    };
    Ok(Some(DecodedEvent::Event(numbered(event))))
}

fn write_offset(offset: Option<MonotonicOffset>, writer: &mut Encoder<'_>) {
    writer.i64(offset.map_or(i64::MIN, MonotonicOffset::nseconds));
}

fn read_offset(reader: &mut Reader<'_>, ahead: i64) -> Result<Option<MonotonicOffset>> {
    let offset = reader.i64()?;
    let there = (offset != i64::MIN).then(|| MonotonicOffset::from_nseconds(offset));
    Ok(there.map(|offset| offset.on_clock_ahead(ahead)))
}

/// Text: id; `u32` flags; `u64` process, `u32` group (0 for none); `u32` 1 and a stream, or 0.
fn stream_start(event: &gst::event::StreamStart, writer: &mut Encoder<'_>) -> Option<()> {
    writer.text(event.stream_id())?;
    writer.u32(event.stream_flags().bits());
    writer.u64(*PROCESS);
    let structure = event.event().structure();
    let group = structure.and_then(|structure| structure.get::<u32>("group-id").ok());
    writer.u32(group.unwrap_or(0));
    match event.stream() {
        Some(stream) => {
            writer.u32(1);
            write_stream(&stream, writer)
        }
        None => {
            writer.u32(0);
            Some(())
        }
    }
}

fn read_stream_start(reader: &mut Reader<'_>) -> Result<gst::Event> {
    let mut start = gst::event::StreamStart::builder(reader.text()?)
        .flags(gst::StreamFlags::from_bits_truncate(reader.u32()?));
    let group = (reader.u64()?, reader.u32()?);
    if group.1 != 0 {
        start = start.group_id(group_here(group));
    }
    if reader.u32()? == 1 {
        start = start.stream(read_stream(reader)?);
    }
    Ok(start.build())
}

/// Tells the groups of this process's streams from those of others.
static PROCESS: LazyLock<u64> = LazyLock::new(|| {
    let mut hasher = DefaultHasher::new();
    (std::process::id(), xmem_core::monotonic_time()).hash(&mut hasher);
    hasher.finish()
});

/// The number that a group of streams of another process has here: groups are numbered in each
/// process, and streams that belong together there do here, whichever channels they come by.
fn group_here(group: (u64, u32)) -> gst::GroupId {
    static GROUPS: Mutex<Option<HashMap<(u64, u32), gst::GroupId>>> = Mutex::new(None);
    let mut groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
    let groups = groups.get_or_insert_default();
    if groups.len() >= MAX_GROUPS && !groups.contains_key(&group) {
        groups.clear();
    }
    *groups.entry(group).or_insert_with(gst::GroupId::next)
}

/// Text: id; `u32` type, flags; `u32` parts (1 caps, 2 tags, or-ed together), then these.
fn write_stream(stream: &gst::Stream, writer: &mut Encoder<'_>) -> Option<()> {
    writer.text(stream.stream_id().as_deref().unwrap_or_default())?;
    writer.u32(stream.stream_type().bits());
    writer.u32(stream.stream_flags().bits());
    let (caps, tags) = (stream.caps(), stream.tags());
    writer.u32(u32::from(caps.is_some()) | u32::from(tags.is_some()) << 1);
    if let Some(caps) = caps {
        writer.caps(&caps)?;
    }
    if let Some(tags) = tags {
        writer.tag_list(&tags)?;
    }
    Some(())
}

fn read_stream(reader: &mut Reader<'_>) -> Result<gst::Stream> {
    let id = reader.text()?;
    let kind = gst::StreamType::from_bits_truncate(reader.u32()?);
    let flags = gst::StreamFlags::from_bits_truncate(reader.u32()?);
    let parts = reader.u32()?;
    let caps = (parts & 1 != 0).then(|| reader.caps()).transpose()?;
    let tags = (parts & 2 != 0).then(|| reader.tag_list()).transpose()?;
    let stream = gst::Stream::new(Some(id), caps.as_ref(), kind, flags);
    stream.set_tags(tags.as_ref());
    Ok(stream)
}

/// `u32` 1 and text: upstream's id, or 0; `u32` streams, then these.
fn collection(collection: &gst::StreamCollection, writer: &mut Encoder<'_>) -> Option<()> {
    match collection.upstream_id() {
        Some(id) => {
            writer.u32(1);
            writer.text(&id)?;
        }
        None => writer.u32(0),
    }
    writer.u32(collection.len() as u32);
    for stream in bindings::streams(collection) {
        write_stream(&stream, writer)?;
    }
    Some(())
}

fn read_collection(reader: &mut Reader<'_>) -> Result<gst::Event> {
    let id = match reader.u32()? {
        0 => None,
        _ => Some(reader.text()?),
    };
    let count = reader.count(16)?;
    if count > MAX_STREAMS {
        return Err(DecodeError::Invalid(
            "a collection has 1024 streams at most",
        ));
    }
    let mut collection = gst::StreamCollection::builder(id);
    for _ in 0..count {
        collection = collection.stream(read_stream(reader)?);
    }
    Ok(gst::event::StreamCollection::new(&collection.build()))
}

/// The same time, where elements can reckon with it.
fn known_time(time: Option<gst::ClockTime>) -> Result<Option<gst::ClockTime>> {
    match time {
        Some(time) if time.nseconds() > LAST_TIME => {
            Err(DecodeError::Invalid("a time is 2^61 - 1 at most"))
        }
        time => Ok(time),
    }
}

fn read_gap(reader: &mut Reader<'_>) -> Result<gst::Event> {
    let timestamp = known_time(reader.time()?)?.ok_or(DecodeError::Invalid("a gap has a time"))?;
    let duration = known_time(reader.time()?)?;
    let flags = gst::GapFlags::from_bits_truncate(reader.u32()?);
    let mut gap = gst::event::Gap::builder(timestamp).duration(duration);
    if !flags.is_empty() {
        gap = gap.gap_flags(flags);
    }
    Ok(gap.build())
}

fn read_segment_done(reader: &mut Reader<'_>) -> Result<gst::Event> {
    let format = segment::read_format(reader)?;
    let position = reader.i64()?;
    if position != -1 && !(0..=LAST_TIME as i64).contains(&position) {
        return Err(DecodeError::Invalid("a position is 2^61 - 1 at most"));
    }
    let position = gst::GenericFormattedValue::new(format, position);
    Ok(gst::event::SegmentDone::new(position))
}

fn read_protection(reader: &mut Reader<'_>) -> Result<gst::Event> {
    let system = reader.text()?;
    let has_origin = reader.bool()?;
    let origin = has_origin.then(|| reader.text()).transpose()?;
    // The event that GStreamer makes is called so.
    let origin_in_name = origin.map_or(String::new(), |origin| format!("-{origin}"));
    let name = format!("GstProtectionEvent{origin_in_name}-{system}");
    if !is_structure_name(&name) {
        return Err(DecodeError::Invalid("the name of a protection event"));
    }
    if !reader.admits(&name) {
        return Err(DecodeError::Unsupported(
            "one more name than a user may bring in",
        ));
    }
    let data = reader.buffer()?;
    let event = gst::event::Protection::builder(system, &data);
    Ok(event.origin_if_some(origin).build())
}

/// The kinds of custom events, as the protocol numbers them.
const CUSTOM_KINDS: [gst::EventType; 5] = [
    gst::EventType::CustomDownstream,
    gst::EventType::CustomDownstreamSticky,
    gst::EventType::CustomDownstreamOob,
    gst::EventType::CustomBoth,
    gst::EventType::CustomBothOob,
];

/// `u32` which of [`CUSTOM_KINDS`]; the structure.
fn custom(event: &gst::EventRef, offset: Option<MonotonicOffset>) -> Option<Vec<u8>> {
    let number = CUSTOM_KINDS
        .iter()
        .position(|kind| *kind == event.type_())?;
    let structure = key_unit::to_monotonic(event.structure()?, offset);
    content(kind::CUSTOM, Some(event.seqnum()), |writer| {
        writer.u32(number as u32);
        writer.structure(&structure)
    })
}

fn read_custom(reader: &mut Reader<'_>, offset: Option<MonotonicOffset>) -> Result<gst::Event> {
    let number = reader.u32()? as usize;
    let kind = CUSTOM_KINDS
        .get(number)
        .ok_or(DecodeError::Unsupported("a kind of custom events"))?;
    let structure = key_unit::to_running_time(reader.structure()?, offset);
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
