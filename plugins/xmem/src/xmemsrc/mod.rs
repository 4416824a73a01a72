//! `xmemsrc`: receives the stream of a channel.

/**
 * SECTION:element-xmemsrc
 * @title: xmemsrc
 * @see_also: xmemsink
 *
 * Receives the stream of an xmemsink in another process. A frame is not copied: its buffer's memory
 * is that in which the producer wrote it, read-only. Who wants to write to it gets a copy, as
 * always in GStreamer.
 *
 * The source is live. A frame is shown when the producer would show it: its times are those of the
 * producer's pipeline, carried over to this one's clock and base time.
 *
 * A producer that is not there yet is waited for, for `connection-timeout`. When it stops or crashes,
 * the source waits for the next one, as long again; `on-disconnect` changes that. The end of the
 * producer's stream is the end of this one. The properties `channel` and `socket-path` can be set
 * in PLAYING: the source goes on with the next frame of the other channel.
 *
 * The producer keeps as many frames as the latency of this pipeline needs, within `max-bytes` and
 * `max-buffers` of `xmemsink`; the answer to a LATENCY query says how much that covers. Frames that
 * downstream holds are leased. When it holds as many as it can, further ones are copied into system
 * memory: that is posted once, and counted in `stats`.
 *
 * ## Example pipelines
 *
 * ```bash
 * gst-launch-1.0 xmemsrc channel=cam0 ! videoconvert ! autovideosink
 * ```
 * Shows what `... ! xmemsink channel=cam0` publishes.
 *
 * ```bash
 * gst-launch-1.0 xmemsrc channel=cam0 connection-timeout=18446744073709551615 \
 *     ! queue ! videoconvert ! x264enc ! mp4mux ! filesink location=out.mp4
 * ```
 * Records, and waits for the next producer whenever one is gone.
 *
 * ```bash
 * gst-launch-1.0 xmemsrc channel=cam0 delivery=latest max-leases=1 ! videoconvert ! fakesink
 * ```
 * Takes the newest frame each time, and skips what came meanwhile: for work that is slower than the
 * camera.
 *
 * ## URIs
 *
 * `xmem://cam0` is the channel of this name, `xmem:///run/x.sock` the one whose socket is at this
 * path; what a URI gives a meaning to is written as %XX. So players take channels, too:
 *
 * ```bash
 * gst-play-1.0 xmem://cam0
 * ```
 *
 * ## In place of other elements
 *
 * The properties of shmsrc, unixfdsrc and cudaipcsrc are there, so that a pipeline which sets them works
 * with this element in their place. A value that has no effect is told on the bus.
 *
 * ## The record
 *
 * Each buffer has a custom meta `XmemBufferMeta` with the frame's record: `seq` and `slot`,
 * `timestamp` (milliseconds since 1970), `dtype`, `shape` and `strides` (outermost dimension first,
 * in bytes), `producer`.
 */
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::channel::ChannelSettings;

mod beginning;
mod downstream;
mod drain;
mod drift;
mod eventfilter;
mod gate;
mod headers;
mod imp;
mod keeping;
mod lasting;
mod outofband;
mod plan;
mod received;
mod receiver;
mod reconnect;
mod refusal;
mod same_pipeline;
mod settings;
mod state_lock;
mod timeline;

#[cfg(any(test, fuzzing))]
pub(crate) use timeline::Timeline;

glib::wrapper! {
    /// The source element.
    pub struct XmemSrc(ObjectSubclass<imp::XmemSrc>)
        @extends gst_base::PushSrc, gst_base::BaseSrc, gst::Element, gst::Object,
        @implements gst::URIHandler;
}

impl XmemSrc {
    /// Sets the channel, by name or by path.
    ///
    /// # Errors
    /// A sentence for the user, where the source has started with another.
    pub(crate) fn set_channel(&self, channel: ChannelSettings) -> Result<(), String> {
        self.imp().set_channel(channel)
    }
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "xmemsrc",
        gst::Rank::NONE,
        XmemSrc::static_type(),
    )
}
