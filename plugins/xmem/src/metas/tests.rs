//! Metas of every kind, there and back. What is each one's own is beside its code.

use gst::glib;
use gst::meta::{CustomMeta, ProtectionMeta, ReferenceTimestampMeta};
use gst_audio::{AudioClippingMeta, AudioInfo, AudioLayout, AudioLevelMeta, AudioMeta};
use gst_video::video_meta::*;
use gst_video::{
    ValidVideoTimeCode, VideoAFDSpec, VideoAFDValue, VideoCaptionType, VideoFormat,
    VideoFrameFlags, VideoOverlayComposition, VideoOverlayFormatFlags, VideoOverlayRectangle,
    VideoTimeCodeFlags, VideoTimeCodeMeta,
};

use super::*;
use crate::fuzz::without_criticals;

/// A picture that an overlay has, `width` by `height` with each byte another.
fn rectangle(
    (width, height): (u32, u32),
    flags: VideoOverlayFormatFlags,
    alpha: f32,
) -> VideoOverlayRectangle {
    let pixels = (0..width * height * 4).map(|at| at as u8);
    let mut buffer = gst::Buffer::from_slice(pixels.collect::<Vec<_>>());
    let none = VideoFrameFlags::empty();
    VideoMeta::add(buffer.make_mut(), none, overlay_format(), width, height).unwrap();
    let mut rectangle = VideoOverlayRectangle::new_raw(&buffer, -3, 4, 9, 8, flags);
    rectangle.get_mut().unwrap().set_global_alpha(alpha);
    rectangle
}

fn overlay_format() -> VideoFormat {
    match cfg!(target_endian = "little") {
        true => VideoFormat::Bgra,
        false => VideoFormat::Argb,
    }
}

/// As an application does, but not while another test does.
fn register(name: &str, tags: &[&str]) {
    assert!(custom::register(name, tags, &Reader::new(&[])));
}

type Add = fn(&mut gst::BufferRef);

