//! Looking at a GStreamer buffer where it lies.

use gst::prelude::*;
use gst_video::VideoInfo;

use crate::Result;
use crate::fingerprint::Fingerprint;
use crate::layout::Layout;
use crate::mapping::{Access, Segments};

/// Looks at one buffer after another.
#[derive(Debug, Default)]
pub struct Inspector {
    segments: Segments,
}

impl Inspector {
    /// The fingerprint of the picture in a buffer that goes through `pad`, and how the segment is
    /// mapped that it lies in.
    pub fn look(
        &mut self,
        pad: &gst::Pad,
        buffer: &gst::BufferRef,
    ) -> Result<(u64, Option<Access>)> {
        let caps = pad.current_caps().ok_or("a buffer came before its caps")?;
        let layout = Layout::of_buffer(buffer, &VideoInfo::from_caps(&caps)?)?;
        // One memory, so this shows the buffer's own bytes.
        let map = buffer.map_readable()?;
        let mut print = Fingerprint::default();
        for row in layout.rows() {
            print.add(&map[row]);
        }
        let access = self.segments.access(map.as_ptr(), map.len())?;
        Ok((print.finish(), access))
    }
}
