//! Metas of audio: the layout of the channels, the level, what to clip, how to mix down.
#![allow(unsafe_code)]

use glib::translate::{FromGlib, IntoGlib, from_glib};
use gst::MetaRef;
use gst::meta::MetaAPI;
use gst_audio::{
    AudioChannelPosition as Position, AudioClippingMeta, AudioFlags, AudioFormat, AudioInfo,
    AudioLayout, AudioLevelMeta, AudioMeta,
};
use xmem_media::VideoLayout;
use xmem_media::meta::{Audio, AudioClipping, AudioDownmix, AudioLevel};
use xmem_media::value::Text;

use super::carrier::Carrier;
use super::unfit::{NotRead, Result, Unfit};
use crate::values::Rules;

/// The maximum number of channels with positions, as in GStreamer.
const MAX_CHANNELS: usize = 64;

/// The content of a GstAudioMeta: the format of the samples, and the layout of the channels.
struct Samples {
    format: AudioFormat,
    rate: u32,
    channels: u32,
    flags: AudioFlags,
    is_planar: bool,
    /// One for each channel; empty if the channels have no positions.
    positions: Vec<Position>,
    samples: usize,
    /// One for each channel if the layout is not interleaved.
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

pub(super) fn write(
    meta: &MetaRef<'_, AudioMeta>,
    carrier: &Carrier<'_>,
    _: Option<&VideoLayout>,
) -> std::result::Result<Audio, Unfit> {
    let invalid = Unfit::Value("it says nothing of samples that GStreamer knows");
    let samples = Samples::of(meta).ok_or(invalid)?;
    samples.check(carrier.size)?;
    let positions = samples.positions.into_iter().map(IntoGlib::into_glib);
    let offsets = samples.offsets.into_iter().map(|offset| offset as u64);
    Ok(Audio {
        format: Text::new(samples.format.to_str().as_str()).map_err(|_| invalid)?,
        rate: samples.rate,
        channels: samples.channels,
        flags: samples.flags.bits(),
        positions: positions.collect(),
        samples: samples.samples as u64,
        offsets: samples.is_planar.then(|| offsets.collect()),
    })
}

pub(super) fn read(buffer: &mut gst::BufferRef, meta: Audio, _: Rules<'_>) -> Result {
    let size = |number: u64| usize::try_from(number).map_err(|_| NotRead::Broken);
    let format = AudioFormat::iter_raw().find(|known| *known.to_str() == *meta.format);
    let offsets = meta.offsets.iter().flatten();
    let samples = Samples {
        format: format.ok_or(NotRead::Unknown)?,
        rate: meta.rate,
        channels: meta.channels,
        flags: AudioFlags::from_bits_truncate(meta.flags),
        is_planar: meta.offsets.is_some(),
        positions: positions(&meta.positions)?,
        samples: size(meta.samples)?,
        offsets: offsets.map(|&offset| size(offset)).collect::<Result<_>>()?,
    };
    let info = samples.check(buffer.size())?;
    AudioMeta::add(buffer, &info, samples.samples, &samples.offsets)
        .map_err(|_| Unfit::Value("GStreamer does not take it"))?;
    Ok(())
}

/// The size of a sample in bytes.
fn format_width(format: AudioFormat) -> usize {
    gst_audio::AudioFormatInfo::from_format(format).width() as usize / 8
}

/// Returns whether channels of this many bytes lie inside the buffer and do not overlap.
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

fn positions(numbers: &[i32]) -> Result<Vec<Position>> {
    let positions = numbers.iter().map(|&number| {
        if !is_position(number) {
            return Err(Unfit::Value("no channel has such a position").into());
        }
        // SAFETY: the number was found to be a position's.
        Ok(unsafe { Position::from_glib(number) })
    });
    positions.collect()
}

/// Returns whether a channel can have this position.
fn is_position(number: i32) -> bool {
    let known = Position::Mono.into_glib()..=Position::TopSurroundRight.into_glib();
    known.contains(&number) && number != Position::Invalid.into_glib()
}

pub(super) fn write_level(meta: &MetaRef<'_, AudioLevelMeta>) -> Option<AudioLevel> {
    Some(AudioLevel {
        level: meta.level().into(),
        is_voice: meta.voice_activity(),
    })
}

pub(super) fn read_level(buffer: &mut gst::BufferRef, meta: AudioLevel, _: Rules<'_>) -> Result {
    let level = u8::try_from(meta.level);
    let level = level.map_err(|_| Unfit::Value("its level is above 255"))?;
    AudioLevelMeta::add(buffer, level, meta.is_voice);
    Ok(())
}

pub(super) fn write_clipping(meta: &MetaRef<'_, AudioClippingMeta>) -> Option<AudioClipping> {
    // SAFETY: the meta is GStreamer's own, and the numbers in it may be any.
    let (format, start, end) = unsafe {
        let meta = &*meta.as_ptr();
        (meta.format, meta.start, meta.end)
    };
    let clipping = AudioClipping { format, start, end };
    FORMATS.contains(&format).then_some(clipping)
}

const FORMATS: std::ops::RangeInclusive<i32> =
    gst::ffi::GST_FORMAT_DEFAULT..=gst::ffi::GST_FORMAT_TIME;

pub(super) fn read_clipping(
    buffer: &mut gst::BufferRef,
    meta: AudioClipping,
    _: Rules<'_>,
) -> Result {
    let AudioClipping { format, start, end } = meta;
    if !FORMATS.contains(&format) {
        return Err(Unfit::Value("it counts neither samples, bytes nor time").into());
    }
    // SAFETY: the buffer can be written, for it is borrowed so, and the format is one.
    unsafe {
        gst_audio::ffi::gst_buffer_add_audio_clipping_meta(buffer.as_mut_ptr(), format, start, end);
    }
    Ok(())
}

/// GstAudioDownmixMeta. The Rust bindings have none.
#[repr(transparent)]
pub(super) struct AudioDownmixMeta(gst_audio::ffi::GstAudioDownmixMeta);

// SAFETY: a reference to the meta borrows its buffer, so no thread writes it meanwhile, and it does
// not depend on a thread.
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

pub(super) fn write_downmix(meta: &MetaRef<'_, AudioDownmixMeta>) -> Option<AudioDownmix> {
    let meta = &meta.0;
    let from = usize::try_from(meta.from_channels).ok()?;
    let to = usize::try_from(meta.to_channels).ok()?;
    let channels = 1..=MAX_CHANNELS;
    if !channels.contains(&from) || !channels.contains(&to) {
        return None;
    }
    // SAFETY: GStreamer has made room for as many positions as there are channels.
    let [from, to] = unsafe {
        [(meta.from_position, from), (meta.to_position, to)]
            .map(|(positions, count)| std::slice::from_raw_parts(positions, count).to_vec())
    };
    from.iter()
        .chain(&to)
        .all(|&at| is_position(at))
        .then_some(())?;
    let mut matrix = Vec::with_capacity(from.len() * to.len());
    for row in 0..to.len() {
        // SAFETY: GStreamer has made a row for each channel that they are mixed to, with a number for
        // each channel that is mixed.
        matrix.extend_from_slice(unsafe {
            std::slice::from_raw_parts(*meta.matrix.add(row), from.len())
        });
    }
    Some(AudioDownmix { from, to, matrix })
}

pub(super) fn read_downmix(
    buffer: &mut gst::BufferRef,
    meta: AudioDownmix,
    _: Rules<'_>,
) -> Result {
    let [from, to] = [positions(&meta.from)?, positions(&meta.to)?];
    if from.is_empty() || to.is_empty() {
        return Err(Unfit::Value("it has no channels").into());
    }
    let rows = meta.matrix.chunks(from.len());
    let mut rows: Vec<_> = rows.map(<[f32]>::as_ptr).collect();
    // SAFETY: the buffer can be written, for it is borrowed so. There are as many positions as is
    // said, 1 to 64 of each, and a row of as many numbers as it comes from for each that it goes to.
    // All are copied.
    unsafe {
        gst_audio::ffi::gst_buffer_add_audio_downmix_meta(
            buffer.as_mut_ptr(),
            meta.from.as_ptr(),
            meta.from.len() as i32,
            meta.to.as_ptr(),
            meta.to.len() as i32,
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
