use super::super::kind::{VIDEO, VIDEO_CROP};
use super::super::{Refused, attach, serialize};
use super::*;
use crate::values::Encoder;
use xmem_media::Field;

/// Writes the video meta and the crop of a buffer as no sink does: without looking at them.
fn as_they_are(buffer: &gst::BufferRef) -> Vec<u8> {
    let mut extra = Vec::new();
    let mut writer = Encoder::new(&mut extra);
    for meta in buffer.iter_meta::<VideoMeta>() {
        let written = writer.record(VIDEO, |body| layout_of(&meta).encode(body));
        written.unwrap();
    }
    for meta in buffer.iter_meta::<VideoCropMeta>() {
        let (x, y, width, height) = meta.rect();
        let written = writer.record(VIDEO_CROP, |body| {
            for number in [x, y, width, height] {
                body.u32(number);
            }
            Some(())
        });
        written.unwrap();
    }
    extra
}

/// Whether a frame of so many bytes that comes with these metas is taken. Where it is, the sink
/// writes them; where not, it leaves something behind.
fn is_taken(sent: &gst::BufferRef, extra: &[u8], size: usize, info: &VideoInfo) -> bool {
    let mut received = gst::Buffer::with_size(size).unwrap();
    let attached = attach(received.make_mut(), extra, Some(info));
    assert_ne!(attached, Err(Refused::Broken));
    let mut resized = sent.copy();
    let resized = resized.get_mut().unwrap();
    resized.remove_all_memory();
    resized.append_memory(gst::Memory::with_size(size));
    let written = serialize(resized, Some(info), true, &mut Vec::new());
    assert_eq!(written.left_behind.is_empty(), attached.is_ok());
    attached.is_ok()
}

fn info(format: VideoFormat, width: u32, height: u32) -> VideoInfo {
    gst::init().unwrap();
    VideoInfo::builder(format, width, height).build().unwrap()
}

#[test]
fn video_metas_cross_with_their_padding() {
    let info = info(VideoFormat::I420, 641, 359);
    let mut padded = info.clone();
    let mut alignment = gst_video::VideoAlignment::new(2, 4, 16, 32, &[31; MAX_PLANES]);
    padded.align(&mut alignment).unwrap();
    let mut sent = gst::Buffer::with_size(padded.size()).unwrap();
    let sent = sent.make_mut();
    let mut meta = VideoMeta::add_full(
        sent,
        VideoFrameFlags::INTERLACED,
        info.format(),
        info.width(),
        info.height(),
        padded.offset(),
        padded.stride(),
    )
    .unwrap();
    meta.set_alignment(&alignment).unwrap();
    VideoCropMeta::add(sent, (1, 2, 300, 200));
    let mut extra = Vec::new();
    let written = serialize(sent, Some(&info), true, &mut extra);
    assert_eq!((written.rows, &written.left_behind[..]), (None, &[][..]));
    assert_eq!(extra, as_they_are(sent));

    let mut received = gst::Buffer::with_size(padded.size()).unwrap();
    let received = received.make_mut();
    assert_eq!(attach(received, &extra, Some(&info)), Ok(()));
    let meta = received.meta::<VideoMeta>().unwrap();
    assert_eq!(&meta.offset()[..3], &padded.offset()[..3]);
    assert_eq!(&meta.stride()[..3], &padded.stride()[..3]);
    assert_eq!(meta.video_frame_flags(), VideoFrameFlags::INTERLACED);
    assert_eq!(meta.alignment().padding_left(), alignment.padding_left());
    let crop = received.meta::<VideoCropMeta>().unwrap();
    assert_eq!(crop.rect(), (1, 2, 300, 200));

    // The same metas on a smaller buffer point outside of it.
    assert!(!is_taken(sent, &extra, info.size(), &info));
}

