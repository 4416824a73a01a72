//! Metas across processes: to the frame's extra bytes and back.
//!
//! Each meta in the extra bytes has a head of 8 bytes (kind `u32`, length `u32`), then its body of
//! little-endian numbers. A kind that is not known here is skipped.

use gst_video::{VideoCropMeta, VideoFormatFlags, VideoFrameFlags, VideoInfo, VideoMeta};

const PLANES: usize = gst_video::VIDEO_MAX_PLANES;
const VIDEO: u32 = 1;
const VIDEO_CROP: u32 = 2;

/// Writes the buffer's metas. `extra` is cleared first.
pub(crate) fn serialize(buffer: &gst::BufferRef, extra: &mut Vec<u8>) {
    extra.clear();
    if let Some(meta) = buffer.meta::<VideoMeta>() {
        write(extra, VIDEO, |body| write_video(&meta, body));
    }
    if let Some(crop) = buffer.meta::<VideoCropMeta>() {
        write(extra, VIDEO_CROP, |body| {
            let (x, y, width, height) = crop.rect();
            for number in [x, y, width, height] {
                body.extend(number.to_le_bytes());
            }
        });
    }
}

/// Attaches the metas in `extra`, and a video meta derived from the caps where there is none.
///
/// The bytes come from another process: what does not parse is left out, and `false` returned.
pub(crate) fn attach(
    buffer: &mut gst::BufferRef,
    mut extra: &[u8],
    info: Option<&VideoInfo>,
) -> bool {
    let mut whole = true;
    let (mut has_video, mut has_crop) = (false, false);
    while !extra.is_empty() {
        let Some((kind, body, rest)) = split(extra) else {
            whole = false;
            break;
        };
        extra = rest;
        // What describes video belongs to raw video alone.
        let Some(info) = info else { continue };
        whole &= match kind {
            VIDEO if !has_video => {
                has_video = read_video(buffer, body, info).is_some();
                has_video
            }
            // More than the first of a kind says nothing, and there may be millions of them.
            VIDEO_CROP if !has_crop => {
                has_crop = read_crop(buffer, body, info).is_some();
                has_crop
            }
            _ => true,
        };
    }
    if let Some(info) = info
        && !has_video
        && buffer.size() > 0
    {
        // A buffer too small for its caps gets none, as from any other source.
        let _ = VideoMeta::add_from_info(buffer, VideoFrameFlags::empty(), info);
    }
    whole
}

fn write(extra: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    extra.extend(kind.to_le_bytes());
    let length_at = extra.len();
    extra.extend([0; 4]);
    let start = extra.len();
    body(extra);
    let length = (extra.len() - start) as u32;
    extra[length_at..start].copy_from_slice(&length.to_le_bytes());
}

fn split(extra: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (head, rest) = extra.split_first_chunk::<8>()?;
    let kind = u32::from_le_bytes(*head.first_chunk()?);
    let length = u32::from_le_bytes(*head.last_chunk()?) as usize;
    let (body, rest) = rest.split_at_checked(length)?;
    Some((kind, body, rest))
}

/// Takes little-endian numbers from the front of a body.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn u32(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*number))
    }

    fn u64(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }
}

/// Flags, format, width, height, planes; for each of four planes offset (`u64`) and stride; padding
/// top, bottom, left, right; for each of four planes the alignment of its stride.
fn write_video(meta: &VideoMeta, body: &mut Vec<u8>) {
    use gst::glib::translate::IntoGlib;
    let planes = meta.n_planes() as usize;
    let alignment = meta.alignment();
    for number in [
        meta.video_frame_flags().bits(),
        meta.format().into_glib() as u32,
        meta.width(),
        meta.height(),
        planes as u32,
    ] {
        body.extend(number.to_le_bytes());
    }
    for plane in 0..PLANES {
        let offset = meta.offset().get(plane).copied().unwrap_or(0) as u64;
        body.extend(offset.to_le_bytes());
    }
    for plane in 0..PLANES {
        let stride = meta.stride().get(plane).copied().unwrap_or(0);
        body.extend(stride.to_le_bytes());
    }
    for number in [
        alignment.padding_top(),
        alignment.padding_bottom(),
        alignment.padding_left(),
        alignment.padding_right(),
    ] {
        body.extend(number.to_le_bytes());
    }
    for number in alignment.stride_align() {
        body.extend(number.to_le_bytes());
    }
}

