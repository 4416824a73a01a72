//! Events that are sent on orders, and reports of the events that pass.

use std::collections::HashMap;
use std::sync::Mutex;

use xmem_tests::Line;
use xmem_tests::pipeline::{Custom, Event, Kind, Seek, Segment, Way};

/// Builds an event.
pub(crate) fn build(event: &Event) -> gst::Event {
    static NUMBERS: Mutex<Option<HashMap<String, gst::Seqnum>>> = Mutex::new(None);
    let mut built = build_unnumbered(&event.kind);
    if let Some(name) = &event.seqnum {
        let mut numbers = NUMBERS.lock().expect("not poisoned");
        let numbers = numbers.get_or_insert_default();
        let number = numbers
            .entry(name.clone())
            .or_insert_with(gst::Seqnum::next);
        built.make_mut().set_seqnum(*number);
    }
    built
}

fn build_unnumbered(kind: &Kind) -> gst::Event {
    let time = gst::ClockTime::from_nseconds;
    match kind {
        Kind::StreamStart(id) => gst::event::StreamStart::builder(id)
            .flags(gst::StreamFlags::SPARSE)
            .group_id(gst::GroupId::next())
            .build(),
        Kind::Segment(segment) => build_segment(segment),
        Kind::Tag(title) => {
            let mut tags = gst::TagList::new();
            tags.make_mut()
                .add::<gst::tags::Title>(&title.as_str(), gst::TagMergeMode::Append);
            gst::event::Tag::new(tags)
        }
        Kind::Collection => {
            let streams = ["video", "audio"].map(|id| {
                let flags = gst::StreamFlags::SELECT;
                gst::Stream::new(Some(id), None, gst::StreamType::UNKNOWN, flags)
            });
            let collection = gst::StreamCollection::builder(Some("upstream")).streams(streams);
            gst::event::StreamCollection::new(&collection.build())
        }
        Kind::Toc(id) => {
            let mut toc = gst::Toc::new(gst::TocScope::Global);
            let mut entry = gst::TocEntry::new(gst::TocEntryType::Edition, id);
            let chapter = gst::TocEntry::new(gst::TocEntryType::Chapter, "chapter");
            entry.make_mut().append_sub_entry(chapter);
            toc.make_mut().append_entry(entry);
            gst::event::Toc::new(&toc, false)
        }
        Kind::Protection(system) => {
            let data = gst::Buffer::from_slice(system.clone());
            gst::event::Protection::builder(system, &data)
                .origin("isobmff/moov")
                .build()
        }
        Kind::SegmentDone(pts) => gst::event::SegmentDone::new(time(*pts)),
        Kind::Gap { pts, duration } => gst::event::Gap::builder(time(*pts))
            .duration(duration.map(time))
            .build(),
        Kind::Custom(custom) => build_custom(custom),
        Kind::FlushStart => gst::event::FlushStart::new(),
        Kind::FlushStop => gst::event::FlushStop::new(true),
        Kind::Eos => gst::event::Eos::new(),
        Kind::ForceKeyUnit => gst_video::UpstreamForceKeyUnitEvent::builder()
            .all_headers(true)
            .build(),
        Kind::Qos(running_time) => gst::event::Qos::builder(gst::QOSType::Underflow, 1.5, 10)
            .timestamp(time(*running_time))
            .build(),
        Kind::Seek(to) => seek(to),
    }
}

fn build_segment(wanted: &Segment) -> gst::Event {
    let format = if wanted.bytes {
        gst::Format::Bytes
    } else {
        gst::Format::Time
    };
    let value = |number: u64| gst::GenericFormattedValue::new(format, number as i64);
    let mut segment = gst::Segment::new();
    segment.set_format(format);
    segment.set_rate(wanted.rate.unwrap_or(1.0));
    segment.set_start(value(wanted.start));
    segment.set_time(value(wanted.time));
    segment.set_base(value(wanted.base));
    if let Some(stop) = wanted.stop {
        segment.set_stop(value(stop));
    }
    gst::event::Segment::new(&segment)
}

fn build_custom(custom: &Custom) -> gst::Event {
    let structure = gst::Structure::builder(&custom.name)
        .field("number", custom.number)
        .field_if_some("padding", custom.padding.map(|size| "-".repeat(size)))
        .build();
    match custom.way {
        Way::Downstream => gst::event::CustomDownstream::new(structure),
        Way::Sticky => gst::event::CustomDownstreamSticky::new(structure),
        Way::Oob => gst::event::CustomDownstreamOob::new(structure),
        Way::Both => gst::event::CustomBoth::new(structure),
        Way::Upstream => gst::event::CustomUpstream::new(structure),
        Way::Navigation => gst::event::Navigation::new(structure),
    }
}

/// A flushing seek.
pub(crate) fn seek(to: &Seek) -> gst::Event {
    let value = |nseconds: i64| gst::GenericFormattedValue::new(gst::Format::Time, nseconds);
    let start_type = if to.start < 0 {
        gst::SeekType::End
    } else {
        gst::SeekType::Set
    };
    let (stop_type, stop) = match to.stop {
        Some(stop) => (gst::SeekType::Set, stop as i64),
        None => (gst::SeekType::None, -1),
    };
    gst::event::Seek::new(
        to.rate,
        to.flags(),
        start_type,
        value(to.start),
        stop_type,
        value(stop),
    )
}

/// Adds the content of an event to a line.
pub(crate) fn tell(line: Line, event: &gst::EventRef) -> Line {
    use gst::EventView as E;
    match event.view() {
        E::Caps(caps) => line.with("text", caps.caps()),
        E::Segment(segment) => {
            let segment = segment.segment();
            line.with("format", format!("{:?}", segment.format()))
                .with("rate", segment.rate())
                .with("start", segment.start().value())
                .with("stop", segment.stop().value())
                .with("stream-time", segment.time().value())
                .with("segment-base", segment.base().value())
                .with("segment-offset", segment.offset().value())
        }
        E::StreamStart(start) => {
            let group = start.group_id();
            line.with("id", start.stream_id())
                .with("has-group", group.is_some())
                .with("text", format!("{:?}", start.stream_flags()))
        }
        E::StreamCollection(event) => {
            let collection = event.stream_collection();
            let ids: Vec<_> = collection
                .iter()
                .flat_map(|stream| stream.stream_id())
                .collect();
            line.with("text", format!("{:?} {ids:?}", collection.upstream_id()))
        }
        E::Tag(tag) => line.with("text", tag.tag()),
        E::Toc(event) => {
            let (toc, _) = event.toc_owned();
            let entries = toc.entries();
            let told = entries.iter().map(|entry| {
                let below = entry.sub_entries();
                let below: Vec<_> = below.iter().map(|entry| entry.uid()).collect();
                format!("{} {below:?}", entry.uid())
            });
            line.with("text", told.collect::<Vec<_>>().join(" "))
        }
        E::Protection(event) => {
            let (system, data, origin) = event.get();
            let data = data.map_readable().expect("the data can be read");
            line.with("text", format!("{system} {origin:?} {:?}", data.as_slice()))
        }
        E::Seek(seek) => {
            let (rate, flags, start_type, start, stop_type, stop) = seek.get();
            line.with("rate", rate)
                .with("flags", flags.bits())
                .with("start", start.value())
                .with("stop", stop.value())
                .with("text", format!("{start_type:?} {stop_type:?}"))
        }
        E::Latency(latency) => line.with("ns", latency.latency().nseconds()),
        _ => match event.structure() {
            Some(structure) => line.with("text", structure),
            None => line,
        },
    }
}