#[test]
fn a_picture_smaller_than_its_caps_is_refused() {
    let info = info(VideoFormat::Gray8, 64, 48);
    let of_size = |width, height| {
        let mut sent = gst::Buffer::with_size(64 * 128).unwrap();
        let sent = sent.make_mut();
        let flags = VideoFrameFlags::empty();
        VideoMeta::add_full(sent, flags, info.format(), width, height, &[0], &[64]).unwrap();
        is_taken(sent, &as_they_are(sent), 64 * 128, &info)
    };
    assert!(of_size(64, 48));
    assert!(of_size(64, 100));
    assert!(!of_size(64, 47));
    assert!(!of_size(63, 48));
}

#[test]
fn of_dmabufs_whose_caps_speak_of_drm_the_layout_is_told() {
    gst::init().unwrap();
    let caps = "video/x-raw(memory:DMABuf),format=DMA_DRM,drm-format=NV12,width=64,height=48";
    let caps: gst::Caps = caps.parse().unwrap();
    let Ok(info) = VideoInfo::from_caps(&caps) else {
        eprintln!("not tried: GStreamer is older than 1.24");
        return;
    };
    let (offset, stride) = ([0, 128 * 64], [128, 128]);
    let received = |format: VideoFormat, size: usize| {
        let mut sent = gst::Buffer::with_size(128 * 96).unwrap();
        let sent = sent.make_mut();
        let flags = VideoFrameFlags::empty();
        VideoMeta::add_full(sent, flags, format, 64, 48, &offset, &stride).unwrap();
        let extra = as_they_are(sent);
        let mut received = gst::Buffer::with_size(size).unwrap();
        let whole = attach(received.make_mut(), &extra, Some(&info));
        (whole.is_ok(), received)
    };
    let (whole, buffer) = received(VideoFormat::Nv12, 128 * 96);
    let meta = buffer.meta::<VideoMeta>().unwrap();
    assert!(whole);
    assert_eq!(meta.format(), VideoFormat::Nv12);
    assert_eq!((meta.offset(), meta.stride()), (&offset[..], &stride[..]));
    // Rows outside of the buffer, and planes that are more than the format has.
    for (format, size) in [
        (VideoFormat::Nv12, 128 * 80),
        (VideoFormat::Gray8, 128 * 96),
    ] {
        let (whole, buffer) = received(format, size);
        assert!(!whole && buffer.meta::<VideoMeta>().is_none(), "{format}");
    }
    // What only a device can read has no planes that are told here.
    let (whole, buffer) = received(info.format(), 128 * 96);
    assert!(whole && buffer.meta::<VideoMeta>().is_none());
    let mut plain = gst::Buffer::with_size(128 * 96).unwrap();
    assert_eq!(attach(plain.make_mut(), &[], Some(&info)), Ok(()));
    assert!(plain.meta::<VideoMeta>().is_none());
}

#[test]
fn a_picture_without_bytes_keeps_its_video_meta_and_can_not_be_mapped() {
    let info = info(VideoFormat::I420, 64, 48);
    let mut sent = gst::Buffer::new();
    let sent = sent.make_mut();
    VideoMeta::add_from_info(sent, VideoFrameFlags::empty(), &info).unwrap_err();
    let flags = VideoFrameFlags::empty();
    let (offset, stride) = (info.offset(), info.stride());
    VideoMeta::add_full(sent, flags, info.format(), 64, 48, offset, stride).unwrap();
    let mut extra = Vec::new();
    serialize(sent, Some(&info), true, &mut extra);
    let mut received = gst::Buffer::new();
    let received = received.make_mut();
    assert_eq!(attach(received, &extra, Some(&info)), Ok(()));
    assert_eq!(received.meta::<VideoMeta>().unwrap().stride(), stride);
    assert!(gst_video::VideoFrameRef::from_buffer_ref_readable(received, &info).is_err());
}

#[test]
fn fields_that_come_alone_have_half_the_rows() {
    gst::init().unwrap();
    let info = VideoInfo::builder(VideoFormat::Gray8, 64, 48)
        .interlace_mode(gst_video::VideoInterlaceMode::Alternate)
        .build()
        .unwrap();
    let of_height = |height| {
        let mut sent = gst::Buffer::new();
        let sent = sent.make_mut();
        let flags = VideoFrameFlags::empty();
        VideoMeta::add_full(sent, flags, info.format(), 64, height, &[0], &[64]).unwrap();
        is_taken(sent, &as_they_are(sent), 64 * 32, &info)
    };
    let [as_in_caps, padded, too_high] = [48, 64, 66].map(of_height);
    assert!(as_in_caps && padded && !too_high);
}