/// What attaches each kind, several of those of which there can be several.
const ADD: [(&str, Add); 17] = [
    ("region", |buffer| {
        for number in 0..3 {
            let rect = (number, 2, 3, 4);
            let mut meta = VideoRegionOfInterestMeta::add(buffer, "face", rect);
            meta.set_id(number as i32);
            meta.set_parent_id(-1);
            for label in ["first", "second"] {
                let param = gst::Structure::builder("roi/x").field("label", label);
                meta.add_param(param.field("confidence", 0.5).build());
            }
        }
    }),
    ("affine", |buffer| {
        let mut matrix = [[0.25; 4]; 4];
        matrix[3][1] = -7.5;
        VideoAffineTransformationMeta::add(buffer, Some(&matrix));
    }),
    ("time code", |buffer| {
        let jam = glib::DateTime::from_iso8601("2024-02-29T23:59:58.5+05:30", None).unwrap();
        let drop = VideoTimeCodeFlags::DROP_FRAME | VideoTimeCodeFlags::INTERLACED;
        let rate = gst::Fraction::new(30000, 1001);
        for jam in [None, Some(&jam)] {
            let code = ValidVideoTimeCode::new(rate, jam, drop, 23, 59, 58, 17, 2).unwrap();
            VideoTimeCodeMeta::add(buffer, &code);
        }
    }),
    ("overlay", |buffer| {
        let premultiplied = VideoOverlayFormatFlags::PREMULTIPLIED_ALPHA;
        let none = VideoOverlayFormatFlags::empty();
        let rectangles = [
            rectangle((5, 3), premultiplied, 0.5),
            rectangle((2, 2), none, 1.0),
        ];
        let overlay = VideoOverlayComposition::new(&rectangles).unwrap();
        VideoOverlayCompositionMeta::add(buffer, &overlay);
        let overlay = VideoOverlayComposition::new(&[]).unwrap();
        VideoOverlayCompositionMeta::add(buffer, &overlay);
    }),
    ("caption", |buffer| {
        VideoCaptionMeta::add(buffer, VideoCaptionType::Cea708Cdp, &[0x96, 0x69]);
        VideoCaptionMeta::add(buffer, VideoCaptionType::Cea608Raw, &[0]);
    }),
    ("active format", |buffer| {
        let (spec, afd) = (VideoAFDSpec::AtscA53, VideoAFDValue::_43Full149Center);
        VideoAFDMeta::add(buffer, 1, spec, afd);
    }),
    ("bars", |buffer| {
        VideoBarMeta::add(buffer, 1, true, 7, u32::MAX);
    }),
    ("user data", |buffer| {
        VideoSeiUserDataUnregisteredMeta::add(buffer, &[7; 16], b"user data");
    }),
    ("alpha", |buffer| {
        let mut alpha = gst::Buffer::from_slice([1, 2, 3]);
        alpha.make_mut().set_pts(gst::ClockTime::from_nseconds(5));
        codec_alpha::add(buffer, alpha);
    }),
    ("audio", |buffer| {
        let info = AudioInfo::builder(gst_audio::AudioFormat::S16le, 48000, 2);
        let info = info.layout(AudioLayout::NonInterleaved).build().unwrap();
        AudioMeta::add(buffer, &info, 10, &[40, 4]).unwrap();
    }),
    ("level", |buffer| {
        AudioLevelMeta::add(buffer, 99, true);
    }),
    ("clipping", |buffer| {
        let time = gst::ClockTime::from_nseconds;
        AudioClippingMeta::add(buffer, time(7), time(u64::MAX - 1));
        let samples = gst::format::Default::from_u64;
        AudioClippingMeta::add(buffer, samples(1), samples(2));
    }),
    ("timestamp", |buffer| {
        for name in ["timestamp/x-ntp", "timestamp/x-ptp"] {
            let reference = gst::Caps::builder(name).field("host", "ä").build();
            let time = gst::ClockTime::from_nseconds(1 << 63);
            let duration = (name == "timestamp/x-ntp").then_some(gst::ClockTime::SECOND);
            ReferenceTimestampMeta::add(buffer, &reference, time, duration);
        }
    }),
    ("protection", |buffer| {
        let info = gst::Structure::builder("application/x-cenc")
            .field("iv", gst::Buffer::from_slice([9; 16]))
            .field("subsample_count", 2u32);
        ProtectionMeta::add(buffer, info.build());
    }),
    ("registered custom", |buffer| {
        register("XmTestRegistered", &["video"]);
        let mut meta = CustomMeta::add(buffer, "XmTestRegistered").unwrap();
        meta.mut_structure().set("answer", 42);
    }),
    ("empty custom", |buffer| {
        register("XmTestEmpty", &[]);
        CustomMeta::add(buffer, "XmTestEmpty").unwrap();
        CustomMeta::add(buffer, "XmTestEmpty").unwrap();
    }),
    #[cfg(feature = "v1_24")]
    ("ancillary", |buffer| {
        let mut meta = AncillaryMeta::add(buffer);
        meta.set_field(gst_video::AncillaryMetaField::InterlacedSecond);
        meta.set_c_not_y_channel(true);
        meta.set_line(9);
        meta.set_offset(8);
        meta.set_did(0x161);
        meta.set_sdid_block_number(0x101);
        meta.set_checksum(0x3ff);
        meta.set_data(vec![0x123, 0x3ff, 0].into());
        meta.set_data_count_upper_two_bits(2);
    }),
    #[cfg(not(feature = "v1_24"))]
    ("nothing", |_| {}),
];

