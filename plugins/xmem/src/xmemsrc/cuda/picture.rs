//! How the picture of a frame lies in CUDA memory, and whether GStreamer can use it so. Pure.

use gst_video::VideoInfo;
use xmem_media::VideoLayout;

/// The picture of frames that lie alike.
pub(super) struct Picture {
    /// What the caps, the producer and the frame said.
    of: (VideoInfo, Option<VideoLayout>, usize),
    /// The layout, which was checked.
    layout: VideoLayout,
    /// The picture of the caps, with the layout.
    info: VideoInfo,
    can_be_wrapped: bool,
}

/// A plane to copy: the offset of the first row and the bytes from one to the next on both sides.
pub(super) struct PlaneCopy {
    pub(super) from: (usize, usize),
    pub(super) to: (usize, usize),
    /// The bytes of a row.
    pub(super) width: usize,
    pub(super) rows: usize,
}

impl Picture {
    /// `layout` must have been checked for a frame of `size` bytes. `None` if GStreamer has no such
    /// picture.
    pub(super) fn new(
        caps: &VideoInfo,
        said: Option<VideoLayout>,
        layout: VideoLayout,
        size: usize,
    ) -> Option<Picture> {
        let planes = caps.n_planes() as usize;
        let offset = layout.offset.map(|offset| offset as usize);
        let info = VideoInfo::builder_from_info(caps)
            .offset(offset.get(..planes)?)
            .stride(layout.stride.get(..planes)?)
            .size(size)
            .build()
            .ok()?;
        // GStreamer takes the bytes of a pixel from the first component.
        let has_rows = planes > 0 && (0..planes).all(|plane| visible(&info, plane).0 > 0);
        (has_rows && info.comp_pstride(0) > 0 && info.stride()[0] > 0).then(|| Picture {
            can_be_wrapped: can_be_wrapped(&info),
            of: (caps.clone(), said, size),
            layout,
            info,
        })
    }

    /// Returns whether this is the picture of a frame of which that is said.
    pub(super) fn is_of(&self, caps: &VideoInfo, said: &Option<VideoLayout>, size: usize) -> bool {
        self.of.2 == size && self.of.1 == *said && self.of.0 == *caps
    }

    pub(super) fn info(&self) -> &VideoInfo {
        &self.info
    }

    pub(super) fn layout(&self) -> &VideoLayout {
        &self.layout
    }

    /// Returns whether GStreamer can use the frame as it lies.
    pub(super) fn can_be_wrapped(&self) -> bool {
        self.can_be_wrapped
    }

    /// Returns the planes to copy to a memory of `size` bytes in which they lie as `to` says. `None` in
    /// place of one that does not lie inside.
    pub(super) fn copies(
        &self,
        to: &VideoInfo,
        size: usize,
    ) -> impl Iterator<Item = Option<PlaneCopy>> {
        (0..self.info.n_planes() as usize).map(move |plane| {
            let (width, rows) = visible(&self.info, plane);
            let place = |info: &VideoInfo| {
                let pitch = usize::try_from(*info.stride().get(plane)?).ok()?;
                Some((*info.offset().get(plane)?, pitch))
            };
            let copy = PlaneCopy {
                from: place(&self.info)?,
                to: place(to)?,
                width,
                rows,
            };
            let (offset, pitch) = copy.to;
            let last = rows
                .checked_sub(1)?
                .checked_mul(pitch)?
                .checked_add(offset)?;
            let is_inside = width <= pitch && last.checked_add(width)? <= size;
            is_inside.then_some(copy)
        })
    }
}

/// Returns whether a map for the CPU moves all pixels of the picture: GStreamer then copies as many rows of
/// the first stride as there are in the memory, and of each only as many bytes as the first component is
/// wide. Its own pictures have one stride, and planes that begin with a row.
fn can_be_wrapped(info: &VideoInfo) -> bool {
    let stride = info.stride()[0] as usize;
    let width = info.comp_width(0) as usize * info.comp_pstride(0) as usize;
    let moved = info.size() / stride * stride;
    let is_whole = stride == width;
    (0..info.n_planes() as usize).all(|plane| {
        let (offset, pitch) = (info.offset()[plane], info.stride()[plane] as usize);
        let (row, rows) = visible(info, plane);
        let is_usual = pitch == stride && offset % stride == 0;
        let end = offset + rows.saturating_sub(1) * pitch + row;
        (is_usual || is_whole) && end <= moved
    })
}

