use gst::prelude::*;

use super::*;

fn format(caps: &str) -> Format {
    gst::init().unwrap();
    Format::from_caps(&caps.parse::<gst::Caps>().unwrap()).unwrap()
}

#[test]
fn packed_video_has_a_shape() {
    let rgb = format("video/x-raw,format=RGB,width=1919,height=1080,framerate=60/1");
    let meta = rgb.record(5760 * 1080, Some((0, 5760)));
    assert_eq!(meta.shape(), &[1080, 1919, 3]);
    assert_eq!(meta.strides(), &[5760, 3, 1]);
    assert_eq!(meta.content_type(), "video/x-raw");
    let grey = format("video/x-raw,format=GRAY16_LE,width=64,height=48");
    let meta = grey.record(128 * 48, Some((0, 128)));
    assert_eq!((meta.dtype(), meta.shape()), (DType::UInt16, &[48, 64][..]));
    assert_eq!(meta.strides(), &[128, 2]);
}

#[test]
fn all_else_is_bytes() {
    for caps in [
        "video/x-raw,format=NV12,width=1918,height=1078",
        "video/x-h264,stream-format=byte-stream",
        "audio/x-raw,format=S16LE,rate=48000,channels=2",
        "application/x-anything",
    ] {
        let meta = format(caps).record(1000, Some((0, 100)));
        assert_eq!((meta.dtype(), meta.shape()), (DType::UInt8, &[1000][..]));
    }
}

#[test]
fn of_several_memories_those_of_tensors_are_told() {
    let buffer = |sizes: &[usize]| {
        let memories = sizes
            .iter()
            .map(|&size| gst::Memory::from_slice(vec![0; size]));
        memories.collect::<gst::Buffer>()
    };
    let flexible = format("other/tensors,format=flexible");
    let fixed = format(
        "other/tensors,format=static,dimensions=(string)\"10,20\",types=(string)\"uint8,uint8\"",
    );
    let others = format("application/x-test");
    let two = buffer(&[10, 20]);
    assert_eq!(flexible.memories_to_tell(&two), Some(vec![10, 20]));
    assert_eq!(flexible.memories_to_tell(&buffer(&[30])), None);
    assert_eq!(fixed.memories_to_tell(&two), None);
    assert_eq!(others.memories_to_tell(&two), None);
    assert_eq!(fixed.memories(30, || None), Some(vec![10, 20]));
    assert_eq!(
        fixed.memories(30, || Some(vec![20, 10])),
        Some(vec![10, 20])
    );
    assert_eq!(fixed.memories(31, || None), None);
    assert_eq!(others.memories(30, || Some(vec![10, 20])), None);
    assert_eq!(
        flexible.memories(30, || Some(vec![0, 30, 0])),
        Some(vec![0, 30, 0])
    );
    for told in [
        None,
        Some(vec![]),
        Some(vec![30]),
        Some(vec![10, 21]),
        Some(vec![usize::MAX, 31]),
        Some(vec![30; 1000]),
    ] {
        assert_eq!(flexible.memories(30, || told), None);
    }
}

#[test]
fn a_picture_that_does_not_fit_its_buffer_is_bytes() {
    let rgb = format("video/x-raw,format=RGB,width=64,height=48");
    assert_eq!(rgb.record(100, Some((0, 192))).shape(), &[100]);
    assert_eq!(rgb.record(192 * 48, Some((7, 192))).shape().len(), 1);
    assert_eq!(rgb.record(192 * 48, Some((0, -192))).shape().len(), 1);
}

