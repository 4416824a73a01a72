//! Where a picture's planes lie, and which part of it is shown: GstVideoMeta and GstVideoCropMeta.

use gst::MetaRef;
use gst::glib;
use gst::glib::translate::IntoGlib;
use gst_video::{
    VideoAlignment, VideoCropMeta, VideoFormat, VideoFrameFlags, VideoInfo, VideoMeta,
};

use super::unfit::{NotRead, Unfit};
use super::{Carrier, Result};
use crate::caps::{PlaneKind, is_sound, plane, planes_fit};
use crate::values::{DecodeError, Encoder, Reader};

const PLANES: usize = gst_video::VIDEO_MAX_PLANES;

/// What a GstVideoMeta says: where the planes of a picture lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Layout {
    flags: VideoFrameFlags,
    /// The number of the format: a reader looks for it among those that it knows.
    format: i32,
    width: u32,
    height: u32,
    planes: usize,
    offset: [usize; PLANES],
    stride: [i32; PLANES],
    /// Top, bottom, left, right.
    padding: [u32; 4],
    stride_align: [u32; PLANES],
}

impl Layout {
    /// That of a meta.
    pub(crate) fn of(meta: &VideoMeta) -> Layout {
        let alignment = meta.alignment();
        let first = |of: &[u32]| std::array::from_fn(|at| of.get(at).copied().unwrap_or(0));
        Layout {
            flags: meta.video_frame_flags(),
            format: meta.format().into_glib(),
            width: meta.width(),
            height: meta.height(),
            planes: meta.n_planes() as usize,
            offset: std::array::from_fn(|at| meta.offset().get(at).copied().unwrap_or(0)),
            stride: std::array::from_fn(|at| meta.stride().get(at).copied().unwrap_or(0)),
            padding: [
                alignment.padding_top(),
                alignment.padding_bottom(),
                alignment.padding_left(),
                alignment.padding_right(),
            ],
            stride_align: first(alignment.stride_align()),
        }
    }

    /// Where `info` says that the planes are.
    pub(crate) fn of_info(info: &VideoInfo, flags: VideoFrameFlags) -> Layout {
        Layout {
            flags,
            format: info.format().into_glib(),
            width: info.width(),
            height: info.height(),
            planes: info.n_planes() as usize,
            offset: std::array::from_fn(|at| info.offset().get(at).copied().unwrap_or(0)),
            stride: std::array::from_fn(|at| info.stride().get(at).copied().unwrap_or(0)),
            padding: [0; 4],
            stride_align: [0; PLANES],
        }
    }

    /// With what was padded, and how the strides are aligned.
    pub(crate) fn aligned(self, alignment: &VideoAlignment) -> Layout {
        let stride_align = alignment.stride_align();
        Layout {
            padding: [
                alignment.padding_top(),
                alignment.padding_bottom(),
                alignment.padding_left(),
                alignment.padding_right(),
            ],
            stride_align: std::array::from_fn(|at| stride_align.get(at).copied().unwrap_or(0)),
            ..self
        }
    }

    /// The offset and the stride of the first plane.
    pub(crate) fn first_plane(&self) -> (usize, i32) {
        (self.offset[0], self.stride[0])
    }

    fn offset(&self) -> &[usize] {
        &self.offset[..self.planes.min(PLANES)]
    }

    fn stride(&self) -> &[i32] {
        &self.stride[..self.planes.min(PLANES)]
    }

