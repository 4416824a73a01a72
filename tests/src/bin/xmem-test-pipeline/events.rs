//! Events that are sent on orders, and reports of the events that pass.

use std::collections::HashMap;
use std::sync::Mutex;

use xmem_tests::Line;

/// Builds the event that an order describes. `seqnum=NAME`: events with the same name have the same
/// sequence number.
pub(crate) fn build(order: &Line) -> gst::Event {
    static NUMBERS: Mutex<Option<HashMap<String, gst::Seqnum>>> = Mutex::new(None);
    let mut event = build_unnumbered(order);
    if let Some(name) = order.get("seqnum") {
        let mut numbers = NUMBERS.lock().expect("not poisoned");
        let numbers = numbers.get_or_insert_default();
        let number = numbers
            .entry(name.to_owned())
            .or_insert_with(gst::Seqnum::next);
        event.make_mut().set_seqnum(*number);
    }
    event
}

fn build_unnumbered(order: &Line) -> gst::Event {
    let time = |key: &str| order.get_number(key).map(gst::ClockTime::from_nseconds);
    let structure = || {
        let name = order.get("name").unwrap_or("application/x-event");
        gst::Structure::builder(name)
            .field("number", order.get_number("number").unwrap_or(0))
            .field_if_some(
                "padding",
                order
                    .get_number("padding")
                    .map(|size| "-".repeat(size as usize)),
            )
            .build()
    };
    match order.text("event") {
        "stream-start" => gst::event::StreamStart::builder(order.text("id"))
            .flags(gst::StreamFlags::SPARSE)
            .group_id(gst::GroupId::next())
            .build(),
        // rate=2 start=1000 stop=2000 base=0 time=1000 format=bytes
        "segment" => {
            let format = match order.get("format") {
                Some("bytes") => gst::Format::Bytes,
                _ => gst::Format::Time,
            };
            let mut segment = gst::Segment::new();
            segment.set_format(format);
            let value = |key: &str| {
                let number = order.get_number(key);
                number.map(|number| gst::GenericFormattedValue::new(format, number as i64))
            };
            if let Some(rate) = order.get("rate") {
                segment.set_rate(rate.parse::<f64>().expect("a rate"));
            }
            for (key, set) in [
                ("start", gst::Segment::set_start as fn(&mut gst::Segment, _)),
                ("stop", gst::Segment::set_stop),
                ("time", gst::Segment::set_time),
                ("base", gst::Segment::set_base),
            ] {
                if let Some(value) = value(key) {
                    set(&mut segment, value);
                }
            }
            gst::event::Segment::new(&segment)
        }
        // text=TITLE
        "tag" => {
            let mut tags = gst::TagList::new();
            let title = order.text("text");
            tags.make_mut()
                .add::<gst::tags::Title>(&title, gst::TagMergeMode::Append);
            gst::event::Tag::new(tags)
        }
        "collection" => {
            let streams = ["video", "audio"].map(|id| {
                let flags = gst::StreamFlags::SELECT;
                gst::Stream::new(Some(id), None, gst::StreamType::UNKNOWN, flags)
            });
            let collection = gst::StreamCollection::builder(Some("upstream")).streams(streams);
            gst::event::StreamCollection::new(&collection.build())
        }
        // text=UID
        "toc" => {
            let mut toc = gst::Toc::new(gst::TocScope::Global);
            let mut entry = gst::TocEntry::new(gst::TocEntryType::Edition, order.text("text"));
            let chapter = gst::TocEntry::new(gst::TocEntryType::Chapter, "chapter");
            entry.make_mut().append_sub_entry(chapter);
            toc.make_mut().append_entry(entry);
            gst::event::Toc::new(&toc, false)
        }
        // text=SYSTEM
        "protection" => {
            let data = gst::Buffer::from_slice(order.text("text").to_owned());
            gst::event::Protection::builder(order.text("text"), &data)
                .origin("isobmff/moov")
                .build()
        }
        "segment-done" => {
            gst::event::SegmentDone::new(time("pts").expect("a segment is done at a time"))
        }
        "gap" => gst::event::Gap::builder(time("pts").expect("a gap has a time"))
            .duration(time("duration"))
            .build(),
        "custom" => gst::event::CustomDownstream::new(structure()),
        "custom-sticky" => gst::event::CustomDownstreamSticky::new(structure()),
        "custom-oob" => gst::event::CustomDownstreamOob::new(structure()),
        "custom-both" => gst::event::CustomBoth::new(structure()),
        "flush-start" => gst::event::FlushStart::new(),
        "flush-stop" => gst::event::FlushStop::new(true),
        "eos" => gst::event::Eos::new(),
        "custom-upstream" => gst::event::CustomUpstream::new(structure()),
        "navigation" => gst::event::Navigation::new(structure()),
        "force-key-unit" => gst_video::UpstreamForceKeyUnitEvent::builder()
            .running_time(time("running-time"))
            .all_headers(true)
            .build(),
        "qos" => gst::event::Qos::builder(gst::QOSType::Underflow, 1.5, 10)
            .timestamp(time("running-time"))
            .build(),
        "seek" => seek(order),
        other => panic!("{other:?} is not an event"),
    }
}

/// A flushing seek; to the start unless the order gives a position.
pub(crate) fn seek(order: &Line) -> gst::Event {
    let rate = order
        .get("rate")
        .map_or(1.0, |rate| rate.parse().expect("a rate"));
    let mut flags = gst::SeekFlags::FLUSH;
    for flag in order
        .get("flags")
        .into_iter()
        .flat_map(|flags| flags.split('+'))
    {
        flags |= match flag {
            "segment" => gst::SeekFlags::SEGMENT,
            "accurate" => gst::SeekFlags::ACCURATE,
            "key-unit" => gst::SeekFlags::KEY_UNIT,
            other => panic!("{other:?} is not a flag"),
        };
    }
    let value = |nseconds: i64| gst::GenericFormattedValue::new(gst::Format::Time, nseconds);
    let number = |key: &str| order.get_number(key).map(|number| number as i64);
    let (start_type, start) = match number("end") {
        Some(before) => (gst::SeekType::End, -before),
        None => (gst::SeekType::Set, number("start").unwrap_or(0)),
    };
    let (stop_type, stop) = match number("stop") {
        Some(stop) => (gst::SeekType::Set, stop),
        None => (gst::SeekType::None, -1),
    };
    gst::event::Seek::new(
        rate,
        flags,
        start_type,
        value(start),
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
