//! A source attaches what a sink writes, whatever upstream attaches.
#![allow(unsafe_code)]

use std::cell::Cell;

use glib::translate::{FromGlib, ToGlibPtr};
use gst::ffi::GST_CLOCK_TIME_NONE;
use gst::meta::{CustomMeta, ProtectionMeta, ReferenceTimestampMeta};
use gst_audio::AudioLevelMeta;
use gst_video::video_meta::*;
use gst_video::{
    ValidVideoTimeCode, VideoFormat, VideoFrameFlags, VideoInfo, VideoInterlaceMode,
    VideoTimeCodeFlags, VideoTimeCodeMeta,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Union;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::fuzz::{guarded_buffer, look, quietly};

/// Numbers near the limits.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => 0..70u32,
        2 => Just(320u32),
        1 => 0..5000u32,
        1 => any::<u32>(),
        1 => (u32::MAX - 3)..=u32::MAX,
        1 => (1u32 << 31) - 2..=(1 << 31) + 2,
    ]
}

/// What attaches a meta.
type Attach = std::rc::Rc<dyn Fn(&mut gst::BufferRef)>;

fn attaching<T: Clone + std::fmt::Debug + 'static>(
    values: impl Strategy<Value = T> + 'static,
    attach: impl Fn(&mut gst::BufferRef, T) + Clone + 'static,
) -> BoxedStrategy<Named> {
    let attach = move |value: T| {
        let (text, attach) = (format!("{value:?}"), attach.clone());
        let run: Attach = std::rc::Rc::new(move |buffer| attach(buffer, value.clone()));
        Named { text, run }
    };
    values.prop_map(attach).boxed()
}

#[derive(Clone)]
struct Named {
    text: String,
    run: Attach,
}

impl std::fmt::Debug for Named {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.text)
    }
}

/// A video meta: the format (mostly that of the caps), how much larger the picture is, and each plane's
/// offset and stride, beside the usual ones.
fn video(info: &VideoInfo) -> BoxedStrategy<Named> {
    let info = info.clone();
    let near = prop_oneof![
        4 => Just(0i64),
        4 => -70..70i64,
        1 => -5000..5000i64,
        1 => any::<i32>().prop_map(i64::from),
    ];
    let planes = vec((near.clone(), near), 4);
    let extra = prop_oneof![4 => Just((0, 0)), 1 => (-2..40i64, -2..40i64)];
    let values = (any::<u8>(), extra, planes, -1..2i64, any::<u32>());
    attaching(
        values,
        move |buffer, (format, more, planes, count, flags)| {
            let others = VideoFormat::iter_raw().collect::<Vec<_>>();
            let format = match format {
                0..240 => info.format(),
                other => others[other as usize % others.len()],
            };
            let side = |of: u32, more: i64| (i64::from(of) + more).max(0) as u32;
            let (width, height) = (side(info.width(), more.0), side(info.height(), more.1));
            let count = (i64::from(info.n_planes()) + count.min(0)).clamp(1, 4) as usize;
            let at = |of: Option<i64>, more: i64| of.unwrap_or(0).wrapping_add(more);
            let offset = (0..count).map(|plane| {
                let usual = info.offset().get(plane).map(|&of| of as i64);
                at(usual, planes[plane].0) as usize
            });
            let stride = (0..count).map(|plane| {
                let usual = info.stride().get(plane).map(|&of| i64::from(of));
                at(usual, planes[plane].1) as i32
            });
            let (offset, stride) = (offset.collect::<Vec<_>>(), stride.collect::<Vec<_>>());
            let flags = VideoFrameFlags::from_bits_truncate(flags);
            let added = VideoMeta::add_full(buffer, flags, format, width, height, &offset, &stride);
            added.expect("a meta");
        },
    )
}

