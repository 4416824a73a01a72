//! The planes of raw video: how long their rows are, and where they may lie. Pure.

use gst_video::{VideoFormatFlags, VideoInfo};

/// Whether GStreamer's numbers hold such a picture. It computes them in 32 bits, and looks for overflow
/// without what lies between the components.
pub(crate) fn is_sound(info: &VideoInfo) -> bool {
    let format = info.format_info();
    let others = VideoFormatFlags::TILED | VideoFormatFlags::PALETTE;
    let is_other = format.flags().intersects(others);
    let has_rows = (0..info.n_planes() as usize).all(|plane| {
        let stride = u64::try_from(info.stride()[plane]);
        let row = row_bytes(info, plane).unwrap_or(0);
        is_other || stride.is_ok_and(|stride| stride >= row)
    });
    // Rows of tiles, of palettes and of packed groups say less: of each pixel the first component has
    // to be there.
    let depth = format.depth().first().copied().unwrap_or(0);
    let pixels = u64::from(info.width()) * u64::from(info.field_height());
    has_rows && info.size() as u64 >= (pixels * u64::from(depth)) / 8
}

/// Checks that every row of every plane lies inside a buffer of `size` bytes: elements read where
/// the meta tells them to. The picture is [sound](is_sound).
pub(crate) fn planes_fit(
    size: u64,
    info: &VideoInfo,
    offset: &[usize],
    stride: &[i32],
) -> Option<()> {
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
