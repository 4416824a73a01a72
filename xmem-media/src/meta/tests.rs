use super::*;

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
    let metas: [Meta; 8] = [
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
    for meta in [memories, Custom { tags, structure }.into()] {
        assert!(MetaWriter::new(&mut extra).write(&meta).is_err());
        assert!(extra.is_empty());
    }
}
