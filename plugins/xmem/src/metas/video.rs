//! Where a picture's planes lie, and which part of it is shown: GstVideoMeta and GstVideoCropMeta.

use gst::MetaRef;
use gst::glib::translate::IntoGlib;
use gst_video::{VideoCropMeta, VideoFormat, VideoFrameFlags, VideoInfo, VideoMeta};

use super::Result;
use crate::caps::{is_sound, planes_fit};
use crate::values::{Reader, Unreadable, Writer};

const PLANES: usize = gst_video::VIDEO_MAX_PLANES;

/// Flags, format, width, height, planes; for each of four planes offset (`u64`) and stride; padding
/// top, bottom, left, right; for each of four planes the alignment of its stride.
pub(super) fn write(meta: &MetaRef<'_, VideoMeta>, body: &mut Writer<'_>) -> Option<()> {
    let planes = meta.n_planes() as usize;
    let alignment = meta.alignment();
    body.u32(meta.video_frame_flags().bits());
    body.i32(meta.format().into_glib());
    body.u32(meta.width());
    body.u32(meta.height());
    body.u32(planes as u32);
    for plane in 0..PLANES {
        body.u64(meta.offset().get(plane).copied().unwrap_or(0) as u64);
    }
    for plane in 0..PLANES {
        body.i32(meta.stride().get(plane).copied().unwrap_or(0));
    }
    body.u32(alignment.padding_top());
    body.u32(alignment.padding_bottom());
    body.u32(alignment.padding_left());
    body.u32(alignment.padding_right());
    for &number in alignment.stride_align() {
        body.u32(number);
    }
    Some(())
}

pub(super) fn read(buffer: &mut gst::BufferRef, body: &mut Reader<'_>, info: &VideoInfo) -> Result {
    let broken = Unreadable::Broken;
    let flags = VideoFrameFlags::from_bits_truncate(body.u32()?);
    let format = format(body.i32()?, info)?;
    let (width, height) = (body.u32()?, body.u32()?);
    let planes = body.u32()? as usize;
    let (mut offset, mut stride) = ([0usize; PLANES], [0i32; PLANES]);
    for offset in &mut offset {
        *offset = usize::try_from(body.u64()?).map_err(|_| broken)?;
    }
    for stride in &mut stride {
        *stride = body.i32()?;
    }
    let mut padding = [0; 4];
    for padding in &mut padding {
        *padding = body.u32()?;
    }
    let mut stride_align = [0; PLANES];
    for align in &mut stride_align {
        *align = body.u32()?;
    }
    let offset = offset.get(..planes).ok_or(broken)?;
    let stride = stride.get(..planes).ok_or(broken)?;
    // A picture smaller than the caps say can't be mapped, and nobody checks before trying.
    if width < info.width() || height < info.height() {
        return Err(broken);
    }
    let size = buffer.size() as u64;
    let is_as_in_caps = format == info.format() && (width, height) == (info.width(), info.height());
    let fits = if is_as_in_caps {
        planes_fit(size, info, offset, stride)
    } else {
        let other = VideoInfo::builder(format, width, height);
        let other = other.interlace_mode(info.interlace_mode()).build();
        let other = other.ok().filter(is_sound).ok_or(broken)?;
        planes_fit(size, &other, offset, stride)
    };
    fits.ok_or(broken)?;
    let meta = VideoMeta::add_full(buffer, flags, format, width, height, offset, stride);
    let mut meta = meta.map_err(|_| broken)?;
    let [top, bottom, left, right] = padding;
    if padding != [0; 4] || stride_align != [0; PLANES] {
        let alignment = gst_video::VideoAlignment::new(top, bottom, left, right, &stride_align);
        // An alignment that contradicts the strides is left out: it says only what was padded.
        let _ = meta.set_alignment(&alignment);
    }
    Ok(())
}

/// The format that a meta tells by its number: that of the caps.
///
/// From GStreamer 1.24 on the caps of dmabufs may have `DMA_DRM` instead, and tell in words of DRM's
/// how the picture lies. Then it is the raw format that is the same or nearest to that; where there
/// is none, only a device can read the picture.
fn format(number: i32, info: &VideoInfo) -> Result<VideoFormat> {
    let format = info.format();
    if format.to_str() == "DMA_DRM" {
        let mut raw = VideoFormat::iter_raw();
        let raw = raw.find(|raw| raw.into_glib() == number);
        return raw.ok_or(Unreadable::Unknown);
    }
    match number == format.into_glib() {
        true => Ok(format),
        false => Err(Unreadable::Broken),
    }
}

pub(super) fn write_crop(meta: &MetaRef<'_, VideoCropMeta>, body: &mut Writer<'_>) -> Option<()> {
    let (x, y, width, height) = meta.rect();
    for number in [x, y, width, height] {
        body.u32(number);
    }
    Some(())
}

