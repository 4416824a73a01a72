//! Metas of audio: where the channels lie, how loud it is, what is to be cut off, how it is mixed.
#![allow(unsafe_code)]

use gst::MetaRef;
use gst::glib;
use gst::glib::translate::{FromGlib, IntoGlib, from_glib};
use gst::meta::MetaAPI;
use gst_audio::{
    AudioChannelPosition as Position, AudioClippingMeta, AudioFlags, AudioFormat, AudioInfo,
    AudioLayout, AudioLevelMeta, AudioMeta,
};

use super::{Meta, Result};
use crate::values::{Reader, Unreadable, Writer};

/// Most channels that have positions, which is as many as GStreamer has room for.
const MAX_CHANNELS: usize = 64;

/// Text: the sample format; `u32` rate, channels, flags, 1 where each channel lies by itself;
/// `u32` positions, which are as many as channels, or 0 where those have none, and those as `i32`;
/// `u64` samples; where each channel lies by itself, `u64` offsets of the channels.
pub(super) fn write(meta: &MetaRef<'_, AudioMeta>, body: &mut Writer<'_>) -> Option<()> {
    let info = meta.info();
    if !info.is_valid() {
        return None;
    }
    let is_planar = info.layout() == AudioLayout::NonInterleaved;
    body.text(info.format().to_str())?;
    body.u32(info.rate());
    body.u32(info.channels());
    body.u32(info.flags().bits());
    body.u32(is_planar.into());
    let positions = info.positions().unwrap_or_default();
    body.u32(positions.len() as u32);
    for position in positions {
        body.i32(position.into_glib());
    }
    body.u64(meta.samples() as u64);
    if is_planar {
        for &offset in meta.offsets() {
            body.u64(offset as u64);
        }
    }
    Some(())
}

/// Whether the buffer has as many samples as the meta says. GStreamer copies that of interleaved ones
/// to a part of a buffer as it is.
pub(super) fn fits(meta: &Meta<'_>, size: usize) -> bool {
    let Some(meta) = meta.downcast_ref::<AudioMeta>() else {
        return true;
    };
    let info = meta.info();
    let all = meta.samples().checked_mul(info.bpf() as usize);
    info.layout() != AudioLayout::Interleaved || all.is_some_and(|all| all <= size)
}

pub(super) fn read(buffer: &mut gst::BufferRef, body: &mut Reader<'_>) -> Result {
    let broken = Unreadable::Broken;
    let format = body.text()?;
    let format = AudioFormat::iter_raw().find(|known| known.to_str() == format);
    let format = format.ok_or(Unreadable::Unknown)?;
    let (rate, channels) = (body.u32()?, body.u32()?);
    let flags = AudioFlags::from_bits_truncate(body.u32()?);
    let layout = match body.bool()? {
        true => AudioLayout::NonInterleaved,
        false => AudioLayout::Interleaved,
    };
    let positions = read_positions(body)?;
    let samples = usize::try_from(body.u64()?).map_err(|_| broken)?;
    // GStreamer computes sizes without looking for overflow.
    let plane = samples.checked_mul(format_width(format)).ok_or(broken)?;
    let is_number = |number| (1..=i32::MAX as u32).contains(&number);
    let wide = (channels as usize).checked_mul(format_width(format));
    if !is_number(rate)
        || !is_number(channels)
        || wide.is_none_or(|wide| wide > i32::MAX as usize / 8)
    {
        return Err(broken);
    }
    let number = channels as usize;
    let positions = match positions.len() {
        0 if !flags.contains(AudioFlags::UNPOSITIONED) => return Err(broken),
        0 if number <= MAX_CHANNELS => vec![Position::None; number],
        0 => Vec::new(),
        _ if flags.contains(AudioFlags::UNPOSITIONED) => return Err(broken),
        count if count != number => return Err(broken),
        _ => positions,
    };
    let info = AudioInfo::builder(format, rate, channels);
    let info = info.positions_if(&positions, !positions.is_empty());
    let info = info.flags(flags).layout(layout).build();
    let info = info.map_err(|_| broken)?;
    let mut offsets = Vec::new();
    if layout == AudioLayout::NonInterleaved {
        for _ in 0..channels {
            offsets.push(usize::try_from(body.u64()?).map_err(|_| broken)?);
        }
        if !planes_fit(buffer.size(), &offsets, plane) {
            return Err(broken);
        }
    } else if plane
        .checked_mul(number)
        .is_none_or(|all| all > buffer.size())
    {
        return Err(broken);
    }
    AudioMeta::add(buffer, &info, samples, &offsets).map_err(|_| broken)?;
    Ok(())
}

