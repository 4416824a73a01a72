//! GStreamer elements that pass frames between processes without copying them.
//!
//! `xmemsink` publishes what it gets on a channel, any number of `xmemsrc` receive it where it is.
//! Everything about memory, leases and connections is in `xmem-core`; here is what GStreamer
//! wants of it:
//!
//! - [`xmemsink`](mod@xmemsink), [`xmemsrc`](mod@xmemsrc): the elements;
//! - `bufferpool`: lets upstream write straight into slots;
//! - `framepool`: the buffers of received frames;
//! - `allocator`: the `GstMemory` of a slot;
//! - `fdmemory`: memory with a descriptor that others have made;
//! - `framememory`: the `GstMemory` of a received frame;
//! - `bindings`: calls of GStreamer that its Rust bindings get wrong;
//! - `errors`: what the bus calls an error of the core;
//! - `habits`: properties of other elements that pass frames between processes;
//! - `uri`: channels as URIs;
//! - [`device`]: channels as devices;
//! - `caps`, `metas`, `timestamps`: from GStreamer's words to the record of a frame and back;
//! - `values`: GStreamer's values as bytes and back, for what is in metas;
//! - `record`: the record, for programs that look at `xmemsrc`'s buffers.

// `plugin_define!` makes public items without docs.
#![allow(missing_docs)]

use std::sync::LazyLock;

use gst::glib;

mod allocator;
mod bindings;
mod bufferpool;
mod caps;
mod channel;
pub mod device;
mod errors;
mod events;
mod fdmemory;
mod framememory;
mod framepool;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod habits;
mod metas;
mod record;
mod timestamps;
mod uri;
mod values;
mod worker;
pub mod xmemsink;
pub mod xmemsrc;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "xmem",
        gst::DebugColorFlags::empty(),
        Some("Frames in memory shared between processes"),
    )
});

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    record::register();
    xmemsink::register(plugin)?;
    xmemsrc::register(plugin)?;
    device::register(plugin)?;
    Ok(())
}

gst::plugin_define!(
    xmem,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    // GStreamer knows no name for a choice of two licences; these terms are those of the first.
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    "https://crates.io/crates/gst-plugin-xmem",
    env!("BUILD_REL_DATE")
);