    /// Checks that the picture is one of the caps, and that every row of every plane lies inside of a
    /// frame of `size` bytes. What passes here, every source attaches.
    ///
    /// The sink asks before it publishes a frame, its pool before it makes slots, and the source
    /// before it attaches what another process says.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn check(&self, info: &VideoInfo, size: usize) -> std::result::Result<(), Unfit> {
        let caps = (info.width(), info.height());
        let said = (self.width, self.height);
        let format = self.check_format(info)?;
        if said.0 < caps.0 || said.1 < caps.1 {
            return Err(Unfit::Smaller { said, caps });
        }
        let size = size as u64;
        let (offset, stride) = (self.offset(), self.stride());
        let fit = if format == info.format() && said == caps {
            planes_fit(size, info, offset, stride)
        } else {
            let other = VideoInfo::builder(format, said.0, said.1);
            let other = other.interlace_mode(info.interlace_mode()).build();
            let other = other.ok().filter(is_sound);
            let other = other.ok_or(Unfit::TooLarge { said })?;
            planes_fit(size, &other, offset, stride)
        };
        fit.map_err(Unfit::Planes)
    }

    /// The format that the picture has: that of the caps.
    ///
    /// From GStreamer 1.24 on the caps of dmabufs may have `DMA_DRM` instead, and tell in words of
    /// DRM's how the picture lies. Then it is the raw format that is the same or nearest to that.
    fn check_format(&self, info: &VideoInfo) -> std::result::Result<VideoFormat, Unfit> {
        let caps = info.format();
        let known = match is_drm(info) {
            true => self.raw_format(),
            false => Some(caps).filter(|format| format.into_glib() == self.format),
        };
        known.ok_or_else(|| {
            let said = self.raw_format().unwrap_or(VideoFormat::Unknown);
            Unfit::Format { said, caps }
        })
    }

    /// Whether only a device can read the picture: no raw format is near to it. Then there are no planes
    /// to tell of.
    fn is_of_a_device(&self, info: &VideoInfo) -> bool {
        is_drm(info) && self.raw_format().is_none()
    }

    fn raw_format(&self) -> Option<VideoFormat> {
        VideoFormat::iter_raw().find(|raw| raw.into_glib() == self.format)
    }

    /// What has to be copied out of a buffer of `size` bytes, row by row, so that the picture lies
    /// where its caps say. `None` where this leads to no such picture in the buffer.
    ///
    /// It may lead to one although no source attaches it: rows may lie one before the other, or
    /// closer than their pixels are long.
    pub(crate) fn copies(&self, info: &VideoInfo, size: usize) -> Option<Vec<RowCopy>> {
        let is_one_of_the_caps = self.format == info.format().into_glib()
            && self.planes == info.n_planes() as usize
            && self.width >= info.width()
            && self.height >= info.height();
        if !is_one_of_the_caps || self.planes == 0 || size == 0 {
            return None;
        }
        let mut copies = Vec::new();
        for at in 0..self.planes.min(PLANES) {
            let usual = plane(info, at)?;
            if usual.kind == PlaneKind::Tiles && self.stride[at] != info.stride()[at] {
                return None;
            }
            for row in 0..usual.rows {
                let from = self.offset[at] as i128 + i128::from(row) * i128::from(self.stride[at]);
                let copy = RowCopy {
                    from: usize::try_from(from).ok()?,
                    to: usize::try_from(usual.start + row * usual.stride).ok()?,
                    length: usize::try_from(usual.row).ok()?,
                };
                if copy.from.checked_add(copy.length)? > size {
                    return None;
                }
                copies.push(copy);
            }
        }
        Some(copies)
    }

    /// Flags, format, width, height, planes; for each of four planes offset (`u64`) and stride;
    /// padding top, bottom, left, right; for each of four planes the alignment of its stride.
    pub(super) fn write(&self, body: &mut Encoder<'_>) {
        body.u32(self.flags.bits());
        body.i32(self.format);
        body.u32(self.width);
        body.u32(self.height);
        body.u32(self.planes as u32);
        self.offset
            .iter()
            .for_each(|&offset| body.u64(offset as u64));
        self.stride.iter().for_each(|&stride| body.i32(stride));
        self.padding.iter().for_each(|&padding| body.u32(padding));
        self.stride_align.iter().for_each(|&align| body.u32(align));
    }

    /// Reads what [`write`](Layout::write) has written.
    fn read(body: &mut Reader<'_>) -> Result<Layout> {
        let broken = DecodeError::Invalid("a video meta contradicts itself");
        let mut layout = Layout {
            flags: VideoFrameFlags::from_bits_truncate(body.u32()?),
            format: body.i32()?,
            width: body.u32()?,
            height: body.u32()?,
            planes: body.u32()? as usize,
            offset: [0; PLANES],
            stride: [0; PLANES],
            padding: [0; 4],
            stride_align: [0; PLANES],
        };
        if layout.planes > PLANES {
            return Err(NotRead::Broken);
        }
        for offset in &mut layout.offset {
            *offset = usize::try_from(body.u64()?).map_err(|_| broken)?;
        }
        for stride in &mut layout.stride {
            *stride = body.i32()?;
        }
        for number in layout.padding.iter_mut().chain(&mut layout.stride_align) {
            *number = body.u32()?;
        }
        Ok(layout)
    }

    /// Adds the meta that says this, of this format.
    pub(crate) fn add(
        &self,
        buffer: &mut gst::BufferRef,
        format: VideoFormat,
    ) -> std::result::Result<(), glib::BoolError> {
        let (offset, stride) = (self.offset(), self.stride());
        let (width, height) = (self.width, self.height);
        let meta = VideoMeta::add_full(buffer, self.flags, format, width, height, offset, stride);
        let mut meta = meta?;
        if self.padding != [0; 4] || self.stride_align != [0; PLANES] {
            let [top, bottom, left, right] = self.padding;
            let alignment = VideoAlignment::new(top, bottom, left, right, &self.stride_align);
            // An alignment that contradicts the strides is left out: it says only what was padded.
            let _ = meta.set_alignment(&alignment);
        }
        Ok(())
    }
}

