//! The streams that producers make.

use std::fmt;

/// What a producer makes: a source, and the elements up to `xmemsink`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The name in the table.
    pub label: &'static str,
    /// The part of the producer's pipeline before the cut.
    pub producer: &'static str,
    /// The fields of the caps that distinguish this stream; the link behind the cut has these caps.
    pub caps: &'static str,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label)
    }
}

const fn stream(label: &'static str, producer: &'static str, caps: &'static str) -> Stream {
    Stream {
        label,
        producer,
        caps,
    }
}

/// The pattern of the test source whose pictures are compared: no part is random or moves.
pub const PATTERN: &str = "smpte75";

/// A source of these pictures: 320x240 at this rate, then further elements.
macro_rules! pictures {
    ($rate:literal $($more:literal)?) => {
        concat!(
            "videotestsrc is-live=true pattern=smpte75 ! \
             video/x-raw,format=I420,width=320,height=240,framerate=", $rate, "/1" $(, " ! ", $more)?
        )
    };
}

/// The same in 1080p at this rate.
macro_rules! full_hd {
    ($rate:literal) => {
        concat!(
            "videotestsrc is-live=true pattern=smpte75 ! \
             video/x-raw,format=NV12,width=1920,height=1080,framerate=",
            $rate,
            "/1"
        )
    };
}

/// A sine in buffers of this many samples, then further elements.
macro_rules! sound {
    ($samples:literal $($more:literal)?) => {
        concat!(
            "audiotestsrc is-live=true samplesperbuffer=", $samples, " ! \
             audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2" $(, " ! ", $more)?
        )
    };
}

const RAW: &str = "video/x-raw,format=I420,width=320,height=240,framerate=30/1";
const SAMPLES: &str = "audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2";

pub const PICTURES_30: Stream = stream("pictures, 30 a second", pictures!(30), RAW);
pub const SMALLER: Stream = stream(
    "pictures of 160x120",
    "videotestsrc is-live=true pattern=smpte75 ! \
     video/x-raw,format=NV12,width=160,height=120,framerate=25/1",
    "video/x-raw",
);
pub const HD_30: Stream = stream("1080p, 30 a second", full_hd!(30), "video/x-raw");
pub const HD_60: Stream = stream("1080p, 60 a second", full_hd!(60), "video/x-raw");
pub const HD_120: Stream = stream("1080p, 120 a second", full_hd!(120), "video/x-raw");

pub const SOUND_1: Stream = stream("sound, 1 ms", sound!(48), SAMPLES);
pub const SOUND_2: Stream = stream("sound, 2 ms", sound!(96), SAMPLES);
pub const SOUND_5: Stream = stream("sound, 5 ms", sound!(240), SAMPLES);
pub const SOUND_10: Stream = stream("sound, 10 ms", sound!(480), SAMPLES);
pub const SOUND_20: Stream = stream("sound, 20 ms", sound!(960), SAMPLES);

