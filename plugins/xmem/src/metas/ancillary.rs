//! Data beside a picture: captions, the active format, bars, and user data of the encoder.

use glib::translate::IntoGlib;
use gst::MetaRef;
use gst_video::video_meta::{
    VideoAFDMeta, VideoBarMeta, VideoCaptionMeta, VideoSeiUserDataUnregisteredMeta,
};
use gst_video::{VideoAFDSpec as Spec, VideoAFDValue as Afd, VideoCaptionType};

use xmem_media::meta::{ActiveFormat, Bar, Caption, Sei};

use super::unfit::{NotRead, Result, Unfit};
use crate::values::{Rules, one_of};

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

pub(super) fn write_caption(meta: &MetaRef<'_, VideoCaptionMeta>) -> Option<Caption> {
    let kind = meta.caption_type().into_glib();
    one_of(&CAPTIONS, kind).ok()?;
    let data = meta.data().to_vec();
    (!data.is_empty()).then_some(Caption { kind, data })
}

/// The one of these that has this number. A later version may have more of them.
fn known<T: Copy + IntoGlib<GlibType = i32>>(all: &[T], number: i32) -> Result<T> {
    one_of(all, number).map_err(|_| NotRead::Unknown)
}

fn check_data(data: &[u8]) -> Result {
    if data.is_empty() {
        Err(Unfit::Value("it has no data").into())
    } else {
        Ok(())
    }
}

pub(super) fn read_caption(buffer: &mut gst::BufferRef, meta: Caption, _: Rules<'_>) -> Result {
    let caption = known(&CAPTIONS, meta.kind)?;
    check_data(&meta.data)?;
    VideoCaptionMeta::add(buffer, caption, &meta.data);
    Ok(())
}

pub(super) fn write_afd(meta: &MetaRef<'_, VideoAFDMeta>) -> Option<ActiveFormat> {
    let (spec, afd) = (meta.spec(), meta.afd());
    (meta.field() <= 1 && is_afd(spec, afd)).then(|| ActiveFormat {
        is_second_field: meta.field() == 1,
        spec: spec.into_glib(),
        value: afd.into_glib(),
    })
}

fn is_afd(spec: Spec, afd: Afd) -> bool {
    SPECS.contains(&spec)
        && AFDS.contains(&afd)
        && (spec != Spec::DvbEtsi || afd != Afd::Unavailable)
}

pub(super) fn read_afd(buffer: &mut gst::BufferRef, meta: ActiveFormat, _: Rules<'_>) -> Result {
    let (spec, afd) = (known(&SPECS, meta.spec)?, known(&AFDS, meta.value)?);
    if !is_afd(spec, afd) {
        return Err(Unfit::Value("its specification has no such format").into());
    }
    VideoAFDMeta::add(buffer, meta.is_second_field.into(), spec, afd);
    Ok(())
}

pub(super) fn write_bar(meta: &MetaRef<'_, VideoBarMeta>) -> Option<Bar> {
    (meta.field() <= 1).then(|| Bar {
        is_second_field: meta.field() == 1,
        is_letterbox: meta.is_letterbox(),
        first: meta.bar_data1(),
        second: meta.bar_data2(),
    })
}

pub(super) fn read_bar(buffer: &mut gst::BufferRef, meta: Bar, _: Rules<'_>) -> Result {
    let field = meta.is_second_field.into();
    VideoBarMeta::add(buffer, field, meta.is_letterbox, meta.first, meta.second);
    Ok(())
}

pub(super) fn write_sei(meta: &MetaRef<'_, VideoSeiUserDataUnregisteredMeta>) -> Option<Sei> {
    let (uuid, data) = (meta.uuid(), meta.data().to_vec());
    (!data.is_empty()).then_some(Sei { uuid, data })
}

pub(super) fn read_sei(buffer: &mut gst::BufferRef, meta: Sei, _: Rules<'_>) -> Result {
    check_data(&meta.data)?;
    VideoSeiUserDataUnregisteredMeta::add(buffer, &meta.uuid, &meta.data);
    Ok(())
}

#[cfg(feature = "v1_24")]
const FIELDS: [gst_video::AncillaryMetaField; 3] = [
    gst_video::AncillaryMetaField::Progressive,
    gst_video::AncillaryMetaField::InterlacedFirst,
    gst_video::AncillaryMetaField::InterlacedSecond,
];

#[cfg(feature = "v1_24")]
pub(super) fn write_ancillary(
    meta: &MetaRef<'_, gst_video::video_meta::AncillaryMeta>,
) -> Option<xmem_media::meta::Ancillary> {
    let field = meta.field().into_glib();
    one_of(&FIELDS, field).ok()?;
    (meta.data_count() < 1 << 10).then(|| xmem_media::meta::Ancillary {
        field,
        is_colour: meta.c_not_y_channel(),
        numbers: [
            meta.line(),
            meta.offset(),
            meta.did(),
            meta.sdid_block_number(),
            meta.checksum(),
        ],
        count: meta.data_count(),
        words: meta.data().to_vec(),
    })
}

#[cfg(feature = "v1_24")]
pub(super) fn read_ancillary(
    buffer: &mut gst::BufferRef,
    from: xmem_media::meta::Ancillary,
    _: Rules<'_>,
) -> Result {
    let field = known(&FIELDS, from.field)?;
    if from.count >= 1 << 10 {
        return Err(Unfit::Value("its data count has more than 10 bits").into());
    }
    let [line, offset, did, sdid, checksum] = from.numbers;
    let mut meta = gst_video::video_meta::AncillaryMeta::add(buffer);
    meta.set_field(field);
    meta.set_c_not_y_channel(from.is_colour);
    meta.set_line(line);
    meta.set_offset(offset);
    meta.set_did(did);
    meta.set_sdid_block_number(sdid);
    meta.set_checksum(checksum);
    if !from.words.is_empty() {
        meta.set_data(from.words.into());
    }
    meta.set_data_count_upper_two_bits((from.count >> 8) as u8);
    Ok(())
}
