//! What comes beside a picture: captions, aspect, bars, and data of whoever has encoded it.

use gst::MetaRef;
use gst::glib::translate::IntoGlib;
use gst_video::video_meta::{
    VideoAFDMeta, VideoBarMeta, VideoCaptionMeta, VideoSeiUserDataUnregisteredMeta,
};
use gst_video::{VideoAFDSpec as Spec, VideoAFDValue as Afd, VideoCaptionType};

use super::Result;
use super::unfit::{NotRead, Unfit};
use crate::values::{DecodeError, Encoder, Reader, one_of};

const CAPTIONS: [VideoCaptionType; 4] = [
    VideoCaptionType::Cea608Raw,
    VideoCaptionType::Cea608S3341a,
    VideoCaptionType::Cea708Raw,
    VideoCaptionType::Cea708Cdp,
];
const SPECS: [Spec; 3] = [Spec::DvbEtsi, Spec::AtscA53, Spec::SmpteSt20161];
/// The values of an active format that are not reserved.
const AFDS: [Afd; 11] = [
    Afd::Unavailable,
    Afd::_169TopAligned,
    Afd::_149TopAligned,
    Afd::GreaterThan169,
    Afd::_43Full169Full,
    Afd::_43Full43Pillar,
    Afd::_169Letter169Full,
    Afd::_149Letter149Pillar,
    Afd::_43Full149Center,
    Afd::_169Letter149Center,
    Afd::_169Letter43Center,
];

/// `i32` type; the data.
pub(super) fn write_caption(
    meta: &MetaRef<'_, VideoCaptionMeta>,
    body: &mut Encoder<'_>,
) -> Option<()> {
    let number = meta.caption_type().into_glib();
    one_of(&CAPTIONS, number).ok()?;
    body.i32(number);
    body.raw(meta.data());
    (!meta.data().is_empty()).then_some(())
}

/// The one of these that has this number. A later version may have more of them.
fn known<T: Copy + IntoGlib<GlibType = i32>>(all: &[T], number: i32) -> Result<T> {
    one_of(all, number).map_err(|_| NotRead::Unknown)
}

/// All that is left, which is something.
fn data<'a>(body: &mut Reader<'a>) -> Result<&'a [u8]> {
    let data = body.rest();
    match data.is_empty() {
        true => Err(Unfit::Value("it has no data").into()),
        false => Ok(data),
    }
}

pub(super) fn read_caption(buffer: &mut gst::BufferRef, body: &mut Reader<'_>) -> Result {
    let number = body.i32()?;
    let caption = known(&CAPTIONS, number)?;
    let data = data(body)?;
    VideoCaptionMeta::add(buffer, caption, data);
    Ok(())
}

/// `u32` field; `i32` specification; `i32` active format.
pub(super) fn write_afd(meta: &MetaRef<'_, VideoAFDMeta>, body: &mut Encoder<'_>) -> Option<()> {
    let (spec, afd) = (meta.spec(), meta.afd());
    if meta.field() > 1 || !is_afd(spec, afd) {
        return None;
    }
    body.u32(meta.field().into());
    body.i32(spec.into_glib());
    body.i32(afd.into_glib());
    Some(())
}

fn is_afd(spec: Spec, afd: Afd) -> bool {
    SPECS.contains(&spec)
        && AFDS.contains(&afd)
        && (spec != Spec::DvbEtsi || afd != Afd::Unavailable)
}

pub(super) fn read_afd(buffer: &mut gst::BufferRef, body: &mut Reader<'_>) -> Result {
    let field = body.bool()?.into();
    let (spec, afd) = (known(&SPECS, body.i32()?)?, known(&AFDS, body.i32()?)?);
    if !is_afd(spec, afd) {
        return Err(Unfit::Value("its specification has no such format").into());
    }
    VideoAFDMeta::add(buffer, field, spec, afd);
    Ok(())
}

