//! Metas across processes: between GStreamer's and those of [`xmem_media::meta`], one file a family.
//!
//! Each is a record in the frame's extra bytes. A kind that is not known here is skipped.

use std::sync::LazyLock;

use gst::meta::MetaAPI;
use gst_video::VideoInfo;
use xmem_media::meta::kind;
use xmem_media::video::RowCopy;
use xmem_media::{Field, VideoLayout};

use crate::memory::record;
use crate::values::{Decoder, Encoder, Rules, Told};

mod affine;
#[cfg(feature = "v1_26")]
mod analytics;
mod ancillary;
mod audio;
mod carrier;
mod codec_alpha;
mod core;
mod custom;
mod memories;
mod overlay;
mod pixels;
mod quark;
mod region;
#[cfg(feature = "v1_24")]
mod registered;
#[cfg(feature = "v1_26")]
mod tensors;
mod time_code;
mod unfit;
mod video;

use carrier::Carrier;
pub(crate) use memories::{read_memories, write_memories};
use unfit::{NotRead, Result};
pub(crate) use unfit::{Unfit, UnfitKind};
use video::Planes;
pub(crate) use video::{add_layout, aligned, check_layout, read_layout, said_layout};

/// The maximum number of metas of a kind on a frame, for kinds that a frame can have several of,
/// such as regions of interest. The sink leaves out more, and the source ignores more.
pub(crate) const MAX_OF_A_KIND: u32 = 4096;

/// The maximum size of a frame's metas in bytes: what the protocol allows, less the room for the sizes
/// of its memories.
const MAX_BYTES: usize = (1 << 26) - 4096;

type Meta<'a> = gst::MetaRef<'a, gst::Meta>;

/// What the frame has to be like, according to its metas.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Written {
    /// The size in bytes.
    pub(crate) size: usize,
    /// The layout of the planes of raw video, if a meta gives it.
    pub(crate) layout: Option<VideoLayout>,
    /// The frame has these rows of the picture, in the layout of the caps, instead of the buffer's bytes.
    pub(crate) rows: Option<Vec<RowCopy>>,
    pub(crate) left_behind: Vec<LeftBehind>,
}

/// A meta that a sink did not publish, and why.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LeftBehind {
    /// The name of the meta.
    pub(crate) meta: String,
    pub(crate) why: Unfit,
    /// Nothing is lost without it, because the picture is copied to the layout of its caps.
    pub(crate) is_copied: bool,
}

impl LeftBehind {
    /// Notes why the video meta is not published.
    fn video(why: Unfit, is_copied: bool) -> LeftBehind {
        LeftBehind {
            meta: "GstVideoMeta".into(),
            why,
            is_copied,
        }
    }
}

/// Why a source can't push a frame with its metas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Refused {
    /// They break the protocol.
    Broken,
    /// The meta of this name does not fit the frame.
    Unfit(&'static str, Unfit),
}

/// A kind of metas that cross.
struct Kind {
    /// The number of the kind in records. Part of the protocol.
    number: u32,
    name: &'static str,
    api: glib::Type,
    /// The maximum number on a frame.
    most: u32,
    /// Adds the meta to the answer to an ALLOCATION query.
    offer: Offer,
    /// Writes the body. A source can read each body that was written.
    write: Write,
    read: Read,
}

type Offer = Option<fn(&mut gst::query::Allocation)>;

/// Checks a meta and writes its body.
#[derive(Clone, Copy)]
enum Write {
    /// `None` where it can't be what a reader takes; the text says what that has to be.
    Any(
        &'static str,
        for<'a> fn(&Meta<'a>, &mut Encoder<'_>) -> Option<()>,
    ),
    /// It gives a place in the frame.
    Checked(
        for<'a> fn(
            &Meta<'a>,
            &mut Encoder<'_>,
            &Carrier<'_>,
            Option<&VideoLayout>,
        ) -> std::result::Result<(), Unfit>,
    ),
    /// It is handled before the others.
    Layout,
}

