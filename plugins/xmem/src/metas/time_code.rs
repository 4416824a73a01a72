//! GstVideoTimeCodeMeta: the time code of a picture, and what it counts from.
#![allow(unsafe_code)]

use gst::MetaRef;
use gst_video::{ValidVideoTimeCode, VideoTimeCodeFlags, VideoTimeCodeMeta};
use xmem_media::meta::TimeCode;
use xmem_media::value::Fraction;

use super::unfit::{Result, Unfit};
use crate::values::{Rules, from_gst, to_gst};

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

pub(super) fn write(meta: &MetaRef<'_, VideoTimeCodeMeta>) -> Option<TimeCode> {
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
    let [hours, minutes, seconds, frames, fields] = numbers;
    Some(TimeCode {
        rate: Fraction::new(rate.numer(), rate.denom()).ok()?,
        flags: flags.bits(),
        hours,
        minutes,
        seconds,
        frames,
        fields,
        daily_jam: match jam {
            Some(jam) => Some(from_gst::g_date_time(&jam)?),
            None => None,
        },
    })
}

pub(super) fn read(buffer: &mut gst::BufferRef, meta: TimeCode, _: Rules<'_>) -> Result {
    let flags = VideoTimeCodeFlags::from_bits_truncate(meta.flags);
    let numbers = [
        meta.hours,
        meta.minutes,
        meta.seconds,
        meta.frames,
        meta.fields,
    ];
    let jam = meta.daily_jam.map(to_gst::g_date_time).transpose()?;
    let code = valid(to_gst::fraction(meta.rate), jam.as_ref(), flags, numbers);
    let code = code.ok_or(Unfit::Value("it is no valid time code"))?;
    VideoTimeCodeMeta::add(buffer, &code);
    Ok(())
}
