//! `xmemsink`: publishes the stream on a channel.

/**
 * SECTION:element-xmemsink
 * @title: xmemsink
 * @see_also: xmemsrc
 *
 * Publishes the stream on a channel, for any number of xmemsrc in other processes. A frame is
 * written once, into memory that all processes share, and read where it is.
 *
 * The sink offers upstream a buffer pool and an allocator on that memory, so most elements write
 * straight into it. What comes in other memory is copied once; the property `stats` tells how much.
 *
 * Clients can't write to a frame, and can't hold up the sink: one that is slow, stopped or killed
 * misses frames, and nobody else does. With `overflow=block` the sink waits for its clients
 * instead, for `block-timeout` at most.
 *
 * Sink and sources may start, stop and restart in any order.
 *
 * In PAUSED clients see the frame that the sink has prerolled, after a seek or a step too.
 *
 * ## Example pipelines
 *
 * ```bash
 * gst-launch-1.0 v4l2src ! videoconvert ! xmemsink channel=cam0
 * ```
 * A camera for any number of programs. Each of these receives it:
 *
 * ```bash
 * gst-launch-1.0 xmemsrc channel=cam0 ! videoconvert ! autovideosink
 * ```
 *
 * ```bash
 * gst-launch-1.0 filesrc location=in.mp4 ! decodebin ! videoconvert \
 *     ! xmemsink channel=film sync=false overflow=block wait-for-connection=true
 * ```
 * A file for a program that must have every frame, as fast as that program is.
 *
 * ## Caps and memory
 *
 * Any caps in system memory are taken, whatever they hold, and may change in the stream. Of packed
 * raw video and of tensors (`other/tensor`, `other/tensors`) a frame's record holds type and shape,
 * for clients without GStreamer.
 *
 * ## In place of other elements
 *
 * The properties of shmsink, unixfdsink and cudaipcsink are there, so that a pipeline which sets them
 * works with this element in their place. A value that has no effect is told on the bus.
 *
 * ## Signals
 *
 * `client-connected` and `client-disconnected` come with the number that the client has in `stats`,
 * in the thread in which it happens: not the application's.
 */
use std::path::PathBuf;

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

mod extent;
mod headers;
mod imp;
mod key_units;
mod passing;
mod preroll;
mod roles;
mod settings;
mod still;
mod stream;
mod upstream;

glib::wrapper! {
    /// The sink element.
    pub struct XmemSink(ObjectSubclass<imp::XmemSink>)
        @extends gst_base::BaseSink, gst::Element, gst::Object;
}

impl XmemSink {
    /// The path of the channel's socket, while it is open.
    pub(crate) fn socket_path(&self) -> Option<PathBuf> {
        self.imp().socket_path()
    }
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "xmemsink",
        gst::Rank::NONE,
        XmemSink::static_type(),
    )
}