fn others() -> BoxedStrategy<Named> {
    let rect = || (number(), number(), number(), number());
    let crop = attaching(rect(), |buffer, rect| {
        VideoCropMeta::add(buffer, rect);
    });
    let region = attaching((rect(), "[a-zä/]{0,3}"), |buffer, (rect, name)| {
        let mut meta = VideoRegionOfInterestMeta::add(buffer, &name, rect);
        meta.add_param(gst::Structure::builder("a").field("b", name).build());
    });
    let affine = attaching(any::<f32>(), |buffer, number| {
        VideoAffineTransformationMeta::add(buffer, Some(&[[number; 4]; 4]));
    });
    let code = (
        number(),
        number(),
        any::<u32>(),
        rect(),
        number(),
        any::<bool>(),
    );
    let code = attaching(code, |buffer, (over, under, flags, of, fields, has_jam)| {
        let jam = glib::DateTime::from_iso8601("0001-01-01T00:30:00+05:00", None).unwrap();
        let jam = Some(&jam).filter(|_| has_jam);
        let (rate, none) = (gst::Fraction::new(25, 1), VideoTimeCodeFlags::empty());
        let code = ValidVideoTimeCode::new(rate, jam, none, 0, 0, 0, 0, 0).unwrap();
        let mut meta = VideoTimeCodeMeta::add(buffer, &code);
        // SAFETY: the meta is the buffer's, which can be written.
        let code = unsafe { &mut (*meta.as_mut_ptr()).tc };
        (code.config.fps_n, code.config.fps_d) = (over, under);
        code.config.flags = flags & 7;
        (code.hours, code.minutes, code.seconds) = (of.0, of.1, of.2);
        (code.frames, code.field_count) = (of.3, fields);
    });
    let caption = attaching((0..6i32, 1..3usize), |buffer, (kind, length)| {
        // SAFETY: any number is a type, known or not.
        let kind = unsafe { gst_video::VideoCaptionType::from_glib(kind) };
        VideoCaptionMeta::add(buffer, kind, &[0, 1, 2][..length]);
    });
    let afd = attaching(
        (any::<u8>(), 0..5i32, 0..20i32),
        |buffer, (field, spec, afd)| {
            let known = (
                gst_video::VideoAFDSpec::AtscA53,
                gst_video::VideoAFDValue::Unavailable,
            );
            let mut meta = VideoAFDMeta::add(buffer, 0, known.0, known.1);
            // SAFETY: the meta is the buffer's, which can be written.
            let meta = unsafe { &mut *meta.as_mut_ptr() };
            (meta.field, meta.spec, meta.afd) = (field % 4, spec, afd);
        },
    );
    let bar = attaching(
        (0..4u8, any::<bool>(), number()),
        |buffer, (field, is, bar)| {
            let mut meta = VideoBarMeta::add(buffer, 0, is, bar, bar);
            // SAFETY: the meta is the buffer's, which can be written.
            unsafe { (*meta.as_mut_ptr()).field = field };
        },
    );
    let sei = attaching(0..3usize, |buffer, length| {
        let data = [7u8; 16];
        // SAFETY: the buffer can be written, for it is borrowed so; the UUID has 16 bytes, and the data so
        // many. Both are copied.
        unsafe {
            gst_video::ffi::gst_buffer_add_video_sei_user_data_unregistered_meta(
                buffer.as_mut_ptr(),
                data.as_ptr().cast_mut().cast(),
                data.as_ptr().cast_mut(),
                length,
            );
        }
    });
    let clipping = attaching((1..8i32, any::<u64>()), |buffer, (format, number)| {
        // SAFETY: the buffer can be written, for it is borrowed so; the numbers may be any.
        unsafe {
            gst_audio::ffi::gst_buffer_add_audio_clipping_meta(
                buffer.as_mut_ptr(),
                format,
                number,
                number,
            );
        }
    });
    let level = attaching(any::<u8>(), |buffer, level| {
        AudioLevelMeta::add(buffer, level, level > 100);
    });
    let audio = (0..40usize, number(), 0..70u32, number(), any::<bool>());
    let audio = attaching(
        audio,
        |buffer, (format, rate, channels, samples, is_planar)| {
            let formats = gst_audio::AudioFormat::iter_raw().collect::<Vec<_>>();
            let format = formats[format % formats.len()];
            let layout = match is_planar {
                true => gst_audio::AudioLayout::NonInterleaved,
                false => gst_audio::AudioLayout::Interleaved,
            };
            let info = gst_audio::AudioInfo::builder(format, rate, channels).layout(layout);
            let Ok(info) = info.build() else { return };
            let samples = samples as usize;
            let meta = gst::ffi::gst_buffer_add_meta;
            // SAFETY: the buffer can be written, for it is borrowed so, and the new meta is of that structure.
            // It may have no offsets.
            unsafe {
                let kind = gst_audio::ffi::gst_audio_meta_get_info();
                let meta = meta(buffer.as_mut_ptr(), kind, std::ptr::null_mut());
                let meta = meta.cast::<gst_audio::ffi::GstAudioMeta>();
                (*meta).info = *info.to_glib_none().0;
                (*meta).samples = samples;
            }
        },
    );
    let time = prop_oneof![Just(GST_CLOCK_TIME_NONE), any::<u64>()];
    let timestamp = attaching((time, any::<bool>()), |buffer, (time, is_any)| {
        let caps = match is_any {
            true => gst::Caps::new_any(),
            false => "a/b(memory:X, meta:Y),c=[1,2]; d/e"
                .parse::<gst::Caps>()
                .unwrap(),
        };
        let second = gst::ClockTime::SECOND;
        let mut meta = ReferenceTimestampMeta::add(buffer, &caps, second, None);
        // SAFETY: the meta is the buffer's, which can be written.
        unsafe { (*meta.as_mut_ptr()).timestamp = time };
    });
    let overlay = (number(), number(), any::<i32>(), 0.0..=1.0f32, 1..4u32);
    let overlay = attaching(overlay, |buffer, (width, height, x, alpha, side)| {
        if width == 0 || height == 0 {
            // GStreamer has no such rectangles.
            return;
        }
        let bytes = vec![0; (side * side * 4) as usize];
        let mut picture = gst::Buffer::from_slice(bytes);
        let none = VideoFrameFlags::empty();
        let format = VideoFormat::Ayuv;
        VideoMeta::add(picture.make_mut(), none, format, side, side).unwrap();
        let flags = gst_video::VideoOverlayFormatFlags::empty();
        let (picture, width, height) = (&picture, width, height);
        let rectangle =
            gst_video::VideoOverlayRectangle::new_raw(picture, x, x, width, height, flags);
        let mut rectangle = rectangle;
        rectangle.get_mut().unwrap().set_global_alpha(alpha);
        let overlay = gst_video::VideoOverlayComposition::new(&[rectangle]).unwrap();
        VideoOverlayCompositionMeta::add(buffer, &overlay);
    });
    let structure = (any::<i32>(), any::<f64>(), ".{0,3}", vec(any::<u8>(), 0..3));
    let structure = attaching(structure, |buffer, (number, float, text, bytes)| {
        let date = glib::DateTime::from_iso8601("9999-12-31T23:30:00-05:00", None).unwrap();
        let text = text.replace('\0', "");
        let inner = gst::Structure::builder("inner").field("text", text);
        let info = gst::Structure::builder("application/x-cenc")
            .field("number", number)
            .field("fraction", gst::Fraction::new(number.max(-5), 7))
            .field("float", float)
            .field("date", date)
            .field("inner", inner.build())
            .field("list", gst::List::new([number, 1]))
            .field("bytes", gst::Buffer::from_slice(bytes))
            .build();
        ProtectionMeta::add(buffer, info.clone());
        if !CustomMeta::is_registered("XmTestProperty") {
            CustomMeta::register("XmTestProperty", &["video"]);
        }
        let mut meta = CustomMeta::add(buffer, "XmTestProperty").unwrap();
        for (name, value) in info.iter() {
            meta.mut_structure().set_value(name, value.clone());
        }
    });
    Union::new([
        crop, region, affine, code, caption, afd, bar, sei, clipping, level, audio, timestamp,
        overlay, structure,
    ])
    .boxed()
}

