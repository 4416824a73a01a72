//! Metas of every kind, for tests that send them, and their content as text, for tests that compare
//! them.
//!
//! The tests of the plugin include this file too (`#[path]`).
#![allow(unsafe_code)]

use std::sync::Mutex;

use gst::glib;
use gst::glib::translate::FromGlib;
use gst::meta::{CustomMeta, ProtectionMeta, ReferenceTimestampMeta};
use gst_audio::{AudioClippingMeta, AudioInfo, AudioLayout, AudioLevelMeta, AudioMeta};
use gst_video::video_meta::*;
use gst_video::{
    ValidVideoTimeCode, VideoAFDSpec, VideoAFDValue, VideoCaptionType, VideoFormat,
    VideoFrameFlags, VideoOverlayComposition, VideoOverlayFormatFlags, VideoOverlayRectangle,
    VideoTimeCodeFlags, VideoTimeCodeMeta,
};

const KNOWN: &str = "GStreamer accepts what a test sends";

/// The size of a huge meta in bytes.
const HUGE: usize = 10 << 20;

/// Registers a custom meta, as an application does.
fn register(name: &str, tags: &[&str]) {
    static LOCK: Mutex<()> = Mutex::new(());
    let _lock = LOCK.lock();
    if !CustomMeta::is_registered(name) {
        CustomMeta::register(name, tags);
    }
}

/// Attaches metas of a kind, by its name in [`KINDS`] or [`ODD`].
///
/// # Panics
/// If no kind has this name.
pub fn add(buffer: &mut gst::BufferRef, kind: &str) {
    let odd = ODD.iter().map(|(name, _, add)| (*name, *add));
    let mut all = KINDS.iter().copied().chain(odd);
    let known = all.find(|(name, _)| *name == kind);
    let (_, add) = known.unwrap_or_else(|| panic!("no metas {kind:?}"));
    add(buffer);
}

/// The rectangle of an overlay, `width` by `height`. All its bytes differ.
fn rectangle(
    (width, height): (u32, u32),
    flags: VideoOverlayFormatFlags,
    alpha: f32,
) -> VideoOverlayRectangle {
    let pixels = (0..width * height * 4).map(|at| at as u8);
    let mut buffer = gst::Buffer::from_slice(pixels.collect::<Vec<_>>());
    let none = VideoFrameFlags::empty();
    VideoMeta::add(buffer.make_mut(), none, overlay_format(), width, height).expect(KNOWN);
    let mut rectangle = VideoOverlayRectangle::new_raw(&buffer, -3, 4, 9, 8, flags);
    rectangle.get_mut().expect(KNOWN).set_global_alpha(alpha);
    rectangle
}

fn overlay_format() -> VideoFormat {
    if cfg!(target_endian = "little") {
        VideoFormat::Bgra
    } else {
        VideoFormat::Argb
    }
}

/// A function that attaches metas.
pub type Add = fn(&mut gst::BufferRef);

