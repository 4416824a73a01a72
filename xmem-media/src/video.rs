//! Raw video: its formats, and where the planes of a picture lie.

mod format;
mod info;
mod layout;
mod plane;
mod table;
#[cfg(test)]
mod tests;

pub use format::{ALPHA, COMPLEX, Component, GRAY, LE, PALETTE, RGB, TILED, VideoFormat, YUV};
pub use info::{Interlacing, MAX_PLANES, VideoInfo};
pub use layout::{LayoutError, RowCopy, VideoLayout};
pub use plane::Misfit;