/// All that is said of a buffer's metas, in the order in which they lie.
fn told(buffer: &gst::BufferRef) -> Vec<String> {
    let of = |meta: gst::MetaRef<'_, gst::Meta>| {
        macro_rules! told {
            ($($api:ty)*) => {
                $(if let Some(meta) = meta.downcast_ref::<$api>() {
                    return format!("{:?}", **meta);
                })*
            };
        }
        told!(
            VideoRegionOfInterestMeta VideoAffineTransformationMeta
            VideoCaptionMeta VideoAFDMeta VideoBarMeta VideoSeiUserDataUnregisteredMeta AudioMeta
            AudioLevelMeta AudioClippingMeta ReferenceTimestampMeta
        );
        if let Some(meta) = meta.downcast_ref::<VideoOverlayCompositionMeta>() {
            return meta
                .overlay()
                .iter()
                .map(|one| told_of_overlay(&one))
                .collect();
        }
        if let Some(meta) = meta.downcast_ref::<VideoTimeCodeMeta>() {
            let mut code = meta.tc();
            let jam = code.latest_daily_jam();
            let jam = jam.map(|jam| jam.format("%F %T %f %z").unwrap());
            code.set_latest_daily_jam(None);
            return format!("{code:?} {jam:?}");
        }
        if let Some(meta) = meta.downcast_ref::<VideoCodecAlphaMeta>() {
            let alpha = meta.alpha_buffer();
            return format!("{:?} {:?}", alpha.pts(), &alpha.map_readable().unwrap()[..]);
        }
        if let Some(meta) = meta.downcast_ref::<ProtectionMeta>() {
            let buffer = meta.info().get::<gst::Buffer>("iv").unwrap();
            let iv = buffer.map_readable().unwrap();
            return format!("{} {:?}", meta.info().n_fields(), &iv[..]);
        }
        #[cfg(feature = "v1_24")]
        if let Some(meta) = meta.downcast_ref::<AncillaryMeta>() {
            return format!("{:?} {}", **meta, meta.checksum());
        }
        if let Some(custom) = meta.try_as_custom_meta() {
            return format!("{:?} {:?}", custom.structure(), custom.tags());
        }
        panic!("{meta:?}");
    };
    buffer.iter_meta::<gst::Meta>().map(of).collect()
}

fn told_of_overlay(rectangle: &gst_video::VideoOverlayRectangleRef) -> String {
    let pixels = rectangle.pixels_unscaled_raw(rectangle.flags());
    let video = pixels.meta::<VideoMeta>().unwrap();
    let bytes = &pixels.map_readable().unwrap()[..];
    format!("{rectangle:?} {:?} {bytes:?}", *video)
}

fn crossed(sent: &gst::BufferRef) -> gst::Buffer {
    let mut extra = Vec::new();
    serialize(sent, &mut extra);
    let mut received = gst::Buffer::with_size(sent.size()).unwrap();
    without_criticals(|| assert!(attach(received.make_mut(), &extra, None)));
    received
}

#[test]
fn metas_of_every_kind_cross_with_all_that_they_say() {
    gst::init().unwrap();
    for (name, add) in ADD {
        let mut sent = gst::Buffer::with_size(100).unwrap();
        add(sent.make_mut());
        let received = crossed(&sent);
        assert_eq!(told(&received), told(&sent), "{name}");
    }
}

#[test]
fn metas_of_all_kinds_cross_together_and_in_order() {
    gst::init().unwrap();
    let mut sent = gst::Buffer::with_size(100).unwrap();
    for (_, add) in ADD {
        add(sent.make_mut());
    }
    assert!(told(&sent).len() > 20);
    assert_eq!(told(&crossed(&sent)), told(&sent));
}

#[test]
fn regions_without_a_type_cross() {
    gst::init().unwrap();
    let mut extra = Vec::new();
    Writer::new(&mut extra)
        .record(REGION, |body| {
            body.text("")?;
            (0..6).for_each(|number| body.u32(number));
            body.u32(0);
            Some(())
        })
        .unwrap();
    let mut received = gst::Buffer::new();
    assert!(attach(received.make_mut(), &extra, None));
    let mut again = Vec::new();
    serialize(&received, &mut again);
    assert_eq!(again, extra);
}