#[test]
fn pictures_too_wide_for_gstreamers_numbers_are_refused() {
    gst::init().unwrap();
    let caps = |format: &str, width: u32, height: u32| {
        let caps = format!("video/x-raw,format={format},width={width},height={height}");
        Format::from_caps(&caps.parse::<gst::Caps>().unwrap())
    };
    let error = caps("RGBx", (1 << 30) + 16, 1).unwrap_err();
    assert!(error.contains("1073741840x1"), "{error}");
    assert!(caps("Y412_LE", (1 << 29) + 16, 1).is_err());
    assert!(caps("NV12_8L128", (1 << 28) + 16, 1).is_err());
    assert!(caps("RGBx", 32768, 32767).is_ok());
    // Of these they say nothing.
    let drm = "video/x-raw(memory:DMABuf),format=DMA_DRM,drm-format=NV12,width=64,height=48";
    assert!(Format::from_caps(&drm.parse::<gst::Caps>().unwrap()).is_ok());
}

#[test]
fn memory_of_a_device_is_refused() {
    gst::init().unwrap();
    let caps: gst::Caps = "video/x-raw(memory:GLMemory),format=RGBA; \
                           video/x-raw(memory:DMABuf),format=NV12; video/x-raw,format=RGB"
        .parse()
        .unwrap();
    assert!(Format::from_caps(&caps).unwrap_err().contains("GLMemory"));
}

/// The caps as a client makes them.
fn crossed(caps: &gst::CapsRef) -> Result<gst::Caps, String> {
    let bytes = encode(caps)?;
    decode(&bytes, Names::own())
}

fn with(value: glib::SendValue) -> gst::Caps {
    let mut structure = gst::Structure::new_empty("a/b");
    structure.set_value("c", value);
    gst::Caps::from(structure)
}

#[test]
fn caps_come_back_as_they_were() {
    gst::init().unwrap();
    let header = gst::Buffer::from_slice([1]).to_send_value();
    let inner = gst::Structure::builder("d").field("e", "]").build();
    let mut tags = gst::TagList::new();
    let tag = tags.make_mut();
    tag.add::<gst::tags::Title>(&"x", gst::TagMergeMode::Append);
    for value in [
        "a, b; [1, 2] (list) \"\\ü".to_send_value(),
        "[".repeat(1000).to_send_value(),
        gst::Buffer::new().to_send_value(),
        gst::Array::from_values([gst::Buffer::new().to_send_value(), header]).to_send_value(),
        inner.to_send_value(),
        tags.to_send_value(),
    ] {
        let caps = with(value);
        assert_eq!(crossed(&caps), Ok(caps));
    }
}

#[test]
fn caps_that_mean_nothing_elsewhere_are_refused_in_few_words() {
    gst::init().unwrap();
    let pipeline = gst::Pipeline::new();
    let deep = (0..20).fold(1.to_send_value(), |inner, _| {
        gst::Array::from_values([inner]).to_send_value()
    });
    for caps in [
        with(pipeline.to_send_value()),
        with(deep),
        with(gst::List::new([1, 2]).to_send_value()),
        with(gst::IntRange::<i32>::new(1, 2).to_send_value()),
        gst::Caps::new_any(),
        gst::Caps::new_empty(),
    ] {
        let error = encode(&caps).unwrap_err();
        assert!(error.starts_with("clients could not read"), "{error}");
        assert!(error.len() < 300, "{error}");
    }
}

#[test]
fn caps_that_gstreamer_can_not_compare_are_refused() {
    gst::init().unwrap();
    for field in ["(gchar)1", "(structure)[x, d=(gchar)1]", "(gchar){ 1, 2 }"] {
        let caps: Caps = format!("a/b, c={field}").parse().unwrap();
        let bytes = caps.to_bytes().unwrap();
        let error = decode(&bytes, Names::own()).unwrap_err();
        assert!(error.contains("compare"), "{error}");
    }
}

