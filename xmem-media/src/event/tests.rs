use super::*;

fn text(text: &str) -> Text {
    Text::new(text).unwrap()
}

fn stream(id: &str) -> Stream {
    let mut tags = TagList::empty(false);
    tags.add("title", text("Title")).unwrap();
    Stream {
        id: text(id),
        kind: 2,
        flags: 1,
        caps: Some("video/x-raw, width=8".parse().unwrap()),
        tags: Some(tags),
    }
}

fn segment() -> Segment {
    Segment {
        format: Format::Time,
        flags: 0,
        rate: -1.5,
        applied_rate: 1.0,
        base: 1,
        offset: 2,
        start: 3,
        stop: 1000,
        time: 5,
        position: u64::MAX,
        duration: u64::MAX,
    }
}

fn toc() -> Toc {
    let entry = |uid: &str, entries| TocEntry {
        kind: -2,
        uid: text(uid),
        start: -1,
        stop: 5,
        tags: stream("").tags,
        entries,
        ..TocEntry::default()
    };
    Toc {
        scope: 1,
        is_updated: true,
        tags: None,
        entries: vec![entry("a", vec![entry("b", Vec::new())])],
    }
}

/// An event of every kind.
fn contents() -> Vec<EventContent> {
    let structure: Structure = "application/x-event, number=42".parse().unwrap();
    vec![
        EventContent::StreamStart(StreamStart {
            id: text("id"),
            flags: 1,
            process: 7,
            group: 8,
            stream: Some(stream("id")),
        }),
        EventContent::Segment(segment(), Some(-5)),
        EventContent::Latency(Some(LAST_TIME)),
        EventContent::Accepts(17),
        EventContent::StreamCollection(StreamCollection {
            upstream_id: Some(text("up")),
            streams: vec![stream("one"), Stream::default()],
        }),
        EventContent::Tags(stream("").tags.unwrap()),
        EventContent::Custom(Custom { kind: 4, structure }),
        EventContent::Gap(Gap {
            timestamp: 5,
            duration: None,
            flags: 1,
            offset: None,
        }),
        EventContent::Flush,
        EventContent::Drain,
        EventContent::SegmentDone(Format::Bytes, -1),
        EventContent::Protection(Protection {
            system: text("system"),
            origin: Some(text("origin")),
            data: Buffer::default(),
        }),
        EventContent::Toc(toc()),
        EventContent::End,
        EventContent::Waits(true),
        EventContent::Extent(Extent {
            is_live: true,
            answers: vec![Answers {
                format: Format::Time,
                duration: Some(5),
                seeking: Some(Seeking {
                    is_seekable: true,
                    start: 0,
                    end: -1,
                }),
            }],
        }),
        EventContent::Still(false),
        EventContent::Unknown {
            kind: 99,
            bytes: vec![1, 2, 3],
        },
    ]
}

fn event(content: EventContent) -> Event {
    let sequence = SequenceNumber {
        process: 3,
        number: 4,
    };
    Event { sequence, content }
}

fn upstream() -> Vec<UpstreamEvent> {
    let structure: Structure = "application/x-event, number=42".parse().unwrap();
    let qos = Qos {
        kind: 1,
        proportion: 1.5,
        difference: -3,
        time: Some(7),
    };
    let seek = Seek {
        rate: 1.0,
        format: Format::Time,
        flags: 3,
        start: Bound { kind: 1, value: 0 },
        stop: Bound { kind: 2, value: -5 },
    };
    let contents = [
        UpstreamContent::Structure(270 << 8 | 1, structure),
        UpstreamContent::Qos(qos),
        UpstreamContent::Seek(seek),
    ];
    let sequence = SequenceNumber::default();
    contents
        .map(|content| UpstreamEvent { sequence, content })
        .into()
}

#[test]
fn events_of_every_kind_come_back_as_they_were() {
    for content in contents() {
        let event = event(content);
        assert_eq!(Event::from_bytes(&event.to_bytes().unwrap()), Ok(event));
    }
    for event in upstream() {
        assert_eq!(
            UpstreamEvent::from_bytes(&event.to_bytes().unwrap()),
            Ok(event)
        );
    }
}

#[test]
fn events_of_later_versions_are_kept() {
    // A kind of custom events that is not known.
    let mut bytes = event(EventContent::Unknown {
        kind: kind::CUSTOM,
        bytes: 5u32.to_le_bytes().into(),
    })
    .to_bytes()
    .unwrap();
    bytes.extend([1, 2, 3]);
    let decoded = Event::from_bytes(&bytes).unwrap();
    assert!(matches!(decoded.content, EventContent::Unknown { .. }));
    assert_eq!(decoded.to_bytes(), Some(bytes));
}

#[test]
fn segments_that_elements_can_not_reckon_with_are_refused() {
    let crosses = |change: fn(&mut Segment)| {
        let mut segment = segment();
        change(&mut segment);
        let bytes = event(EventContent::Segment(segment, None))
            .to_bytes()
            .unwrap();
        Event::from_bytes(&bytes).is_ok()
    };
    assert!(crosses(|_| {}));
    for change in [
        (|segment| segment.rate = 0.0) as fn(&mut Segment),
        |segment| segment.rate = f64::NAN,
        |segment| segment.applied_rate = 1025.0,
        |segment| segment.base = u64::MAX,
        |segment| segment.start = 1001,
        |segment| segment.stop = u64::MAX,
        |segment| segment.offset = 1001,
        |segment| segment.time = LAST_TIME + 1,
        |segment| (segment.stop, segment.applied_rate) = (LAST_TIME, 2.0),
    ] {
        assert!(!crosses(change));
    }
}

#[test]
fn no_bytes_make_a_decoder_panic() {
    let events = contents()
        .into_iter()
        .map(|content| event(content).to_bytes());
    let upstream = upstream().into_iter().map(|event| event.to_bytes());
    for bytes in events.chain(upstream).flatten() {
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                for bytes in [&changed[..], &changed[..at]] {
                    crate::fuzz::event(bytes);
                }
            }
        }
    }
}