#[test]
fn of_many_crops_the_first_counts() {
    let info = info(VideoFormat::Gray8, 64, 48);
    let mut extra = Vec::new();
    for x in 0..1_000_000u32 {
        let written = Encoder::new(&mut extra).record(VIDEO_CROP, |body| {
            for number in [x % 50, 2, 3, 4] {
                body.u32(number);
            }
            Some(())
        });
        written.unwrap();
    }
    let mut received = gst::Buffer::with_size(info.size()).unwrap();
    let received = received.make_mut();
    assert_eq!(attach(received, &extra, Some(&info)), Ok(()));
    assert_eq!(received.iter_meta::<VideoCropMeta>().count(), 1);
    let crop = received.meta::<VideoCropMeta>().unwrap();
    assert_eq!(crop.rect(), (0, 2, 3, 4));
}

#[test]
fn every_formats_usual_layout_is_accepted() {
    gst::init().unwrap();
    for (width, height) in [(322, 242), (321, 241), (1, 1), (7, 3)] {
        for format in VideoFormat::iter_raw() {
            let Ok(info) = VideoInfo::builder(format, width, height).build() else {
                continue;
            };
            let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
            let buffer = buffer.make_mut();
            VideoMeta::add_from_info(buffer, VideoFrameFlags::empty(), &info).unwrap();
            let mut extra = Vec::new();
            let written = serialize(buffer, Some(&info), true, &mut extra);
            assert!(written.rows.is_none() && written.left_behind.is_empty());
            let mut received = gst::Buffer::with_size(info.size()).unwrap();
            let attached = attach(received.make_mut(), &extra, Some(&info));
            assert_eq!(attached, Ok(()), "{format} of {width}x{height}");
        }
    }
}

#[test]
fn pictures_too_wide_for_gstreamers_numbers_are_refused() {
    gst::init().unwrap();
    for (format, width) in [
        (VideoFormat::Rgbx, (1 << 30) + 16),
        (VideoFormat::Y412Le, (1 << 29) + 16),
        (VideoFormat::Nv128l128, (1 << 28) + 16),
    ] {
        // So it says of its rows, which it computes in 32 bits.
        let wide = VideoInfo::builder(format, width, 1).build().unwrap();
        assert!(wide.size() < 10_000);
        let info = VideoInfo::builder(format, 4, 1).build().unwrap();
        let mut sent = gst::Buffer::with_size(wide.size()).unwrap();
        let sent = sent.make_mut();
        let (none, offset, stride) = (VideoFrameFlags::empty(), wide.offset(), wide.stride());
        VideoMeta::add_full(sent, none, format, width, 1, offset, stride).unwrap();
        let extra = as_they_are(sent);
        assert!(!is_taken(sent, &extra, 10_000, &info), "{format}");
    }
}

#[test]
fn no_bytes_make_it_panic_or_point_outside() {
    let info = info(VideoFormat::Nv12, 64, 48);
    let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
    let buffer = buffer.make_mut();
    VideoMeta::add_from_info(buffer, VideoFrameFlags::empty(), &info).unwrap();
    VideoCropMeta::add(buffer, (0, 0, 64, 48));
    let mut extra = Vec::new();
    serialize(buffer, Some(&info), true, &mut extra);
    for at in 0..extra.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = extra.clone();
            changed[at] = value;
            for bytes in [&changed[..], &changed[..at]] {
                let mut received = gst::Buffer::with_size(info.size()).unwrap();
                if attach(received.make_mut(), bytes, Some(&info)).is_err() {
                    continue;
                }
                for plane in 0..2 {
                    let meta = received.meta::<VideoMeta>().unwrap();
                    let rows = [48, 24][plane];
                    let end =
                        meta.offset()[plane] + (rows - 1) * meta.stride()[plane] as usize + 64;
                    assert!(end <= info.size(), "byte {at} as {value}");
                }
            }
        }
    }
}