#[test]
fn bytes_that_are_no_caps_of_one_stream_are_refused_in_few_words() {
    gst::init().unwrap();
    let long = format!("a/b, c=[1,2], d=\"{}\"", "ä".repeat(100_000));
    for text in [
        "ANY",
        "EMPTY",
        "a/b, c=[1,2]",
        "a/b, c={1,2}",
        "a/b; c/d",
        &long,
    ] {
        let caps: Caps = text.parse().unwrap();
        let error = decode(&caps.to_bytes().unwrap(), Names::own()).unwrap_err();
        assert!(error.contains("not fixed"), "{error}");
        assert!(error.len() < 300, "{error}");
    }
    for bytes in [&b""[..], b"video/x-raw, width=8", &[0; 100], &[0xff; 100]] {
        let error = decode(bytes, Names::own()).unwrap_err();
        assert!(error.starts_with("caps that can't be read"), "{error}");
    }
}

#[test]
fn no_caps_bring_in_a_name_that_does_not_count() {
    gst::init().unwrap();
    for known in ["a/b", "c", "m:x"] {
        glib::Quark::from_str(known);
    }
    let texts: [fn(&str) -> String; 10] = [
        |new| new.into(),
        |new| format!("{new}, c=1"),
        |new| format!("a/b, {new}=1"),
        |new| format!("a/b(m:{new})"),
        |new| format!("a/b(m:x, m:{new})"),
        |new| format!("a/b, c=(structure)[{new}]"),
        |new| format!("a/b, c=(structure)[a/b, {new}=1]"),
        |new| format!("a/b, c=(GstCaps)[a/b(m:{new})]"),
        |new| format!("a/b, c=(structure)< [a/b, c=(structure)[{new}]] >"),
        |new| format!("a/b, c=(GstCaps)[a/b, {new}=1]"),
    ];
    for (number, text) in texts.into_iter().enumerate() {
        let name = format!("uncounted{number}");
        let caps: Caps = text(&name).parse().unwrap();
        let bytes = caps.to_bytes().unwrap();
        let error = decode(&bytes, Names::known()).unwrap_err();
        assert!(error.contains("name"), "{error}");
        for form in [name.clone(), format!("m:{name}")] {
            assert!(glib::Quark::try_from_str(&form).is_none(), "{caps}");
        }
        assert!(decode(&bytes, &Names::new(2)).is_ok(), "{caps}");
    }
}

/// As an element for inference says what tensors its frames carry.
#[test]
fn caps_with_groups_of_tensors_come_back_as_they_were() {
    gst::init().unwrap();
    for count in [1, 4, 60] {
        let tensors = (0..count).map(|number| {
            format!(
                "(GstCaps)[tensor/strided, dims-order=(string)row-major, \
                 tensor-id=(string)out-{number}, dims=(int)< 1, 100, 4 >, type=(string)float32]"
            )
        });
        let tensors = tensors.collect::<Vec<_>>().join(", ");
        let caps = format!(
            "video/x-raw, format=(string)RGB, width=(int)64, height=(int)48, \
             framerate=(fraction)30/1, tensors=(structure)[tensorgroups, ssd-out=< {tensors} >;]"
        );
        let caps: gst::Caps = caps.parse().unwrap();
        let received = crossed(&caps).unwrap();
        assert!(received.is_strictly_equal(&caps), "{received}");
        assert!(gst_video::VideoInfo::from_caps(&received).is_ok());
        let tensors = received.structure(0).unwrap();
        let groups = tensors.get::<gst::Structure>("tensors").unwrap();
        assert_eq!(groups.name(), "tensorgroups");
    }
}

