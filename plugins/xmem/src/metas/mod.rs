//! Metas across processes: to the frame's extra bytes and back.
//!
//! Each meta is a record: kind, length, and a body of little-endian numbers and values (see
//! [`values`](crate::values)). A kind that is not known here is skipped. What is in a body stands in
//! the protocol, byte by byte, and in the code that writes it, one file a family.

use std::sync::LazyLock;

use gst::glib;
use gst::meta::MetaAPI;
use gst_video::VideoInfo;

use crate::record;
use crate::values::{Reader, Unreadable, Writer};

mod affine;
#[cfg(feature = "v1_26")]
mod analytics;
mod ancillary;
mod audio;
mod codec_alpha;
mod core;
mod custom;
mod memories;
mod overlay;
mod region;
#[cfg(feature = "v1_24")]
mod registered;
#[cfg(feature = "v1_26")]
mod tensors;
mod time_code;
mod video;

pub(crate) use memories::{read_memories, write_memories};

/// Most metas of a kind on a frame, but for those of which there can only be one: regions of
/// interest, for example. More are left out by the sink, and not looked at by the source.
pub(crate) const MAX_OF_A_KIND: u32 = 4096;

type Meta<'a> = gst::MetaRef<'a, gst::Meta>;
type Result<T = ()> = std::result::Result<T, Unreadable>;

/// Which streams a meta means something for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Raw video alone: it says where in the frame something is.
    RawVideo,
    Any,
}

