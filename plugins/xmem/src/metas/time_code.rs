//! GstVideoTimeCodeMeta: the time code of a picture, and what it counts from.

use gst::MetaRef;
use gst_video::{ValidVideoTimeCode, VideoTimeCodeFlags, VideoTimeCodeMeta};

use super::Result;
use crate::values::{Reader, Unreadable, Writer};

/// Fields that a picture has at most.
const MAX_FIELDS: u32 = 2;

/// The frame rate as `i32` numerator and denominator; `u32` flags, hours, minutes, seconds, frames,
/// fields; `u32` 1 and a value, the date and time of the latest daily jam, or 0.
pub(super) fn write(meta: &MetaRef<'_, VideoTimeCodeMeta>, body: &mut Writer<'_>) -> Option<()> {
    let code = meta.tc();
    if code.field_count() > MAX_FIELDS {
        return None;
    }
    body.fraction(code.fps())?;
    for number in [
        code.flags().bits(),
        code.hours(),
        code.minutes(),
        code.seconds(),
        code.frames(),
        code.field_count(),
    ] {
        body.u32(number);
    }
    match code.latest_daily_jam() {
        Some(jam) => {
            body.u32(1);
            body.g_date_time(&jam)
        }
        None => {
            body.u32(0);
            Some(())
        }
    }
}

pub(super) fn read(buffer: &mut gst::BufferRef, body: &mut Reader<'_>) -> Result {
    let broken = Unreadable::Broken;
    let rate = body.fraction()?;
    let flags = VideoTimeCodeFlags::from_bits_truncate(body.u32()?);
    let mut numbers = [0; 5];
    for number in &mut numbers {
        *number = body.u32()?;
    }
    let [hours, minutes, seconds, frames, fields] = numbers;
    let jam = body.bool()?.then(|| body.g_date_time()).transpose()?;
    if rate.numer() <= 0 || fields > MAX_FIELDS {
        return Err(broken);
    }
    let jam = jam.as_ref();
    let code = ValidVideoTimeCode::new(rate, jam, flags, hours, minutes, seconds, frames, fields);
    VideoTimeCodeMeta::add(buffer, &code.map_err(|_| broken)?);
    Ok(())
}