/// Raw video in any format, or none; its metas; and how many bytes the buffer has too many or too few.
fn buffers() -> impl Strategy<Value = (Option<VideoInfo>, Vec<Named>, i64)> {
    let formats = VideoFormat::iter_raw().collect::<Vec<_>>();
    let format = prop_oneof![
        1 => Just(None),
        3 => Just(Some(VideoFormat::Nv12)),
        6 => any::<proptest::sample::Index>().prop_map(move |at| Some(*at.get(&formats))),
    ];
    let mode = prop_oneof![
        4 => Just(VideoInterlaceMode::Progressive),
        1 => Just(VideoInterlaceMode::Interleaved),
        1 => Just(VideoInterlaceMode::Alternate),
    ];
    let info = (format, 1..70u32, 1..40u32, mode).prop_map(|(format, width, height, mode)| {
        let info = VideoInfo::builder(format?, width, height);
        info.interlace_mode(mode).build().ok()
    });
    info.prop_flat_map(|info| {
        let meta = match &info {
            Some(info) => prop_oneof![1 => video(info), 1 => others()].boxed(),
            None => others(),
        };
        let more = prop_oneof![4 => Just(0i64), 1 => -300..300i64, 1 => Just(i64::MIN)];
        (Just(info), vec(meta, 0..6), more)
    })
}

