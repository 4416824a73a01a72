//! The planes of a picture: how long their rows are, and where they may lie.

use thiserror::Error;

use super::format::{PALETTE, TILED};
use super::info::{MAX_PLANES, VideoInfo};

/// What is wrong with where the planes of a picture are said to lie.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Misfit {
    /// There are more or fewer planes than the format has.
    #[error("{said} planes of a format that has {of_format}")]
    Planes {
        /// So many are said.
        said: usize,
        /// So many the format has.
        of_format: usize,
    },
    /// A row of a plane does not begin behind the pixels of the row before it.
    #[error("plane {plane} has a stride of {said} bytes and pixels of {least} bytes in a row")]
    Stride {
        /// The plane.
        plane: usize,
        /// Its stride.
        said: i32,
        /// The bytes of a row.
        least: u64,
    },
    /// The tiles of a plane are others than the size of the picture makes them.
    #[error("plane {plane} has a stride of {said:#x} tiles instead of {usual:#x}")]
    Tiles {
        /// The plane.
        plane: usize,
        /// Its stride.
        said: i32,
        /// The stride that it has to have.
        usual: i32,
    },
    /// A plane ends after the last byte.
    #[error("plane {plane} ends at byte {end} of {size}")]
    End {
        /// The plane.
        plane: usize,
        /// Its end; the highest number where it is none.
        end: u64,
        /// The bytes of the frame.
        size: u64,
    },
}

/// What a plane is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlaneKind {
    Rows,
    /// All of them are one row, and strides count them: only the usual ones are understood.
    Tiles,
    /// The colours, one after another, whatever its stride.
    Palette,
}

/// A plane of a picture that lies where its caps alone say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plane {
    pub(super) start: u64,
    /// From its first byte to the first byte of what follows it.
    pub(super) length: u64,
    pub(super) kind: PlaneKind,
    /// From one row to the next.
    pub(super) stride: u64,
    /// The bytes of a row that hold pixels; all of them where the format packs them in other ways.
    pub(super) row: u64,
    pub(super) rows: u64,
}

impl Plane {
    /// A plane of a [sound](VideoInfo::is_sound) picture; `None` for formats whose planes have no rows.
    pub(super) fn of(info: &VideoInfo, plane: usize) -> Option<Plane> {
        let start = info.offset[plane];
        let is_last = plane + 1 == info.format.planes();
        let end = if is_last {
            info.size
        } else {
            info.offset[plane + 1]
        };
        let length = end.checked_sub(start)?;
        let kind = if info.format.has(TILED) {
            PlaneKind::Tiles
        } else if info.format.has(PALETTE) && is_last {
            PlaneKind::Palette
        } else {
            PlaneKind::Rows
        };
        let (mut stride, mut row, mut rows) = (length, length, 1);
        if kind == PlaneKind::Rows {
            stride = u64::try_from(info.stride[plane]).ok().filter(|&s| s > 0)?;
            row = info.row_bytes(plane).unwrap_or(stride);
            rows = length / stride;
        }
        Some(Plane {
            start,
            length,
            kind,
            stride,
            row,
            rows,
        })
    }
}

/// Checks that every row of every plane lies inside of a frame of `size` bytes. The picture is
/// [sound](VideoInfo::is_sound).
///
/// # Errors
/// What is wrong.
pub(super) fn planes_fit(
    size: u64,
    info: &VideoInfo,
    offset: &[u64],
    stride: &[i32],
) -> Result<(), Misfit> {
    let said = offset.len();
    let of_format = info.format.planes();
    let planes = Misfit::Planes { said, of_format };
    if said != of_format || said == 0 || said > MAX_PLANES {
        return Err(planes);
    }
    // A gap in the stream, for example. There is nothing to map, so the planes lead nowhere.
    if size == 0 {
        return Ok(());
    }
    for plane in 0..said {
        let usual = Plane::of(info, plane).ok_or(planes)?;
        let (said, of_caps) = (stride[plane], info.stride[plane]);
        let length = if said == of_caps || usual.kind == PlaneKind::Palette {
            Some(usual.length)
        } else if usual.kind == PlaneKind::Tiles {
            return Err(Misfit::Tiles {
                plane,
                said,
                usual: of_caps,
            });
        } else {
            let least = usual.row;
            let stride = u64::try_from(said).ok().filter(|&stride| stride >= least);
            let stride = stride.ok_or(Misfit::Stride { plane, said, least })?;
            let before = usual.rows.saturating_sub(1).checked_mul(stride);
            before.and_then(|before| before.checked_add(least))
        };
        let end = length.and_then(|length| length.checked_add(offset[plane]));
        let end = end.unwrap_or(u64::MAX);
        if end > size {
            return Err(Misfit::End { plane, end, size });
        }
    }
    Ok(())
}
