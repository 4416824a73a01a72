use proptest::prelude::*;

use super::types::kind;
use super::*;
use crate::error::DecodeError;
use crate::limits::{MAX_DEPTH, MAX_FIELDS, MAX_TAG_VALUES, MAX_VALUES};
use crate::{Decoder, Encoder};

fn encoded(write: impl FnOnce(&mut Encoder<'_>) -> Option<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes)).expect("it can be written");
    bytes
}

fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    Value::decode(&mut Decoder::new(bytes))
}

fn text(text: &str) -> Text {
    Text::new(text).unwrap()
}

fn sample() -> Sample {
    let buffer = Buffer {
        pts: Some(7),
        offset: 9,
        flags: 64,
        bytes: vec![1, 2, 3],
        ..Buffer::default()
    };
    let caps = "image/png, width=3".parse().unwrap();
    let info = Structure::new("GstTagImageInfo")
        .unwrap()
        .with("a", 1)
        .unwrap();
    Sample::new(Some(caps), Some(buffer), Some(info)).unwrap()
}

fn tags() -> TagList {
    let texts = |texts: &[&str]| texts.iter().map(|one| text(one).into()).collect();
    TagList::new(
        true,
        vec![
            ("title".into(), texts(&["ä title"])),
            ("artist".into(), texts(&["one", "two"])),
            ("image".into(), vec![sample().into()]),
        ],
    )
    .unwrap()
}

/// A value of every type.
pub(crate) fn values() -> Vec<Value> {
    let fraction = Fraction::new(-30000, 1001).unwrap();
    let half = Fraction::new(1, 2).unwrap();
    let time = |precision, offset| DateTime::new(2024, precision, offset).unwrap();
    let caps =
        "video/x-raw(memory:DMABuf, meta:GstVideoMeta), width=(int)[2,8,2]; audio/x-raw(ANY)";
    vec![
        true.into(),
        i32::MIN.into(),
        u32::MAX.into(),
        i64::MIN.into(),
        u64::MAX.into(),
        (-0.5f32).into(),
        f64::INFINITY.into(),
        Value::Long(-7),
        Value::Ulong(7),
        (-8i8).into(),
        200u8.into(),
        text("ä \" ; , \\").into(),
        text("").into(),
        Value::String(None),
        Value::strings(vec![text("a"), text(""), text("ä")]).unwrap(),
        fraction.into(),
        Value::Bitmask(1 << 63),
        FlagSet::new("GstFlagSet", 5, 7).unwrap().into(),
        IntRange::new(-6, 9, 3).unwrap().into(),
        IntRange::new(i64::MIN, i64::MAX, 1).unwrap().into(),
        DoubleRange::new(-1.5, 2.5).unwrap().into(),
        FractionRange::new(fraction, half).unwrap().into(),
        Date::new(9999, 12, 31).unwrap().into(),
        time(Precision::Year, 0).into(),
        time(Precision::Month(2), 0).into(),
        time(Precision::Day(2, 29), 0).into(),
        time(Precision::Minute(2, 29, 23, 59), 330).into(),
        time(Precision::Microsecond(2, 29, 23, 59, 58, 123_456), -585).into(),
        EpochTime::new(-1, 999_999, -33_300).unwrap().into(),
        Value::Bytes(vec![0, 255]),
        Buffer::default().into(),
        sample().into(),
        Structure::new("a/b").unwrap().into(),
        caps.parse::<Caps>().unwrap().into(),
        Caps::ANY.into(),
        Caps::EMPTY.into(),
        tags().into(),
        Value::Array(Values::new(vec![1.into(), 2.into()]).unwrap()),
        Value::List(Values::new(vec![text("a").into(), text("b").into()]).unwrap()),
        Value::List(Values::default()),
        Value::UniqueList(Values::new(vec![1.into(), 2.into()]).unwrap()),
        EnumValue::new("GstTagScope", 1).unwrap().into(),
        FlagsValue::new("GstSeekFlags", 3).unwrap().into(),
        Value::Unknown(Unknown::new(99, [1, 2, 3]).unwrap()),
    ]
}

fn all_values() -> Structure {
    let fields = values().into_iter().enumerate();
    let fields = fields.map(|(number, value)| (format!("field{number}").into(), value));
    Structure::from_fields("all", fields.collect()).unwrap()
}