fn read_video(buffer: &mut gst::BufferRef, body: &[u8], info: &VideoInfo) -> Option<()> {
    use gst::glib::translate::IntoGlib;
    let mut numbers = Numbers(body);
    let flags = VideoFrameFlags::from_bits_truncate(numbers.u32()?);
    let format = info.format();
    if numbers.u32()? != format.into_glib() as u32 {
        return None;
    }
    let (width, height) = (numbers.u32()?, numbers.u32()?);
    let planes = numbers.u32()? as usize;
    let (mut offset, mut stride) = ([0usize; PLANES], [0i32; PLANES]);
    for offset in &mut offset {
        *offset = usize::try_from(numbers.u64()?).ok()?;
    }
    for stride in &mut stride {
        *stride = numbers.u32()? as i32;
    }
    let mut padding = [0; 4];
    for padding in &mut padding {
        *padding = numbers.u32()?;
    }
    let mut stride_align = [0; PLANES];
    for align in &mut stride_align {
        *align = numbers.u32()?;
    }
    let (offset, stride) = (offset.get(..planes)?, stride.get(..planes)?);
    // A picture smaller than the caps say can't be mapped, and nobody checks before trying.
    if width < info.width() || height < info.height() {
        return None;
    }
    let size = buffer.size() as u64;
    if (width, height) == (info.width(), info.height()) {
        planes_fit(size, info, offset, stride)?;
    } else {
        let other = VideoInfo::builder(format, width, height);
        let other = other.interlace_mode(info.interlace_mode()).build().ok()?;
        planes_fit(size, &other, offset, stride)?;
    }
    let mut meta =
        VideoMeta::add_full(buffer, flags, format, width, height, offset, stride).ok()?;
    let [top, bottom, left, right] = padding;
    if padding != [0; 4] || stride_align != [0; PLANES] {
        let alignment = gst_video::VideoAlignment::new(top, bottom, left, right, &stride_align);
        // An alignment that contradicts the strides is left out: it says only what was padded.
        let _ = meta.set_alignment(&alignment);
    }
    Some(())
}

/// Checks that every row of every plane lies inside a buffer of `size` bytes: elements read where
/// the meta tells them to.
fn planes_fit(size: u64, info: &VideoInfo, offset: &[usize], stride: &[i32]) -> Option<()> {
    if offset.len() != info.n_planes() as usize {
        return None;
    }
    // A gap in the stream, for example. There is nothing to map, so the planes lead nowhere.
    if size == 0 {
        return Some(());
    }
    let tiled = info.format_info().flags().contains(VideoFormatFlags::TILED);
    for plane in 0..offset.len() {
        let start = offset[plane] as u64;
        let default_start = info.offset()[plane] as u64;
        let default_end = match info.offset().get(plane + 1) {
            Some(&next) => next as u64,
            None => info.size() as u64,
        };
        let length = default_end.checked_sub(default_start)?;
        let default_stride = info.stride()[plane];
        let needed = if stride[plane] == default_stride || tiled {
            // A tiled plane's stride is not one of bytes: only the usual one is understood.
            (stride[plane] == default_stride).then_some(length)?
        } else {
            let stride = u64::try_from(stride[plane]).ok()?;
            let default_stride = u64::try_from(default_stride).ok().filter(|&s| s > 0)?;
            let row = row_bytes(info, plane).unwrap_or(default_stride);
            let rows = length / default_stride;
            if stride < row {
                return None;
            }
            rows.saturating_sub(1)
                .checked_mul(stride)?
                .checked_add(row)?
        };
        if start.checked_add(needed)? > size {
            return None;
        }
    }
    Some(())
}

/// Bytes of a plane's row that hold pixels; `None` for formats that pack pixels in other ways.
fn row_bytes(info: &VideoInfo, plane: usize) -> Option<u64> {
    let format = info.format_info();
    if format.flags().contains(VideoFormatFlags::COMPLEX) {
        return None;
    }
    (0..format.n_components() as usize)
        .filter(|&component| format.plane()[component] as usize == plane)
        .map(|component| {
            let width = u64::from(format.scale_width(component as u8, info.width()));
            width * format.pixel_stride()[component] as u64
        })
        .max()
        .filter(|&bytes| bytes > 0)
}

fn read_crop(buffer: &mut gst::BufferRef, body: &[u8], info: &VideoInfo) -> Option<()> {
    let mut numbers = Numbers(body);
    let (x, y) = (numbers.u32()?, numbers.u32()?);
    let (width, height) = (numbers.u32()?, numbers.u32()?);
    let frame = match buffer.meta::<VideoMeta>() {
        Some(meta) => (meta.width(), meta.height()),
        None => (info.width(), info.height()),
    };
    if x.checked_add(width)? > frame.0 || y.checked_add(height)? > frame.1 {
        return None;
    }
    VideoCropMeta::add(buffer, (x, y, width, height));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gst_video::VideoFormat;

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
            write(&mut extra, VIDEO_CROP, |body| {
                for number in [x % 50, 2, 3, 4] {
                    body.extend(number.to_le_bytes());
                }
            });
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
        for format in VideoFormat::iter_raw() {
            let Ok(info) = VideoInfo::builder(format, 322, 242).build() else {
                continue;
            };
            let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
            let buffer = buffer.make_mut();
            VideoMeta::add_from_info(buffer, VideoFrameFlags::empty(), &info).unwrap();
            let mut extra = Vec::new();
            serialize(buffer, &mut extra);
            let mut received = gst::Buffer::with_size(info.size()).unwrap();
            assert!(attach(received.make_mut(), &extra, Some(&info)), "{format}");
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
