use glib::value::{SendValue, ToSendValue};
use gst::prelude::*;
use proptest::prelude::*;
use xmem_media::limits::{MAX_FIELDS, MAX_VALUES};
use xmem_media::value::{EnumValue, FlagsValue, Structure, TagList, Text, Value};

use super::*;
use crate::fuzz::quietly;

fn written(write: impl FnOnce(&mut Encoder<'_>) -> Option<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes)).expect("it can be written");
    bytes
}

/// As for what this process has written.
fn own() -> Rules<'static> {
    Rules::lenient(Names::own())
}

/// What bytes become that hold a structure and nothing else.
fn read(bytes: &[u8]) -> Result<gst::Structure, DecodeError> {
    to_gst::structure(Structure::from_bytes(bytes)?, own())
}

fn crossed(structure: &gst::StructureRef) -> gst::Structure {
    let value = from_gst::structure(structure).expect("it can cross");
    let bytes = written(|encoder| value.encode(encoder));
    read(&bytes).expect("what was written can be read")
}

fn structure_with(value: SendValue) -> gst::Structure {
    let mut structure = gst::Structure::new_empty("a/b");
    structure.set_value("c", value);
    structure
}

fn picture() -> gst::Sample {
    let mut buffer = gst::Buffer::from_slice([1, 2, 3]);
    let content = buffer.make_mut();
    content.set_pts(gst::ClockTime::from_nseconds(7));
    content.set_offset(9);
    content.set_flags(gst::BufferFlags::DISCONT);
    let caps = gst::Caps::builder("image/png").field("width", 3).build();
    let info = gst::Structure::builder("GstTagImageInfo").field("a", 1);
    gst::Sample::builder()
        .buffer(&buffer)
        .caps(&caps)
        .info(info.build())
        .build()
}

fn tags() -> gst::TagList {
    let mut tags = gst::TagList::new();
    let content = tags.make_mut();
    content.set_scope(gst::TagScope::Global);
    let append = gst::TagMergeMode::Append;
    content.add::<gst::tags::Title>(&"ä title", append);
    content.add::<gst::tags::Artist>(&"one", append);
    content.add::<gst::tags::Artist>(&"two", append);
    content.add::<gst::tags::Bitrate>(&7, append);
    let day = glib::Date::from_dmy(29, glib::DateMonth::February, 2024);
    content.add::<gst::tags::Date>(&day.unwrap(), append);
    content.add::<gst::tags::DateTime>(&gst::DateTime::from_ym(2024, 2).unwrap(), append);
    content.add::<gst::tags::Image>(&picture(), append);
    tags
}

fn g_date_time(zone: &str) -> glib::DateTime {
    let text = format!("2024-02-29T23:59:58.123456{zone}");
    glib::DateTime::from_iso8601(&text, None).unwrap()
}

/// A value of every type that crosses and can be compared.
fn values() -> Vec<SendValue> {
    gst::init().unwrap();
    let fraction = gst::Fraction::new(-30000, 1001);
    let inner = gst::Structure::builder("inner").field("d", "x;,\"").build();
    let caps =
        "video/x-raw(memory:DMABuf, meta:GstVideoMeta), width=(int)[2,8,2]; audio/x-raw(ANY)";
    let date = glib::Date::from_dmy(31, glib::DateMonth::December, 9999);
    let strings = glib::StrV::from(&["a", "", "ä"][..]);
    vec![
        true.to_send_value(),
        i32::MIN.to_send_value(),
        u32::MAX.to_send_value(),
        i64::MIN.to_send_value(),
        u64::MAX.to_send_value(),
        (-0.5f32).to_send_value(),
        f64::INFINITY.to_send_value(),
        glib::ILong(-7).to_send_value(),
        glib::ULong(7).to_send_value(),
        (-8i8).to_send_value(),
        200u8.to_send_value(),
        "ä \" ; , \\".to_send_value(),
        "".to_send_value(),
        None::<&str>.to_send_value(),
        fraction.to_send_value(),
        gst::Bitmask::new(1 << 63).to_send_value(),
        gst::IntRange::<i32>::with_step(-6, 9, 3).to_send_value(),
        gst::IntRange::<i64>::new(i64::MIN, i64::MAX).to_send_value(),
        gst::FractionRange::new(fraction, gst::Fraction::new(1, 2)).to_send_value(),
        untyped::double_range(-1.5, 2.5).unwrap(),
        untyped::flag_set(untyped::flag_set_type(), 5, 7).unwrap(),
        date.unwrap().to_send_value(),
        gst::DateTime::from_y(2024).unwrap().to_send_value(),
        gst::DateTime::from_ymd(2024, 2, 29)
            .unwrap()
            .to_send_value(),
        gst::DateTime::new(5.5, 2024, 2, 29, 23, 59, None)
            .unwrap()
            .to_send_value(),
        gst::DateTime::new(-9.75, 1, 1, 1, 0, 0, 59.5)
            .unwrap()
            .to_send_value(),
        caps.parse::<gst::Caps>().unwrap().to_send_value(),
        gst::Caps::new_any().to_send_value(),
        gst::Caps::new_empty().to_send_value(),
        gst::Buffer::from_slice([0, 255]).to_send_value(),
        gst::Buffer::new().to_send_value(),
        inner.to_send_value(),
        gst::Array::new([1, 2, 3]).to_send_value(),
        gst::Array::new(["a", "b"]).to_send_value(),
        gst::Array::from_values([gst::Array::new([1]).to_send_value()]).to_send_value(),
        gst::List::new([1u32, 2]).to_send_value(),
        gst::List::from_values([]).to_send_value(),
        gst::TagScope::Global.to_send_value(),
        (gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE).to_send_value(),
        gst::SeekFlags::empty().to_send_value(),
        strings.to_send_value(),
        g_date_time("+05:30").to_send_value(),
        g_date_time("-09:15").to_send_value(),
    ]
}

