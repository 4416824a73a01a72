use super::*;

fn pixels(size: usize) -> Pixels {
    Pixels {
        width: 3,
        height: 2,
        bytes: (0..6 * size as u8).collect(),
    }
}

fn overlay(size: usize) -> Overlay {
    let rectangle = OverlayRectangle {
        is_ayuv: true,
        flags: 1,
        alpha: 0.5,
        x: -1,
        y: 2,
        width: 30,
        height: 40,
        pixels: pixels(size),
    };
    assert!(rectangle.is_drawable());
    Overlay {
        rectangles: vec![rectangle],
    }
}

fn tensor() -> Tensor {
    Tensor {
        id: Text::new("boxes").unwrap(),
        data_type: 2,
        order: 1,
        dims: vec![3, 1],
        data: [1, 2, 3, 4, 5, 6].into(),
    }
}

fn analytics() -> Analytics {
    let text = |text| Text::new(text).unwrap();
    let object = Object {
        kind: text("car"),
        x: -1,
        y: 2,
        width: 3,
        height: 4,
        rotation: 0.5,
        confidence: 0.9,
    };
    let class = |name, level| Class {
        name: text(name),
        level,
    };
    let classes = vec![class("red", 0.75), class("", 0.25)];
    let tracking = Tracking {
        id: u64::MAX,
        first_seen: 5,
        last_seen: 7,
        is_lost: true,
    };
    let segmentation = |format: MaskFormat| Segmentation {
        x: -7,
        y: 8,
        width: 9,
        height: 10,
        regions: vec![0, 12, 31],
        mask: Mask {
            format,
            pixels: pixels(format.size()),
        },
    };
    Analytics {
        things: vec![
            object.into(),
            Classes { classes }.into(),
            tracking.into(),
            segmentation(MaskFormat::Gray8).into(),
            segmentation(MaskFormat::Gray16Be).into(),
            tensor().into(),
            Thing::Unknown {
                kind: 99,
                bytes: vec![1],
            },
        ],
        relations: vec![Relation {
            first: 0,
            second: 6,
            types: 2,
        }],
    }
}

#[test]
fn relations_are_those_of_things_that_are_there() {
    let mut extra = Vec::new();
    for (first, second, types, expected) in [
        (0, 6, 0xff, true),
        (0, 7, 2, false),
        (7, 0, 2, false),
        (0, 1, 0x100, false),
    ] {
        let relation = Relation {
            first,
            second,
            types,
        };
        let meta = Meta::from(Analytics {
            relations: vec![relation],
            ..analytics()
        });
        let written = MetaWriter::new(&mut extra).write(&meta);
        assert_eq!(written.is_ok(), expected, "{first} {second} {types}");
    }
    // As another process can write it.
    let second = extra.len() - 8;
    extra[second] = 7;
    let read = MetaReader::new(&extra).next().unwrap();
    assert!(matches!(read, Err(DecodeError::Invalid(_))), "{read:?}");
}

#[test]
fn a_mask_of_a_later_format_is_a_thing_that_is_not_known() {
    let mut extra = Vec::new();
    let meta = Meta::from(analytics());
    MetaWriter::new(&mut extra).write(&meta).unwrap();
    // The format stands before the sides of the first mask.
    let mask = [0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 0, 1, 2, 3, 4, 5];
    let at = extra.windows(mask.len()).position(|bytes| bytes == mask);
    extra[at.unwrap()] = 3;
    let meta = MetaReader::new(&extra).next().unwrap().unwrap();
    let Meta::Analytics(read) = meta else {
        panic!("{meta:?}")
    };
    assert!(matches!(read.things[3], Thing::Unknown { kind: 4, .. }));
    assert_eq!(read.things[4..], analytics().things[4..]);
    let mut again = Vec::new();
    MetaWriter::new(&mut again).write(&read.into()).unwrap();
    assert_eq!(again, extra);
}

#[test]
fn metas_come_back_as_they_were() {
    let text = |text| Text::new(text).unwrap();
    let structure = || "a, b=(int)1".parse::<crate::Structure>().unwrap();
    let audio = Audio {
        format: text("S16LE"),
        rate: 48000,
        channels: 2,
        flags: 0,
        positions: vec![0, 1],
        samples: 10,
        offsets: Some(vec![0, 20]),
    };
    let code = TimeCode {
        rate: crate::Fraction::new(25, 1).unwrap(),
        flags: 0,
        hours: 1,
        minutes: 2,
        seconds: 3,
        frames: 4,
        fields: 0,
        daily_jam: None,
    };
    let metas: [Meta; 11] = [
        overlay(4).into(),
        analytics().into(),
        Tensors {
            tensors: vec![tensor()],
        }
        .into(),
        code.into(),
        VideoLayout::default().into(),
        Region {
            params: vec![structure()],
            ..Region::named("face").unwrap()
        }
        .into(),
        audio.into(),
        Custom {
            tags: vec![text("video")],
            structure: structure(),
        }
        .into(),
        Ancillary {
            count: 0x102,
            words: vec![1, 2],
            ..Ancillary::default()
        }
        .into(),
        Memories { sizes: vec![1, 0] }.into(),
        Meta::Unknown {
            kind: 99,
            bytes: vec![1, 2],
        },
    ];
    let mut extra = Vec::new();
    let mut writer = MetaWriter::new(&mut extra);
    for meta in &metas {
        writer.write(meta).unwrap();
    }
    let read: Vec<_> = MetaReader::new(&extra).map(Result::unwrap).collect();
    assert_eq!(read, metas);
    for at in 0..extra.len() {
        crate::fuzz::metas(&extra[..at]);
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = extra.clone();
            changed[at] = value;
            crate::fuzz::metas(&changed);
        }
    }
}

#[test]
fn metas_that_no_reader_takes_are_not_written() {
    let mut extra = Vec::new();
    let memories: Meta = AudioDownmix {
        from: vec![0],
        to: vec![0],
        matrix: Vec::new(),
    }
    .into();
    let tags = vec![Text::default(); 17];
    let structure = "a".parse().unwrap();
    for meta in [
        memories,
        Custom { tags, structure }.into(),
        overlay(3).into(),
    ] {
        assert!(MetaWriter::new(&mut extra).write(&meta).is_err());
        assert!(extra.is_empty());
    }
}