/// A kind of metas that cross.
struct Kind {
    /// Of the record. Part of the protocol.
    number: u32,
    api: glib::Type,
    /// Most of them on a frame.
    most: u32,
    whose: Whose,
    /// Puts it into the answer to an allocation query.
    offer: Option<fn(&mut gst::query::Allocation)>,
    write: for<'a> fn(&Meta<'a>, &mut Writer<'_>) -> Option<()>,
    read: fn(&mut gst::BufferRef, &mut Reader<'_>, Option<&VideoInfo>) -> Result,
}

const VIDEO: u32 = 1;
const VIDEO_CROP: u32 = 2;
const REGION: u32 = 3;
const AFFINE: u32 = 4;
const TIME_CODE: u32 = 5;
const OVERLAY: u32 = 6;
const CAPTION: u32 = 7;
const AFD: u32 = 8;
const BAR: u32 = 9;
const SEI: u32 = 10;
const CODEC_ALPHA: u32 = 11;
#[cfg(feature = "v1_24")]
const ANCILLARY: u32 = 12;
const AUDIO: u32 = 13;
const AUDIO_LEVEL: u32 = 14;
const AUDIO_CLIPPING: u32 = 15;
const AUDIO_DOWNMIX: u32 = 16;
const REFERENCE_TIMESTAMP: u32 = 17;
const PROTECTION: u32 = 18;
/// Of no API of its own: each custom meta has another.
const CUSTOM: u32 = 19;
/// No meta.
const MEMORIES: u32 = 100;
/// Of no API of its own: what applications have registered with functions to write and read it.
#[cfg(feature = "v1_24")]
const REGISTERED: u32 = 20;
#[cfg(feature = "v1_26")]
const ANALYTICS: u32 = 21;
#[cfg(feature = "v1_26")]
const TENSORS: u32 = 22;

/// What is known here, the most frequent first: each frame looks here for each of its metas.
static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    macro_rules! kind {
        ($number:expr, $api:ty, $most:expr, $whose:ident, $write:path, $read:path) => {
            kind!(
                $number,
                $api,
                $most,
                $whose,
                $write,
                $read,
                Some(|query| {
                    query.add_allocation_meta::<$api>(None);
                })
            )
        };
        ($number:expr, $api:ty, $most:expr, $whose:ident, $write:path, $read:path, $offer:expr) => {
            Kind {
                number: $number,
                api: <$api>::meta_api(),
                most: $most,
                whose: Whose::$whose,
                offer: $offer,
                write: |meta, writer| $write(meta.downcast_ref::<$api>()?, writer),
                read: $read,
            }
        };
    }
    let many = MAX_OF_A_KIND;
    use gst::meta::{ProtectionMeta, ReferenceTimestampMeta};
    use gst_audio::{AudioClippingMeta, AudioLevelMeta, AudioMeta};
    use gst_video::VideoTimeCodeMeta;
    use gst_video::video_meta::*;
    vec![
        kind!(VIDEO, VideoMeta, 1, RawVideo, video::write, video::read),
        kind!(
            VIDEO_CROP,
            VideoCropMeta,
            1,
            RawVideo,
            video::write_crop,
            video::read_crop
        ),
        kind!(
            REGION,
            VideoRegionOfInterestMeta,
            many,
            Any,
            region::write,
            region::read
        ),
        kind!(
            AFFINE,
            VideoAffineTransformationMeta,
            1,
            Any,
            affine::write,
            affine::read,
            None
        ),
        kind!(
            TIME_CODE,
            VideoTimeCodeMeta,
            many,
            Any,
            time_code::write,
            time_code::read
        ),
        kind!(
            OVERLAY,
            VideoOverlayCompositionMeta,
            many,
            Any,
            overlay::write,
            overlay::read,
            None
        ),
        kind!(
            CAPTION,
            VideoCaptionMeta,
            many,
            Any,
            ancillary::write_caption,
            ancillary::read_caption
        ),
        kind!(
            AFD,
            VideoAFDMeta,
            many,
            Any,
            ancillary::write_afd,
            ancillary::read_afd
        ),
        kind!(
            BAR,
            VideoBarMeta,
            many,
            Any,
            ancillary::write_bar,
            ancillary::read_bar
        ),
        kind!(
            SEI,
            VideoSeiUserDataUnregisteredMeta,
            many,
            Any,
            ancillary::write_sei,
            ancillary::read_sei
        ),
        kind!(
            CODEC_ALPHA,
            VideoCodecAlphaMeta,
            1,
            Any,
            codec_alpha::write,
            codec_alpha::read,
            None
        ),
        #[cfg(feature = "v1_24")]
        kind!(
            ANCILLARY,
            AncillaryMeta,
            many,
            Any,
            ancillary::write_ancillary,
            ancillary::read_ancillary
        ),
        kind!(AUDIO, AudioMeta, 1, Any, audio::write, audio::read),
        kind!(
            AUDIO_LEVEL,
            AudioLevelMeta,
            1,
            Any,
            audio::write_level,
            audio::read_level
        ),
        kind!(
            AUDIO_CLIPPING,
            AudioClippingMeta,
            many,
            Any,
            audio::write_clipping,
            audio::read_clipping
        ),
        kind!(
            AUDIO_DOWNMIX,
            audio::AudioDownmixMeta,
            many,
            Any,
            audio::write_downmix,
            audio::read_downmix
        ),
        kind!(
            REFERENCE_TIMESTAMP,
            ReferenceTimestampMeta,
            many,
            Any,
            core::write_timestamp,
            core::read_timestamp
        ),
        kind!(
            PROTECTION,
            ProtectionMeta,
            many,
            Any,
            core::write_protection,
            core::read_protection
        ),
        #[cfg(feature = "v1_26")]
        kind!(
            ANALYTICS,
            gst_analytics::AnalyticsRelationMeta,
            1,
            Any,
            analytics::write,
            analytics::read
        ),
        #[cfg(feature = "v1_26")]
        kind!(
            TENSORS,
            gst_analytics::TensorMeta,
            1,
            Any,
            tensors::write,
            tensors::read
        ),
    ]
});

/// Where in [`KINDS`] the video meta stands.
const VIDEO_INDEX: usize = 0;

/// How many metas of each kind there were, of those in [`KINDS`], and of all others together.
struct Counts([u32; 32]);

impl Counts {
    fn new() -> Counts {
        Counts([0; 32])
    }

    /// Whether there may be one more of a kind.
    fn take(&mut self, index: usize, most: u32) -> bool {
        let count = &mut self.0[index];
        *count = count.saturating_add(1);
        *count <= most
    }
}