#[test]
fn values_of_every_type_come_back_as_they_were() {
    for value in values() {
        let sent = structure_with(value);
        let received = crossed(&sent);
        assert_eq!(received.name(), "a/b");
        let (sent, received) = (sent.value("c").unwrap(), received.value("c").unwrap());
        assert_eq!(received.type_(), sent.type_());
        // Not all types can be compared by GStreamer.
        if let Ok(strings) = sent.get::<glib::StrV>() {
            assert_eq!(received.get::<glib::StrV>().unwrap(), strings);
        } else if let Ok(number) = sent.get::<i8>() {
            assert_eq!(received.get::<i8>().unwrap(), number);
        } else if let Ok(time) = sent.get::<glib::DateTime>() {
            let received = received.get::<glib::DateTime>().unwrap();
            let told = |time: &glib::DateTime| time.format("%F %T %f %z").unwrap();
            assert_eq!(told(&received), told(&time));
        } else {
            assert_eq!(
                sent.compare(received),
                Some(std::cmp::Ordering::Equal),
                "{sent:?}"
            );
        }
    }
}

#[test]
fn nothing_of_a_number_is_lost() {
    gst::init().unwrap();
    let sent = structure_with(f64::NAN.to_send_value());
    assert!(crossed(&sent).get::<f64>("c").unwrap().is_nan());
    for microsecond in (0..1_000_000).step_by(997).chain([999_999]) {
        let second = f64::from(microsecond) / 1e6 + 59.0;
        let sent = gst::DateTime::new(0.0, 2024, 2, 29, 23, 59, second).unwrap();
        let received = crossed(&structure_with(sent.to_send_value()));
        let received = received.get::<gst::DateTime>("c").unwrap();
        assert_eq!(received.microsecond(), sent.microsecond());
        assert_eq!(received.second(), Some(59));
    }
}

#[test]
fn bytes_cross_with_all_that_comes_with_them() {
    gst::init().unwrap();
    let received = crossed(&structure_with(picture().to_send_value()));
    let received = received.get::<gst::Sample>("c").unwrap();
    assert_eq!(received.caps(), picture().caps());
    assert!(received.info().unwrap() == picture().info().unwrap());
    let buffer = received.buffer().unwrap();
    assert_eq!(&buffer.map_readable().unwrap()[..], [1, 2, 3]);
    assert_eq!(buffer.pts(), Some(gst::ClockTime::from_nseconds(7)));
    assert_eq!((buffer.dts(), buffer.offset()), (None, 9));
    assert_eq!(
        buffer.flags() - gst::BufferFlags::TAG_MEMORY,
        gst::BufferFlags::DISCONT
    );

    let empty = gst::Sample::builder().build();
    let received = crossed(&structure_with(empty.to_send_value()));
    let received = received.get::<gst::Sample>("c").unwrap();
    assert!(received.buffer().is_none() && received.caps().is_none());

    let bytes = glib::Bytes::from_static(b"\0\xff");
    let received = crossed(&structure_with(bytes.to_send_value()));
    assert_eq!(received.get::<glib::Bytes>("c").unwrap(), bytes);

    let huge = gst::Buffer::from_slice(vec![7; 10 << 20]);
    let received = crossed(&structure_with(huge.to_send_value()));
    let received = received.get::<gst::Buffer>("c").unwrap();
    assert!(received.map_readable().unwrap()[..] == huge.map_readable().unwrap()[..]);
}