#[test]
fn values_of_every_type_come_back_as_they_were() {
    for value in values() {
        let bytes = encoded(|encoder| value.encode(encoder));
        assert_eq!(decode(&bytes), Ok(value));
    }
    let all = all_values();
    assert_eq!(Structure::from_bytes(&all.to_bytes().unwrap()), Ok(all));
}

#[test]
fn what_has_no_value_of_its_own_comes_back_too() {
    let bytes = encoded(|encoder| {
        tags().encode(encoder)?;
        sample().buffer()?.encode(encoder)?;
        EpochTime::new(5, 6, 7).unwrap().encode(encoder)
    });
    let mut decoder = Decoder::new(&bytes);
    assert_eq!(TagList::decode(&mut decoder), Ok(tags()));
    assert_eq!(
        Buffer::decode(&mut decoder).as_ref(),
        Ok(sample().buffer().unwrap())
    );
    assert_eq!(
        EpochTime::decode(&mut decoder),
        Ok(EpochTime::new(5, 6, 7).unwrap())
    );
    assert!(decoder.is_empty());
}

#[test]
fn fields_are_found_by_name_and_type() {
    let mut structure = Structure::new("a/b").unwrap().with("c", 1).unwrap();
    structure.set("d", text("x")).unwrap();
    structure.set("c", 2).unwrap();
    assert_eq!(structure.get::<i32>("c"), Some(2));
    assert_eq!(structure.get::<u32>("c"), None);
    assert_eq!(structure.get::<&str>("d"), Some("x"));
    assert_eq!(structure.fields().len(), 2);
    assert_eq!(structure.remove("c"), Some(Value::Int(2)));
    assert_eq!(structure.get::<i32>("c"), None);
    assert_eq!(tags().values("artist").len(), 2);
    let image = tags();
    let image = image.values("image")[0].get::<&Sample>().unwrap();
    assert_eq!(
        image.caps().unwrap().structure(0).unwrap().name(),
        "image/png"
    );
}

#[test]
fn values_that_break_a_rule_cannot_be_made() {
    assert!(Text::new("a\0").is_err());
    assert!(Structure::new("a b").is_err());
    assert!(Structure::new("video/x-raw-rgb").is_err());
    assert!(Structure::new(&"a".repeat(256)).is_err());
    let mut structure = Structure::new("a").unwrap();
    assert!(structure.set("", 1).is_err());
    assert!(structure.set(&"x".repeat(256), 1).is_err());
    let twice = vec![("a".into(), 1.into()), ("a".into(), 2.into())];
    assert!(Structure::from_fields("a", twice).is_err());
    for name in ["memory", "memory:", ":a", "memory:a b", "memory:1"] {
        assert_eq!(Features::new([name]).is_ok(), name == ":a", "{name}");
    }
    assert!(Features::new(["m:x", "m:x"]).is_err());
    assert!(Unknown::new(kind::LIST, []).is_err());
    let mixed = vec![1.into(), IntRange::new(2, 9, 1).unwrap().into()];
    assert!(Values::new(mixed).is_err());
    let nested =
        [1.into(), text("x").into()].map(|one| Value::Array(Values::new(vec![one]).unwrap()));
    assert!(Values::new(nested.into()).is_err());
    assert!(Values::new(vec![Value::String(None), text("x").into()]).is_ok());
    for (numerator, denominator) in [(1, 0), (1, -1), (i32::MIN, 1)] {
        assert!(Fraction::new(numerator, denominator).is_err());
    }
    assert_eq!(Fraction::new(-6, 4), Fraction::new(-3, 2));
    assert_eq!(Fraction::new(0, i32::MAX), Fraction::new(0, 1));
    let values = vec![Value::Int(0); MAX_TAG_VALUES + 1];
    assert!(TagList::new(false, vec![("a".into(), values)]).is_err());
    let mut list = TagList::empty(false);
    for number in 0..MAX_TAG_VALUES as i32 {
        list.add("a", number).unwrap();
    }
    assert!(list.add("a", 1).is_err() && list.add("", 1).is_err());
    assert_eq!(list.tags().len(), 1);
    list.add("b", 1).unwrap();
    assert_eq!(list.values("a").len(), MAX_TAG_VALUES);
    let tags = vec![("a".into(), vec![]), ("a".into(), vec![])];
    assert!(TagList::new(false, tags).is_err());
}

