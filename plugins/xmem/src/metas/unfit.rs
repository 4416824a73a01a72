//! Why a meta can't be part of a frame.

use std::fmt;
use std::mem::{Discriminant, discriminant};

use xmem_media::video::{LayoutError, Misfit};

use crate::values::DecodeError;

/// Why a well-formed meta can't be part of a frame. A sink leaves such a meta behind, and a source
/// does not push a frame that comes with one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Unfit {
    /// The planes of a picture cannot lie where it says.
    Layout(LayoutError),
    /// A rectangle, as x, y, width and height, leads out of the picture.
    Outside {
        rect: (u32, u32, u32, u32),
        picture: (u32, u32),
    },
    /// Samples lie outside of the frame, or channels over one another.
    Samples { samples: usize, size: usize },
    /// GStreamer does not take what it says, or xmem does not pass it on; the text says why.
    Value(&'static str),
    /// There are more metas of its kind than cross with a frame.
    TooMany { most: u32 },
    /// The metas of the frame would be longer than they may be.
    TooLong,
}

/// What tells one kind of reasons from another.
pub(crate) type UnfitKind = (
    Discriminant<Unfit>,
    Option<Discriminant<LayoutError>>,
    Option<Discriminant<Misfit>>,
);

impl Unfit {
    /// The same for all of a kind, whatever their numbers.
    pub(crate) fn kind(&self) -> UnfitKind {
        let layout = if let Unfit::Layout(why) = self {
            Some(why)
        } else {
            None
        };
        let misfit = if let Some(LayoutError::Planes(misfit)) = layout {
            Some(discriminant(misfit))
        } else {
            None
        };
        (discriminant(self), layout.map(discriminant), misfit)
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Layout(why) => why.fmt(out),
            Unfit::Outside { rect, picture } => write!(
                out,
                "{}x{} pixels at {},{} lead out of the picture, which has {}x{}",
                rect.2, rect.3, rect.0, rect.1, picture.0, picture.1
            ),
            Unfit::Samples { samples, size } => write!(
                out,
                "its {samples} samples do not lie beside one another in the {size} bytes of the frame"
            ),
            Unfit::Value(why) => out.write_str(why),
            Unfit::TooMany { most } => write!(out, "at most {most} of them cross with a frame"),
            Unfit::TooLong => out.write_str("the metas of a frame can have 64 MiB in all"),
        }
    }
}

/// What reading a meta comes to.
pub(super) type Result<T = ()> = std::result::Result<T, NotRead>;

/// Why a meta was not attached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NotRead {
    /// No sink writes such bytes.
    Broken,
    /// It is not known here, and left out.
    Unknown,
    /// It is well-formed, and not this frame's.
    Unfit(Unfit),
}

impl From<DecodeError> for NotRead {
    fn from(why: DecodeError) -> NotRead {
        match why {
            DecodeError::Invalid(_) => NotRead::Broken,
            DecodeError::Unsupported(_) => NotRead::Unknown,
        }
    }
}

impl From<LayoutError> for Unfit {
    fn from(why: LayoutError) -> Unfit {
        Unfit::Layout(why)
    }
}

impl From<Unfit> for NotRead {
    fn from(why: Unfit) -> NotRead {
        NotRead::Unfit(why)
    }
}
