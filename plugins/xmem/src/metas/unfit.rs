//! Why a meta can't be part of a frame.

use std::fmt;
use std::mem::{Discriminant, discriminant};

use gst_video::VideoFormat;

use crate::caps::Misfit;
use crate::values::DecodeError;

/// Why a well-formed meta can't be part of a frame. A sink leaves such a meta behind, and a source
/// does not push a frame that comes with one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Unfit {
    /// It describes a picture of another format than the caps.
    Format {
        said: VideoFormat,
        caps: VideoFormat,
    },
    /// It describes a picture smaller than the caps, which can't be mapped.
    Smaller {
        said: (u32, u32),
        caps: (u32, u32),
    },
    /// It describes a picture too large for GStreamer's own numbers.
    TooLarge {
        said: (u32, u32),
    },
    Planes(Misfit),
    /// A rectangle, as x, y, width and height, leads out of the picture.
    Outside {
        rect: (u32, u32, u32, u32),
        picture: (u32, u32),
    },
    /// Samples lie outside of the frame, or channels over one another.
    Samples {
        samples: usize,
        size: usize,
    },
    /// GStreamer does not take what it says, or xmem does not pass it on; the text says why.
    Value(&'static str),
    /// There are more metas of its kind than cross with a frame.
    TooMany {
        most: u32,
    },
    /// The metas of the frame would be longer than they may be.
    TooLong,
}

/// What tells one kind of reasons from another.
pub(crate) type UnfitKind = (Discriminant<Unfit>, Option<Discriminant<Misfit>>);

impl Unfit {
    /// The same for all of a kind, whatever their numbers.
    pub(crate) fn kind(&self) -> UnfitKind {
        match self {
            Unfit::Planes(misfit) => (discriminant(self), Some(discriminant(misfit))),
            _ => (discriminant(self), None),
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Format { said, caps } => {
                write!(out, "it describes {said} and the caps say {caps}")
            }
            Unfit::Smaller { said, caps } => write!(
                out,
                "it describes a picture of {}x{}, smaller than {}x{} in the caps",
                said.0, said.1, caps.0, caps.1
            ),
            Unfit::TooLarge {
                said: (width, height),
            } => {
                write!(out, "a picture of {width}x{height} is too large")
            }
            Unfit::Planes(misfit) => misfit.fmt(out),
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

impl From<Unfit> for NotRead {
    fn from(why: Unfit) -> NotRead {
        NotRead::Unfit(why)
    }
}
