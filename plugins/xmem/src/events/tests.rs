use glib::translate::IntoGlib;

use super::*;
use crate::timestamps::LAST_TIME;
use crate::values::Encoder;

/// Encodes an event that is not too large.
fn encode(event: &gst::EventRef, offset: Option<MonotonicOffset>) -> Option<(EventKind, Vec<u8>)> {
    super::encode(event, offset).expect("it is not too large")
}

fn offset() -> Option<MonotonicOffset> {
    Some(MonotonicOffset::from_nseconds(7_000_000_000))
}

fn caps() -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("format", "RGB")
        .field("width", 64i32)
        .build()
}

fn tags() -> gst::TagList {
    let mut tags = gst::TagList::new();
    tags.make_mut()
        .add::<gst::tags::Title>(&"Title", gst::TagMergeMode::Append);
    tags
}

fn stream(id: &str) -> gst::Stream {
    let kind = gst::StreamType::VIDEO;
    let stream = gst::Stream::new(Some(id), Some(&caps()), kind, gst::StreamFlags::SELECT);
    stream.set_tags(Some(&tags()));
    stream
}

fn structure() -> gst::Structure {
    gst::Structure::builder("application/x-event")
        .field("number", 42i32)
        .field("text", "ä")
        .build()
}

/// Returns one event of each kind that crosses unchanged.
fn plain_events() -> Vec<gst::Event> {
    let collection = gst::StreamCollection::builder(Some("upstream"))
        .streams(["one", "two"].map(stream))
        .build();
    vec![
        gst::event::StreamStart::builder("id/1")
            .flags(gst::StreamFlags::SPARSE)
            .stream(stream("id/1"))
            .build(),
        gst::event::StreamStart::new(""),
        gst::event::StreamCollection::new(&collection),
        gst::event::Tag::new(tags()),
        gst::event::SegmentDone::new(gst::ClockTime::from_seconds(5)),
        gst::event::SegmentDone::new(gst::format::Bytes::from_u64(5000)),
        gst::event::CustomDownstream::new(structure()),
        gst::event::CustomDownstreamSticky::new(structure()),
        gst::event::CustomDownstreamOob::new(structure()),
        gst::event::CustomBoth::new(structure()),
        gst::event::CustomBothOob::new(structure()),
    ]
}

fn round_trip(event: &gst::Event) -> DecodedEvent {
    let (_, bytes) = encode(event, offset()).expect("it crosses");
    decode(&bytes, offset(), 0).unwrap().expect("it is known")
}

/// Describes an event, except for its objects, which GStreamer compares by their addresses.
fn described(event: &gst::EventRef) -> String {
    let stream = |stream: &gst::Stream| {
        format!(
            "{:?} {:?} {:?} {:?} {:?}",
            stream.stream_id(),
            stream.caps(),
            stream.tags(),
            stream.stream_type(),
            stream.stream_flags()
        )
    };
    let streams = match event.view() {
        gst::EventView::StreamStart(start) => start.stream().into_iter().collect(),
        gst::EventView::StreamCollection(event) => {
            let collection = event.stream_collection();
            assert_eq!(collection.upstream_id().as_deref(), Some("upstream"));
            bindings::streams(&collection).collect::<Vec<_>>()
        }
        _ => Vec::new(),
    };
    let streams: Vec<_> = streams.iter().map(stream).collect();
    let structure = event.structure().map(|structure| {
        let mut structure = structure.to_owned();
        for field in ["stream", "collection", "group-id", "taglist"] {
            structure.remove_field(field);
        }
        structure
    });
    let tags = match event.view() {
        gst::EventView::Tag(event) => event.tag().to_string(),
        _ => String::new(),
    };
    format!("{:?} {structure:?} {tags} {streams:?}", event.type_())
}

#[test]
fn events_cross_as_they_are() {
    gst::init().unwrap();
    for event in plain_events() {
        match round_trip(&event) {
            DecodedEvent::Event(crossed) => assert_eq!(described(&crossed), described(&event)),
            other => panic!("{other:?} of {event:?}"),
        }
    }
    assert!(encode(&gst::event::Caps::new(&caps()), None).is_none());
}