/// Returns the bytes of a row of a plane that hold pixels, and the number of rows.
fn visible(info: &VideoInfo, plane: usize) -> (usize, usize) {
    let components = (0..info.n_components() as u8)
        .filter(|&component| info.comp_plane(component) as usize == plane);
    components.fold((0, 0), |(width, rows), component| {
        let stride = usize::try_from(info.comp_pstride(component)).unwrap_or(0);
        let own = info.comp_width(component) as usize * stride;
        (
            width.max(own),
            rows.max(info.comp_height(component) as usize),
        )
    })
}

#[cfg(test)]
mod tests {
    use gst_video::VideoFormat;

    use super::*;
    use crate::caps::describe;
    use crate::metas::check_layout;

    /// The picture of a frame with this layout, which is sound.
    fn picture(
        format: VideoFormat,
        (width, height): (u32, u32),
        (offset, stride): (&[u64], &[i32]),
        size: usize,
    ) -> Picture {
        gst::init().unwrap();
        let info = VideoInfo::builder(format, width, height).build().unwrap();
        let mut layout = VideoLayout::from(&describe(&info));
        layout.offset[..offset.len()].copy_from_slice(offset);
        layout.stride[..stride.len()].copy_from_slice(stride);
        check_layout(&layout, &info, size).unwrap();
        Picture::new(&info, Some(layout), layout, size).unwrap()
    }

    #[test]
    fn pictures_with_one_stride_are_used_as_they_lie() {
        let nv12 = |offset: u64, stride: i32, size| {
            picture(
                VideoFormat::Nv12,
                (64, 48),
                (&[0, offset], &[stride, stride]),
                size,
            )
        };
        assert!(nv12(512 * 48, 512, 512 * 72).can_be_wrapped());
        // As a decoder leaves rows between the planes.
        assert!(nv12(512 * 64, 512, 512 * 96).can_be_wrapped());
        // The last row is not moved, or not as a row.
        assert!(!nv12(512 * 48, 512, 512 * 72 - 448).can_be_wrapped());
        assert!(!nv12(512 * 48 + 16, 512, 512 * 74).can_be_wrapped());
        // Rows without a gap.
        assert!(nv12(64 * 48 + 16, 64, 64 * 73).can_be_wrapped());
    }

    #[test]
    fn planes_of_other_strides_are_used_only_without_gaps() {
        let i420 = |offset: &[u64], stride: &[i32], size| {
            picture(VideoFormat::I420, (64, 48), (offset, stride), size).can_be_wrapped()
        };
        assert!(i420(&[0, 64 * 48, 64 * 60], &[64, 32, 32], 64 * 72));
        assert!(!i420(&[0, 128 * 48, 128 * 60], &[128, 64, 64], 128 * 72));
        assert!(i420(&[0, 128 * 48, 128 * 72], &[128, 128, 128], 128 * 96));
    }

    #[test]
    fn copies_lie_inside_of_both_memories() {
        let from = picture(
            VideoFormat::I420,
            (65, 49),
            (&[0, 72 * 49, 72 * 49 + 36 * 25], &[72, 36, 36]),
            72 * 49 + 36 * 50,
        );
        let to = VideoInfo::builder(VideoFormat::I420, 65, 49)
            .stride(&[512, 512, 512])
            .offset(&[0, 512 * 49, 512 * 74])
            .build()
            .unwrap();
        let copies: Vec<_> = from.copies(&to, 512 * 99).map(Option::unwrap).collect();
        let sizes: Vec<_> = copies.iter().map(|copy| (copy.width, copy.rows)).collect();
        assert_eq!(sizes, [(65, 49), (33, 25), (33, 25)]);
        assert_eq!(copies[2].from, (72 * 49 + 36 * 25, 36));
        assert_eq!(copies[2].to, (512 * 74, 512));
        assert!(from.copies(&to, 512 * 98).any(|copy| copy.is_none()));
    }

    #[test]
    fn formats_without_rows_of_pixels_are_not_used() {
        gst::init().unwrap();
        let info = VideoInfo::builder(VideoFormat::V210, 64, 48)
            .build()
            .unwrap();
        let layout = VideoLayout::from(&describe(&info));
        assert!(Picture::new(&info, None, layout, info.size()).is_none());
    }
}
