//! The pool's configurations and buffers, for every raw video format of the installed GStreamer.

use std::cell::Cell;
use std::sync::Arc;

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_video::prelude::*;
use gst_video::{VideoAlignment, VideoFormat, VideoFormatFlags, VideoInfo};
use tempfile::TempDir;
use xmem_core::{Channel, Publisher};

use super::super::poolstate::OnFailure;
use super::super::slot::XmemAllocator;
use super::XmemBufferPool;
use crate::fuzz::{guarded_buffer, look, quietly};
use crate::metas;

/// Top, bottom, left, right, and the alignment of all strides.
type Padding = (u32, u32, u32, u32, u32);

/// Configures a pool for these caps and this alignment. Returns whether the pool granted that, and
/// the configuration that it has then.
fn ask(
    pool: &XmemBufferPool,
    info: &VideoInfo,
    padding: Option<Padding>,
) -> (bool, gst::BufferPoolConfig) {
    let caps = info.to_caps().expect("caps");
    let mut config = pool.config();
    config.set_params(Some(&caps), info.size() as u32, 2, 0);
    config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META);
    if let Some((top, bottom, left, right, stride)) = padding {
        let alignment = VideoAlignment::new(top, bottom, left, right, &[stride; 4]);
        config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_ALIGNMENT);
        config.set_video_alignment(&alignment);
    }
    let granted = pool.set_config(config).is_ok();
    (granted, pool.config())
}

/// Checks that the sink publishes buffers of the pool's layout as they are, that a source can
/// attach the meta, and that GStreamer reads no byte outside of the buffer.
fn check_layout(pool: &XmemBufferPool, info: &VideoInfo, what: &str) {
    let (size, layout) = pool.imp().layout().expect("it is configured");
    let mut buffer = guarded_buffer(size);
    metas::add_layout(&layout, buffer.make_mut(), info.format()).expect("a meta");
    let mut extra = Vec::new();
    let written = metas::serialize(&buffer, Some(info), true, &mut extra);
    assert_eq!(written.rows, None, "{what}");
    assert_eq!(written.left_behind, [], "{what}");
    let mut received = guarded_buffer(size);
    let attached = metas::attach(received.make_mut(), &extra, Some(info));
    assert_eq!(attached, Ok(()), "{what}");
    quietly(|| look(&received, info));
}

fn try_all(sizes: &[(u32, u32)], paddings: &[Padding]) {
    gst::init().expect("GStreamer starts");
    let granted = Cell::new(0);
    for format in VideoFormat::iter_raw() {
        for &(width, height) in sizes {
            let Ok(info) = VideoInfo::builder(format, width, height).build() else {
                continue;
            };
            for &padding in paddings {
                let what = format!("{format} {width}x{height} {padding:?}");
                let pool: XmemBufferPool = glib::Object::builder().build();
                // Without an alignment, as in the answer to an allocation query.
                assert!(ask(&pool, &info, None).0, "{what}");
                let (is_granted, config) = ask(&pool, &info, Some(padding));
                check_layout(&pool, &info, &what);
                let has = |option: &glib::GStr| config.has_option(option);
                assert!(has(gst_video::BUFFER_POOL_OPTION_VIDEO_META), "{what}");
                let is_aligned = has(gst_video::BUFFER_POOL_OPTION_VIDEO_ALIGNMENT);
                assert_eq!(is_aligned, is_granted, "{what}");
                let (_, size, _, _) = config.params().expect("parameters");
                assert_eq!(Some(size as usize), pool.imp().layout().map(|of| of.0));
                if is_granted {
                    granted.set(granted.get() + 1);
                    continue;
                }
                // Upstream can have the configuration that is left, and it needs no more memory
                // than that.
                assert_eq!(size as usize, info.size(), "{what}");
                assert!(pool.set_config(config).is_ok(), "{what}");
                check_layout(&pool, &info, &what);
            }
        }
    }
    assert!(granted.get() > 0);
}

const PADDINGS: [Padding; 8] = [
    (0, 16, 0, 0, 0),
    (0, 0, 0, 0, 15),
    (1, 1, 1, 1, 0),
    (0, 0, 0, 0, 4095),
    (0, 0, 64, 0, 0),
    (32, 32, 32, 32, 127),
    // Invalid alignments.
    (0, 0, 0, 0, u32::MAX),
    (u32::MAX, u32::MAX, u32::MAX, u32::MAX, 100),
];

#[test]
fn whatever_alignment_upstream_asks_for_clients_can_read_what_it_gets() {
    try_all(&[(66, 50), (33, 9), (1, 1)], &PADDINGS);
    if std::env::var_os("XMEM_TORTURE").is_some_and(|value| !value.is_empty()) {
        let sizes = [1, 2, 3, 7, 16, 33, 64, 127, 320, 321, 1920];
        let sizes = sizes.map(|width| [1, 2, 3, 15, 32, 33, 240].map(|height| (width, height)));
        let edges = [0, 1, 2, 3, 16, 33];
        let mut paddings = Vec::new();
        for stride in [0, 1, 3, 15, 63, 255, 4095] {
            for (top, left) in edges.iter().flat_map(|&top| edges.map(|left| (top, left))) {
                paddings.push((top, left, left, top, stride));
            }
        }
        try_all(sizes.as_flattened(), &paddings);
    }
}