#[test]
fn a_structure_takes_only_so_much() {
    let fields = |count: usize| {
        let fields = (0..count).map(|number| (format!("f{number}").into(), number as u32));
        fields.map(|(name, number)| (name, number.into())).collect()
    };
    assert!(Structure::from_fields("a", fields(MAX_FIELDS + 1)).is_err());
    let mut full = Structure::from_fields("a", fields(MAX_FIELDS)).unwrap();
    let before = full.clone();
    assert!(full.set("one-more", 1).is_err());
    assert!(full.set("f7", 1).is_ok());
    assert!(full.set("f7", 7u32).is_ok());
    assert_eq!(full, before);
    // The list is one too, and so is the structure.
    let many = |count: u32| Values::new(vec![Value::Int(0); count as usize]);
    assert!(many(MAX_VALUES).is_err());
    let many = Value::Array(many(MAX_VALUES - 1).unwrap());
    let mut structure = Structure::new("a").unwrap();
    assert!(structure.set("many", many).is_err());
    assert_eq!(structure.fields().len(), 0);
}

#[test]
fn dates_are_those_of_the_calendar() {
    for (days, parts) in [
        (1, (1, 1, 1)),
        (365, (1, 12, 31)),
        (366, (2, 1, 1)),
        (719_163, (1970, 1, 1)),
        (738_945, (2024, 2, 29)),
        (3_652_059, (9999, 12, 31)),
    ] {
        let date = Date::from_days(days).unwrap();
        assert_eq!(date.parts(), parts);
        assert_eq!(Date::new(parts.0, parts.1, parts.2), Ok(date));
    }
    for day in (1..3_652_059).step_by(97) {
        let date = Date::from_days(day).unwrap();
        let (year, month, day) = date.parts();
        assert_eq!(Date::new(year, month, day), Ok(date));
    }
    for (year, month, day) in [
        (2023, 2, 29),
        (1900, 2, 29),
        (2024, 4, 31),
        (2024, 13, 1),
        (0, 1, 1),
    ] {
        assert!(Date::new(year, month, day).is_err(), "{year}-{month}-{day}");
    }
    assert!(EpochTime::new(-62_135_596_800, 0, 0).is_ok());
    assert!(EpochTime::new(-62_135_596_800, 0, -1).is_err());
    assert!(EpochTime::new(253_402_300_799, 0, 0).is_ok());
    assert!(EpochTime::new(253_402_300_800, 0, -1).is_err());
    assert!(EpochTime::new(i64::MAX, 0, 1).is_err());
    assert!(EpochTime::new(0, 0, 86_400).is_err());
}

#[test]
fn bytes_that_are_no_values_are_refused() {
    let record = |kind: u32, numbers: &[u32]| {
        encoded(|encoder| {
            encoder.record(kind, |encoder| {
                numbers.iter().for_each(|&number| encoder.u32(number));
                Some(())
            })
        })
    };
    for (kind, numbers) in [
        (kind::BOOL, &[2][..]),
        (kind::FRACTION, &[1, 0]),
        (kind::FRACTION, &[1, -1i32 as u32]),
        (kind::FRACTION, &[i32::MIN as u32, 1]),
        (kind::INT_RANGE, &[2, 2, 1]),
        (kind::INT_RANGE, &[0, 2, 0]),
        (kind::INT_RANGE, &[1, 4, 2]),
        (kind::INT64_RANGE, &[2, 0, 2, 0, 1, 0]),
        (kind::DOUBLE_RANGE, &[0, 0, 0, 0]),
        (kind::DOUBLE_RANGE, &[0, 0x7ff8_0000, 0, 0]),
        (kind::FRACTION_RANGE, &[1, 2, 1, 2]),
        (kind::DATE, &[0]),
        (kind::DATE, &[u32::MAX]),
        (kind::DATE_TIME, &[2023, 2, 29, 0, 0, 0, 0, 0]),
        (kind::DATE_TIME, &[2024, 2, 1, 0, 0, 0, 1_000_000, 0]),
        (kind::DATE_TIME, &[2024, 2, 1, 0, 0, 60, 0, 0]),
        (kind::DATE_TIME, &[2024, 2, 1, 0, 0, 0, 0, 721]),
        (kind::DATE_TIME, &[0, 2, 1, 0, 0, 0, 0, 0]),
        (kind::DATE_TIME, &[2024, -1i32 as u32, 1, 0, 0, 0, 0, 0]),
        (kind::CHAR, &[128]),
        (kind::UCHAR, &[256]),
        (kind::STRING, &[0]),
        (kind::STRING, &[0xff]),
        (kind::ARRAY, &[u32::MAX]),
        (kind::LIST, &[1]),
        (kind::ARRAY, &[2, kind::BOOL, 4, 1, kind::INT, 4, 1]),
        (kind::STRINGS, &[u32::MAX]),
        (kind::TAG_LIST, &[0, u32::MAX]),
        (kind::CAPS, &[0, u32::MAX]),
        (kind::FEATURES, &[0, 0]),
        (kind::STRUCTURE, &[4, 0x2061_2061, 0]),
        (kind::STRUCTURE, &[0, 0]),
        (kind::STRUCTURE, &[4, 0x6161_6161, u32::MAX]),
        (kind::ENUM, &[0, 1]),
        (kind::EPOCH_TIME, &[0, 0, 1_000_000, 0]),
        (kind::EPOCH_TIME, &[0, 0x7fff_ffff, 0, 0]),
    ] {
        let read = decode(&record(kind, numbers));
        assert!(
            matches!(read, Err(DecodeError::Invalid(_))),
            "{kind}: {numbers:?}: {read:?}"
        );
    }
}

