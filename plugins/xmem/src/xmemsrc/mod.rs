//! `xmemsrc`: a source element that receives the stream of a channel.

/**
 * SECTION:element-xmemsrc
 * @title: xmemsrc
 * @see_also: xmemsink
 *
 * Receives the stream of an xmemsink in another process. A frame is not copied: the memory of its
 * buffer is the memory in which the producer wrote it, read-only. GStreamer copies it for an
 * element that needs to write to it.
 *
 * The source is live. A frame is shown when the producer's pipeline shows it: its timestamps are
 * the producer's, converted to the clock and base time of this pipeline.
 *
 * If there is no producer yet, the source waits for one, for at most `connection-timeout`. If the
 * producer stops or crashes, the source waits as long again for the next one; `on-disconnect`
 * changes that. EOS of the producer ends this stream. The properties `channel` and
 * `socket-path` can be set in PLAYING: the source continues with the next frame of the new channel.
 *
 * The producer keeps as many frames as the latency of this pipeline needs, within `max-bytes` and
 * `max-buffers` of xmemsink. The maximum in the answer to a LATENCY query says how much latency that
 * covers. Frames that downstream holds are leased. If downstream holds as many frames as the source
 * can lease, further frames are copied into system memory (property `on-starved`). The source posts
 * an info message about that once, and counts the copies in `stats`.
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
 * Records the channel, and waits without limit for the next producer if one ends.
 *
 * ```bash
 * gst-launch-1.0 xmemsrc channel=cam0 delivery=latest max-leases=1 ! videoconvert ! fakesink
 * ```
 * Receives only the newest frame, and skips frames that arrive in the meantime. This suits
 * processing that is slower than the camera.
 *
 * ## CUDA memory
 *
 * Frames of a channel can be in the memory of a CUDA device. Their caps then have
 * `memory:CUDAMemory`, and elements downstream read them on the device without a copy (since
 * GStreamer 1.24; before, the device copies each frame once). The source takes such frames if the caps
 * of downstream do.
 *
 * ```bash
 * gst-launch-1.0 xmemsrc channel=gpu0 ! cudadownload ! videoconvert ! autovideosink
 * ```
 * Shows a channel whose frames are in CUDA memory.
 *
 * ## URIs
 *
 * `xmem://cam0` is the channel with the name `cam0`, and `xmem:///run/x.sock` the channel whose
 * socket is at that path. Reserved characters are percent-encoded (%XX). Players accept these URIs:
 *
 * ```bash
 * gst-play-1.0 xmem://cam0
 * ```
 *
 * ## In place of other elements
 *
 * The source has the properties of shmsrc, unixfdsrc and cudaipcsrc, so that a pipeline that sets
 * them works with xmemsrc instead. If a value has no effect, the source posts an info message or a
 * warning.
 *
 * ## The record
 *
 * Each buffer has a custom meta `XmemBufferMeta` with the record of the frame: `seq` and `slot`,
 * `timestamp` (milliseconds since 1970), `dtype`, `shape` and `strides` (outermost dimension first,
 * in bytes), `producer`.
 */
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::channel::ChannelSettings;

mod beginning;
mod cuda;
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
    /// A message for the user, if the source runs and there can be no such channel.
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