/// The numbers in two processes have a test with two processes; here both sides share one.
#[test]
fn a_number_has_one_name_whatever_event_it_is_of() {
    gst::init().unwrap();
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    let names = [gst::Seqnum::next(), gst::Seqnum::next()].map(|seqnum| {
        let mut events = plain_events();
        events.push(gst::event::Segment::new(&segment));
        events.push(gst::event::Gap::builder(gst::ClockTime::ZERO).build());
        events.push(gst::event::Eos::new());
        let numbered = events.iter_mut().map(|event| {
            event.make_mut().set_seqnum(seqnum);
            encode(event, None).expect("it crosses").1
        });
        let mut said: Vec<_> = numbered.collect();
        said.push(encode_flush(seqnum).1);
        let upstream = upstream_events().into_iter().map(|mut event| {
            event.make_mut().set_seqnum(seqnum);
            upstream::encode(&event, offset()).expect("it crosses")
        });
        said.extend(upstream);
        // The name follows the kind.
        let names: Vec<_> = said.iter().map(|said| said[4..16].to_vec()).collect();
        assert!(names.iter().all(|name| *name == names[0]));
        names[0].clone()
    });
    assert_ne!(names[0], names[1]);
    for (_, said) in [
        encode_own(EventContent::Drain),
        encode_own(EventContent::Latency(Some(1_000_000_000))),
    ] {
        assert_eq!(said[4..16], [0; 12]);
    }
}

#[test]
fn protections_cross_with_their_data() {
    gst::init().unwrap();
    let mut data = gst::Buffer::from_slice([1, 2, 3]);
    data.get_mut().unwrap().set_pts(gst::ClockTime::SECOND);
    for origin in [None, Some("isobmff/moov")] {
        let event = gst::event::Protection::builder("edef8ba9-79d6", &data);
        let DecodedEvent::Event(crossed) = round_trip(&event.origin_if_some(origin).build()) else {
            panic!("not an event");
        };
        let gst::EventView::Protection(crossed) = crossed.view() else {
            panic!("{crossed:?}");
        };
        let (system, crossed, said_origin) = crossed.get();
        assert_eq!((system, said_origin), ("edef8ba9-79d6", origin));
        assert_eq!(crossed.pts(), data.pts());
        assert_eq!(*crossed.map_readable().unwrap(), [1, 2, 3]);
    }
}

/// Returns an entry as text, with its sub-entries.
fn entry(entry: &gst::TocEntry) -> String {
    let below: Vec<_> = entry.sub_entries().iter().map(self::entry).collect();
    format!(
        "{:?} {} {:?} {:?} {:?} {below:?}",
        entry.entry_type(),
        entry.uid(),
        entry.start_stop_times(),
        entry.loop_(),
        entry.tags().map(|tags| tags.to_string()),
    )
}

#[test]
fn tables_of_contents_cross() {
    gst::init().unwrap();
    let mut toc = gst::Toc::new(gst::TocScope::Global);
    let mut edition = gst::TocEntry::new(gst::TocEntryType::Edition, "edition");
    for (number, uid) in ["one", "two"].into_iter().enumerate() {
        let mut chapter = gst::TocEntry::new(gst::TocEntryType::Chapter, uid);
        let content = chapter.make_mut();
        let start = number as i64 * 1_000_000_000;
        content.set_start_stop_times(start, start + 1_000_000_000);
        content.set_loop(gst::TocLoopType::PingPong, 3);
        content.set_tags(tags());
        edition.make_mut().append_sub_entry(chapter);
    }
    let content = toc.make_mut();
    content.append_entry(edition);
    content.set_tags(tags());
    let DecodedEvent::Event(crossed) = round_trip(&gst::event::Toc::new(&toc, true)) else {
        panic!("not an event");
    };
    let gst::EventView::Toc(crossed) = crossed.view() else {
        panic!("{crossed:?}");
    };
    let (crossed, updated) = crossed.toc_owned();
    assert!(updated);
    assert_eq!(crossed.scope(), toc.scope());
    assert_eq!(crossed.tags().unwrap().to_string(), tags().to_string());
    let entries = |toc: &gst::Toc| toc.entries().iter().map(entry).collect::<Vec<_>>();
    assert_eq!(entries(&crossed), entries(&toc));
}