#[test]
fn what_a_sink_writes_of_any_meta_a_source_attaches() {
    gst::init().unwrap();
    let is_torture = std::env::var_os("XMEM_TORTURE").is_some_and(|value| !value.is_empty());
    // How often all was written, something left behind, and a picture copied.
    let [all, some, copied] = [const { Cell::new(0) }; 3];
    let count = |cell: &Cell<u32>, is: bool| cell.set(cell.get() + u32::from(is));
    let config = Config {
        cases: if is_torture { 1_000_000 } else { 3_000 },
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&buffers(), |(info, metas, more)| {
        let info = info.as_ref();
        let size = info.map_or(400, VideoInfo::size) as i64;
        let size = size.saturating_add(more).max(0) as usize;
        let mut sent = guarded_buffer(size);
        for meta in &metas {
            (meta.run)(sent.make_mut());
        }
        let mut extra = Vec::new();
        let mut written = None;
        quietly(|| written = Some(serialize(&sent, info, true, &mut extra)));
        let written = written.unwrap();
        count(&all, !metas.is_empty() && written.left_behind.is_empty());
        count(&some, !written.left_behind.is_empty());
        count(&copied, written.rows.is_some());
        assert_eq!(
            written.size,
            match (&written.rows, info) {
                (Some(_), Some(info)) => info.size(),
                _ => size,
            }
        );
        let bytes = sent.map_readable().unwrap();
        for row in written.rows.iter().flatten() {
            assert!(row.from + row.length <= bytes.len() && row.to + row.length <= written.size);
        }
        let mut received = guarded_buffer(written.size);
        quietly(|| {
            let attached = attach(received.make_mut(), &extra, info);
            assert_eq!(attached, Ok(()), "{:?}", written.left_behind);
            if let Some(info) = info {
                look(&received, info);
            }
        });
        // And a sink behind that source leaves nothing behind.
        let again = serialize(&received, info, true, &mut extra);
        assert_eq!((again.rows, again.left_behind), (None, Vec::new()));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let counts = [all, some, copied].map(|count| count.get());
    assert!(counts.iter().all(|&count| count > 50), "{counts:?}");
    println!("{counts:?}");
}

#[test]
fn a_meta_has_one_name_on_both_sides() {
    gst::init().unwrap();
    for kind in KINDS.iter() {
        let name = kind.name.to_lowercase();
        let api = kind.api.name().to_lowercase();
        let common = name.trim_end_matches("meta");
        assert!(api.starts_with(common), "{name} of {api}");
    }
}
