//! Pictures that are drawn over a picture.

use super::pixels::{Pixels, SIDES};
use crate::field::plain;

/// Most pixels that a rectangle is drawn as: its client makes a picture of so many.
const MAX_DRAWN: u64 = 1 << 26;
/// Furthest from the frame's corner that one is drawn.
const MAX_DISTANCE: u32 = 1 << 24;

plain! {
    /// Pictures that are drawn over a picture, from the first to the last.
    Overlay {
        /// The pictures, and where they are drawn.
        rectangles: Vec<OverlayRectangle> [1024],
    }
    /// A picture that is drawn over a picture.
    OverlayRectangle {
        /// Whether the pixels are AYUV. Otherwise they are BGRA, or ARGB on a big-endian machine.
        is_ayuv: bool,
        /// The bits of `GstVideoOverlayFormatFlags`.
        flags: u32,
        /// The alpha of the whole, 0 to 1.
        alpha: f32,
        /// The first column that it is drawn at.
        x: i32,
        /// The first row that it is drawn at.
        y: i32,
        /// The width that it is drawn with.
        width: u32,
        /// The height that it is drawn with.
        height: u32,
        /// The pixels, of 4 bytes.
        pixels: Pixels,
    }
}

impl OverlayRectangle {
    /// Whether GStreamer draws such a rectangle: its alpha is one, its sides are 1 to 32767 pixels
    /// long, and it is neither too large nor too far from the corner.
    pub fn is_drawable(&self) -> bool {
        (0.0..=1.0).contains(&self.alpha)
            && SIDES.contains(&self.width)
            && SIDES.contains(&self.height)
            && u64::from(self.width) * u64::from(self.height) <= MAX_DRAWN
            && self.x.unsigned_abs() <= MAX_DISTANCE
            && self.y.unsigned_abs() <= MAX_DISTANCE
            && self.pixels.is_picture()
    }
}
