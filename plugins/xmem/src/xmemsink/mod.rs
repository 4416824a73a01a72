//! `xmemsink`: a sink element that publishes its stream on a channel.

/**
 * SECTION:element-xmemsink
 * @title: xmemsink
 * @see_also: xmemsrc
 *
 * Publishes the stream on a channel, for any number of xmemsrc in other processes. A frame is
 * written once, into memory that all processes share, and each client reads it there.
 *
 * The sink offers upstream a buffer pool and an allocator on the shared memory, so most elements
 * write directly into it. A buffer in other memory is copied once, unless it has a file descriptor
 * that the sink can share (property `import-memory`). The property `stats` counts both.
 *
 * Clients cannot write to memory that xmem created, and cannot block the sink. A client that is
 * slow, stopped or killed misses frames; other clients do not. With `overflow=block` the sink waits
 * for its clients instead, for at most `block-timeout`.
 *
 * Sink and sources can start, stop and restart in any order.
 *
 * In PAUSED, clients receive the frame that the sink has prerolled, also after a seek or a step.
 *
 * ## Example pipelines
 *
 * ```bash
 * gst-launch-1.0 v4l2src ! videoconvert ! xmemsink channel=cam0
 * ```
 * Publishes a camera for any number of programs. Each of them receives it with:
 *
 * ```bash
 * gst-launch-1.0 xmemsrc channel=cam0 ! videoconvert ! autovideosink
 * ```
 *
 * ```bash
 * gst-launch-1.0 filesrc location=in.mp4 ! decodebin ! videoconvert \
 *     ! xmemsink channel=film sync=false overflow=block wait-for-connection=true
 * ```
 * Publishes a file for a program that needs every frame, as fast as that program reads it.
 *
 * ## Caps and memory
 *
 * The sink accepts any caps in system memory, raw video in `memory:CUDAMemory`, and `memory:DMABuf`
 * if `import-memory` is set. It prefers system memory if upstream offers several. Caps can change in
 * the stream. For packed raw video and tensors (`other/tensor`, `other/tensors`) the
 * record of a frame has a type and a shape, for clients that do not use GStreamer.
 *
 * ## CUDA memory
 *
 * ```bash
 * gst-launch-1.0 filesrc location=in.mp4 ! qtdemux ! h264parse ! nvh264dec \
 *     ! 'video/x-raw(memory:CUDAMemory)' ! xmemsink channel=film
 * ```
 * Publishes frames that stay on the GPU. Since GStreamer 1.24, elements that use the buffer pool of
 * the sink write them where clients read them. Other frames are copied once, by the GPU: those of a
 * decoder, which has its own memory, and all frames with GStreamer 1.22 (`copied-device` in `stats`).
 * The sink never waits for the GPU. Only clients that take CUDA memory can connect.
 *
 * ## In place of other elements
 *
 * The sink has the properties of shmsink, unixfdsink and cudaipcsink, so that a pipeline that sets
 * them works with xmemsink instead. If a value has no effect, the sink posts an info message or a
 * warning.
 *
 * ## Signals
 *
 * `client-connected` and `client-disconnected` carry the id that the client has in `stats`. They
 * are emitted in the thread that detects the change, not in the application's thread.
 */
use std::path::PathBuf;

use gst::prelude::*;
use gst::subclass::prelude::*;

mod extent;
mod headers;
mod imp;
mod key_units;
mod preroll;
mod roles;
mod settings;
mod statistics;
mod still;
mod stream;
mod upstream;

glib::wrapper! {
    /// The sink element.
    pub struct XmemSink(ObjectSubclass<imp::XmemSink>)
        @extends gst_base::BaseSink, gst::Element, gst::Object;
}

impl XmemSink {
    /// Returns the path of the channel's socket while the channel is open.
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
