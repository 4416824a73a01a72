//! The planes of raw video: how long their rows are, and where they may lie. Pure.

use std::fmt;

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

/// What is wrong with where the planes of a picture are said to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// There are more or fewer of them than the format has.
    Planes { said: usize, of_format: u32 },
    /// A row of a plane does not begin behind the pixels of the row before it.
    Stride { plane: usize, said: i32, least: u64 },
    /// The tiles of a plane are others than the size of the picture makes them.
    Tiles { plane: usize, said: i32, usual: i32 },
    /// A plane ends after the last byte; `end` is `u64::MAX` where it is no number.
    End { plane: usize, end: u64, size: u64 },
}

impl fmt::Display for Misfit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfit::Planes { said, of_format } => {
                write!(out, "{said} planes of a format that has {of_format}")
            }
            Misfit::Stride { plane, said, least } => write!(
                out,
                "plane {plane} has a stride of {said} bytes and pixels of {least} bytes in a row"
            ),
            Misfit::Tiles { plane, said, usual } => write!(
                out,
                "plane {plane} has a stride of {said:#x} tiles instead of {usual:#x}"
            ),
            Misfit::End { plane, end, size } => {
                write!(out, "plane {plane} ends at byte {end} of {size}")
            }
        }
    }
}

/// What a plane is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlaneKind {
    Rows,
    /// All of them are one row, and strides count them: only the usual ones are understood.
    Tiles,
    /// The colours, one after another, whatever its stride.
    Palette,
}

/// A plane of a picture that lies where its caps alone say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plane {
    pub(crate) start: u64,
    /// From its first byte to the first byte of what follows it.
    pub(crate) length: u64,
    pub(crate) kind: PlaneKind,
    /// From one row to the next.
    pub(crate) stride: u64,
    /// The bytes of a row that hold pixels; all of them where the format packs them in other ways.
    pub(crate) row: u64,
    pub(crate) rows: u64,
}

/// A plane of a [sound](is_sound) picture; `None` for formats whose planes have no rows.
pub(crate) fn plane(info: &VideoInfo, plane: usize) -> Option<Plane> {
    let start = info.offset()[plane] as u64;
    let end = match info.offset().get(plane + 1) {
        Some(&next) => next as u64,
        None => info.size() as u64,
    };
    let length = end.checked_sub(start)?;
    let flags = info.format_info().flags();
    let is_last = plane + 1 == info.n_planes() as usize;
    let kind = if flags.contains(VideoFormatFlags::TILED) {
        PlaneKind::Tiles
    } else if flags.contains(VideoFormatFlags::PALETTE) && is_last {
        PlaneKind::Palette
    } else {
        PlaneKind::Rows
    };
    if kind != PlaneKind::Rows {
        return Some(Plane {
            start,
            length,
            kind,
            stride: length,
            row: length,
            rows: 1,
        });
    }
    let stride = u64::try_from(info.stride()[plane])
        .ok()
        .filter(|&s| s > 0)?;
    Some(Plane {
        start,
        length,
        kind,
        stride,
        row: row_bytes(info, plane).unwrap_or(stride),
        rows: length / stride,
    })
}

/// Checks that every row of every plane lies inside a buffer of `size` bytes: elements read where
/// the meta tells them to. The picture is [sound](is_sound).
///
/// # Errors
/// What is wrong.
pub(crate) fn planes_fit(
    size: u64,
    info: &VideoInfo,
    offset: &[usize],
    stride: &[i32],
) -> Result<(), Misfit> {
    let said = offset.len();
    let of_format = info.n_planes();
    let planes = Misfit::Planes { said, of_format };
    if said != of_format as usize || said == 0 {
        return Err(planes);
    }
    // A gap in the stream, for example. There is nothing to map, so the planes lead nowhere.
    if size == 0 {
        return Ok(());
    }
    for at in 0..said {
        let usual = plane(info, at).ok_or(planes)?;
        let (said, of_caps) = (stride[at], info.stride()[at]);
        let end = if said == of_caps || usual.kind == PlaneKind::Palette {
            Some(usual.length)
        } else if usual.kind == PlaneKind::Tiles {
            return Err(Misfit::Tiles {
                plane: at,
                said,
                usual: of_caps,
            });
        } else {
            let least = usual.row;
            let stride = u64::try_from(said).ok().filter(|&stride| stride >= least);
            let stride = stride.ok_or(Misfit::Stride {
                plane: at,
                said,
                least,
            })?;
            let before = usual.rows.saturating_sub(1).checked_mul(stride);
            before.and_then(|before| before.checked_add(least))
        };
        let end = end.and_then(|end| end.checked_add(offset[at] as u64));
        let end = end.unwrap_or(u64::MAX);
        if end > size {
            return Err(Misfit::End {
                plane: at,
                end,
                size,
            });
        }
    }
    Ok(())
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
