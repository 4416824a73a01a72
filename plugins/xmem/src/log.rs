//! The debug category of the plugin: `GST_DEBUG=xmem:6` shows what it logs.

use std::sync::LazyLock;

pub(crate) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "xmem",
        gst::DebugColorFlags::empty(),
        Some("Frames in memory shared between processes"),
    )
});