#[test]
fn a_table_of_contents_that_is_too_large_or_too_deep_is_refused() {
    gst::init().unwrap();
    let mut deep = gst::TocEntry::new(gst::TocEntryType::Chapter, "0");
    for _ in 0..20 {
        let mut above = gst::TocEntry::new(gst::TocEntryType::Chapter, "0");
        above.make_mut().append_sub_entry(deep);
        deep = above;
    }
    let mut toc = gst::Toc::new(gst::TocScope::Current);
    toc.make_mut().append_entry(deep);
    assert!(super::encode(&gst::event::Toc::new(&toc, false), None).is_err());
    let mut toc = gst::Toc::new(gst::TocScope::Current);
    for number in 0..5000 {
        let track = gst::TocEntry::new(gst::TocEntryType::Track, &number.to_string());
        toc.make_mut().append_entry(track);
    }
    assert!(super::encode(&gst::event::Toc::new(&toc, false), None).is_err());
    // Such a table is not decoded either.
    let mut bytes = Vec::new();
    let mut writer = Encoder::new(&mut bytes);
    writer.u32(kind::TOC);
    writer.raw(&[0; 12]);
    for number in [1, 0, 0, 5000] {
        writer.u32(number);
    }
    for _ in 0..5000 {
        let entry = writer.record(1, |writer| {
            writer.i32(2);
            writer.text("track")?;
            for time in [-1, -1] {
                writer.i64(time);
            }
            for number in [0; 4] {
                writer.u32(number);
            }
            Some(())
        });
        entry.unwrap();
    }
    assert!(matches!(
        decode(&bytes, None, 0),
        Err(DecodeError::Invalid(_))
    ));
    for (byte, few) in bytes[28..32].iter_mut().zip(10u32.to_le_bytes()) {
        *byte = few;
    }
    assert!(matches!(
        decode(&bytes, None, 0),
        Ok(Some(DecodedEvent::Event(_)))
    ));
}

/// GStreamer makes a structure name of the system and the origin, and not every text is a valid
/// name.
#[test]
fn a_protection_with_a_name_that_can_not_be_is_refused() {
    gst::init().unwrap();
    for (system, is_good) in [("a b", false), ("edef8ba9", true), ("ä", false)] {
        let mut bytes = Vec::new();
        let mut writer = Encoder::new(&mut bytes);
        writer.u32(kind::PROTECTION);
        writer.raw(&[0; 12]);
        writer.text(system).unwrap();
        writer.u32(0);
        let buffer = from_gst::buffer(&gst::Buffer::from_slice([1])).unwrap();
        buffer.encode(&mut writer).unwrap();
        assert_eq!(decode(&bytes, None, 0).is_ok(), is_good, "{system:?}");
    }
}