// Key frames are far apart, so that a client joins between two of them.
pub const H264: Stream = stream(
    "H.264 (byte-stream)",
    pictures!(30 "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=150 ! \
                  video/x-h264,stream-format=byte-stream,alignment=au"),
    "video/x-h264,stream-format=byte-stream,alignment=au",
);
pub const H264_AVC: Stream = stream(
    "H.264 (avc)",
    pictures!(30 "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=150 ! \
                  h264parse ! video/x-h264,stream-format=avc,alignment=au"),
    "video/x-h264,stream-format=avc,alignment=au",
);
pub const H264_B: Stream = stream(
    "H.264 with B-frames",
    pictures!(30 "x264enc bframes=2 rc-lookahead=3 sync-lookahead=0 speed-preset=ultrafast \
                  b-adapt=false key-int-max=150 ! h264parse ! \
                  video/x-h264,stream-format=avc,alignment=au"),
    "video/x-h264,stream-format=avc,alignment=au",
);
pub const H265: Stream = stream(
    "H.265 (byte-stream)",
    pictures!(30 "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=150 ! \
                  video/x-h265,stream-format=byte-stream,alignment=au"),
    "video/x-h265,stream-format=byte-stream,alignment=au",
);
pub const H265_HVC1: Stream = stream(
    "H.265 (hvc1)",
    pictures!(30 "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=150 ! \
                  h265parse ! video/x-h265,stream-format=hvc1,alignment=au"),
    "video/x-h265,stream-format=hvc1,alignment=au",
);
pub const VP8: Stream = stream(
    "VP8",
    pictures!(30 "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=150 target-bitrate=2000000"),
    "video/x-vp8",
);
pub const VP9: Stream = stream(
    "VP9",
    pictures!(30 "vp9enc deadline=1 cpu-used=8 lag-in-frames=0 keyframe-max-dist=150 \
                  target-bitrate=2000000"),
    "video/x-vp9",
);
pub const AV1: Stream = stream(
    "AV1",
    pictures!(30 "av1enc usage-profile=realtime cpu-used=8 lag-in-frames=0 \
                  keyframe-max-dist=150 target-bitrate=1000"),
    "video/x-av1",
);
pub const THEORA: Stream = stream(
    "Theora",
    pictures!(30 "theoraenc speed-level=2 keyframe-force=128"),
    "video/x-theora",
);
pub const MPEG2: Stream = stream(
    "MPEG-2",
    pictures!(30 "mpeg2enc ! mpegvideoparse"),
    "video/mpeg,mpegversion=2,systemstream=false",
);
pub const JPEG: Stream = stream("JPEG", pictures!(30 "jpegenc"), "image/jpeg");
pub const DV: Stream = stream(
    "DV",
    "videotestsrc is-live=true pattern=smpte75 ! \
     video/x-raw,format=I420,width=720,height=576,framerate=25/1 ! avenc_dvvideo",
    "video/x-dv,systemstream=false",
);

// An encoder would ask the element downstream, but cannot across a cut, so its choice is given
// here.
pub const AAC: Stream = stream(
    "AAC",
    sound!(480 "audioconvert ! avenc_aac ! audio/mpeg,mpegversion=4,stream-format=raw,framed=true"),
    "audio/mpeg,mpegversion=4,stream-format=raw",
);
pub const AAC_ADTS: Stream = stream(
    "AAC (ADTS)",
    sound!(480 "audioconvert ! avenc_aac ! aacparse ! audio/mpeg,mpegversion=4,stream-format=adts"),
    "audio/mpeg,mpegversion=4,stream-format=adts",
);
pub const OPUS: Stream = stream("Opus", sound!(480 "opusenc"), "audio/x-opus");
pub const FLAC: Stream = stream("FLAC", sound!(480 "flacenc"), "audio/x-flac");
pub const VORBIS: Stream = stream(
    "Vorbis",
    sound!(480 "audioconvert ! vorbisenc"),
    "audio/x-vorbis",
);
pub const MP3: Stream = stream(
    "MP3",
    sound!(480 "lamemp3enc ! mpegaudioparse"),
    "audio/mpeg,mpegversion=1,layer=3",
);
pub const MP2: Stream = stream(
    "MP2",
    sound!(480 "avenc_mp2 ! mpegaudioparse"),
    "audio/mpeg,mpegversion=1,layer=2",
);
pub const AC3: Stream = stream(
    "AC-3",
    sound!(480 "audioconvert ! avenc_ac3 ! ac3parse"),
    "audio/x-ac3",
);
pub const MP3_44: Stream = stream(
    "MP3, 44100 Hz",
    "audiotestsrc is-live=true samplesperbuffer=441 ! \
     audio/x-raw,format=S16LE,layout=interleaved,rate=44100,channels=2 ! lamemp3enc ! \
     mpegaudioparse",
    "audio/mpeg,mpegversion=1,layer=3,rate=44100",
);
pub const AMR_WB: Stream = stream(
    "AMR-WB",
    "audiotestsrc is-live=true samplesperbuffer=320 ! \
     audio/x-raw,format=S16LE,layout=interleaved,rate=16000,channels=1 ! voamrwbenc",
    "audio/AMR-WB",
);
pub const SPEEX: Stream = stream("Speex", sound!(480 "speexenc"), "audio/x-speex");
pub const WAVPACK: Stream = stream(
    "WavPack",
    sound!(480 "audioconvert ! wavpackenc"),
    "audio/x-wavpack",
);
pub const PNG: Stream = stream("PNG", pictures!(30 "videoconvert ! pngenc"), "image/png");
pub const MULAW: Stream = stream(
    "mu-law",
    "audiotestsrc is-live=true samplesperbuffer=160 ! \
     audio/x-raw,format=S16LE,rate=8000,channels=1 ! mulawenc",
    "audio/x-mulaw",
);
pub const FLOATS: Stream = stream(
    "sound in floats, 10 ms",
    "audiotestsrc is-live=true samplesperbuffer=480 ! \
     audio/x-raw,format=F32LE,layout=interleaved,rate=48000,channels=2",
    "audio/x-raw,format=F32LE",
);