pub(super) fn read_crop(
    buffer: &mut gst::BufferRef,
    body: &mut Reader<'_>,
    info: &VideoInfo,
) -> Result {
    let broken = Unreadable::Broken;
    let (x, y) = (body.u32()?, body.u32()?);
    let (width, height) = (body.u32()?, body.u32()?);
    let frame = match buffer.meta::<VideoMeta>() {
        Some(meta) => (meta.width(), meta.height()),
        None => (info.width(), info.height()),
    };
    let is_inside = |start: u32, length, most| {
        let end: Option<u32> = start.checked_add(length);
        end.is_some_and(|end| end <= most)
    };
    if !is_inside(x, width, frame.0) || !is_inside(y, height, frame.1) {
        return Err(broken);
    }
    VideoCropMeta::add(buffer, (x, y, width, height));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{VIDEO_CROP, attach, serialize};
    use super::*;

    fn info(format: VideoFormat, width: u32, height: u32) -> VideoInfo {
        gst::init().unwrap();
        VideoInfo::builder(format, width, height).build().unwrap()
    }

    #[test]
    fn video_metas_cross_with_their_padding() {
        let info = info(VideoFormat::I420, 641, 359);
        let mut padded = info.clone();
        let mut alignment = gst_video::VideoAlignment::new(2, 4, 16, 32, &[31; PLANES]);
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
        serialize(sent, &mut extra);

        let mut received = gst::Buffer::with_size(padded.size()).unwrap();
        let received = received.make_mut();
        assert!(attach(received, &extra, Some(&info)));
        let meta = received.meta::<VideoMeta>().unwrap();
        assert_eq!(&meta.offset()[..3], &padded.offset()[..3]);
        assert_eq!(&meta.stride()[..3], &padded.stride()[..3]);
        assert_eq!(meta.video_frame_flags(), VideoFrameFlags::INTERLACED);
        assert_eq!(meta.alignment().padding_left(), alignment.padding_left());
        let crop = received.meta::<VideoCropMeta>().unwrap();
        assert_eq!(crop.rect(), (1, 2, 300, 200));

        // The same metas on a smaller buffer point outside of it.
        let mut small = gst::Buffer::with_size(info.size()).unwrap();
        assert!(!attach(small.make_mut(), &extra, Some(&info)));
        let meta = small.meta::<VideoMeta>().unwrap();
        assert_eq!(meta.stride(), info.stride());
    }

    #[test]
    fn a_picture_smaller_than_its_caps_is_refused() {
        let info = info(VideoFormat::Gray8, 64, 48);
        let of_size = |width, height| {
            let mut sent = gst::Buffer::with_size(64 * 128).unwrap();
            let sent = sent.make_mut();
            let flags = VideoFrameFlags::empty();
            VideoMeta::add_full(sent, flags, info.format(), width, height, &[0], &[64]).unwrap();
            let mut extra = Vec::new();
            serialize(sent, &mut extra);
            let mut received = gst::Buffer::with_size(64 * 128).unwrap();
            attach(received.make_mut(), &extra, Some(&info))
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
            let mut extra = Vec::new();
            serialize(sent, &mut extra);
            let mut received = gst::Buffer::with_size(size).unwrap();
            let whole = attach(received.make_mut(), &extra, Some(&info));
            (whole, received)
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
        assert!(attach(plain.make_mut(), &[], Some(&info)));
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
        serialize(sent, &mut extra);
        let mut received = gst::Buffer::new();
        let received = received.make_mut();
        assert!(attach(received, &extra, Some(&info)));
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
        let mut extra = Vec::new();
        let of_height = |height| {
            let mut sent = gst::Buffer::new();
            let sent = sent.make_mut();
            let flags = VideoFrameFlags::empty();
            VideoMeta::add_full(sent, flags, info.format(), 64, height, &[0], &[64]).unwrap();
            serialize(sent, &mut extra);
            let mut received = gst::Buffer::with_size(64 * 32).unwrap();
            attach(received.make_mut(), &extra, Some(&info))
        };
        let [as_in_caps, padded, too_high] = [48, 64, 66].map(of_height);
        assert!(as_in_caps && padded && !too_high);
    }

    #[test]
    fn of_many_crops_the_first_counts() {
        let info = info(VideoFormat::Gray8, 64, 48);
        let mut extra = Vec::new();
        for x in 0..1_000_000u32 {
            let written = Writer::new(&mut extra).record(VIDEO_CROP, |body| {
                for number in [x % 50, 2, 3, 4] {
                    body.u32(number);
                }
                Some(())
            });
            written.unwrap();
        }
        let mut received = gst::Buffer::with_size(info.size()).unwrap();
        let received = received.make_mut();
        assert!(attach(received, &extra, Some(&info)));
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
                serialize(buffer, &mut extra);
                let mut received = gst::Buffer::with_size(info.size()).unwrap();
                let whole = attach(received.make_mut(), &extra, Some(&info));
                assert!(whole, "{format} of {width}x{height}");
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
            let mut extra = Vec::new();
            serialize(sent, &mut extra);
            let mut received = gst::Buffer::with_size(10_000).unwrap();
            assert!(
                !attach(received.make_mut(), &extra, Some(&info)),
                "{format}"
            );
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
        serialize(buffer, &mut extra);
        for at in 0..extra.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = extra.clone();
                changed[at] = value;
                for bytes in [&changed[..], &changed[..at]] {
                    let mut received = gst::Buffer::with_size(info.size()).unwrap();
                    attach(received.make_mut(), bytes, Some(&info));
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
}
