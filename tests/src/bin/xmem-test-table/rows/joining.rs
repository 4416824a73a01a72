//! Elements that combine streams, behind a client that joins late: every running time is at least
//! 0.
//!
//! The other elements of this kind in the registry are tried with one stream each; these rows are
//! pipelines as people build them.

use super::pictures;
use crate::row::{Group, Row};
use crate::streams::*;

const JOINS: u32 = 20;

const H264_ENCODER: &str = "x264enc tune=zerolatency speed-preset=ultrafast ! h264parse";

pub fn rows() -> Vec<Row> {
    let row = |what: &str, streams: &[(&'static str, Stream)], client: &str| {
        Row::new(Group::Joining, what, streams, client).joins(JOINS)
    };
    // A mixer shows its background until the first stream has begun, uncut as well, so pictures are
    // not compared.
    let (v, a) = (("v", PICTURES_30), ("a", SOUND_10));
    let record = |muxer: &str| {
        format!(
            "{{v}} ! queue ! {H264_ENCODER} ! m. {{a}} ! queue ! audioconvert ! avenc_aac ! m. \
             {muxer} name=m ! fakesink name=out"
        )
    };
    vec![
        row("compositor", &[v], &pictures("compositor")).short(),
        row("videomixer", &[v], &pictures("videomixer")),
        row(
            "compositor, two streams",
            &[v, ("w", PICTURES_30)],
            "{v} ! m. {w} ! m. compositor name=m ! fakesink name=out",
        ),
        row(
            "compositor beside a live test source",
            &[v],
            "{v} ! m. videotestsrc is-live=true ! m. compositor name=m ! fakesink name=out sync=true",
        ),
        row(
            "compositor, switched to another size",
            &[v],
            "{v} ! compositor ! fakesink name=out",
        )
        .other(SMALLER),
        row(
            "videoconvert, switched to another size",
            &[v],
            "{v} ! videoconvert ! videoscale ! video/x-raw,format=RGB,width=320,height=240 ! \
             fakesink name=out sync=true",
        )
        .other(SMALLER)
        .short(),
        row(
            "glvideomixer",
            &[v],
            "{v} ! glupload ! glcolorconvert ! glvideomixer ! fakesink name=out",
        ),
        row(
            "textoverlay",
            &[v],
            "{v} ! textoverlay text=x ! fakesink name=out",
        )
        .short(),
        row(
            "videorate",
            &[v],
            "{v} ! videorate ! video/x-raw,framerate=10/1 ! fakesink name=out",
        ),
        row("audiomixer", &[a], "{a} ! audiomixer ! fakesink name=out").short(),
        row(
            "audiomixer beside a live test source",
            &[a],
            "{a} ! m. audiotestsrc is-live=true ! \
             audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2 ! m. audiomixer name=m ! fakesink name=out sync=true",
        ),
        row(
            "adder",
            &[a],
            "{a} ! audioconvert ! adder ! fakesink name=out",
        ),
        row("liveadder", &[a], "{a} ! liveadder ! fakesink name=out"),
        row(
            "audiointerleave, two streams",
            &[a, ("b", SOUND_10)],
            "{a} ! audioconvert ! audio/x-raw,channels=1 ! m. \
             {b} ! audioconvert ! audio/x-raw,channels=1 ! m. \
             audiointerleave name=m ! fakesink name=out",
        )
        // It fails if no stream has begun when its latency is over.
        .begins_late(),
        row(
            "interleave, two streams",
            &[a, ("b", SOUND_10)],
            "{a} ! audioconvert ! audio/x-raw,channels=1 ! m. \
             {b} ! audioconvert ! audio/x-raw,channels=1 ! m. \
             interleave name=m ! fakesink name=out",
        ),
        row(
            "mp4mux, recording",
            &[v, a],
            &record("mp4mux fragment-duration=500"),
        )
        .short(),
        row("qtmux, recording", &[v, a], &record("qtmux")),
        row("matroskamux, recording", &[v, a], &record("matroskamux")),
        row(
            "flvmux, recording",
            &[v, a],
            &record("flvmux streamable=true"),
        ),
        row("mpegtsmux, recording", &[v, a], &record("mpegtsmux")),
        row("avimux, recording", &[v, a], &record("avimux")),
        row(
            "webmmux, recording",
            &[v, a],
            "{v} ! queue ! vp8enc deadline=1 cpu-used=8 ! m. {a} ! queue ! audioconvert ! opusenc ! m. \
             webmmux name=m ! fakesink name=out",
        ),
        row(
            "oggmux, recording",
            &[v, a],
            "{v} ! queue ! theoraenc speed-level=2 ! m. {a} ! queue ! audioconvert ! vorbisenc ! m. \
             oggmux name=m ! fakesink name=out",
        ),
        row(
            "input-selector, two streams",
            &[v, ("w", PICTURES_30)],
            "{v} ! m. {w} ! m. input-selector name=m ! fakesink name=out",
        ),
        // With two test sources, uncut as well, these elements wait for information that only a
        // demuxer provides: that the streams belong together.
        row(
            "streamsynchronizer",
            &[v],
            "{v} ! s.sink_0 streamsynchronizer name=s s.src_0 ! fakesink name=out",
        ),
        row(
            "playsink",
            &[v],
            "{v} ! p.video_sink playsink name=p flags=0x1 video-sink=fakesink",
        ),
        row(
            "rtpbin",
            &[v],
            "{v} ! vp8enc deadline=1 cpu-used=8 ! rtpvp8pay ! b.send_rtp_sink_0 rtpbin name=b \
             b.send_rtp_src_0 ! fakesink name=out",
        ),
    ]
}