#[test]
fn streams_of_one_group_are_one_group_here() {
    gst::init().unwrap();
    let group = gst::GroupId::next();
    let starts = [group, group, gst::GroupId::next()].map(|group| {
        let start = gst::event::StreamStart::builder("id").group_id(group);
        match round_trip(&start.build()) {
            DecodedEvent::Event(event) => match event.view() {
                gst::EventView::StreamStart(start) => start.group_id().unwrap(),
                _ => panic!("{event:?}"),
            },
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(starts[0], starts[1]);
    assert_ne!(starts[0], starts[2]);
}

#[test]
fn segments_of_every_format_cross() {
    gst::init().unwrap();
    for format in [
        gst::Format::Time,
        gst::Format::Bytes,
        gst::Format::Default,
        gst::Format::Buffers,
    ] {
        let mut segment = gst::Segment::new();
        let value = |number| gst::GenericFormattedValue::new(format, number);
        segment.set_format(format);
        segment.set_flags(gst::SegmentFlags::TRICKMODE);
        segment.set_rate(-2.5);
        segment.set_applied_rate(0.5);
        segment.set_base(value(1));
        segment.set_offset(value(2));
        segment.set_start(value(3));
        segment.set_stop(value(4_000_000_000));
        segment.set_time(value(5));
        segment.set_position(value(6));
        segment.set_duration(value(-1));
        match round_trip(&gst::event::Segment::new(&segment)) {
            DecodedEvent::Segment(crossed, theirs, _) => {
                assert_eq!(crossed, segment);
                assert_eq!(theirs, offset());
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Encodes and decodes a TIME segment. Returns whether that succeeds.
fn crossed(change: impl FnOnce(&mut gst::FormattedSegment<gst::ClockTime>)) -> bool {
    let mut segment = gst::FormattedSegment::new();
    change(&mut segment);
    let said = encode(&gst::event::Segment::new(&segment), offset());
    let (_, content) = said.expect("a segment crosses");
    match decode(&content, offset(), 0) {
        Ok(Some(DecodedEvent::Segment(read, ..))) => {
            assert_eq!(read, segment.upcast());
            true
        }
        Err(DecodeError::Invalid(_)) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn segments_cross_that_elements_can_reckon_with() {
    gst::init().unwrap();
    const HOUR: u64 = 3_600_000_000_000;
    let time = gst::ClockTime::from_nseconds;
    for rate in [1.0, -1.0, 64.0, -64.0, 0.01, -0.01, 1024.0, 29.97 / 23.976] {
        // The times of a recording, of a day of this epoch, and of a stream that has run for years.
        for start in [0, HOUR, 1_790_000_000_000_000_000] {
            let takes = crossed(|segment| {
                segment.set_rate(rate);
                segment.set_start(time(start));
                segment.set_stop(time(start + 24 * HOUR));
                segment.set_time(time(start));
                segment.set_position(time(start));
                segment.set_base(time(100_000 * HOUR));
                segment.set_offset(time(HOUR));
            });
            assert!(takes, "{rate} from {start}");
        }
    }
    assert!(crossed(|segment| segment.set_applied_rate(-16.0)));
    // The usual segment has no stop, time and position.
    assert!(crossed(|segment| segment.set_time(None::<gst::ClockTime>)));
    // The position is from before the seek.
    assert!(crossed(|segment| segment.set_start(time(HOUR))));
    for rate in [
        5e-324,
        1e-300,
        1e-4,
        1025.0,
        -1e9,
        1e300,
        f64::INFINITY,
        f64::NAN,
    ] {
        // Written into the bytes, because GStreamer's setter refuses some of these rates.
        let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
        segment.set_stop(time(HOUR));
        let said = encode(&gst::event::Segment::new(&segment), offset());
        let (_, content) = said.expect("a segment crosses");
        // The rates follow the kind, the sequence number, the format and the flags.
        for at in [24, 32] {
            let mut content = content.clone();
            assert_eq!(content[at..at + 8], 1f64.to_le_bytes());
            content[at..at + 8].copy_from_slice(&f64::to_le_bytes(rate));
            let read = decode(&content, offset(), 0);
            assert!(
                matches!(read, Err(DecodeError::Invalid(_))),
                "{rate} at {at}"
            );
        }
    }
    // A time whose fourfold overflows, and a long segment that takes too long at its rate.
    assert!(!crossed(|segment| segment.set_base(time(LAST_TIME + 1))));
    assert!(!crossed(|segment| {
        segment.set_rate(0.01);
        segment.set_stop(time(LAST_TIME / 50));
    }));
    assert!(!crossed(|segment| {
        segment.set_applied_rate(64.0);
        segment.set_stop(time(LAST_TIME / 50));
    }));
}

#[test]
fn gaps_and_latencies_of_another_world_are_refused() {
    gst::init().unwrap();
    let time = gst::ClockTime::from_nseconds;
    let far = time(LAST_TIME + 1);
    let gap = |timestamp, duration| {
        let gap = gst::event::Gap::builder(timestamp).duration(duration);
        encode(&gap.build(), offset()).expect("a gap crosses").1
    };
    let done = |position| {
        let done = gst::event::SegmentDone::new(position);
        encode(&done, offset()).expect("its end crosses").1
    };
    for (content, is_usable) in [
        (gap(time(LAST_TIME), time(LAST_TIME)), true),
        (gap(far, time(1)), false),
        (gap(time(1), far), false),
        (encode_own(EventContent::Latency(Some(LAST_TIME))).1, true),
        (
            encode_own(EventContent::Latency(Some(far.nseconds()))).1,
            false,
        ),
        (done(time(LAST_TIME)), true),
        (done(far), false),
    ] {
        let read = decode(&content, offset(), 0);
        assert_eq!(
            !matches!(read, Err(DecodeError::Invalid(_))),
            is_usable,
            "{read:?}"
        );
    }
}

#[test]
fn gaps_latencies_and_what_is_accepted_cross() {
    gst::init().unwrap();
    let second = gst::ClockTime::SECOND;
    for (duration, flags) in [(None, Some(gst::GapFlags::DATA)), (Some(second), None)] {
        let gap = gst::event::Gap::builder(second)
            .duration(duration)
            .gap_flags_if_some(flags)
            .build();
        match round_trip(&gap) {
            DecodedEvent::Gap(crossed, theirs) => {
                assert_eq!(described(&crossed), described(&gap));
                assert_eq!(theirs, offset());
            }
            other => panic!("{other:?}"),
        }
    }
    let (_, bytes) = encode_own(EventContent::Latency(Some(second.nseconds())));
    assert!(
        matches!(decode(&bytes, None, 0), Ok(Some(DecodedEvent::Latency(latency))) if latency == second)
    );
    let (_, bytes) = encode_own(EventContent::Accepts(
        (UpstreamEvents::SEEK | UpstreamEvents::CUSTOM).bits(),
    ));
    let accepts = UpstreamEvents::SEEK | UpstreamEvents::CUSTOM;
    assert!(
        matches!(decode(&bytes, None, 0), Ok(Some(DecodedEvent::Accepts(crossed))) if crossed == accepts)
    );
    let (_, bytes) = encode_flush(gst::Seqnum::next());
    assert!(matches!(
        decode(&bytes, None, 0),
        Ok(Some(DecodedEvent::Flush(_)))
    ));
    let (_, bytes) = encode(&gst::event::Eos::new(), None).unwrap();
    assert!(matches!(
        decode(&bytes, None, 0),
        Ok(Some(DecodedEvent::End(_)))
    ));
}

#[test]
fn a_key_unit_is_wanted_at_the_same_moment() {
    gst::init().unwrap();
    let [theirs, ours] = [3, 5].map(gst::ClockTime::from_seconds);
    let offset = |base: gst::ClockTime| {
        let nseconds = i64::try_from(base.nseconds()).unwrap();
        Some(MonotonicOffset::from_nseconds(nseconds))
    };
    let at = |seconds| {
        gst_video::UpstreamForceKeyUnitEvent::builder()
            .running_time(gst::ClockTime::from_seconds(seconds))
            .all_headers(true)
            .count(7)
            .build()
    };
    let cross = |event: &gst::Event| {
        assert_eq!(upstream::which(event), Some(UpstreamEvents::FORCE_KEY_UNIT));
        let bytes = upstream::encode(event, offset(theirs)).unwrap();
        upstream::decode(&bytes, offset(ours)).unwrap()
    };
    let parse = |event: &gst::Event| gst_video::UpstreamForceKeyUnitEvent::parse(event).unwrap();
    let crossed = parse(&cross(&at(10)));
    assert_eq!(crossed.running_time, Some(gst::ClockTime::from_seconds(8)));
    assert!(crossed.all_headers && crossed.count == 7);
    // A time before the start of the pipeline means at once.
    assert_eq!(parse(&cross(&at(1))).running_time, None);

    let down = gst_video::DownstreamForceKeyUnitEvent::builder()
        .running_time(gst::ClockTime::from_seconds(10))
        .build();
    let (_, bytes) = encode(&down, offset(theirs)).unwrap();
    let Ok(Some(DecodedEvent::Event(crossed))) = decode(&bytes, offset(ours), 0) else {
        panic!("it crosses");
    };
    let crossed = gst_video::DownstreamForceKeyUnitEvent::parse(&crossed).unwrap();
    assert_eq!(crossed.running_time, Some(gst::ClockTime::from_seconds(8)));
}

fn upstream_events() -> Vec<gst::Event> {
    let second = gst::ClockTime::SECOND;
    vec![
        gst::event::CustomUpstream::new(structure()),
        gst::event::CustomBoth::new(structure()),
        gst::event::Navigation::new(structure()),
        gst::event::Qos::builder(gst::QOSType::Underflow, 0.5, -100)
            .timestamp(8 * second)
            .build(),
        gst::event::Seek::new(
            -1.0,
            gst::SeekFlags::FLUSH,
            gst::SeekType::Set,
            second,
            gst::SeekType::None,
            gst::ClockTime::NONE,
        ),
    ]
}

#[test]
fn upstream_events_cross_as_they_are() {
    gst::init().unwrap();
    for event in upstream_events() {
        assert!(upstream::which(&event).is_some());
        let bytes = upstream::encode(&event, offset()).unwrap();
        let crossed = upstream::decode(&bytes, offset()).unwrap();
        assert_eq!(described(&crossed), described(&event));
    }
    assert!(upstream::which(&gst::event::Reconfigure::new()).is_none());
}

#[test]
fn a_seek_that_gstreamer_would_warn_of_is_one_that_it_takes() {
    gst::init().unwrap();
    let snap = gst::SeekFlags::SNAP_BEFORE | gst::SeekFlags::FLUSH;
    let mut bytes = Vec::new();
    let mut writer = Encoder::new(&mut bytes);
    writer.u32(gst::EventType::Seek.into_glib() as u32);
    writer.raw(&[0; 12]);
    writer.f64(1.0);
    for number in [gst::Format::Time.into_glib() as u32, snap.bits()] {
        writer.u32(number);
    }
    for (kind, value) in [(gst::SeekType::Set, 7), (gst::SeekType::None, -1)] {
        writer.u32(kind.into_glib() as u32);
        writer.i64(value);
    }
    crate::fuzz::quietly(|| {
        let event = upstream::decode(&bytes, None).unwrap();
        let gst::EventView::Seek(seek) = event.view() else {
            panic!("{event:?}");
        };
        assert_eq!(seek.get().1, gst::SeekFlags::FLUSH);
    });
}

#[test]
fn no_bytes_make_it_panic() {
    gst::init().unwrap();
    let mut samples: Vec<Vec<u8>> = plain_events()
        .iter()
        .filter_map(|event| encode(event, offset()))
        .map(|(_, bytes)| bytes)
        .collect();
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    let segment = gst::event::Segment::new(&segment);
    let gap = gst::event::Gap::new(gst::ClockTime::SECOND, None);
    samples.extend([segment, gap].iter().filter_map(|event| {
        let said = encode(event, offset());
        said.map(|(_, bytes)| bytes)
    }));
    let upstream = upstream_events();
    samples.extend(
        upstream
            .iter()
            .filter_map(|event| upstream::encode(event, offset())),
    );
    for sample in samples {
        for at in 0..sample.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = sample.clone();
                changed[at] = value;
                for bytes in [&changed[..], &changed[..at]] {
                    let _ = decode(bytes, offset(), 0);
                    let _ = upstream::decode(bytes, offset());
                }
            }
        }
    }
}

#[test]
fn the_length_of_a_stream_is_told_as_it_was_answered() {
    use super::extent::{answers, extent as extent_of, formats};
    use xmem_media::event::Seeking;

    gst::init().unwrap();
    let told = |extent: &Extent| {
        let (_, content) = encode_own(EventContent::Extent(extent.clone()));
        match decode(content.as_slice(), None, 0) {
            Ok(Some(DecodedEvent::Extent(told))) => Some(told),
            _ => None,
        }
    };
    let extent = extent_of(true, |format| {
        let duration = (format == gst::Format::Time).then_some(5_000_000_000);
        let seeking = (format != gst::Format::Bytes).then_some(Seeking {
            is_seekable: format == gst::Format::Time,
            start: 0,
            // An invalid time.
            end: i64::MIN,
        });
        (duration, seeking)
    });
    let formats: Vec<_> = formats(&extent).collect();
    // Formats without an answer are not sent.
    assert!(!formats.contains(&gst::Format::Bytes), "{formats:?}");
    let told = told(&extent).unwrap();
    assert_eq!(told, extent);
    let time = answers(&told, gst::Format::Time).unwrap();
    assert_eq!(time.duration, Some(5_000_000_000));
    let seeking = time.seeking.unwrap();
    assert_eq!(
        (seeking.start, seeking.end, seeking.is_seekable),
        (0, -1, true)
    );
    // A duration that is answered as unknown differs from no answer.
    let unknown = extent_of(false, |_| (Some(-1), None));
    assert_eq!(
        answers(&unknown, gst::Format::Bytes).unwrap().duration,
        Some(-1)
    );
}

#[test]
fn a_length_that_breaks_the_protocol_is_refused() {
    let content = |answers: &[(u32, i64)]| {
        let mut bytes = Vec::new();
        let mut writer = Encoder::new(&mut bytes);
        writer.u32(kind::EXTENT);
        writer.raw(&[0; 12]);
        writer.u32(0);
        writer.u32(answers.len() as u32);
        for (format, duration) in answers {
            writer.u32(*format);
            writer.u32(1);
            writer.i64(*duration);
            writer.i64(-1);
            writer.i64(-1);
        }
        bytes
    };
    let is_taken = |answers: &[(u32, i64)]| {
        let content = content(answers);
        decode(content.as_slice(), None, 0).is_ok()
    };
    assert!(is_taken(&[(3, 5), (2, -1)]));
    for wrong in [
        vec![(3, -2)],
        vec![(3, i64::MAX)],
        vec![(3, 1), (3, 1)],
        vec![(0, 1)],
        vec![(5, 1)],
        vec![(1, 1); 5],
    ] {
        assert!(!is_taken(&wrong), "{wrong:?}");
    }
}

#[test]
fn a_seek_crosses_with_any_bounds_that_elements_can_reckon_with() {
    gst::init().unwrap();
    let crosses = |rate: f64, start: (gst::SeekType, i64), stop: (gst::SeekType, i64)| {
        let value = |(kind, value)| {
            (
                kind,
                gst::GenericFormattedValue::new(gst::Format::Time, value),
            )
        };
        let ((start_type, start), (stop_type, stop)) = (value(start), value(stop));
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
        let seek = gst::event::Seek::new(rate, flags, start_type, start, stop_type, stop);
        let bytes = upstream::encode(&seek, None)?;
        let event = upstream::decode(bytes.as_slice(), None).ok()?;
        let gst::EventView::Seek(told) = event.view() else {
            return None;
        };
        assert_eq!(
            told.get(),
            (rate, flags, start_type, start, stop_type, stop)
        );
        assert_eq!(event.seqnum(), seek.seqnum());
        Some(())
    };
    use gst::SeekType::{End, None as Unchanged, Set};
    for (rate, start, stop) in [
        (1.0, (Set, 0), (Unchanged, -1)),
        (-2.5, (Set, 0), (Set, 5_000_000_000)),
        (1.0, (End, -1_000_000_000), (End, 0)),
        (1.0, (End, -1), (Set, -1)),
    ] {
        assert!(
            crosses(rate, start, stop).is_some(),
            "{rate} {start:?} {stop:?}"
        );
    }
    for (rate, start, stop) in [
        (5000.0, (Set, 0), (Unchanged, -1)),
        (1.0, (Set, -2), (Unchanged, -1)),
        (1.0, (Set, i64::MAX), (Unchanged, -1)),
        (1.0, (End, i64::MIN), (Unchanged, -1)),
    ] {
        assert!(
            crosses(rate, start, stop).is_none(),
            "{rate} {start:?} {stop:?}"
        );
    }
}
