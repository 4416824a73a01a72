//! A segment, as numbers.

use gst::glib::translate::IntoGlib;

use super::Result;
use crate::timestamps::LAST_TIME;
use crate::values::{DecodeError, Encoder, Reader, one_of};

/// Most times faster, or slower, than usual.
const MAX_RATE: f64 = 1024.0;

/// `u32` format, flags; `f64` rate, applied rate; `u64` base, offset, start, stop, time, position,
/// duration: those that are not known as the highest number.
pub(super) fn write(segment: &gst::Segment, writer: &mut Encoder<'_>) {
    writer.u32(segment.format().into_glib() as u32);
    writer.u32(segment.flags().bits());
    writer.f64(segment.rate());
    writer.f64(segment.applied_rate());
    for value in [
        segment.base(),
        segment.offset(),
        segment.start(),
        segment.stop(),
        segment.time(),
        segment.position(),
        segment.duration(),
    ] {
        writer.u64(value.value() as u64);
    }
}

/// Whether a segment may have such a rate. A number that is none may not.
pub(super) fn is_usable_rate(rate: f64) -> bool {
    (1.0 / MAX_RATE..=MAX_RATE).contains(&rate.abs())
}

/// What positions are counted in.
pub(super) fn read_format(reader: &mut Reader<'_>) -> Result<gst::Format> {
    use gst::Format as F;
    one_of(&[F::Default, F::Bytes, F::Time, F::Buffers], reader.i32()?)
}

/// What [`write`] has written.
///
/// # Errors
/// Where it is no segment, or one whose numbers GStreamer, or an element, can't reckon with.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<gst::Segment> {
    let format = read_format(reader)?;
    let flags = gst::SegmentFlags::from_bits_truncate(reader.u32()?);
    let mut rates = [0.0; 2];
    for rate in &mut rates {
        *rate = reader.f64()?;
        if !is_usable_rate(*rate) {
            return Err(DecodeError::Invalid("a rate is 1/1024 to 1024"));
        }
    }
    let mut numbers = [0; 7];
    for number in &mut numbers {
        *number = reader.u64()?;
        // What is known is a time, or a count, of this world; sums of them do not overflow.
        if *number != u64::MAX && *number > LAST_TIME {
            return Err(DecodeError::Invalid("a time is 2^61 - 1 at most"));
        }
    }
    let [base, offset, start, stop, time, position, duration] = numbers;
    if [base, offset, start].contains(&u64::MAX) || stop < start {
        return Err(DecodeError::Invalid(
            "a segment has a base, an offset and a start, and ends after it",
        ));
    }
    // Backwards, running time counts from the stop.
    if rates[0] < 0.0 && (stop == u64::MAX || stop < offset) {
        return Err(DecodeError::Invalid(
            "a segment that plays backwards has a stop",
        ));
    }
    // How long it takes, here and in the stream.
    if stop != u64::MAX {
        let span = (stop - start) as f64;
        let longest = (span / rates[0].abs()).max(span * rates[1].abs());
        if longest > LAST_TIME as f64 {
            return Err(DecodeError::Invalid("a segment takes 2^61 - 1 at most"));
        }
    }
    let value = |number: u64| gst::GenericFormattedValue::new(format, number as i64);
    let mut segment = gst::Segment::new();
    segment.set_format(format);
    // Its end is an end of stream, or an event of its own.
    segment.set_flags(flags - gst::SegmentFlags::SEGMENT);
    segment.set_rate(rates[0]);
    segment.set_applied_rate(rates[1]);
    segment.set_base(value(base));
    segment.set_offset(value(offset));
    segment.set_start(value(start));
    segment.set_stop(value(stop));
    segment.set_time(value(time));
    segment.set_position(value(position));
    segment.set_duration(value(duration));
    Ok(segment)
}