#[test]
fn tags_cross_with_their_scope() {
    gst::init().unwrap();
    let bytes = written(|writer| from_gst::tag_list(&tags()).encode(writer));
    let received = to_gst::tag_list(TagList::from_bytes(&bytes).unwrap(), own());
    assert_eq!(received.scope(), gst::TagScope::Global);
    assert_eq!(received.n_tags(), tags().n_tags());
    let artists = received.iter_tag::<gst::tags::Artist>();
    assert_eq!(
        artists.map(|artist| artist.get()).collect::<Vec<_>>(),
        ["one", "two"]
    );
    let image = received.get::<gst::tags::Image>().unwrap().get();
    assert_eq!(image.buffer().unwrap().size(), 3);
    // The image can't be compared: it is another one, that says the same.
    let without_image = |mut tags: gst::TagList| {
        tags.make_mut().remove::<gst::tags::Image>();
        tags
    };
    assert_eq!(without_image(received), without_image(tags()));
}

#[test]
fn tags_that_are_not_known_here_are_left_out() {
    gst::init().unwrap();
    let mut tags = TagList::empty(false);
    let text = |text| Text::new(text).unwrap();
    tags.add("not-registered", text("x")).unwrap();
    tags.add("title", 7).unwrap();
    tags.add("artist", text("")).unwrap();
    tags.add("album", text("x")).unwrap();
    let bytes = written(|encoder| tags.encode(encoder));
    let tags = to_gst::tag_list(TagList::from_bytes(&bytes).unwrap(), own());
    assert_eq!(tags.n_tags(), 1);
    assert!(tags.get::<gst::tags::Album>().is_some());
}

#[test]
fn what_the_reader_would_refuse_is_not_written() {
    gst::init().unwrap();
    let good = glib::Date::from_dmy(31, glib::DateMonth::December, 9999);
    let far = glib::Date::from_dmy(1, glib::DateMonth::January, 10_000);
    let [good, far] = [good, far].map(|date| date.unwrap().to_send_value());
    let received = crossed(&structure_with(good.clone()));
    assert_eq!(
        received.value("c").unwrap().compare(&good),
        Some(std::cmp::Ordering::Equal)
    );
    assert_eq!(crossed(&structure_with(far)).n_fields(), 0);

    let time = glib::DateTime::from_iso8601("2024-02-29T23:59:58+24", None);
    if let Ok(time) = time {
        assert_eq!(time.utc_offset().as_hours(), 24);
        assert_eq!(crossed(&structure_with(time.to_send_value())).n_fields(), 0);
    }

    // To compare them is critical to GStreamer.
    let numbers = gst::List::from_values([
        1.to_send_value(),
        gst::IntRange::<i32>::new(2, 9).to_send_value(),
    ]);
    assert_eq!(
        crossed(&structure_with(numbers.to_send_value())).n_fields(),
        0
    );

    // One more than the reader takes, for the structure is one too.
    let buffers = vec![gst::Buffer::new().to_send_value(); MAX_VALUES as usize - 1];
    let buffers = gst::Array::from_values(buffers).to_send_value();
    assert_eq!(crossed(&structure_with(buffers)).n_fields(), 0);
}

#[test]
fn what_means_nothing_elsewhere_is_left_out_alone() {
    gst::init().unwrap();
    let pipeline = gst::Pipeline::new();
    let mut structure = gst::Structure::builder("a")
        .field("before", 1)
        .field("object", &pipeline)
        .field("objects", gst::Array::new([&pipeline]))
        .field("none", None::<gst::Structure>)
        .field("after", 2)
        .build();
    // Ranges that were never set.
    let range = glib::Value::for_value_type::<gst::IntRange<i32>>();
    let range = range.try_into_send_value::<gst::IntRange<i32>>();
    structure.set_value("int-range", range.unwrap());
    let range = glib::Value::for_value_type::<gst::FractionRange>();
    let range = range.try_into_send_value::<gst::FractionRange>();
    structure.set_value("fraction-range", range.unwrap());
    let deep = (0..20).fold(1.to_send_value(), |inner, _| {
        gst::Array::from_values([inner]).to_send_value()
    });
    structure.set_value("deep", deep);
    let many = (0..MAX_VALUES).map(|_| 0.to_send_value());
    structure.set_value("many", gst::Array::from_values(many).to_send_value());
    structure.set("last", 3);
    let received = crossed(&structure);
    let fields = received.fields().map(|field| field.as_str());
    assert_eq!(fields.collect::<Vec<_>>(), ["before", "after", "last"]);
}