pub const BIG_ENDIAN: Stream = stream(
    "sound in big-endian, 10 ms",
    "audiotestsrc is-live=true samplesperbuffer=480 ! \
     audio/x-raw,format=S16BE,layout=interleaved,rate=48000,channels=2",
    "audio/x-raw,format=S16BE",
);

pub const MATROSKA: Stream = stream(
    "Matroska of raw pictures",
    pictures!(30 "matroskamux streamable=true"),
    "video/x-matroska",
);
pub const MATROSKA_H264: Stream = stream(
    "Matroska of H.264",
    pictures!(30 "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=150 ! \
                  h264parse ! matroskamux streamable=true"),
    "video/x-matroska",
);
pub const WEBM: Stream = stream(
    "WebM of VP8",
    pictures!(30 "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=150 target-bitrate=2000000 ! \
                  webmmux streamable=true"),
    "video/webm",
);
pub const OGG: Stream = stream(
    "Ogg of Theora",
    pictures!(30 "theoraenc speed-level=2 keyframe-force=128 ! oggmux max-delay=20000000 \
                  max-page-delay=20000000"),
    "video/ogg",
);
pub const OGG_VORBIS: Stream = stream(
    "Ogg of Vorbis",
    sound!(480 "audioconvert ! vorbisenc ! oggmux max-delay=20000000 max-page-delay=20000000"),
    "audio/ogg",
);
pub const OGG_OPUS: Stream = stream(
    "Ogg of Opus",
    sound!(480 "opusenc ! oggmux max-delay=20000000 max-page-delay=20000000"),
    "audio/ogg",
);
pub const FLV: Stream = stream(
    "FLV of H.264",
    pictures!(30 "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=150 ! \
                  h264parse ! flvmux streamable=true"),
    "video/x-flv",
);
pub const MPEG_TS: Stream = stream(
    "MPEG-TS of H.264",
    pictures!(30 "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=150 ! \
                  h264parse ! mpegtsmux"),
    "video/mpegts",
);
pub const FRAGMENTS: Stream = stream(
    "MP4 of H.264, in fragments",
    pictures!(30 "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=150 ! \
                  h264parse ! mp4mux streamable=true fragment-duration=100"),
    "video/quicktime",
);

pub const RTP_H264: Stream = stream(
    "RTP of H.264",
    pictures!(30 "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=150 ! \
                  rtph264pay config-interval=1"),
    "application/x-rtp",
);
pub const RTP_RAW: Stream = stream(
    "RTP of raw pictures",
    pictures!(30 "rtpvrawpay"),
    "application/x-rtp",
);
pub const RTP_OPUS: Stream = stream(
    "RTP of Opus",
    sound!(480 "opusenc ! rtpopuspay"),
    "application/x-rtp",
);