/// What this crate's text and GStreamer's say of each other's caps.
#[test]
fn texts_of_caps_mean_the_same_here_and_to_gstreamer() {
    gst::init().unwrap();
    let mut wrong = Vec::new();
    for text in [
        "ANY",
        "EMPTY",
        "video/x-raw, format=NV12, width=1920, height=1080, framerate=30000/1001",
        "video/x-raw, format=(string)NV12, width=(int)[ 3, 99, 3 ], framerate=[0/1, 30/1]",
        "video/x-raw(memory:DMABuf, meta:GstVideoMeta), format={ NV12, RGB }; audio/x-raw(ANY)",
        "audio/x-raw, rate=48000, channel-mask=(bitmask)0x3, layout=interleaved",
        "audio/x-raw, rate={ 8000, 16000 }, channels=[ 1, 2 ]",
        "video/x-h264, codec_data=(buffer)0142c01e, stream-format=avc, parsed=true",
        "audio/x-vorbis, streamheader=(buffer)< 0102, 0304 >",
        "a/b, c=(string)\"\", d=\"a b\\\"\\\\;,\", e=(string)\"30/1\", f=\"\\303\\244\", g=NULL",
        "a/b, c=(string){ a, \"b c\" }, d=< 1, 2 >, e=(int)< < 1 >, < 2, 3 > >, f={ }",
        "a/b, c=0.5, d=1e10, e=(double)3, f=(float)0.25, g=-7, h=0x10, i=[ 0.5, 1.5 ]",
        "a/b, c=(uint)4000000000, d=(gint64)-5, e=(guint64)5, f=(gint64)[ 1, 5 ]",
        "a/b, c=true, d=no, e=(boolean)FALSE, f=yes",
        "a/b, c=(structure)[x, d=(int)1, e=(string)\"\\135\"], f=(GstCaps)[y, g=1]",
        "a/b, c=(date)2024-02-29, d=(datetime)2024-02-29T23:59:58Z, e=(datetime)2024-02",
        "a/b, c=(datetime)2024-02-29T23:59:58.5+0530, d=(GstFlagSet)5:7",
        "video/x-raw, multiview-flags=(GstVideoMultiviewFlagsSet)0:ffffffff:/right-view-first",
        "application/x-rtp, media=(string)video, payload=(int)96, clock-rate=(int)90000, \
         sprop-parameter-sets=(string)\"Z2QAKA==\\,aO48gA==\"",
    ] {
        let Ok(theirs) = text.parse::<gst::Caps>() else {
            wrong.push(format!("they do not read {text}"));
            continue;
        };
        let ours: Caps = text.parse().unwrap_or_else(|why| panic!("{text}: {why}"));
        let made = to_gst::caps(ours.clone(), Rules::strict(Names::own())).unwrap();
        let read = ours.to_string().parse::<gst::Caps>();
        for (what, is_so) in [
            ("both mean the same", made.is_strictly_equal(&theirs)),
            (
                "theirs is ours",
                from_gst::caps(&theirs).as_ref() == Some(&ours),
            ),
            (
                "we read what they write",
                theirs.to_string().parse().as_ref() == Ok(&ours),
            ),
            (
                "they read what we write",
                read.is_ok_and(|read| read.is_strictly_equal(&theirs)),
            ),
        ] {
            if !is_so {
                wrong.push(format!("{what}: {text}: {theirs}: {ours}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn headers_have_no_times_of_the_streams_start() {
    gst::init().unwrap();
    let mut header = gst::Buffer::from_slice([1, 2, 3]);
    let content = header.get_mut().unwrap();
    content.set_pts(gst::ClockTime::ZERO);
    content.set_dts(gst::ClockTime::ZERO);
    content.set_duration(gst::ClockTime::SECOND);
    content.set_offset(0);
    let caps = gst::Caps::builder("video/mpegts")
        .field("streamheader", gst::Array::new([header]))
        .build();
    let decoded = decode(&encode(&caps).unwrap(), Names::own()).unwrap();
    let headers = headers(decoded.structure(0).unwrap(), "streamheader");
    let [header] = &headers[..] else {
        panic!("{headers:?}")
    };
    let times = (header.pts(), header.dts(), header.duration());
    assert_eq!(times, (None, None, None));
    assert_eq!((header.offset(), header.offset_end()), (u64::MAX, u64::MAX));
    assert!(header.flags().contains(gst::BufferFlags::HEADER));
    assert_eq!(header.map_readable().unwrap().as_slice(), [1, 2, 3]);
}
