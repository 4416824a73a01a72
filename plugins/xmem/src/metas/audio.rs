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
use xmem_media::VideoLayout;

use super::unfit::{NotRead, Unfit};
use super::{Carrier, Result};
use crate::values::{DecodeError, Encoder, Reader};

/// Most channels that have positions, which is as many as GStreamer has room for.
const MAX_CHANNELS: usize = 64;

/// What a GstAudioMeta says: what the samples are, and where the channels lie.
struct Samples {
    format: AudioFormat,
    rate: u32,
    channels: u32,
    flags: AudioFlags,
    is_planar: bool,
    /// One for each channel; none where the channels have no positions.
    positions: Vec<Position>,
    samples: usize,
    /// One for each channel, where each lies by itself.
    offsets: Vec<usize>,
}

impl Samples {
    fn of(meta: &MetaRef<'_, AudioMeta>) -> Option<Samples> {
        let info = meta.info();
        if !info.is_valid() {
            return None;
        }
        let is_planar = info.layout() == AudioLayout::NonInterleaved;
        Some(Samples {
            format: info.format(),
            rate: info.rate(),
            channels: info.channels(),
            flags: info.flags(),
            is_planar,
            positions: info.positions().unwrap_or_default().to_vec(),
            samples: meta.samples(),
            offsets: match is_planar {
                true => meta.offsets().to_vec(),
                false => Vec::new(),
            },
        })
    }

    /// Checks that the samples are ones that GStreamer knows, and that they lie inside of a frame of
    /// `size` bytes, beside one another. GStreamer copies a meta of interleaved ones to a part of a
    /// buffer as it is, and computes sizes without looking for overflow.
    fn check(&self, size: usize) -> std::result::Result<AudioInfo, Unfit> {
        let samples = Unfit::Samples {
            samples: self.samples,
            size,
        };
        let number = self.channels as usize;
        let width = format_width(self.format);
        let plane = self.samples.checked_mul(width).ok_or(samples)?;
        let is_number = |number| (1..=i32::MAX as u32).contains(&number);
        let wide = number.checked_mul(width);
        if !is_number(self.rate)
            || !is_number(self.channels)
            || wide.is_none_or(|wide| wide > i32::MAX as usize / 8)
        {
            return Err(Unfit::Value(
                "its rate or its channels are too many, or none",
            ));
        }
        let is_positioned = !self.flags.contains(AudioFlags::UNPOSITIONED);
        if self.positions.len() != if is_positioned { number } else { 0 } {
            return Err(Unfit::Value("it has not one position for each channel"));
        }
        let none = [Position::None; MAX_CHANNELS];
        let positions = match is_positioned {
            true => &self.positions[..],
            false => none.get(..number).unwrap_or_default(),
        };
        let layout = match self.is_planar {
            true => AudioLayout::NonInterleaved,
            false => AudioLayout::Interleaved,
        };
        let info = AudioInfo::builder(self.format, self.rate, self.channels);
        let info = info.positions_if(positions, !positions.is_empty());
        let info = info.flags(self.flags).layout(layout).build();
        let info = info.map_err(|_| Unfit::Value("its channels can't have these positions"))?;
        let fits = match self.is_planar {
            true => self.offsets.len() == number && planes_fit(size, &self.offsets, plane),
            false => plane.checked_mul(number).is_some_and(|all| all <= size),
        };
        match fits {
            true => Ok(info),
            false => Err(samples),
        }
    }
}

/// Text: the sample format; `u32` rate, channels, flags, 1 where each channel lies by itself;
/// `u32` positions, which are as many as channels, or 0 where those have none, and those as `i32`;
/// `u64` samples; where each channel lies by itself, `u64` offsets of the channels.
pub(super) fn write(
    meta: &MetaRef<'_, AudioMeta>,
    body: &mut Encoder<'_>,
    carrier: &Carrier<'_>,
    _: Option<&VideoLayout>,
) -> std::result::Result<(), Unfit> {
    let invalid = Unfit::Value("it says nothing of samples that GStreamer knows");
    let samples = Samples::of(meta).ok_or(invalid)?;
    samples.check(carrier.size)?;
    body.text(samples.format.to_str()).ok_or(invalid)?;
    body.u32(samples.rate);
    body.u32(samples.channels);
    body.u32(samples.flags.bits());
    body.u32(samples.is_planar.into());
    body.u32(samples.positions.len() as u32);
    for position in samples.positions {
        body.i32(position.into_glib());
    }
    body.u64(samples.samples as u64);
    for offset in samples.offsets {
        body.u64(offset as u64);
    }
    Ok(())
}

pub(super) fn read(buffer: &mut gst::BufferRef, body: &mut Reader<'_>) -> Result {
    let broken = DecodeError::Invalid("an audio meta contradicts itself");
    let format = body.text()?;
    let format = AudioFormat::iter_raw().find(|known| known.to_str() == format);
    let format = format.ok_or(DecodeError::Unsupported("an audio format"))?;
    let (rate, channels) = (body.u32()?, body.u32()?);
    let flags = AudioFlags::from_bits_truncate(body.u32()?);
    let is_planar = body.bool()?;
    let positions = read_positions(body)?;
    let samples = usize::try_from(body.u64()?).map_err(|_| broken)?;
    let mut offsets = Vec::new();
    if is_planar {
        for _ in 0..channels {
            offsets.push(usize::try_from(body.u64()?).map_err(|_| broken)?);
        }
    }
    let samples = Samples {
        format,
        rate,
        channels,
        flags,
        is_planar,
        positions,
        samples,
        offsets,
    };
    let info = samples.check(buffer.size())?;
    AudioMeta::add(buffer, &info, samples.samples, &samples.offsets)
        .map_err(|_| Unfit::Value("GStreamer does not take it"))?;
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
        return Err(NotRead::Broken);
    }
    let positions = (0..count).map(|_| {
        let number = body.i32()?;
        if !is_position(number) {
            return Err(Unfit::Value("no channel has such a position").into());
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
pub(super) fn write_level(
    meta: &MetaRef<'_, AudioLevelMeta>,
    body: &mut Encoder<'_>,
) -> Option<()> {
    body.u32(meta.level().into());
    body.u32(meta.voice_activity().into());
    Some(())
}

pub(super) fn read_level(buffer: &mut gst::BufferRef, body: &mut Reader<'_>) -> Result {
    let level = u8::try_from(body.u32()?);
    let level = level.map_err(|_| Unfit::Value("its level is above 255"))?;
    let voice = body.bool()?;
    AudioLevelMeta::add(buffer, level, voice);
    Ok(())
}

/// `i32` `GstFormat`: default (1), bytes (2) or time (3); `u64` at the start and at the end.
pub(super) fn write_clipping(
    meta: &MetaRef<'_, AudioClippingMeta>,
    body: &mut Encoder<'_>,
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
        return Err(Unfit::Value("it counts neither samples, bytes nor time").into());
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
    body: &mut Encoder<'_>,
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
        return Err(Unfit::Value("it has no channels").into());
    }
    let numbers = (0..from.len() * to.len()).map(|_| body.f32());
    let numbers = numbers.collect::<std::result::Result<Vec<_>, _>>()?;
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
            serialize(sent, None, true, &mut extra);
            assert_eq!(!extra.is_empty(), crosses);
        }
    }
}
