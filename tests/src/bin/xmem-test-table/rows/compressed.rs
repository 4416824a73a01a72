//! Compressed and container streams that a client joins in the middle: the first picture or sound
//! is correct and arrives soon.

use super::{pictures, sound};
use crate::row::{Group, Look, Row};
use crate::streams::*;

const JOINS: u32 = 5;

pub fn rows() -> Vec<Row> {
    let seen = |stream: Stream, what: &str| {
        Row::new(Group::Compressed, what, &[("v", stream)], pictures(what))
            .look(Look::Pictures)
            .joins(JOINS)
    };
    let heard = |stream: Stream, what: &str| {
        Row::new(Group::Compressed, what, &[("a", stream)], sound(what))
            .look(Look::Sound)
            .joins(JOINS)
    };
    let drift = |ppm: i64, what: &str| {
        Row::new(Group::Drifting, what, &[("a", SOUND_10)], sound(what))
            .look(Look::Sound)
            .ppm(ppm)
            .seconds(8)
    };
    let mut rows = vec![
        seen(H264, "avdec_h264"),
        seen(H264, "h264parse ! avdec_h264"),
        seen(H264_AVC, "h264parse ! avdec_h264").short(),
        seen(H264_AVC, "avdec_h264"),
        seen(H264_AVC, "decodebin"),
        seen(H264_B, "h264parse ! avdec_h264"),
        seen(H264, "openh264dec"),
        seen(H265, "h265parse ! avdec_h265"),
        seen(H265_HVC1, "h265parse ! avdec_h265"),
        seen(H265_HVC1, "h265parse ! libde265dec"),
        seen(VP8, "vp8dec").short(),
        seen(VP8, "avdec_vp8"),
        seen(VP9, "vp9dec"),
        seen(VP9, "vp9parse ! avdec_vp9"),
        seen(AV1, "av1dec"),
        seen(AV1, "av1parse ! av1dec"),
        seen(AV1, "av1parse ! dav1ddec"),
        seen(THEORA, "theoradec"),
        seen(MPEG2, "mpegvideoparse ! avdec_mpeg2video"),
        seen(JPEG, "jpegdec"),
        heard(AAC, "aacparse ! avdec_aac"),
        heard(AAC_ADTS, "aacparse ! avdec_aac"),
        heard(OPUS, "opusdec"),
        heard(FLAC, "flacparse ! flacdec"),
        heard(VORBIS, "vorbisdec"),
        heard(MP3, "mpegaudioparse ! avdec_mp3"),
        heard(MULAW, "mulawdec").look(Look::Arrival),
        seen(MATROSKA, "matroskademux").short(),
        seen(MATROSKA_H264, "matroskademux ! h264parse ! avdec_h264"),
        seen(MATROSKA_H264, "decodebin"),
        seen(WEBM, "matroskademux ! vp8dec"),
        seen(OGG, "oggdemux ! theoradec").chain(),
        heard(OGG_VORBIS, "oggdemux ! vorbisdec").chain(),
        heard(OGG_OPUS, "oggdemux ! opusdec").chain(),
        seen(FLV, "flvdemux ! h264parse ! avdec_h264"),
        seen(MPEG_TS, "tsdemux ! h264parse ! avdec_h264"),
        seen(MPEG_TS, "decodebin"),
        seen(FRAGMENTS, "qtdemux ! h264parse ! avdec_h264").chain(),
        seen(FRAGMENTS, "decodebin").chain(),
    ];
    for ppm in [30, 1000, -1000] {
        rows.push(drift(ppm, "audioconvert ! avenc_aac ! avdec_aac"));
    }
    rows.push(drift(1000, "opusenc ! opusdec"));
    rows.push(drift(1000, "audioconvert ! flacenc ! flacparse ! flacdec"));
    rows
}
