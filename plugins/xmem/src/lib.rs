//! GStreamer elements that pass frames between processes without copying them.
//!
//! `xmemsink` publishes its stream on a channel. Any number of `xmemsrc` in other processes receive
//! it; they read each frame in the memory in which the producer wrote it. `xmem-core` owns the
//! shared memory, the leases and the connections. This crate maps GStreamer's objects to it.
//!
//! # Tour
//!
//! Start with the two elements, [`xmemsink`](mod@xmemsink) and [`xmemsrc`](mod@xmemsrc). In both,
//! `imp.rs` implements the virtual methods of the base class, and `settings.rs` defines the
//! properties. `xmemsink/stream.rs` turns buffers into frames, and `xmemsrc/receiver.rs` turns
//! frames into buffers. The other modules serve the elements:
//!
//! - Memory: `memory` has a file for each kind of memory, and one in which they meet, `kind`. Upstream
//!   writes directly into slots, through a pool or an allocator; frames become buffers with their
//!   record, for applications. `cuda` binds GStreamer's CUDA library at run time.
//! - What a frame carries: `caps`, `metas`, `events` and `timestamps` convert GStreamer's objects
//!   into what crosses between processes, and back. `values` encodes the GObject values in them.
//! - What the user sees: `channel` has the properties that name the channel, `uri` the `xmem://`
//!   URIs, and [`device`] lists channels as devices. `habits` has the properties of other elements
//!   that pass frames between processes. `errors` turns an error of the core into a message for the
//!   bus.
//! - Tools: `log` has the debug category. `bindings` wraps GStreamer calls whose Rust bindings are wrong for some callers.
//!   `worker` is a thread for calls that can block.

// `plugin_define!` expands to public items without documentation.
#![allow(missing_docs)]

mod bindings;
mod caps;
mod channel;
mod cuda;
pub mod device;
mod errors;
mod events;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod habits;
mod log;
mod memory;
mod metas;
mod timestamps;
mod uri;
mod values;
mod worker;
pub mod xmemsink;
pub mod xmemsrc;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    memory::record::register();
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
    // GStreamer has no name for a choice of two licences. "MIT/X11" is the first of the two.
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    "https://crates.io/crates/gst-plugin-xmem",
    env!("BUILD_REL_DATE")
);