#[test]
fn downmixes_cross() {
    gst::init().unwrap();
    let mut extra = Vec::new();
    let positions = [[0, 1, 2].as_slice(), &[-2]];
    Writer::new(&mut extra)
        .record(AUDIO_DOWNMIX, |body| {
            for positions in positions {
                body.u32(positions.len() as u32);
                positions.iter().for_each(|&position| body.i32(position));
            }
            (0..3).for_each(|number| body.f32(number as f32));
            Some(())
        })
        .unwrap();
    let mut received = gst::Buffer::new();
    without_criticals(|| assert!(attach(received.make_mut(), &extra, None)));
    assert!(received.meta::<audio::AudioDownmixMeta>().is_some());
    let mut again = Vec::new();
    serialize(&received, &mut again);
    assert_eq!(again, extra);
}

#[test]
fn huge_metas_cross() {
    gst::init().unwrap();
    register("XmTestHuge", &[]);
    let mut sent = gst::Buffer::new();
    let content = sent.make_mut();
    let huge = gst::Buffer::from_slice(vec![7; 10 << 20]);
    let mut meta = CustomMeta::add(content, "XmTestHuge").unwrap();
    meta.mut_structure().set("huge", huge);
    VideoSeiUserDataUnregisteredMeta::add(content, &[0; 16], &vec![8; 10 << 20]);
    let received = crossed(&sent);
    let meta = CustomMeta::from_buffer(&received, "XmTestHuge").unwrap();
    let huge = meta.structure().get::<gst::Buffer>("huge").unwrap();
    assert!(huge.map_readable().unwrap()[..] == vec![7; 10 << 20]);
    let sei = received.meta::<VideoSeiUserDataUnregisteredMeta>();
    assert!(sei.unwrap().data() == vec![8; 10 << 20]);
}

#[test]
fn more_of_a_kind_than_there_may_be_stay_behind() {
    gst::init().unwrap();
    let mut sent = gst::Buffer::new();
    for number in 0..MAX_OF_A_KIND + 10 {
        let rect = (number, 0, 0, 0);
        VideoRegionOfInterestMeta::add(sent.make_mut(), "face", rect);
    }
    let received = crossed(&sent);
    let last = received.iter_meta::<VideoRegionOfInterestMeta>().last();
    assert_eq!(last.unwrap().rect().0, MAX_OF_A_KIND - 1);

    // And a producer that sends more gets no further.
    let mut extra = Vec::new();
    for _ in 0..100_000 {
        let written = Writer::new(&mut extra).record(BAR, |body| {
            [0, 1, 2, 3].into_iter().for_each(|number| body.u32(number));
            Some(())
        });
        written.unwrap();
    }
    let mut received = gst::Buffer::new();
    assert!(attach(received.make_mut(), &extra, None));
    let bars = received.iter_meta::<VideoBarMeta>().count();
    assert_eq!(bars, MAX_OF_A_KIND as usize);
}

#[test]
fn kinds_that_are_not_known_here_are_skipped() {
    gst::init().unwrap();
    let mut extra = Vec::new();
    let mut writer = Writer::new(&mut extra);
    for kind in [9999, BAR, u32::MAX] {
        let written = writer.record(kind, |body| {
            [0, 1, 2, 3].into_iter().for_each(|number| body.u32(number));
            Some(())
        });
        written.unwrap();
    }
    let mut received = gst::Buffer::new();
    assert!(attach(received.make_mut(), &extra, None));
    assert_eq!(told(&received).len(), 1);
}

#[test]
fn what_belongs_to_a_buffer_or_a_memory_stays_behind() {
    gst::init().unwrap();
    crate::record::register();
    let mut sent = gst::Buffer::new();
    let content = sent.make_mut();
    gst::meta::ParentBufferMeta::add(content, &gst::Buffer::new());
    CustomMeta::add(content, "XmemBufferMeta").unwrap();
    let mut extra = vec![1];
    serialize(content, &mut extra);
    assert!(extra.is_empty());
}

/// A record of a custom meta of that name and with these tags.
fn custom(name: &str, tags: &[&str]) -> Vec<u8> {
    let mut extra = Vec::new();
    let structure = gst::Structure::builder(name).field("a", 1).build();
    Writer::new(&mut extra)
        .record(CUSTOM, |body| {
            body.u32(tags.len() as u32);
            tags.iter().try_for_each(|tag| body.text(tag))?;
            body.structure(&structure)
        })
        .unwrap();
    extra
}

