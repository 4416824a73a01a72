//! Where a picture's planes lie, and which part of it is shown: GstVideoMeta and GstVideoCropMeta.

use glib::translate::IntoGlib;
use gst::MetaRef;
use gst_video::{
    VideoAlignment, VideoCropMeta, VideoFormat, VideoFrameFlags, VideoInfo, VideoMeta,
};
use xmem_media::Field;
use xmem_media::VideoLayout;
use xmem_media::meta::Crop;
use xmem_media::meta::kind::VIDEO;
use xmem_media::video::{LayoutError, MAX_PLANES, RowCopy};

use super::carrier::Carrier;
use super::unfit::{NotRead, Result, Unfit};
use crate::caps::{describe, usual};
use crate::values::{DecodeError, Decoder};

#[cfg(test)]
mod tests;

/// What a meta says.
fn layout_of(meta: &VideoMeta) -> VideoLayout {
    let offset = |at| meta.offset().get(at).map_or(0, |&offset| offset as u64);
    let layout = VideoLayout {
        flags: meta.video_frame_flags().bits(),
        format: meta.format().into_glib() as u32,
        width: meta.width(),
        height: meta.height(),
        planes: meta.n_planes() as usize,
        offset: std::array::from_fn(offset),
        stride: std::array::from_fn(|at: usize| meta.stride().get(at).copied().unwrap_or(0)),
        ..VideoLayout::default()
    };
    aligned(layout, &meta.alignment())
}

/// The layout with what was padded, and how the strides are aligned.
pub(crate) fn aligned(layout: VideoLayout, alignment: &VideoAlignment) -> VideoLayout {
    let align = alignment.stride_align();
    VideoLayout {
        padding: [
            alignment.padding_top(),
            alignment.padding_bottom(),
            alignment.padding_left(),
            alignment.padding_right(),
        ],
        stride_align: std::array::from_fn(|at| align.get(at).copied().unwrap_or(0)),
        ..layout
    }
}

/// Checks that the picture is one of the caps, and that every row of every plane lies inside of a frame of
/// `size` bytes. What passes here, every source attaches.
///
/// The sink asks before it publishes a frame, its pool before it makes slots, and the source before it
/// attaches what another process says.
///
/// # Errors
/// What is wrong.
pub(crate) fn check_layout(
    layout: &VideoLayout,
    info: &VideoInfo,
    size: usize,
) -> std::result::Result<(), LayoutError> {
    layout.check_with(&describe(info), size as u64, |format, of| {
        usual(format, of, info)
    })
}

/// Returns the layout among the metas of a frame, if there is one that can be decoded. It is not checked.
pub(crate) fn read_layout(extra: &[u8]) -> Option<VideoLayout> {
    let mut decoder = Decoder::new(extra);
    while !decoder.is_empty() {
        let layout = decoder.record(|body, kind| match kind {
            VIDEO => VideoLayout::decode(body).map(Some),
            _ => Ok::<_, DecodeError>(None),
        });
        if let Some(layout) = layout.ok()? {
            return Some(layout);
        }
    }
    None
}

/// Adds the meta that says where the planes lie.
pub(crate) fn add_layout(
    layout: &VideoLayout,
    buffer: &mut gst::BufferRef,
    format: VideoFormat,
) -> std::result::Result<(), glib::BoolError> {
    let planes = layout.planes.min(MAX_PLANES);
    let meta = VideoMeta::add_full(
        buffer,
        VideoFrameFlags::from_bits_truncate(layout.flags),
        format,
        layout.width,
        layout.height,
        &layout.offset.map(|offset| offset as usize)[..planes],
        &layout.stride[..planes],
    );
    let mut meta = meta?;
    if layout.padding != [0; 4] || layout.stride_align != [0; MAX_PLANES] {
        let [top, bottom, left, right] = layout.padding;
        let alignment = VideoAlignment::new(top, bottom, left, right, &layout.stride_align);
        // An alignment that contradicts the strides is left out: it says only what was padded.
        let _ = meta.set_alignment(&alignment);
    }
    Ok(())
}

/// Returns what the video meta of a buffer says. It is not checked.
pub(crate) fn said_layout(buffer: &gst::BufferRef) -> Option<VideoLayout> {
    // Of several GStreamer takes that with the least number.
    let metas = buffer.iter_meta::<VideoMeta>();
    let meta = metas.min_by_key(|meta| meta.id())?;
    Some(layout_of(&meta))
}

/// What becomes of the video meta of a buffer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Planes {
    /// It crosses as it is, where there is one.
    AsTheyLie(Option<VideoLayout>),
    /// No source would attach it. The picture can be copied to where its caps say, and then has the
    /// usual layout.
    ToCopy {
        usual: VideoLayout,
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
    let Some(layout) = said_layout(buffer) else {
        return Planes::AsTheyLie(None);
    };
    let described = &describe(info);
    if layout.raw_format(described).is_none() {
        return Planes::AsTheyLie(None);
    }
    let Err(why) = check_layout(&layout, info, carrier.size) else {
        return Planes::AsTheyLie(Some(layout));
    };
    match layout.copies(described, carrier.size) {
        Some(copies) if carrier.can_be_copied => Planes::ToCopy {
            usual: VideoLayout {
                flags: layout.flags,
                ..VideoLayout::from(described)
            },
            copies,
            why: why.into(),
        },
        _ => Planes::Unknown(why.into()),
    }
}

pub(super) fn read(buffer: &mut gst::BufferRef, layout: &VideoLayout, info: &VideoInfo) -> Result {
    let format = layout.raw_format(&describe(info));
    let format = VideoFormat::from_string(format.ok_or(NotRead::Unknown)?.name);
    if format == VideoFormat::Unknown {
        return Err(NotRead::Unknown);
    }
    check_layout(layout, info, buffer.size()).map_err(Unfit::from)?;
    add_layout(layout, buffer, format)
        .map_err(|_| Unfit::Value("GStreamer does not take it").into())
}

pub(super) fn write_crop(
    meta: &MetaRef<'_, VideoCropMeta>,
    carrier: &Carrier<'_>,
    layout: Option<&VideoLayout>,
) -> std::result::Result<Crop, Unfit> {
    let picture = match (layout, carrier.info) {
        (Some(layout), _) => (layout.width, layout.height),
        (None, Some(info)) => (info.width(), info.height()),
        (None, None) => (0, 0),
    };
    check_crop(meta.rect(), picture)?;
    let (x, y, width, height) = meta.rect();
    Ok(Crop {
        x,
        y,
        width,
        height,
    })
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

pub(super) fn read_crop(buffer: &mut gst::BufferRef, crop: &Crop, info: &VideoInfo) -> Result {
    let rect = (crop.x, crop.y, crop.width, crop.height);
    let picture = match buffer.meta::<VideoMeta>() {
        Some(meta) => (meta.width(), meta.height()),
        None => (info.width(), info.height()),
    };
    check_crop(rect, picture)?;
    VideoCropMeta::add(buffer, rect);
    Ok(())
}