/// Writes the buffer's metas. `extra` is cleared first.
pub(crate) fn serialize(buffer: &gst::BufferRef, extra: &mut Vec<u8>) {
    extra.clear();
    let mut writer = Writer::new(extra);
    let mut counts = Counts::new();
    let kinds = &**KINDS;
    for meta in buffer.iter_meta::<gst::Meta>() {
        let api = meta.api();
        let written = match kinds.iter().position(|kind| kind.api == api) {
            Some(index) => {
                let kind = &kinds[index];
                counts
                    .take(index, kind.most)
                    .then_some(())
                    .and_then(|()| writer.record(kind.number, |body| (kind.write)(&meta, body)))
            }
            // Every source makes this one itself.
            None if record::is_record_api(api) => continue,
            None => counts
                .take(kinds.len(), MAX_OF_A_KIND)
                .then_some(())
                .and_then(|()| write_other(&meta, &mut writer)),
        };
        if written.is_none() {
            gst::debug!(crate::CAT, "A {} stays behind", meta.type_());
        }
    }
}

fn write_other(meta: &Meta<'_>, writer: &mut Writer<'_>) -> Option<()> {
    if let Some(meta) = meta.try_as_custom_meta() {
        return writer.record(CUSTOM, |body| custom::write(meta, body));
    }
    #[cfg(feature = "v1_24")]
    return writer.record(REGISTERED, |body| registered::write(meta, body));
    #[cfg(not(feature = "v1_24"))]
    None
}

/// Attaches the metas in `extra`, and a video meta derived from the caps where there is none.
///
/// The bytes come from another process: what does not parse, or does not fit the buffer, is left
/// out, and `false` returned.
pub(crate) fn attach(buffer: &mut gst::BufferRef, extra: &[u8], info: Option<&VideoInfo>) -> bool {
    let mut whole = true;
    let mut counts = Counts::new();
    if !extra.is_empty() {
        let mut reader = Reader::new(extra);
        while !reader.is_empty() && whole {
            let read = reader.record(|body, number| read(buffer, body, number, info, &mut counts));
            whole = read != Err(Unreadable::Broken);
        }
    }
    let has_video =
        counts.0[VIDEO_INDEX] > 0 && (whole || buffer.meta::<gst_video::VideoMeta>().is_some());
    if let Some(info) = info
        && !has_video
        && buffer.size() > 0
    {
        // A buffer too small for its caps gets none, as from any other source.
        let flags = gst_video::VideoFrameFlags::empty();
        let _ = gst_video::VideoMeta::add_from_info(buffer, flags, info);
    }
    whole
}

fn read(
    buffer: &mut gst::BufferRef,
    body: &mut Reader<'_>,
    number: u32,
    info: Option<&VideoInfo>,
    counts: &mut Counts,
) -> Result {
    let kinds = &**KINDS;
    if let Some(index) = kinds.iter().position(|kind| kind.number == number) {
        let kind = &kinds[index];
        match kind.whose == Whose::RawVideo && info.is_none() || !counts.take(index, kind.most) {
            true => Ok(()),
            false => (kind.read)(buffer, body, info),
        }
    } else if !counts.take(kinds.len(), MAX_OF_A_KIND) {
        Ok(())
    } else {
        match number {
            CUSTOM => custom::read(buffer, body),
            #[cfg(feature = "v1_24")]
            REGISTERED => registered::read(buffer, body),
            _ => Err(Unreadable::Unknown),
        }
    }
}

/// Tells upstream which metas cross, so that it attaches them.
///
/// But for those that a frame is not whole without: overlays, transformations, the alpha channel.
/// Upstream does without them where it can, and draws a text into the picture, because nobody knows
/// what clients will come, and whether they draw it.
pub(crate) fn propose(query: &mut gst::query::Allocation) {
    for offer in KINDS.iter().filter_map(|kind| kind.offer) {
        offer(query);
    }
}

#[cfg(test)]
mod tests;