#[test]
fn custom_metas_that_nobody_has_registered_are_registered() {
    gst::init().unwrap();
    let mut received = gst::Buffer::new();
    without_criticals(|| {
        let extra = custom("XmTestUnregistered", &["video", "own-tag"]);
        assert!(attach(received.make_mut(), &extra, None));
    });
    let meta = CustomMeta::from_buffer(&received, "XmTestUnregistered").unwrap();
    assert_eq!(meta.structure().get::<i32>("a"), Ok(1));
    assert_eq!(meta.tags().len(), 2);
}

#[test]
fn names_of_types_and_of_libraries_are_not_registered_for_a_producer() {
    gst::init().unwrap();
    for name in [
        "GstElement",
        "gint",
        "GstLaterMeta",
        "GESx",
        "ab",
        "a/b",
        "a.b",
        "XmemOther",
    ] {
        let mut received = gst::Buffer::new();
        let extra = custom(name, &[]);
        without_criticals(|| assert!(attach(received.make_mut(), &extra, None), "{name}"));
        assert!(told(&received).is_empty(), "{name}");
        assert!(!CustomMeta::is_registered(name));
    }
    // Another meta's name is no custom meta's.
    let _ = AudioLevelMeta::add(gst::Buffer::new().make_mut(), 1, true);
    let mut received = gst::Buffer::new();
    let extra = custom("GstAudioLevelMeta", &[]);
    without_criticals(|| assert!(attach(received.make_mut(), &extra, None)));
    assert!(told(&received).is_empty());
}

#[test]
fn what_gstreamer_would_call_critical_is_refused() {
    gst::init().unwrap();
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let (one, minus) = (1.0f32.to_bits(), -1i32 as u32);
    let bad: [(u32, Vec<u8>); 27] = [
        (REGION, words(&[0, 0, 0, u32::MAX, 0, 1, 0, 0])),
        (REGION, words(&[0, 0, 0, 0, 0, 0, 0, u32::MAX])),
        (TIME_CODE, words(&[25, 1, 0, 24, 0, 0, 0, 0, 0])),
        (TIME_CODE, words(&[25, 0, 0, 1, 0, 0, 0, 0, 0])),
        (TIME_CODE, words(&[minus, 1, 0, 1, 0, 0, 0, 0, 0])),
        (TIME_CODE, words(&[25, 1, 0, 1, 0, 0, 0, 3, 0])),
        (OVERLAY, words(&[1, 0, 0, one, 0, 0, 1, 1, 0, 1, 0])),
        (OVERLAY, words(&[1, 0, 0, one, 0, 0, 0, 1, 1, 1, 0])),
        (OVERLAY, words(&[1, 0, 8, one, 0, 0, 1, 1, 1, 1, 0])),
        (OVERLAY, words(&[1, 2, 0, one, 0, 0, 1, 1, 1, 1, 0])),
        (
            OVERLAY,
            words(&[1, 0, 0, 2.0f32.to_bits(), 0, 0, 1, 1, 1, 1, 0]),
        ),
        (
            OVERLAY,
            words(&[1, 0, 0, f32::NAN.to_bits(), 0, 0, 1, 1, 1, 1, 0]),
        ),
        (OVERLAY, words(&[1, 0, 0, one, 0, 0, 1, 1, 32767, 32767, 0])),
        (OVERLAY, words(&[1, 0, 0, one, 0, 0, 32767, 32767, 1, 1, 0])),
        (OVERLAY, words(&[1, 0, 0, one, 1 << 31, 0, 1, 1, 1, 1, 0])),
        (CAPTION, words(&[1])),
        (AFD, words(&[2, 1, 8])),
        (AFD, words(&[0, 3, 8])),
        (AFD, words(&[0, 1, 1])),
        (AFD, words(&[0, 0, 0])),
        (BAR, words(&[2, 0, 0, 0])),
        (SEI, words(&[0, 0, 0, 0])),
        (AUDIO_LEVEL, words(&[256, 0])),
        (AUDIO_CLIPPING, words(&[0, 0, 0, 0, 0])),
        (AUDIO_DOWNMIX, words(&[0, 1, 0])),
        (AUDIO_DOWNMIX, words(&[1, 64, 1, 0, 0])),
        (REFERENCE_TIMESTAMP, words(&[minus, minus, 0, 0])),
    ];
    for (number, (kind, body)) in bad.into_iter().enumerate() {
        let mut extra = Vec::new();
        let written = Writer::new(&mut extra).record(kind, |writer| {
            writer.raw(&body);
            Some(())
        });
        written.unwrap();
        let mut received = gst::Buffer::with_size(16).unwrap();
        without_criticals(|| {
            assert!(
                !attach(received.make_mut(), &extra, None),
                "{number}: {kind}"
            );
        });
    }
}