/// Bytes of a sample.
fn format_width(format: AudioFormat) -> usize {
    gst_audio::AudioFormatInfo::from_format(format).width() as usize / 8
}

/// Whether channels of so many bytes lie inside of a buffer, and beside one another.
fn planes_fit(size: usize, offsets: &[usize], plane: usize) -> bool {
    let mut sorted = offsets.to_vec();
    sorted.sort_unstable();
    let ends = |offset: usize| offset.checked_add(plane);
    let follow = |pair: &[usize]| ends(pair[0]).is_some_and(|end| end <= pair[1]);
    sorted.windows(2).all(follow)
        && sorted
            .last()
            .is_none_or(|&last| ends(last).is_some_and(|end| end <= size))
}

fn read_positions(body: &mut Reader<'_>) -> Result<Vec<Position>> {
    let count = body.count(4)?;
    if count > MAX_CHANNELS {
        return Err(Unreadable::Broken);
    }
    let positions = (0..count).map(|_| {
        let number = body.i32()?;
        if !is_position(number) {
            return Err(Unreadable::Broken);
        }
        // SAFETY: the number was found to be a position's.
        Ok(unsafe { Position::from_glib(number) })
    });
    positions.collect()
}

/// Whether a channel can have this position.
fn is_position(number: i32) -> bool {
    let known = Position::Mono.into_glib()..=Position::TopSurroundRight.into_glib();
    known.contains(&number) && number != Position::Invalid.into_glib()
}

/// `u32` decibels below full scale, `u32` 1 where somebody speaks.
pub(super) fn write_level(meta: &MetaRef<'_, AudioLevelMeta>, body: &mut Writer<'_>) -> Option<()> {
    body.u32(meta.level().into());
    body.u32(meta.voice_activity().into());
    Some(())
}

pub(super) fn read_level(buffer: &mut gst::BufferRef, body: &mut Reader<'_>) -> Result {
    let level = u8::try_from(body.u32()?).map_err(|_| Unreadable::Broken)?;
    let voice = body.bool()?;
    AudioLevelMeta::add(buffer, level, voice);
    Ok(())
}

/// `i32` `GstFormat`: default (1), bytes (2) or time (3); `u64` at the start and at the end.
pub(super) fn write_clipping(
    meta: &MetaRef<'_, AudioClippingMeta>,
    body: &mut Writer<'_>,
) -> Option<()> {
    // SAFETY: the meta is GStreamer's own, and the numbers in it may be any.
    let (format, start, end) = unsafe {
        let meta = &*meta.as_ptr();
        (meta.format, meta.start, meta.end)
    };
    FORMATS.contains(&format).then_some(())?;
    body.i32(format);
    body.u64(start);
    body.u64(end);
    Some(())
}

const FORMATS: std::ops::RangeInclusive<i32> =
    gst::ffi::GST_FORMAT_DEFAULT..=gst::ffi::GST_FORMAT_TIME;

pub(super) fn read_clipping(buffer: &mut gst::BufferRef, body: &mut Reader<'_>) -> Result {
    let (format, start, end) = (body.i32()?, body.u64()?, body.u64()?);
    if !FORMATS.contains(&format) {
        return Err(Unreadable::Broken);
    }
    // SAFETY: the buffer can be written, for it is borrowed so, and the format is one.
    unsafe {
        gst_audio::ffi::gst_buffer_add_audio_clipping_meta(buffer.as_mut_ptr(), format, start, end);
    }
    Ok(())
}

/// GstAudioDownmixMeta, of which the bindings know nothing.
#[repr(transparent)]
pub(super) struct AudioDownmixMeta(gst_audio::ffi::GstAudioDownmixMeta);