#[test]
fn a_tag_has_no_more_values_than_it_may_have_by_being_named_again() {
    let tags = |names: &[&str]| {
        encoded(|encoder| {
            encoder.record(kind::TAG_LIST, |encoder| {
                encoder.u32(0);
                encoder.count(names.len())?;
                names.iter().try_for_each(|name| {
                    encoder.text(name)?;
                    encoder.u32(1);
                    Value::Int(1).encode(encoder)
                })
            })
        })
    };
    let tags = |names| TagList::from_bytes(&tags(names));
    assert_eq!(tags(&["artist", "title"]).unwrap().tags().len(), 2);
    assert!(tags(&["artist", "title", "artist"]).is_err());
}

#[test]
fn values_too_deep_are_refused() {
    let mut bytes = encoded(|encoder| Value::Int(1).encode(encoder));
    for depth in 1..1000 {
        bytes = encoded(|encoder| {
            encoder.record(kind::ARRAY, |encoder| {
                encoder.u32(1);
                encoder.raw(&bytes);
                Some(())
            })
        });
        assert_eq!(decode(&bytes).is_ok(), depth < MAX_DEPTH, "{depth}");
    }
    let mut value = Value::Int(1);
    for depth in 2..=MAX_DEPTH {
        value = Value::Array(Values::new(vec![value]).unwrap());
        // However deep the records around it are.
        let bytes = encoded(|encoder| {
            encoder.record(1, |encoder| {
                encoder.record(1, |encoder| value.encode(encoder))
            })
        });
        let read = Decoder::new(&bytes)
            .record(|decoder, _| decoder.record(|decoder, _| Value::decode(decoder)));
        assert_eq!(read.as_ref(), Ok(&value), "{depth}");
    }
    assert!(Values::new(vec![value]).is_err());
}

#[test]
fn millions_of_values_are_refused_and_take_no_memory() {
    let empty = encoded(|encoder| Value::Array(Values::default()).encode(encoder));
    let bytes = encoded(|encoder| {
        encoder.record(kind::ARRAY, |encoder| {
            encoder.u32(4_000_000);
            encoder.raw(&empty.repeat(4_000_000));
            Some(())
        })
    });
    assert!(matches!(decode(&bytes), Err(DecodeError::Invalid(_))));
}

#[test]
fn an_encoder_writes_only_as_many_values_as_a_decoder_reads() {
    let many = Value::Array(Values::new(vec![Value::Int(0); 40_000]).unwrap());
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    assert!(many.encode(&mut encoder).is_some());
    let length = encoder.len();
    assert!(many.encode(&mut encoder).is_none());
    assert_eq!(encoder.len(), length);
    assert!(Value::Int(1).encode(&mut encoder).is_some());
}

#[test]
fn no_byte_makes_the_decoder_panic() {
    let bytes = all_values().to_bytes().unwrap();
    for at in 0..bytes.len() {
        let _ = Structure::from_bytes(&bytes[..at]);
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] = value;
            crate::fuzz::values(&changed);
        }
    }
}

proptest! {
    #[test]
    fn what_was_decoded_is_encoded_as_it_was(
        bytes in prop::collection::vec(prop_oneof![0u8..36, any::<u8>()], 0..200),
        of in 0u32..37,
    ) {
        let bytes = encoded(|encoder| encoder.record(of, |encoder| {
            encoder.raw(&bytes);
            Some(())
        }));
        crate::fuzz::values(&bytes);
    }
}
