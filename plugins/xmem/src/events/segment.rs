//! Converts segments, formats and positions.

use glib::translate::IntoGlib;
use xmem_media::event::{Format, Segment};

/// Returns the format; `None` if positions in it cannot be sent.
pub(crate) fn format(format: gst::Format) -> Option<Format> {
    Format::of(u32::try_from(format.into_glib()).ok()?)
}

pub(crate) fn gst_format(format: Format) -> gst::Format {
    match format {
        Format::Default => gst::Format::Default,
        Format::Bytes => gst::Format::Bytes,
        Format::Time => gst::Format::Time,
        Format::Buffers => gst::Format::Buffers,
    }
}

/// Returns a position in a format; -1 means unknown.
pub(super) fn position(format: Format, value: i64) -> gst::GenericFormattedValue {
    gst::GenericFormattedValue::new(gst_format(format), value)
}

/// Returns the segment; `None` if its format cannot be sent.
pub(super) fn from_gst(segment: &gst::Segment) -> Option<Segment> {
    let value = |value: gst::GenericFormattedValue| value.value() as u64;
    Some(Segment {
        format: format(segment.format())?,
        flags: segment.flags().bits(),
        rate: segment.rate(),
        applied_rate: segment.applied_rate(),
        base: value(segment.base()),
        offset: value(segment.offset()),
        start: value(segment.start()),
        stop: value(segment.stop()),
        time: value(segment.time()),
        position: value(segment.position()),
        duration: value(segment.duration()),
    })
}

/// Returns GStreamer's segment. Decoding has checked that GStreamer can compute with its numbers.
pub(super) fn to_gst(from: &Segment) -> gst::Segment {
    let value = |number: u64| position(from.format, number as i64);
    let mut segment = gst::Segment::new();
    segment.set_format(gst_format(from.format));
    // Without the flag SEGMENT: the producer's end of a segment arrives as EOS, or as an event of
    // its own.
    let flags = gst::SegmentFlags::from_bits_truncate(from.flags);
    segment.set_flags(flags - gst::SegmentFlags::SEGMENT);
    segment.set_rate(from.rate);
    segment.set_applied_rate(from.applied_rate);
    segment.set_base(value(from.base));
    segment.set_offset(value(from.offset));
    segment.set_start(value(from.start));
    segment.set_stop(value(from.stop));
    segment.set_time(value(from.time));
    segment.set_position(value(from.position));
    segment.set_duration(value(from.duration));
    segment
}