/// Reads a body and attaches the meta.
#[derive(Clone, Copy)]
enum Read {
    Any(fn(&mut gst::BufferRef, &mut Decoder<'_>, Rules<'_>) -> Result),
    /// For raw video only: it gives a place in the frame.
    RawVideo(fn(&mut gst::BufferRef, &mut Decoder<'_>, &VideoInfo) -> Result),
}

/// All kinds that cross, the most frequent first: the sink searches it for each meta of a frame.
static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    macro_rules! write {
        ($api:ty: layout) => {
            Write::Layout
        };
        ($api:ty: checked $write:path) => {
            Write::Checked(|meta, body, carrier, layout| {
                let other = Unfit::Value("it is another meta than it says");
                let meta = meta.downcast_ref::<$api>().ok_or(other)?;
                let value = $write(meta, carrier, layout)?;
                value.encode(body).ok_or(Unfit::TooLong)
            })
        };
        ($api:ty: $write:path, $needs:literal) => {
            Write::Any($needs, |meta, body| {
                $write(meta.downcast_ref::<$api>()?)?.encode(body)
            })
        };
    }
    macro_rules! any {
        ($read:path) => {
            Read::Any(|buffer, body, rules| $read(buffer, Field::decode(body)?, rules))
        };
    }
    macro_rules! raw_video {
        ($read:path) => {
            Read::RawVideo(|buffer, body, info| $read(buffer, &Field::decode(body)?, info))
        };
    }
    macro_rules! kinds {
        ($(
            $(#[$if:meta])?
            $number:ident: $api:ident, $most:expr, $offer:ident, $read:expr, [$($write:tt)*];
        )*) => {
            vec![$($(#[$if])? Kind {
                number: kind::$number,
                name: concat!("Gst", stringify!($api)),
                api: <$api>::meta_api(),
                most: $most,
                offer: $offer(|query| query.add_allocation_meta::<$api>(None)),
                write: write!($api: $($write)*),
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

    use audio::AudioDownmixMeta;
    let many = MAX_OF_A_KIND;
    kinds! {
        VIDEO: VideoMeta, 1, asked, raw_video!(video::read), [layout];
        VIDEO_CROP: VideoCropMeta, 1, asked, raw_video!(video::read_crop),
            [checked video::write_crop];
        REGION: VideoRegionOfInterestMeta, many, asked, any!(region::read),
            [region::write, "its rectangle has no end below 2^32, or its type is no UTF-8"];
        AFFINE: VideoAffineTransformationMeta, 1, unasked, any!(affine::read),
            [affine::write, "it has no matrix"];
        TIME_CODE: VideoTimeCodeMeta, many, asked, any!(time_code::read),
            [time_code::write, "it is no valid time code"];
        OVERLAY: VideoOverlayCompositionMeta, many, unasked, any!(overlay::read),
            [overlay::write, "it has too many rectangles, or one that is too large, too far away or \
                              without its pixels"];
        CAPTION: VideoCaptionMeta, many, asked, any!(ancillary::read_caption),
            [ancillary::write_caption, "it has no data, or a type that is not known"];
        AFD: VideoAFDMeta, many, asked, any!(ancillary::read_afd),
            [ancillary::write_afd, "its field, specification or format is reserved or not known"];
        BAR: VideoBarMeta, many, asked, any!(ancillary::read_bar),
            [ancillary::write_bar, "its field is neither 0 nor 1"];
        SEI: VideoSeiUserDataUnregisteredMeta, many, asked, any!(ancillary::read_sei),
            [ancillary::write_sei, "it has no data"];
        CODEC_ALPHA: VideoCodecAlphaMeta, 1, unasked, any!(codec_alpha::read),
            [codec_alpha::write, "its buffer can't be read"];
        #[cfg(feature = "v1_24")]
        ANCILLARY: AncillaryMeta, many, asked, any!(ancillary::read_ancillary),
            [ancillary::write_ancillary, "its field or its data count is not known"];
        AUDIO: AudioMeta, 1, asked, any!(audio::read), [checked audio::write];
        AUDIO_LEVEL: AudioLevelMeta, 1, asked, any!(audio::read_level),
            [audio::write_level, "it has no level"];
        AUDIO_CLIPPING: AudioClippingMeta, many, asked, any!(audio::read_clipping),
            [audio::write_clipping, "it counts neither samples, bytes nor time"];
        AUDIO_DOWNMIX: AudioDownmixMeta, many, asked, any!(audio::read_downmix),
            [audio::write_downmix, "it has channels without a position, or more than 64 of them"];
        REFERENCE_TIMESTAMP: ReferenceTimestampMeta, many, asked, any!(core::read_timestamp),
            [core::write_timestamp, "it has no time, or caps that cannot cross"];
        PROTECTION: ProtectionMeta, many, asked, any!(core::read_protection),
            [core::write_protection, "its structure cannot cross"];
        #[cfg(feature = "v1_26")]
        ANALYTICS: AnalyticsRelationMeta, 1, asked, any!(analytics::read),
            [analytics::write, "it has more than 1024 things"];
        #[cfg(feature = "v1_26")]
        TENSORS: TensorMeta, 1, asked, any!(tensors::read),
            [tensors::write, "it has too many tensors, or one whose size is not that of its data"];
    }
});

/// Offered in ALLOCATION, so that upstream attaches it.
fn asked(offer: fn(&mut gst::query::Allocation)) -> Offer {
    Some(offer)
}

/// Not offered in ALLOCATION: overlay elements would attach the meta instead of blending, and a client
/// might ignore it. Forwarded when present.
fn unasked(_: fn(&mut gst::query::Allocation)) -> Offer {
    None
}

/// The name for metas that have no kind of their own.
const OTHERS: &str = "metas of applications";

/// The index of the video meta in [`KINDS`].
const VIDEO_INDEX: usize = 0;

/// The number of metas of each kind in [`KINDS`], and of all others together.
struct Counts([u32; 32]);

impl Counts {
    fn new() -> Counts {
        Counts([0; 32])
    }

    /// Returns whether a frame may have one more of a kind.
    fn take(&mut self, index: usize, most: u32) -> bool {
        let count = &mut self.0[index];
        *count = count.saturating_add(1);
        *count <= most
    }
}

/// Writes the metas that cross with a buffer, and returns what the frame has to be like for them. A
/// source attaches all that is written ([`attach`]). `extra` is cleared first; `info` is the info of the
/// caps, for raw video. A dmabuf can't be copied: only a device may know its layout.
pub(crate) fn serialize(
    buffer: &gst::BufferRef,
    info: Option<&VideoInfo>,
    can_be_copied: bool,
    extra: &mut Vec<u8>,
) -> Written {
    let mut carrier = Carrier {
        size: buffer.size(),
        info,
        can_be_copied,
    };
    let mut left_behind = Vec::new();
    let (mut layout, mut rows) = (None, None);
    match video::planes(buffer, &carrier) {
        Planes::AsTheyLie(said) => layout = said,
        Planes::ToCopy { usual, copies, why } => {
            carrier.size = info.map_or(carrier.size, VideoInfo::size);
            (layout, rows) = (Some(usual), Some(copies));
            left_behind.push(LeftBehind::video(why, true));
        }
        Planes::Unknown(why) => left_behind.push(LeftBehind::video(why, false)),
    }
    Written {
        rows,
        ..write_all(buffer, &carrier, layout, left_behind, extra)
    }
}

/// As [`serialize`], for raw video that lies in a frame of `size` bytes as `layout` says, whatever the
/// buffer's own video meta says.
pub(crate) fn serialize_placed(
    buffer: &gst::BufferRef,
    info: &VideoInfo,
    layout: VideoLayout,
    size: usize,
    extra: &mut Vec<u8>,
) -> Written {
    let carrier = Carrier {
        size,
        info: Some(info),
        can_be_copied: false,
    };
    write_all(buffer, &carrier, Some(layout), Vec::new(), extra)
}

/// Writes the layout and all other metas.
fn write_all(
    buffer: &gst::BufferRef,
    carrier: &Carrier<'_>,
    layout: Option<VideoLayout>,
    mut left_behind: Vec<LeftBehind>,
    extra: &mut Vec<u8>,
) -> Written {
    extra.clear();
    let mut writer = Encoder::new(extra);
    let mut counts = Counts::new();
    // A reader checks the crop against it.
    if let Some(layout) = &layout {
        writer.record(kind::VIDEO, |body| layout.encode(body));
    }
    for meta in buffer.iter_meta::<gst::Meta>() {
        let start = writer.len();
        let layout = layout.as_ref();
        let written = write(&meta, &mut writer, carrier, layout, &mut counts);
        let written = written.and_then(|()| {
            if writer.len() > MAX_BYTES {
                Err(Unfit::TooLong)
            } else {
                Ok(())
            }
        });
        if let Err(why) = written {
            writer.truncate(start);
            let meta = meta.type_().name().to_owned();
            gst::debug!(crate::log::CAT, "A {meta} stays behind: {why}");
            left_behind.push(LeftBehind {
                meta,
                why,
                is_copied: false,
            });
        }
    }
    Written {
        size: carrier.size,
        layout,
        rows: None,
        left_behind,
    }
}

fn write(
    meta: &Meta<'_>,
    writer: &mut Encoder<'_>,
    carrier: &Carrier<'_>,
    layout: Option<&VideoLayout>,
    counts: &mut Counts,
) -> std::result::Result<(), Unfit> {
    let api = meta.api();
    let kinds = &**KINDS;
    let Some(index) = kinds.iter().position(|kind| kind.api == api) else {
        // Every source makes this one itself.
        if record::is_record_api(api) {
            return Ok(());
        }
        let most = MAX_OF_A_KIND;
        if !counts.take(kinds.len(), most) {
            return Err(Unfit::TooMany { most });
        }
        if write_other(meta, writer).is_none() {
            // It says something of this process alone: of a parent buffer, for example.
            gst::debug!(crate::log::CAT, "A {} stays behind", meta.type_());
        }
        return Ok(());
    };
    let kind = &kinds[index];
    if let (Read::RawVideo(_), None) = (kind.read, carrier.info) {
        // It counts for raw video only.
        return Ok(());
    }
    let most = kind.most;
    if !counts.take(index, most) {
        return Err(Unfit::TooMany { most });
    }
    match kind.write {
        Write::Layout => Ok(()),
        Write::Any(needs, write) => {
            let written = writer.record(kind.number, |body| write(meta, body));
            written.ok_or(Unfit::Value(needs))
        }
        Write::Checked(write) => {
            let mut checked = Ok(());
            let written = writer.record(kind.number, |body| {
                checked = write(meta, body, carrier, layout);
                checked.ok()
            });
            checked.and(written.ok_or(Unfit::TooLong))
        }
    }
}

fn write_other(meta: &Meta<'_>, writer: &mut Encoder<'_>) -> Option<()> {
    if let Some(meta) = meta.try_as_custom_meta() {
        return writer.record(kind::CUSTOM, |body| custom::write(meta)?.encode(body));
    }
    #[cfg(feature = "v1_24")]
    return writer.record(kind::REGISTERED, |body| {
        registered::write(meta)?.encode(body)
    });
    #[cfg(not(feature = "v1_24"))]
    None
}

/// Attaches the metas in `extra`, and a video meta derived from the caps if there is none.
///
/// # Errors
/// The bytes come from another process. If they break the protocol, or a meta does not fit the frame,
/// the buffer has some of the metas and must not be pushed.
pub(crate) fn attach<'a>(
    buffer: &mut gst::BufferRef,
    extra: impl Into<Told<'a>>,
    info: Option<&VideoInfo>,
) -> std::result::Result<(), Refused> {
    attach_others(buffer, extra.into(), info, Counts::new())
}

/// As [`attach`], for raw video that lies in the buffer as `layout` says. A layout in `extra` is ignored.
///
/// # Errors
/// As [`attach`].
pub(crate) fn attach_placed<'a>(
    buffer: &mut gst::BufferRef,
    extra: impl Into<Told<'a>>,
    info: &VideoInfo,
    layout: &VideoLayout,
) -> std::result::Result<(), Refused> {
    let name = KINDS[VIDEO_INDEX].name;
    let unfit = |why| Refused::Unfit(name, why);
    match video::read(buffer, layout, info) {
        Ok(()) => {}
        Err(NotRead::Unfit(why)) => return Err(unfit(why)),
        Err(_) => return Err(unfit(Unfit::Value("GStreamer has no such format"))),
    }
    let mut counts = Counts::new();
    counts.take(VIDEO_INDEX, 1);
    attach_others(buffer, extra.into(), Some(info), counts)
}

/// Attaches the metas in `extra` to a buffer that has `counts` of them.
fn attach_others(
    buffer: &mut gst::BufferRef,
    extra: Told<'_>,
    info: Option<&VideoInfo>,
    mut counts: Counts,
) -> std::result::Result<(), Refused> {
    let Told { bytes, names } = extra;
    let rules = Rules::lenient(names);
    let mut reader = Decoder::new(bytes);
    while !reader.is_empty() {
        let mut number = 0;
        let read = reader.record(|body, kind| {
            number = kind;
            read(buffer, body, number, info, rules, &mut counts)
        });
        match read {
            Ok(()) | Err(NotRead::Unknown) => {}
            Err(NotRead::Broken) => return Err(Refused::Broken),
            Err(NotRead::Unfit(why)) => {
                let kind = KINDS.iter().find(|kind| kind.number == number);
                return Err(Refused::Unfit(kind.map_or(OTHERS, |kind| kind.name), why));
            }
        }
    }
    if let Some(info) = info
        && counts.0[VIDEO_INDEX] == 0
        && buffer.size() > 0
        && info.n_planes() > 0
    {
        // A buffer too small for its caps gets none, as from any other source.
        let flags = gst_video::VideoFrameFlags::empty();
        let _ = gst_video::VideoMeta::add_from_info(buffer, flags, info);
    }
    Ok(())
}

fn read(
    buffer: &mut gst::BufferRef,
    body: &mut Decoder<'_>,
    number: u32,
    info: Option<&VideoInfo>,
    rules: Rules<'_>,
    counts: &mut Counts,
) -> Result {
    let kinds = &**KINDS;
    if let Some(index) = kinds.iter().position(|kind| kind.number == number) {
        let kind = &kinds[index];
        match (kind.read, info) {
            (Read::RawVideo(_), None) => Ok(()),
            _ if !counts.take(index, kind.most) => Ok(()),
            (Read::RawVideo(read), Some(info)) => read(buffer, body, info),
            (Read::Any(read), _) => read(buffer, body, rules),
        }
    } else if !counts.take(kinds.len(), MAX_OF_A_KIND) {
        Ok(())
    } else {
        match number {
            kind::CUSTOM => custom::read(buffer, Field::decode(body)?, rules),
            #[cfg(feature = "v1_24")]
            kind::REGISTERED => registered::read(buffer, &Field::decode(body)?, |api| {
                kinds.iter().any(|kind| kind.api == api)
            }),
            _ => Err(NotRead::Unknown),
        }
    }
}

/// Offers metas to upstream in an ALLOCATION query, so that it attaches them.
pub(crate) fn propose(query: &mut gst::query::Allocation) {
    for offer in KINDS.iter().filter_map(|kind| kind.offer) {
        offer(query);
    }
}

#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;