/// Whether the caps tell in words of DRM's how the picture lies.
fn is_drm(info: &VideoInfo) -> bool {
    info.format().to_str() == "DMA_DRM"
}

/// Bytes to copy, from a place in a buffer to one in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowCopy {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) length: usize,
}

/// What becomes of the video meta of a buffer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Planes {
    /// It crosses as it is, where there is one.
    AsTheyLie(Option<Layout>),
    /// No source would attach it. The picture can be copied to where its caps say, and then has the
    /// usual layout.
    ToCopy {
        usual: Layout,
        copies: Vec<RowCopy>,
        why: Unfit,
    },
    /// No source would attach it, and it leads to no picture of these caps.
    Unknown(Unfit),
}

/// Decides on the video meta of a buffer.
pub(super) fn planes(buffer: &gst::BufferRef, carrier: &Carrier<'_>) -> Planes {
    let Some(info) = carrier.info else {
        return Planes::AsTheyLie(None);
    };
    // Of several GStreamer takes that with the least number.
    let metas = buffer.iter_meta::<VideoMeta>();
    let Some(meta) = metas.min_by_key(|meta| meta.id()) else {
        return Planes::AsTheyLie(None);
    };
    let layout = Layout::of(&meta);
    if layout.is_of_a_device(info) {
        return Planes::AsTheyLie(None);
    }
    let Err(why) = layout.check(info, carrier.size) else {
        return Planes::AsTheyLie(Some(layout));
    };
    match layout.copies(info, carrier.size) {
        Some(copies) if carrier.can_be_copied => Planes::ToCopy {
            usual: Layout::of_info(info, layout.flags),
            copies,
            why,
        },
        _ => Planes::Unknown(why),
    }
}

pub(super) fn read(buffer: &mut gst::BufferRef, body: &mut Reader<'_>, info: &VideoInfo) -> Result {
    let layout = Layout::read(body)?;
    if layout.is_of_a_device(info) {
        return Err(NotRead::Unknown);
    }
    layout.check(info, buffer.size())?;
    let format = layout.check_format(info)?;
    layout
        .add(buffer, format)
        .map_err(|_| Unfit::Value("GStreamer does not take it").into())
}

pub(super) fn write_crop(
    meta: &MetaRef<'_, VideoCropMeta>,
    body: &mut Encoder<'_>,
    carrier: &Carrier<'_>,
    layout: Option<&Layout>,
) -> std::result::Result<(), Unfit> {
    let picture = match (layout, carrier.info) {
        (Some(layout), _) => (layout.width, layout.height),
        (None, Some(info)) => (info.width(), info.height()),
        (None, None) => (0, 0),
    };
    check_crop(meta.rect(), picture)?;
    let (x, y, width, height) = meta.rect();
    for number in [x, y, width, height] {
        body.u32(number);
    }
    Ok(())
}

/// Checks that a crop leads nowhere but into the picture.
fn check_crop(rect: (u32, u32, u32, u32), picture: (u32, u32)) -> std::result::Result<(), Unfit> {
    let (x, y, width, height) = rect;
    let is_inside = |start: u32, length, most| {
        let end: Option<u32> = start.checked_add(length);
        end.is_some_and(|end| end <= most)
    };
    match is_inside(x, width, picture.0) && is_inside(y, height, picture.1) {
        true => Ok(()),
        false => Err(Unfit::Outside { rect, picture }),
    }
}

pub(super) fn read_crop(
    buffer: &mut gst::BufferRef,
    body: &mut Reader<'_>,
    info: &VideoInfo,
) -> Result {
    let (x, y) = (body.u32()?, body.u32()?);
    let (width, height) = (body.u32()?, body.u32()?);
    let picture = match buffer.meta::<VideoMeta>() {
        Some(meta) => (meta.width(), meta.height()),
        None => (info.width(), info.height()),
    };
    check_crop((x, y, width, height), picture)?;
    VideoCropMeta::add(buffer, (x, y, width, height));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Refused, VIDEO, VIDEO_CROP, attach, serialize};
    use super::*;

    /// Writes the video meta and the crop of a buffer as no sink does: without looking at them.
    fn as_they_are(buffer: &gst::BufferRef) -> Vec<u8> {
        let mut extra = Vec::new();
        let mut writer = Encoder::new(&mut extra);
        for meta in buffer.iter_meta::<VideoMeta>() {
            let written = writer.record(VIDEO, |body| {
                Layout::of(&meta).write(body);
                Some(())
            });
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
}
