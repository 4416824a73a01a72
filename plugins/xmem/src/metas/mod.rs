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
mod pixels;
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

/// A kind of metas that cross.
struct Kind {
    /// Of the record. Part of the protocol.
    number: u32,
    api: glib::Type,
    /// Most of them on a frame.
    most: u32,
    /// Puts it into the answer to an allocation query.
    offer: Offer,
    /// Writes its body; `None` where a reader would not take it.
    write: for<'a> fn(&Meta<'a>, &mut Writer<'_>) -> Option<()>,
    read: Read,
}

type Offer = Option<fn(&mut gst::query::Allocation)>;

/// Reads a body, and attaches what it says.
#[derive(Clone, Copy)]
enum Read {
    Any(fn(&mut gst::BufferRef, &mut Reader<'_>) -> Result),
    /// Of raw video alone: it says where in the frame something is.
    RawVideo(fn(&mut gst::BufferRef, &mut Reader<'_>, &VideoInfo) -> Result),
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
    macro_rules! kinds {
        ($(
            $(#[$if:meta])?
            $number:ident: $api:ty, $most:expr, $offer:ident, $write:path, $read:expr;
        )*) => {
            vec![$($(#[$if])? Kind {
                number: $number,
                api: <$api>::meta_api(),
                most: $most,
                offer: $offer(|query| query.add_allocation_meta::<$api>(None)),
                write: |meta, body| $write(meta.downcast_ref::<$api>()?, body),
                read: $read,
            }),*]
        };
    }
    use gst::meta::{ProtectionMeta, ReferenceTimestampMeta};
    #[cfg(feature = "v1_26")]
    use gst_analytics::{AnalyticsRelationMeta, TensorMeta};
    use gst_audio::{AudioClippingMeta, AudioLevelMeta, AudioMeta};
    use gst_video::VideoTimeCodeMeta;
    use gst_video::video_meta::*;

    use Read::{Any, RawVideo};
    use audio::AudioDownmixMeta;
    let many = MAX_OF_A_KIND;
    kinds! {
        VIDEO: VideoMeta, 1, asked, video::write, RawVideo(video::read);
        VIDEO_CROP: VideoCropMeta, 1, asked, video::write_crop, RawVideo(video::read_crop);
        REGION: VideoRegionOfInterestMeta, many, asked, region::write, Any(region::read);
        AFFINE: VideoAffineTransformationMeta, 1, unasked, affine::write, Any(affine::read);
        TIME_CODE: VideoTimeCodeMeta, many, asked, time_code::write, Any(time_code::read);
        OVERLAY: VideoOverlayCompositionMeta, many, unasked, overlay::write, Any(overlay::read);
        CAPTION: VideoCaptionMeta, many, asked, ancillary::write_caption, Any(ancillary::read_caption);
        AFD: VideoAFDMeta, many, asked, ancillary::write_afd, Any(ancillary::read_afd);
        BAR: VideoBarMeta, many, asked, ancillary::write_bar, Any(ancillary::read_bar);
        SEI: VideoSeiUserDataUnregisteredMeta, many, asked, ancillary::write_sei, Any(ancillary::read_sei);
        CODEC_ALPHA: VideoCodecAlphaMeta, 1, unasked, codec_alpha::write, Any(codec_alpha::read);
        #[cfg(feature = "v1_24")]
        ANCILLARY: AncillaryMeta, many, asked, ancillary::write_ancillary, Any(ancillary::read_ancillary);
        AUDIO: AudioMeta, 1, asked, audio::write, Any(audio::read);
        AUDIO_LEVEL: AudioLevelMeta, 1, asked, audio::write_level, Any(audio::read_level);
        AUDIO_CLIPPING: AudioClippingMeta, many, asked, audio::write_clipping, Any(audio::read_clipping);
        AUDIO_DOWNMIX: AudioDownmixMeta, many, asked, audio::write_downmix, Any(audio::read_downmix);
        REFERENCE_TIMESTAMP: ReferenceTimestampMeta, many, asked, core::write_timestamp, Any(core::read_timestamp);
        PROTECTION: ProtectionMeta, many, asked, core::write_protection, Any(core::read_protection);
        #[cfg(feature = "v1_26")]
        ANALYTICS: AnalyticsRelationMeta, 1, asked, analytics::write, Any(analytics::read);
        #[cfg(feature = "v1_26")]
        TENSORS: TensorMeta, 1, asked, tensors::write, Any(tensors::read);
    }
});

/// Of a kind that upstream is asked to attach.
fn asked(offer: fn(&mut gst::query::Allocation)) -> Offer {
    Some(offer)
}

/// Of a kind that a frame is not whole without. Upstream does without them where it can, and draws a text
/// into the picture, because nobody knows what clients will come, and whether they draw it.
fn unasked(_: fn(&mut gst::query::Allocation)) -> Offer {
    None
}

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
                let fits = kind.number != AUDIO || audio::fits(&meta, buffer.size());
                (fits && counts.take(index, kind.most))
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
        && info.n_planes() > 0
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
        match (kind.read, info) {
            (Read::RawVideo(_), None) => Ok(()),
            _ if !counts.take(index, kind.most) => Ok(()),
            (Read::RawVideo(read), Some(info)) => read(buffer, body, info),
            (Read::Any(read), _) => read(buffer, body),
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

/// Tells upstream which metas cross, so that it attaches them: those that it is asked for.
pub(crate) fn propose(query: &mut gst::query::Allocation) {
    for offer in KINDS.iter().filter_map(|kind| kind.offer) {
        offer(query);
    }
}

#[cfg(test)]
mod tests;
