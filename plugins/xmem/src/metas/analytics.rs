//! GstAnalyticsRelationMeta: what was seen in a picture, and how one thing is related to another.

use gst_video::VideoFormat;

mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub(super) use reader::read;
pub(super) use writer::write;

/// Most things of a frame: there is a byte for each pair of them.
const MAX_MTDS: usize = 1024;
/// The formats that a mask can have, by the number that stands for them.
const MASKS: [VideoFormat; 3] = [
    VideoFormat::Gray8,
    VideoFormat::Gray16Le,
    VideoFormat::Gray16Be,
];

// Kinds of the records of things. Part of the protocol.
const OBJECT: u32 = 1;
const CLASSES: u32 = 2;
const TRACKING: u32 = 3;
const SEGMENTATION: u32 = 4;
#[cfg(feature = "v1_28")]
const TENSOR: u32 = 5;
