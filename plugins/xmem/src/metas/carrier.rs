//! What metas are checked against.

use gst_video::VideoInfo;

/// What metas are checked against, in a sink before they are written and in a source before they
/// are attached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carrier<'a> {
    /// The size of the frame in bytes.
    pub(super) size: usize,
    /// The info of the caps, for raw video.
    pub(super) info: Option<&'a VideoInfo>,
    /// The frame may have other bytes than the buffer.
    pub(super) can_be_copied: bool,
}