#[test]
fn audio_outside_of_its_buffer_is_refused() {
    gst::init().unwrap();
    let whole = |planar: u32, channels: u32, positions: &[i32], samples: u64, offsets: &[u64]| {
        let unpositioned = u32::from(positions.is_empty());
        let mut extra = Vec::new();
        let written = Writer::new(&mut extra).record(AUDIO, |body| {
            body.text("S16LE")?;
            for number in [
                48000,
                channels,
                unpositioned,
                planar,
                positions.len() as u32,
            ] {
                body.u32(number);
            }
            positions.iter().for_each(|&position| body.i32(position));
            body.u64(samples);
            offsets.iter().for_each(|&offset| body.u64(offset));
            Some(())
        });
        written.unwrap();
        let mut received = gst::Buffer::with_size(40).unwrap();
        let mut whole = false;
        without_criticals(|| whole = attach(received.make_mut(), &extra, None));
        assert_eq!(received.meta::<AudioMeta>().is_some(), whole);
        whole
    };
    assert!(whole(0, 2, &[0, 1], 10, &[]));
    assert!(whole(1, 2, &[0, 1], 10, &[20, 0]));
    assert!(whole(0, 2, &[], 10, &[]));
    assert!(whole(0, 20, &[], 1, &[]));
    assert!(!whole(0, 100, &[], 1, &[]));
    assert!(!whole(0, 2, &[0, 1], 11, &[]));
    assert!(!whole(0, 2, &[0, 0], 10, &[]));
    assert!(!whole(0, 2, &[0, 99], 10, &[]));
    assert!(!whole(0, 2, &[0], 10, &[]));
    assert!(!whole(0, 2, &[-3, -3], 10, &[]));
    assert!(!whole(0, 0, &[], 10, &[]));
    assert!(!whole(0, u32::MAX, &[], 0, &[]));
    assert!(!whole(0, i32::MAX as u32, &[], 1, &[]));
    assert!(!whole(1, 2, &[0, 1], 10, &[21, 0]));
    assert!(!whole(1, 2, &[0, 1], 10, &[10, 0]));
    assert!(!whole(1, 2, &[0, 1], 10, &[u64::MAX, 0]));
    assert!(!whole(1, 2, &[0, 1], u64::MAX, &[20, 0]));
    assert!(!whole(1, 100, &[], 1, &[0]));
}

#[test]
fn no_byte_of_any_meta_makes_it_panic() {
    gst::init().unwrap();
    for (name, add) in ADD {
        let mut sent = gst::Buffer::with_size(100).unwrap();
        add(sent.make_mut());
        let mut extra = Vec::new();
        serialize(&sent, &mut extra);
        for at in 0..extra.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = extra.clone();
                changed[at] = value;
                for bytes in [&changed[..], &changed[..at]] {
                    without_criticals(|| {
                        let mut received = gst::Buffer::with_size(100).unwrap();
                        attach(received.make_mut(), bytes, None);
                        let copied = received.copy();
                        let mut again = Vec::new();
                        serialize(&copied, &mut again);
                        let mut received = gst::Buffer::with_size(100).unwrap();
                        assert!(attach(received.make_mut(), &again, None), "{name}: {at}");
                    });
                }
            }
        }
    }
}