/// The functions for each kind. They attach several metas if a buffer can have several of the kind.
/// The buffer has at least 100 bytes.
pub const KINDS: &[(&str, Add)] = &[
    ("regions", |buffer| {
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
    ("time-codes", |buffer| {
        let jam = glib::DateTime::from_iso8601("2024-02-29T23:59:58.5+05:30", None).expect(KNOWN);
        let drop = VideoTimeCodeFlags::DROP_FRAME | VideoTimeCodeFlags::INTERLACED;
        let rate = gst::Fraction::new(30000, 1001);
        for jam in [None, Some(&jam)] {
            let code = ValidVideoTimeCode::new(rate, jam, drop, 23, 59, 58, 17, 2).expect(KNOWN);
            VideoTimeCodeMeta::add(buffer, &code);
        }
    }),
    ("overlays", |buffer| {
        let premultiplied = VideoOverlayFormatFlags::PREMULTIPLIED_ALPHA;
        let none = VideoOverlayFormatFlags::empty();
        let rectangles = [
            rectangle((5, 3), premultiplied, 0.5),
            rectangle((2, 2), none, 1.0),
        ];
        let overlay = VideoOverlayComposition::new(&rectangles).expect(KNOWN);
        VideoOverlayCompositionMeta::add(buffer, &overlay);
        let overlay = VideoOverlayComposition::new(&[]).expect(KNOWN);
        VideoOverlayCompositionMeta::add(buffer, &overlay);
    }),
    ("captions", |buffer| {
        VideoCaptionMeta::add(buffer, VideoCaptionType::Cea708Cdp, &[0x96, 0x69]);
        VideoCaptionMeta::add(buffer, VideoCaptionType::Cea608Raw, &[0]);
    }),
    ("active-format", |buffer| {
        let (spec, afd) = (VideoAFDSpec::AtscA53, VideoAFDValue::_43Full149Center);
        VideoAFDMeta::add(buffer, 1, spec, afd);
    }),
    ("bars", |buffer| {
        VideoBarMeta::add(buffer, 1, true, 7, u32::MAX);
    }),
    ("user-data", |buffer| {
        VideoSeiUserDataUnregisteredMeta::add(buffer, &[7; 16], b"user data");
    }),
    ("audio", |buffer| {
        let info = AudioInfo::builder(gst_audio::AudioFormat::S16le, 48000, 2);
        let info = info
            .layout(AudioLayout::NonInterleaved)
            .build()
            .expect(KNOWN);
        AudioMeta::add(buffer, &info, 10, &[40, 4]).expect(KNOWN);
    }),
    ("level", |buffer| {
        AudioLevelMeta::add(buffer, 99, true);
    }),
    ("clippings", |buffer| {
        let time = gst::ClockTime::from_nseconds;
        AudioClippingMeta::add(buffer, time(7), time(u64::MAX - 1));
        let samples = gst::format::Default::from_u64;
        AudioClippingMeta::add(buffer, samples(1), samples(2));
    }),
    ("timestamps", |buffer| {
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
    ("custom", |buffer| {
        register("XmTestCustom", &["video"]);
        let mut meta = CustomMeta::add(buffer, "XmTestCustom").expect(KNOWN);
        meta.mut_structure().set("answer", 42);
    }),
    ("empty-custom", |buffer| {
        register("XmTestNothing", &[]);
        CustomMeta::add(buffer, "XmTestNothing").expect(KNOWN);
        CustomMeta::add(buffer, "XmTestNothing").expect(KNOWN);
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
    #[cfg(feature = "v1_26")]
    ("analytics", analytics::add),
    #[cfg(feature = "v1_26")]
    ("tensors", analytics::add_tensors),
    ("huge-custom", |buffer| {
        register("XmTestHuge", &[]);
        let mut meta = CustomMeta::add(buffer, "XmTestHuge").expect("the meta is registered");
        let huge = (0..HUGE).map(|at| (at / 7) as u8).collect::<Vec<_>>();
        let huge = gst::Buffer::from_slice(huge);
        meta.mut_structure().set("huge", huge);
    }),
    ("huge-overlay", |buffer| {
        let size = (1920, HUGE as u32 / 1920 / 4);
        let huge = rectangle(size, VideoOverlayFormatFlags::empty(), 1.0);
        let overlay = VideoOverlayComposition::new(&[huge]).expect("a rectangle");
        VideoOverlayCompositionMeta::add(buffer, &overlay);
    }),
];

/// What happens to an odd meta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It crosses, as far as it has a meaning in another process.
    Crosses,
    /// It does not cross.
    Stays,
    /// It does not cross, and the picture is copied to the layout of the caps.
    Copied,
}

/// Metas that are odd on a frame of [`ODD_CAPS`], but that an honest element may attach.
pub const ODD: &[(&str, Fate, Add)] = &[
    ("crop-outside", Fate::Stays, |buffer| {
        VideoCropMeta::add(buffer, (0, 0, 320, 248));
    }),
    ("crop-far-outside", Fate::Stays, |buffer| {
        VideoCropMeta::add(buffer, (300, u32::MAX, 500, 500));
    }),
    ("region-without-end", Fate::Stays, |buffer| {
        let rect = (u32::MAX - 5, 7, u32::MAX, u32::MAX);
        VideoRegionOfInterestMeta::add(buffer, "x", rect);
    }),
    ("region-of-nothing", Fate::Crosses, |buffer| {
        VideoRegionOfInterestMeta::add(buffer, "", (0, 0, 0, 0));
    }),
    ("region-in-itself", Fate::Crosses, |buffer| {
        let mut meta = VideoRegionOfInterestMeta::add(buffer, "x", (0, 0, 1, 1));
        let id = meta.id();
        meta.set_parent_id(id);
    }),
    ("many-regions", Fate::Crosses, |buffer| {
        for number in 0..1000 {
            let mut meta = VideoRegionOfInterestMeta::add(buffer, "x", (number, number, 5, 5));
            meta.add_param(gst::Structure::builder("p").field("c", 0.5).build());
        }
    }),
    ("picture-too-small", Fate::Stays, |buffer| {
        video(
            buffer,
            VideoFormat::Nv12,
            (160, 120),
            [0, 160 * 120],
            [160; 2],
        );
    }),
    ("picture-higher-than-its-bytes", Fate::Copied, |buffer| {
        video(
            buffer,
            VideoFormat::Nv12,
            (320, 256),
            [0, 320 * 240],
            [320; 2],
        );
    }),
    ("picture-of-another-format", Fate::Stays, |buffer| {
        let none = VideoFrameFlags::empty();
        VideoMeta::add(buffer, none, VideoFormat::I420, 320, 240).expect(KNOWN);
    }),
    ("planes-over-one-another", Fate::Crosses, |buffer| {
        video(buffer, VideoFormat::Nv12, (320, 240), [0, 0], [320; 2]);
    }),
    ("planes-in-another-order", Fate::Crosses, |buffer| {
        video(
            buffer,
            VideoFormat::Nv12,
            (320, 240),
            [320 * 120, 0],
            [320; 2],
        );
    }),
    ("plane-outside", Fate::Stays, |buffer| {
        video(
            buffer,
            VideoFormat::Nv12,
            (320, 240),
            [0, 320 * 480],
            [320; 2],
        );
    }),
    ("stride-of-nothing", Fate::Copied, |buffer| {
        video(
            buffer,
            VideoFormat::Nv12,
            (320, 240),
            [0, 320 * 240],
            [0; 2],
        );
    }),
    ("rows-upwards", Fate::Copied, |buffer| {
        let offset = [320 * 239, 320 * 240];
        video(buffer, VideoFormat::Nv12, (320, 240), offset, [-320, 320]);
    }),
    ("two-views", Fate::Stays, |buffer| {
        let none = VideoFrameFlags::empty();
        for _ in 0..2 {
            VideoMeta::add(buffer, none, VideoFormat::Nv12, 320, 240).expect(KNOWN);
        }
    }),
    ("fields-of-no-interlaced-video", Fate::Crosses, |buffer| {
        let flags = VideoFrameFlags::INTERLACED | VideoFrameFlags::ONEFIELD;
        VideoMeta::add(buffer, flags, VideoFormat::Nv12, 320, 240).expect(KNOWN);
    }),
    ("time-code-of-no-rate", Fate::Stays, |buffer| {
        time_code(buffer, (0, 1), 0)
    }),
    ("time-code-over-nothing", Fate::Stays, |buffer| {
        time_code(buffer, (25, 0), 0)
    }),
    ("time-code-of-no-day", Fate::Stays, |buffer| {
        time_code(buffer, (25, 1), 99)
    }),
    ("overlay-far-outside", Fate::Stays, |buffer| {
        let mut pixels = gst::Buffer::from_slice(vec![0; 4 * 16 * 16]);
        let none = VideoFrameFlags::empty();
        VideoMeta::add(pixels.make_mut(), none, overlay_format(), 16, 16).expect(KNOWN);
        let flags = VideoOverlayFormatFlags::empty();
        let rectangle =
            VideoOverlayRectangle::new_raw(&pixels, -100_000, 100_000, 90_000, 1, flags);
        let overlay = VideoOverlayComposition::new(&[rectangle]).expect(KNOWN);
        VideoOverlayCompositionMeta::add(buffer, &overlay);
    }),
    ("affine-of-no-numbers", Fate::Crosses, |buffer| {
        VideoAffineTransformationMeta::add(buffer, Some(&[[f32::NAN; 4]; 4]));
    }),
    ("caption-of-a-byte", Fate::Crosses, |buffer| {
        VideoCaptionMeta::add(buffer, VideoCaptionType::Cea708Cdp, b"x");
    }),
    ("custom-of-this-process", Fate::Crosses, |buffer| {
        register("XmTestOdd", &[]);
        let mut meta = CustomMeta::add(buffer, "XmTestOdd").expect(KNOWN);
        let structure = meta.mut_structure();
        structure.set("o", gst::Bin::new());
        structure.set("b", gst::Buffer::from_slice([0; 10]));
        structure.set("d", f64::INFINITY);
        structure.set("f", gst::Fraction::new(1, i32::MAX));
    }),
    ("custom-of-odd-names", Fate::Crosses, |buffer| {
        register("XmTestOdd", &[]);
        let mut meta = CustomMeta::add(buffer, "XmTestOdd").expect(KNOWN);
        meta.mut_structure().set("a/b:c-d", "\" ; } \\ \n");
    }),
    ("custom-that-is-deep", Fate::Crosses, |buffer| {
        register("XmTestOdd", &[]);
        let mut inner = gst::Structure::builder("l").field("x", 1).build();
        for _ in 0..60 {
            inner = gst::Structure::builder("l").field("i", inner).build();
        }
        let mut meta = CustomMeta::add(buffer, "XmTestOdd").expect(KNOWN);
        meta.mut_structure().set("n", inner);
    }),
    ("custom-with-a-long-list", Fate::Crosses, |buffer| {
        register("XmTestOdd", &[]);
        let mut meta = CustomMeta::add(buffer, "XmTestOdd").expect(KNOWN);
        meta.mut_structure().set("l", gst::List::new(0..100_000i32));
    }),
    ("custom-that-is-too-long", Fate::Stays, |buffer| {
        register("XmTestOdd", &[]);
        let mut meta = CustomMeta::add(buffer, "XmTestOdd").expect(KNOWN);
        let long = gst::Buffer::from_slice(vec![1; 65 << 20]);
        meta.mut_structure().set("l", long);
    }),
    ("timestamp-of-no-time", Fate::Stays, |buffer| {
        let caps = "video/x-raw(memory:CUDAMemory),a=(int){1,2},b=[1,9]; audio/x-raw";
        let caps = caps.parse::<gst::Caps>().expect(KNOWN);
        let time = gst::ClockTime::SECOND;
        let mut meta = ReferenceTimestampMeta::add(buffer, &caps, time, None);
        // SAFETY: the meta belongs to the buffer, which is writable.
        unsafe { (*meta.as_mut_ptr()).timestamp = gst::ffi::GST_CLOCK_TIME_NONE };
    }),
    ("audio-in-video", Fate::Crosses, |buffer| {
        let info = AudioInfo::builder(gst_audio::AudioFormat::S16le, 48000, 2);
        AudioMeta::add(buffer, &info.build().expect(KNOWN), 1, &[]).expect(KNOWN);
    }),
    ("audio-longer-than-its-bytes", Fate::Stays, |buffer| {
        let info = AudioInfo::builder(gst_audio::AudioFormat::S16le, 48000, 2);
        AudioMeta::add(buffer, &info.build().expect(KNOWN), 1 << 20, &[]).expect(KNOWN);
    }),
    ("user-data-of-nothing", Fate::Stays, |buffer| {
        let mut id = [0u8; 16];
        let data = id.as_mut_ptr();
        // SAFETY: the buffer is borrowed mutably, so it is writable. The UUID has 16 bytes, which
        // are copied, and there is no data.
        unsafe {
            gst_video::ffi::gst_buffer_add_video_sei_user_data_unregistered_meta(
                buffer.as_mut_ptr(),
                &raw mut id,
                data,
                0,
            );
        }
    }),
    ("bars-of-a-third-field", Fate::Stays, |buffer| {
        let mut meta = VideoBarMeta::add(buffer, 1, true, u32::MAX, u32::MAX);
        // SAFETY: the meta belongs to the buffer, which is writable.
        unsafe { (*meta.as_mut_ptr()).field = 3 };
    }),
    ("format-that-is-reserved", Fate::Stays, |buffer| {
        // SAFETY: any number is a valid format, known or not.
        let afd = unsafe { VideoAFDValue::from_glib(999) };
        VideoAFDMeta::add(buffer, 1, VideoAFDSpec::AtscA53, afd);
    }),
];

/// The caps for which the metas of [`ODD`] are odd.
pub const ODD_CAPS: &str = "video/x-raw,format=NV12,width=320,height=240,framerate=30/1";

fn video(
    buffer: &mut gst::BufferRef,
    format: VideoFormat,
    (width, height): (u32, u32),
    offset: [usize; 2],
    stride: [i32; 2],
) {
    let none = VideoFrameFlags::empty();
    VideoMeta::add_full(buffer, none, format, width, height, &offset, &stride).expect(KNOWN);
}

/// Attaches a time code that GStreamer would refuse to attach.
fn time_code(buffer: &mut gst::BufferRef, rate: (u32, u32), hours: u32) {
    let (of, none) = (gst::Fraction::new(25, 1), VideoTimeCodeFlags::empty());
    let code = ValidVideoTimeCode::new(of, None, none, 0, 0, 0, 0, 0).expect(KNOWN);
    let mut meta = VideoTimeCodeMeta::add(buffer, &code);
    // SAFETY: the meta belongs to the buffer, which is writable.
    let code = unsafe { &mut (*meta.as_mut_ptr()).tc };
    (code.config.fps_n, code.config.fps_d) = rate;
    code.hours = hours;
}

/// The content of all metas of a buffer, in their order. For a meta that is not in [`KINDS`], its
/// type.
pub fn told(buffer: &gst::BufferRef) -> Vec<String> {
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
            let jam = jam.map(|jam| jam.format("%F %T %f %z").expect(KNOWN));
            code.set_latest_daily_jam(None);
            return format!("{code:?} {jam:?}");
        }
        if let Some(meta) = meta.downcast_ref::<ProtectionMeta>() {
            let buffer = meta.info().get::<gst::Buffer>("iv").expect(KNOWN);
            let iv = buffer.map_readable().expect(KNOWN);
            return format!("{} {:?}", meta.info().n_fields(), &iv[..]);
        }
        #[cfg(feature = "v1_24")]
        if let Some(meta) = meta.downcast_ref::<AncillaryMeta>() {
            return format!("{:?} {}", **meta, meta.checksum());
        }
        #[cfg(feature = "v1_26")]
        if let Some(told) = analytics::told(&meta) {
            return told;
        }
        if let Some(custom) = meta.try_as_custom_meta() {
            let structure = custom.structure();
            if let Ok(huge) = structure.get::<gst::Buffer>("huge") {
                let bytes = huge.map_readable().expect("the buffer can be read");
                return format!("{} {}", structure.name(), digest(&bytes));
            }
            return format!("{structure:?} {:?}", custom.tags());
        }
        meta.type_().name().to_owned()
    };
    buffer.iter_meta::<gst::Meta>().map(of).collect()
}

fn told_of_overlay(rectangle: &gst_video::VideoOverlayRectangleRef) -> String {
    let pixels = rectangle.pixels_unscaled_raw(rectangle.flags());
    let video = pixels.meta::<VideoMeta>().expect(KNOWN);
    let bytes = digest(&pixels.map_readable().expect("the buffer can be read"));
    format!("{rectangle:?} {:?} {bytes}", *video)
}

/// Identifies bytes by their number and a hash.
fn digest(bytes: &[u8]) -> String {
    let mixed = bytes.iter().fold(0u64, |mixed, &byte| {
        (mixed.rotate_left(5) ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    format!("{}:{mixed:016x}", bytes.len())
}

#[cfg(feature = "v1_26")]
mod analytics {
    use gst::glib::Quark;
    use gst_analytics::*;

    use super::KNOWN;

    pub(super) fn add(buffer: &mut gst::BufferRef) {
        let mut meta = AnalyticsRelationMeta::add(buffer);
        let car = Quark::from_str("car");
        let object = meta.add_oriented_od_mtd(car, -1, 2, 30, 40, 0.5, 0.9);
        let object = object.expect(KNOWN).id();
        let classes = [Quark::from_str("red ä"), Quark::from_str("blue")];
        let classes = meta.add_cls_mtd(&[0.75, 0.25], &classes);
        let classes = classes.expect(KNOWN).id();
        let seen = gst::ClockTime::from_nseconds;
        let tracking = meta.add_tracking_mtd(u64::MAX, seen(5)).expect(KNOWN).id();
        // More than the meta has memory for at first.
        for number in 0..20 {
            let dot = Quark::from_str("dot");
            meta.add_od_mtd(dot, number, 0, 1, 1, 1.0).expect(KNOWN);
        }
        let part = RelTypes::IS_PART_OF | RelTypes::RELATE_TO;
        for (types, first, second) in [
            (RelTypes::RELATE_TO, object, classes),
            (RelTypes::CONTAIN, object, tracking),
            (part, 22, object),
        ] {
            meta.set_relation(types, first, second).expect(KNOWN);
        }
        let mut tracked = meta.mtd_mut::<AnalyticsTrackingMtd>(tracking).expect(KNOWN);
        tracked.update_last_seen(seen(7)).expect(KNOWN);
        tracked.set_lost().expect(KNOWN);
    }

    pub(super) fn add_tensors(buffer: &mut gst::BufferRef) {
        let tensor = |name, of, size: u8, order, dims: &[usize]| {
            let data = gst::Buffer::from_slice((0..size).collect::<Vec<_>>());
            Tensor::new_simple(Quark::from_str(name), of, data, order, dims)
        };
        let (row, column) = (TensorDimOrder::RowMajor, TensorDimOrder::ColMajor);
        let tensors = [
            tensor("boxes", TensorDataType::Float32, 48, row, &[3, 4]),
            tensor("odd", TensorDataType::Int4, 8, column, &[3, 5]),
            tensor("open", TensorDataType::Uint16, 6, row, &[0, 1]),
        ];
        TensorMeta::add(buffer).set(tensors.into());
    }

    pub(super) fn told(meta: &gst::MetaRef<'_, gst::Meta>) -> Option<String> {
        if let Some(meta) = meta.downcast_ref::<TensorMeta>() {
            let told = meta.as_slice().iter().map(|tensor| {
                let bytes = tensor
                    .data()
                    .map_readable()
                    .expect("the buffer can be read");
                let (of, order) = (tensor.data_type(), tensor.dims_order());
                let dims = tensor.dims();
                let id = tensor.id();
                format!(
                    "{id:?} {of:?} {order:?} {dims:?} {}; ",
                    super::digest(&bytes)
                )
            });
            return Some(told.collect());
        }
        let meta = meta.downcast_ref::<AnalyticsRelationMeta>()?;
        let ids = 0..meta.len() as u32;
        let mut told = String::new();
        for id in ids.clone() {
            if let Some(object) = meta.mtd::<AnalyticsODMtd>(id) {
                let location = object.oriented_location().expect(KNOWN);
                told += &format!("{:?} {location:?}; ", object.obj_type());
            } else if let Some(classes) = meta.mtd::<AnalyticsClassificationMtd>(id) {
                for at in 0..classes.len() {
                    told += &format!("{:?} {}; ", classes.quark(at), classes.level(at));
                }
            } else if let Some(tracking) = meta.mtd::<AnalyticsTrackingMtd>(id) {
                told += &format!("tracking {:?}; ", tracking.info());
            }
        }
        for (first, second) in ids
            .clone()
            .flat_map(|first| ids.clone().map(move |id| (first, id)))
        {
            let types = meta.relation(first, second);
            if !types.is_empty() {
                told += &format!("{first} {types:?} {second}; ");
            }
        }
        Some(told)
    }
}