#[test]
fn usual_formats_are_aligned_as_upstream_wants_it() {
    gst::init().expect("GStreamer starts");
    for format in [
        VideoFormat::I420,
        VideoFormat::Nv12,
        VideoFormat::Yuy2,
        VideoFormat::Rgb,
        VideoFormat::Rgba,
        VideoFormat::P01010le,
    ] {
        let info = VideoInfo::builder(format, 1918, 1078)
            .build()
            .expect("a format");
        // Alignments for which libav's decoders ask.
        for padding in [(0, 16, 0, 16, 31), (32, 32, 32, 32, 63), (0, 2, 0, 0, 15)] {
            let pool: XmemBufferPool = glib::Object::builder().build();
            assert!(ask(&pool, &info, Some(padding)).0, "{format} {padding:?}");
            let (_, layout) = pool.imp().layout().expect("it is configured");
            let mut buffer = gst::Buffer::new();
            metas::add_layout(&layout, buffer.make_mut(), format).expect("a meta");
            let meta = buffer.meta::<gst_video::VideoMeta>().expect("a meta");
            assert!(
                meta.stride()
                    .iter()
                    .all(|&stride| stride & padding.4 as i32 == 0)
            );
            assert_eq!(meta.alignment().padding_bottom(), padding.1);
        }
    }
}

#[test]
fn tiled_formats_cannot_be_aligned() {
    gst::init().expect("GStreamer starts");
    for format in VideoFormat::iter_raw() {
        let Ok(info) = VideoInfo::builder(format, 320, 240).build() else {
            continue;
        };
        if !info.format_info().flags().contains(VideoFormatFlags::TILED) {
            continue;
        }
        let pool: XmemBufferPool = glib::Object::builder().build();
        assert!(
            !ask(&pool, &info, Some((32, 32, 32, 32, 127))).0,
            "{format}"
        );
        assert_eq!(pool.imp().layout().map(|of| of.0), Some(info.size()));
    }
}

#[test]
fn a_pool_for_pictures_that_are_too_large_does_not_start() {
    gst::init().expect("GStreamer starts");
    let pool: XmemBufferPool = glib::Object::builder().build();
    let wide = VideoInfo::builder(VideoFormat::Rgbx, (1 << 30) + 16, 1);
    let wide = wide
        .build()
        .expect("GStreamer's own numbers hold no such picture");
    assert!(!ask(&pool, &wide, None).0);
    assert_eq!(pool.imp().layout(), None);
    assert!(pool.set_active(true).is_err());
    let usual = VideoInfo::builder(VideoFormat::Rgbx, 16, 16).build();
    assert!(ask(&pool, &usual.expect("a format"), None).0);
}

/// A decoder that flushes treats a failing pool as an error.
#[test]
fn upstream_gets_other_memory_while_the_sink_flushes_and_after_it_has_stopped() {
    gst::init().expect("GStreamer starts");
    let directory = TempDir::new().expect("a directory");
    let channel = Channel::path(directory.path().join("cam0.sock"));
    let publisher = Arc::new(Publisher::builder(channel).open().expect("a publisher"));
    let on_failure: OnFailure = Arc::new(|error| panic!("{error}"));
    let pool = XmemBufferPool::new(&publisher, &on_failure);
    let info = VideoInfo::builder(VideoFormat::Rgbx, 64, 48).build();
    assert!(ask(&pool, &info.expect("a format"), None).0);
    pool.set_active(true).expect("slots");
    let is_slot = |buffer: &gst::Buffer| {
        let allocator = buffer.peek_memory(0).allocator().cloned();
        allocator.is_some_and(|allocator| allocator.is::<XmemAllocator>())
    };
    let acquire = || pool.acquire_buffer(None);
    assert!(is_slot(&acquire().expect("a slot")));
    pool.set_sink_flushing(true);
    let buffer = acquire().expect("memory");
    assert!(!is_slot(&buffer));
    assert!(buffer.meta::<gst_video::VideoMeta>().is_some());
    // Upstream itself sets the pool to flushing.
    pool.set_flushing(true);
    assert_eq!(acquire().err(), Some(gst::FlowError::Flushing));
    pool.set_flushing(false);
    assert!(!is_slot(&acquire().expect("memory")));
    pool.set_sink_flushing(false);
    assert!(is_slot(&acquire().expect("a slot")));
    publisher.close();
    assert!(!is_slot(&acquire().expect("memory")));
}
