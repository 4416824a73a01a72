//! GstVideoTimeCodeMeta: the time code of a picture, and what it counts from.
#![allow(unsafe_code)]

use gst::MetaRef;
use gst::glib;
use gst_video::{ValidVideoTimeCode, VideoTimeCodeFlags, VideoTimeCodeMeta};

use super::Result;
use super::unfit::Unfit;
use crate::values::{EncodeGst, Encoder, Reader};

/// Fields that a picture has at most.
const MAX_FIELDS: u32 = 2;

/// The numbers of a time code, but for its frame rate: hours, minutes, seconds, frames, fields.
type Numbers = [u32; 5];

/// The time code, where it is a valid one.
fn valid(
    rate: gst::Fraction,
    jam: Option<&glib::DateTime>,
    flags: VideoTimeCodeFlags,
    [hours, minutes, seconds, frames, fields]: Numbers,
) -> Option<ValidVideoTimeCode> {
    if rate.numer() <= 0 || fields > MAX_FIELDS {
        return None;
    }
    ValidVideoTimeCode::new(rate, jam, flags, hours, minutes, seconds, frames, fields).ok()
}

/// The frame rate as `i32` numerator and denominator; `u32` flags, hours, minutes, seconds, frames,
/// fields; `u32` 1 and a value, the date and time of the latest daily jam, or 0.
pub(super) fn write(meta: &MetaRef<'_, VideoTimeCodeMeta>, body: &mut Encoder<'_>) -> Option<()> {
    // The binding takes it that the time code is a valid one, which upstream need not have seen to.
    // SAFETY: the meta is GStreamer's own, and lives as long as the reference to it.
    let (over, under) = unsafe {
        let config = &(*meta.as_ptr()).tc.config;
        (config.fps_n, config.fps_d)
    };
    let is_rate = |number| (1..=i32::MAX as u32).contains(&number);
    if !is_rate(over) || !is_rate(under) {
        return None;
    }
    let rate = gst::Fraction::new(over as i32, under as i32);
    let code = meta.tc();
    let (flags, jam) = (code.flags(), code.latest_daily_jam());
    let numbers = [
        code.hours(),
        code.minutes(),
        code.seconds(),
        code.frames(),
        code.field_count(),
    ];
    valid(rate, jam.as_ref(), flags, numbers)?;
    body.fraction(rate)?;
    body.u32(flags.bits());
    numbers.iter().for_each(|&number| body.u32(number));
    body.u32(jam.is_some().into());
    match jam {
        Some(jam) => body.g_date_time(&jam),
        None => Some(()),
    }
}

pub(super) fn read(buffer: &mut gst::BufferRef, body: &mut Reader<'_>) -> Result {
    let rate = body.fraction()?;
    let flags = VideoTimeCodeFlags::from_bits_truncate(body.u32()?);
    let mut numbers = Numbers::default();
    for number in &mut numbers {
        *number = body.u32()?;
    }
    let jam = body.bool()?.then(|| body.g_date_time()).transpose()?;
    let code = valid(rate, jam.as_ref(), flags, numbers);
    VideoTimeCodeMeta::add(
        buffer,
        &code.ok_or(Unfit::Value("it is no valid time code"))?,
    );
    Ok(())
}