// SAFETY: who has a reference to the meta has one to its buffer, so nobody writes it meanwhile, and
// it is of no thread.
unsafe impl Send for AudioDownmixMeta {}
// SAFETY: as above.
unsafe impl Sync for AudioDownmixMeta {}

// SAFETY: the type of the API is that of the structure.
unsafe impl MetaAPI for AudioDownmixMeta {
    type GstType = gst_audio::ffi::GstAudioDownmixMeta;

    fn meta_api() -> glib::Type {
        // SAFETY: a function without conditions.
        unsafe { from_glib(gst_audio::ffi::gst_audio_downmix_meta_api_get_type()) }
    }
}

/// `u32` channels, and the position of each as `i32`, that it comes from; the same that it goes to;
/// `f32` for each pair, those to the first channel before those to the second.
pub(super) fn write_downmix(
    meta: &MetaRef<'_, AudioDownmixMeta>,
    body: &mut Writer<'_>,
) -> Option<()> {
    let meta = &meta.0;
    let from = usize::try_from(meta.from_channels).ok()?;
    let to = usize::try_from(meta.to_channels).ok()?;
    let channels = 1..=MAX_CHANNELS;
    if !channels.contains(&from) || !channels.contains(&to) {
        return None;
    }
    for (positions, count) in [(meta.from_position, from), (meta.to_position, to)] {
        body.u32(count as u32);
        for channel in 0..count {
            // SAFETY: GStreamer has made room for as many positions as there are channels.
            let position = unsafe { *positions.add(channel) };
            is_position(position).then_some(())?;
            body.i32(position);
        }
    }
    for row in 0..to {
        for column in 0..from {
            // SAFETY: as above, for a row for each channel that it goes to, with a number for each
            // channel that it comes from.
            body.f32(unsafe { *(*meta.matrix.add(row)).add(column) });
        }
    }
    Some(())
}

pub(super) fn read_downmix(buffer: &mut gst::BufferRef, body: &mut Reader<'_>) -> Result {
    let [from, to] = [read_positions(body)?, read_positions(body)?];
    if from.is_empty() || to.is_empty() {
        return Err(Unreadable::Broken);
    }
    let numbers = (0..from.len() * to.len()).map(|_| body.f32());
    let numbers = numbers.collect::<Result<Vec<_>>>()?;
    let mut rows: Vec<_> = numbers.chunks(from.len()).map(<[f32]>::as_ptr).collect();
    let [from_numbers, to_numbers] = [&from, &to].map(|positions| {
        let numbers = positions.iter().map(|position| position.into_glib());
        numbers.collect::<Vec<_>>()
    });
    // SAFETY: the buffer can be written, for it is borrowed so. There are as many positions as is
    // said, 1 to 64 of each, and a row of as many numbers as it comes from for each that it goes to.
    // All are copied.
    unsafe {
        gst_audio::ffi::gst_buffer_add_audio_downmix_meta(
            buffer.as_mut_ptr(),
            from_numbers.as_ptr(),
            from_numbers.len() as i32,
            to_numbers.as_ptr(),
            to_numbers.len() as i32,
            rows.as_mut_ptr(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::serialize;
    use super::*;

    #[test]
    fn downmixes_of_channels_without_a_position_stay_behind() {
        gst::init().unwrap();
        let mut extra = Vec::new();
        for (position, crosses) in [(Position::Mono, true), (Position::None, false)] {
            let mut sent = gst::Buffer::new();
            let sent = sent.make_mut();
            let position = position.into_glib();
            let row = [1.0f32];
            let mut rows = [row.as_ptr()];
            // SAFETY: the buffer can be written; there are a position of each, and a row of one
            // number. All are copied.
            unsafe {
                gst_audio::ffi::gst_buffer_add_audio_downmix_meta(
                    sent.as_mut_ptr(),
                    &position,
                    1,
                    &position,
                    1,
                    rows.as_mut_ptr(),
                );
            }
            serialize(sent, &mut extra);
            assert_eq!(!extra.is_empty(), crosses);
        }
    }
}