#[test]
fn values_that_are_not_known_here_are_left_out_alone() {
    gst::init().unwrap();
    let enumeration = |of, number| Value::from(EnumValue::new(of, number).unwrap());
    let flags = |of, bits| Value::from(FlagsValue::new(of, bits).unwrap());
    let mut structure = Structure::new("a").unwrap();
    for (number, value) in [
        enumeration("NotRegistered", 1),
        enumeration("GstElement", 1),
        enumeration("GEnum", 1),
        enumeration("GstTagScope", 99),
        flags("GFlags", 1),
        flags("GstSeekFlags", 1 << 30),
    ]
    .into_iter()
    .enumerate()
    {
        let made = to_gst::value(value.clone(), own());
        assert!(
            matches!(made, Err(DecodeError::Unsupported(_))),
            "{value:?}"
        );
        structure.set(&format!("bad{number}"), value).unwrap();
    }
    structure.set("good", 7).unwrap();
    let bytes = written(|encoder| structure.encode(encoder));
    let received = read(&bytes).unwrap();
    assert_eq!(received.n_fields(), 1);
    assert_eq!(received.get::<i32>("good"), Ok(7));
}

#[test]
fn of_too_many_fields_as_many_cross_as_may() {
    gst::init().unwrap();
    let mut structure = gst::Structure::new_empty("a");
    for number in 0..MAX_FIELDS + 5 {
        structure.set(format!("field{number}"), 1);
    }
    assert_eq!(crossed(&structure).n_fields(), MAX_FIELDS);
}

#[test]
fn new_names_of_others_are_taken_only_so_often() {
    gst::init().unwrap();
    let names = Names::new(3);
    let new = |number| format!("xmem-test-new-name-{number}");
    let admitted = (0..5).map(|number| names.admit(&new(number)));
    assert_eq!(
        admitted.collect::<Vec<_>>(),
        [true, true, true, false, false]
    );
    // What is known costs nothing.
    assert!(names.admit(&new(0)) && names.admit("width"));
    assert!(!names.admit("") && !names.admit(&"x".repeat(256)) && !names.admit("a\0b"));
}

fn many_values() -> gst::Structure {
    let mut all = gst::Structure::new_empty("all");
    for (number, value) in values().into_iter().enumerate() {
        all.set_value(format!("field{number}"), value);
    }
    all.set_value("sample", picture().to_send_value());
    all.set_value("tags", tags().to_send_value());
    all
}

#[test]
fn no_byte_makes_the_reader_panic() {
    gst::init().unwrap();
    let bytes = from_gst::structure(&many_values())
        .unwrap()
        .to_bytes()
        .unwrap();
    for at in 0..bytes.len() {
        let _ = read(&bytes[..at]);
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] = value;
            quietly(|| {
                if let Ok(structure) = read(&changed) {
                    // What was read can be told, copied and written.
                    assert!(!structure.clone().to_string().is_empty());
                    from_gst::structure(&structure).unwrap().to_bytes().unwrap();
                }
            });
        }
    }
}

proptest! {
    #[test]
    fn what_was_read_is_written_as_it_was(
        bytes in prop::collection::vec(prop_oneof![0u8..36, any::<u8>()], 0..200),
        of in 0u32..36,
    ) {
        gst::init().unwrap();
        let bytes = written(|writer| writer.record(of, |writer| {
            writer.raw(&bytes);
            Some(())
        }));
        quietly(|| {
            let read = |bytes: &[u8]| {
                let value = Value::decode(&mut Decoder::new(bytes))?;
                to_gst::value(value, own())
            };
            let encoded = |value: &SendValue| {
                let value = from_gst::value(value).expect("what was read can cross");
                written(|writer| value.encode(writer))
            };
            let Ok(value) = read(&bytes) else { return };
            let again = encoded(&value);
            assert_eq!(encoded(&read(&again).unwrap()), again);
        });
    }
}
