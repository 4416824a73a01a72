//! What metas are checked against.

use gst_video::VideoInfo;

/// What metas are checked against, in a sink before they are written and in a source before they
/// are attached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carrier<'a> {
    /// The bytes of the frame.
    pub(super) size: usize,
    /// What the caps say, for raw video.
    pub(super) info: Option<&'a VideoInfo>,
    /// Its bytes may be others than the buffer's.
    pub(super) can_be_copied: bool,
}