/// `u32` field; `u32` 1 for a letterbox, 0 for a pillarbox; `u32` first and second bar.
pub(super) fn write_bar(meta: &MetaRef<'_, VideoBarMeta>, body: &mut Encoder<'_>) -> Option<()> {
    if meta.field() > 1 {
        return None;
    }
    body.u32(meta.field().into());
    body.u32(meta.is_letterbox().into());
    body.u32(meta.bar_data1());
    body.u32(meta.bar_data2());
    Some(())
}

pub(super) fn read_bar(buffer: &mut gst::BufferRef, body: &mut Reader<'_>) -> Result {
    let (field, is_letterbox) = (body.bool()?.into(), body.bool()?);
    let (first, second) = (body.u32()?, body.u32()?);
    VideoBarMeta::add(buffer, field, is_letterbox, first, second);
    Ok(())
}

/// 16 bytes, the UUID; the data.
pub(super) fn write_sei(
    meta: &MetaRef<'_, VideoSeiUserDataUnregisteredMeta>,
    body: &mut Encoder<'_>,
) -> Option<()> {
    body.raw(&meta.uuid());
    body.raw(meta.data());
    (!meta.data().is_empty()).then_some(())
}

pub(super) fn read_sei(buffer: &mut gst::BufferRef, body: &mut Reader<'_>) -> Result {
    let uuid = body
        .raw(16)?
        .try_into()
        .map_err(|_| DecodeError::Invalid("a UUID has 16 bytes"))?;
    let data = data(body)?;
    VideoSeiUserDataUnregisteredMeta::add(buffer, uuid, data);
    Ok(())
}

#[cfg(feature = "v1_24")]
const FIELDS: [gst_video::AncillaryMetaField; 3] = [
    gst_video::AncillaryMetaField::Progressive,
    gst_video::AncillaryMetaField::InterlacedFirst,
    gst_video::AncillaryMetaField::InterlacedSecond,
];

/// `i32` field; `u32` 1 where it is in the colour channel; `u32` line, offset, data ID, secondary
/// data ID, checksum, count of data words with its two upper bits; those words, as `u32`.
#[cfg(feature = "v1_24")]
pub(super) fn write_ancillary(
    meta: &MetaRef<'_, gst_video::video_meta::AncillaryMeta>,
    body: &mut Encoder<'_>,
) -> Option<()> {
    let field = meta.field().into_glib();
    one_of(&FIELDS, field).ok()?;
    body.i32(field);
    body.u32(meta.c_not_y_channel().into());
    for number in [
        meta.line(),
        meta.offset(),
        meta.did(),
        meta.sdid_block_number(),
        meta.checksum(),
        meta.data_count(),
    ] {
        body.u32(number.into());
    }
    for &word in meta.data() {
        body.u32(word.into());
    }
    (meta.data_count() < 1 << 10).then_some(())
}

#[cfg(feature = "v1_24")]
pub(super) fn read_ancillary(buffer: &mut gst::BufferRef, body: &mut Reader<'_>) -> Result {
    let word = |body: &mut Reader<'_>| {
        let word = body.u32()?.try_into();
        word.map_err(|_| DecodeError::Invalid("a word of ancillary data has 16 bits"))
    };
    let field = known(&FIELDS, body.i32()?)?;
    let is_colour = body.bool()?;
    let mut numbers = [0u16; 6];
    for number in &mut numbers {
        *number = word(body)?;
    }
    let [line, offset, did, sdid, checksum, count] = numbers;
    if count >= 1 << 10 {
        return Err(Unfit::Value("its data count has more than 10 bits").into());
    }
    let words = (0..count & 0xff).map(|_| word(body));
    let words = words.collect::<std::result::Result<Vec<u16>, _>>()?;
    let mut meta = gst_video::video_meta::AncillaryMeta::add(buffer);
    meta.set_field(field);
    meta.set_c_not_y_channel(is_colour);
    meta.set_line(line);
    meta.set_offset(offset);
    meta.set_did(did);
    meta.set_sdid_block_number(sdid);
    meta.set_checksum(checksum);
    if !words.is_empty() {
        meta.set_data(words.into());
    }
    meta.set_data_count_upper_two_bits((count >> 8) as u8);
    Ok(())
}
