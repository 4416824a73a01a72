//! A client never stalls, however many frames downstream holds, and leaky elements drop what they
//! should.

use super::{pictures, sound};
use crate::row::{Group, Look, Row};
use crate::streams::*;

pub fn rows() -> Vec<Row> {
    let row = |what: &str, stream: Stream, client: &str| {
        let name = if client.contains("{a}") { "a" } else { "v" };
        Row::new(Group::Gathering, what, &[(name, stream)], client).seconds(5)
    };
    const SLOW: &str = "identity sleep-time=100000 ! fakesink name=out sync=false";
    let slow_behind = |queue: &str| format!("{{v}} ! {queue} ! {SLOW}");
    vec![
        row(
            "queue leaky=downstream before a slow sink",
            PICTURES_30,
            &slow_behind("queue leaky=downstream max-size-buffers=3"),
        )
        .most_lag(10)
        .seconds(4),
        row(
            "queue leaky=upstream before a slow sink",
            PICTURES_30,
            &slow_behind("queue leaky=upstream max-size-buffers=3"),
        )
        // Three frames wait in the queue, for as long as the sink needs for three frames.
        .most_lag(20)
        .seconds(4),
        row(
            "queue leaky=downstream, default sizes, before a slow sink",
            PICTURES_30,
            &slow_behind("queue leaky=downstream"),
        ),
        row(
            "queue leaky=downstream of 50 before a slow sink",
            SOUND_5,
            &format!("{{a}} ! queue leaky=downstream max-size-buffers=50 ! {SLOW}"),
        ),
        row(
            "appsink drop=true max-buffers=1, which is never read",
            PICTURES_30,
            "{v} ! appsink name=out drop=true max-buffers=1",
        )
        .seconds(3),
        row(
            "appsink drop=true max-buffers=20, which is never read",
            PICTURES_30,
            "{v} ! appsink name=out drop=true max-buffers=20",
        )
        .seconds(3)
        .short(),
        row(
            "audiobuffersplit of one second",
            SOUND_10,
            "{a} ! audiobuffersplit output-buffer-duration=1/1 ! fakesink name=out",
        )
        .seconds(5)
        .look(Look::Sound),
        row(
            "audiobuffersplit of one second",
            SOUND_1,
            "{a} ! audiobuffersplit output-buffer-duration=1/1 ! fakesink name=out",
        )
        .seconds(5),
        row(
            "queue of four seconds",
            PICTURES_30,
            "{v} ! queue min-threshold-time=4000000000 max-size-time=5000000000 \
             max-size-buffers=0 max-size-bytes=0 ! fakesink name=out",
        )
        .seconds(8),
        row(
            "queue of four seconds",
            SOUND_10,
            "{a} ! queue min-threshold-time=4000000000 max-size-time=5000000000 \
             max-size-buffers=0 max-size-bytes=0 ! fakesink name=out",
        )
        .seconds(8),
        row(
            "flacenc",
            SOUND_10,
            "{a} ! audioconvert ! flacenc ! fakesink name=out",
        )
        .seconds(4)
        .short(),
        row(
            "flacenc, and back",
            SOUND_2,
            "{a} ! audioconvert ! flacenc ! flacparse ! flacdec ! \
             audioconvert ! audio/x-raw,format=S16LE,channels=2 ! fakesink name=out",
        )
        .seconds(4)
        .look(Look::Sound),
        row(
            "opusenc, and back",
            SOUND_10,
            "{a} ! audioconvert ! opusenc frame-size=60 ! opusdec ! \
             audioconvert ! audio/x-raw,format=S16LE,channels=2 ! fakesink name=out",
        )
        .seconds(4)
        .look(Look::Sound),
        row(
            "opusenc",
            SOUND_1,
            "{a} ! audioconvert ! opusenc ! fakesink name=out",
        )
        .seconds(4),
        row(
            "vorbisenc",
            SOUND_5,
            "{a} ! audioconvert ! vorbisenc ! fakesink name=out",
        )
        .seconds(4),
        row(
            "x264enc, which looks ahead",
            PICTURES_30,
            "{v} ! x264enc speed-preset=ultrafast rc-lookahead=50 ! fakesink name=out",
        ),
        row(
            "tsdemux, avdec_h264",
            MPEG_TS,
            &pictures("tsdemux ! h264parse ! avdec_h264"),
        )
        .look(Look::Pictures)
        .seconds(5)
        .short(),
        row("tsdemux", MPEG_TS, "{v} ! tsdemux ! fakesink name=out").seconds(5),
        row(
            "splitmuxsink",
            H264_AVC,
            "{v} ! h264parse ! splitmuxsink location={dir}/%05d.mp4 max-size-time=2000000000",
        ),
        row(
            "splitmuxsink behind x264enc",
            PICTURES_30,
            "{v} ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 ! h264parse ! \
             splitmuxsink location={dir}/%05d.mp4 max-size-time=2000000000",
        ),
        row(
            "hlssink2",
            H264,
            "{v} ! h264parse ! hlssink2 target-duration=2 \
             location={dir}/%05d.ts playlist-location={dir}/list.m3u8",
        ),
        row(
            "hlssink2 behind x264enc",
            PICTURES_30,
            "{v} ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 ! h264parse ! \
             hlssink2 target-duration=2 location={dir}/%05d.ts playlist-location={dir}/list.m3u8",
        ),
        row(
            "rtpjitterbuffer, avdec_h264",
            RTP_H264,
            &pictures("rtpjitterbuffer latency=200 ! rtph264depay ! h264parse ! avdec_h264"),
        )
        .look(Look::Pictures)
        .seconds(4),
        row(
            "rtpjitterbuffer latency=2000",
            RTP_RAW,
            &pictures("rtpjitterbuffer latency=2000 ! rtpvrawdepay"),
        )
        .look(Look::Pictures)
        .seconds(5),
        row(
            "rtpjitterbuffer latency=1000",
            RTP_OPUS,
            &sound("rtpjitterbuffer latency=1000 ! rtpopusdepay ! opusdec"),
        )
        .look(Look::Sound)
        .seconds(4),
        row(
            "webrtcbin",
            PICTURES_30,
            "{v} ! vp8enc deadline=1 cpu-used=8 ! rtpvp8pay ! \
             application/x-rtp,media=video,encoding-name=VP8,payload=96 ! webrtcbin name=webrtc-a \
             webrtcbin name=webrtc-b",
        )
        .needs(&["nicesink", "dtlsenc", "srtpenc", "rtpvp8depay", "vp8dec"])
        .seconds(5),
    ]
}
