//! From GStreamer's values to bytes.

use gst::glib::value::SendValue;
use gst::glib::{self, Type, Value};
use gst::prelude::*;

use super::names::{Names, is_feature_name, is_structure_name};
use super::{
    DAY, DAYS, MAX_DEPTH, MAX_FEATURES, MAX_FIELDS, MAX_TAG_VALUES, MAX_VALUES, are_of_one_type,
    kind, untyped,
};

/// Writes at the end of bytes.
///
/// What can fail is `None` where it can't be written, and leaves nothing of itself behind: values
/// of types that mean nothing in another process, too many of them, or too deep ones.
pub(crate) struct Writer<'a> {
    bytes: &'a mut Vec<u8>,
    values: u32,
    depth: u32,
}

impl<'a> Writer<'a> {
    /// Writes after what is there.
    pub(crate) fn new(bytes: &'a mut Vec<u8>) -> Writer<'a> {
        Writer {
            bytes,
            values: MAX_VALUES,
            depth: 0,
        }
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes back all but the first bytes.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    pub(crate) fn u32(&mut self, number: u32) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn i32(&mut self, number: i32) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn i64(&mut self, number: i64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn f32(&mut self, number: f32) {
        self.u32(number.to_bits());
    }

    pub(crate) fn f64(&mut self, number: f64) {
        self.u64(number.to_bits());
    }

    /// A time in nanoseconds, or none.
    pub(crate) fn time(&mut self, time: Option<gst::ClockTime>) {
        self.u64(time.map_or(u64::MAX, gst::ClockTime::nseconds));
    }

    /// Bytes, without their number.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The number of bytes (`u32`), and the bytes of a text.
    pub(crate) fn text(&mut self, text: &str) -> Option<()> {
        self.blob(text.as_bytes())
    }

    /// The number of bytes (`u32`), and the bytes.
    pub(crate) fn blob(&mut self, bytes: &[u8]) -> Option<()> {
        self.u32(bytes.len().try_into().ok()?);
        self.raw(bytes);
        Some(())
    }

    /// A record: its kind, its length, and what `body` writes. Where that fails, there is no record.
    pub(crate) fn record(
        &mut self,
        kind: u32,
        body: impl FnOnce(&mut Self) -> Option<()>,
    ) -> Option<()> {
        let (start, values, depth) = (self.bytes.len(), self.values, self.depth);
        self.u32(kind);
        self.u32(0);
        let body_start = self.bytes.len();
        self.depth += 1;
        let written = (depth < MAX_DEPTH).then_some(()).and_then(|()| body(self));
        self.depth = depth;
        let length = u32::try_from(self.bytes.len() - body_start).ok();
        let Some((length, ())) = length.zip(written) else {
            self.bytes.truncate(start);
            self.values = values;
            return None;
        };
        self.bytes[body_start - 4..body_start].copy_from_slice(&length.to_le_bytes());
        Some(())
    }

    /// A structure, as a value. Fields that can't be written are left out.
    pub(crate) fn structure(&mut self, structure: &gst::StructureRef) -> Option<()> {
        self.count()?;
        self.record(kind::STRUCTURE, |writer| {
            let name = structure.name();
            if name.len() > Names::MAX_BYTES || !is_structure_name(name) {
                return None;
            }
            writer.text(name)?;
            writer.counted(|writer| {
                let mut written = 0;
                for (field, value) in structure.iter() {
                    if written < MAX_FIELDS && writer.field(field, value).is_some() {
                        written += 1;
                    } else {
                        leave_out("field", field, value);
                    }
                }
                written
            });
            Some(())
        })
    }

    fn field(&mut self, name: &str, value: &SendValue) -> Option<()> {
        let start = self.bytes.len();
        let written = (1..=Names::MAX_BYTES)
            .contains(&name.len())
            .then_some(())
            .and_then(|()| self.text(name))
            .and_then(|()| self.value(value));
        if written.is_none() {
            self.bytes.truncate(start);
        }
        written
    }

    /// Writes how many things `write` has written before them.
    pub(crate) fn counted(&mut self, write: impl FnOnce(&mut Self) -> usize) {
        let at = self.bytes.len();
        self.u32(0);
        let written = write(self) as u32;
        self.bytes[at..at + 4].copy_from_slice(&written.to_le_bytes());
    }

    fn count(&mut self) -> Option<()> {
        self.values = self.values.checked_sub(1)?;
        Some(())
    }

    /// A value, as a record.
    pub(crate) fn value(&mut self, value: &Value) -> Option<()> {
        let of = value.type_();
        // These count themselves.
        if of == gst::Structure::static_type() {
            return self.structure(value.get().ok()?);
        } else if of == gst::TagList::static_type() {
            return self.tag_list(value.get::<&gst::TagListRef>().ok()?);
        } else if of == gst::Caps::static_type() {
            return self.caps(value.get::<&gst::CapsRef>().ok()?);
        } else if of == gst::Buffer::static_type() {
            return self.buffer(value.get::<&gst::BufferRef>().ok()?);
        } else if of == glib::DateTime::static_type() {
            return self.g_date_time(&value.get::<glib::DateTime>().ok()?);
        }
        self.count()?;
        if of == Type::STRING {
            match untyped::string(value).ok()? {
                Some(text) => self.record(kind::STRING, |writer| {
                    writer.raw(text.as_bytes());
                    Some(())
                }),
                None => self.record(kind::NO_STRING, |_| Some(())),
            }
        } else if let Some((kind, number)) = small(value, of) {
            self.record(kind, |writer| {
                writer.u32(number);
                Some(())
            })
        } else if let Some((kind, number)) = large(value, of) {
            self.record(kind, |writer| {
                writer.u64(number);
                Some(())
            })
        } else if let Some(parts) = untyped::fraction_parts(value) {
            self.record(kind::FRACTION, |writer| writer.fraction_parts(parts))
        } else if of.is_a(Type::ENUM) {
            let number = untyped::enumeration_number(value)?;
            self.record(kind::ENUM, |writer| {
                writer.type_name(of)?;
                writer.i32(number);
                Some(())
            })
        } else if of.is_a(Type::FLAGS) {
            let bits = untyped::flags_bits(value)?;
            self.record(kind::FLAGS, |writer| {
                writer.type_name(of)?;
                writer.u32(bits);
                Some(())
            })
        } else if of == gst::Array::static_type() {
            let values = value.get::<gst::ArrayRef>().ok()?;
            self.values(kind::ARRAY, values.as_slice())
        } else if of == gst::List::static_type() {
            let values = value.get::<gst::ListRef>().ok()?;
            self.values(kind::LIST, values.as_slice())
        } else if of == gst::Sample::static_type() {
            self.sample(value.get::<&gst::SampleRef>().ok()?)
        } else if of == glib::Bytes::static_type() {
            let bytes = value.get::<glib::Bytes>().ok()?;
            self.record(kind::BYTES, |writer| {
                writer.raw(&bytes);
                Some(())
            })
        } else if of == gst::DateTime::static_type() {
            self.date_time(&value.get().ok()?)
        } else if of == glib::Date::static_type() {
            self.date(&value.get().ok()?)
        } else if of == glib::StrV::static_type() {
            self.strings(&value.get().ok()?)
        } else {
            self.range(value, of)
        }
    }

    /// As the record of an array, or of a list: all of them or nothing.
    fn values(&mut self, kind: u32, values: &[SendValue]) -> Option<()> {
        are_of_one_type(values).then_some(())?;
        self.record(kind, |writer| {
            writer.u32(values.len().try_into().ok()?);
            values.iter().try_for_each(|value| writer.value(value))
        })
    }

    /// A fraction, as two numbers.
    pub(crate) fn fraction(&mut self, fraction: gst::Fraction) -> Option<()> {
        self.fraction_parts((fraction.numer(), fraction.denom()))
    }

    fn fraction_parts(&mut self, (numerator, denominator): (i32, i32)) -> Option<()> {
        // GStreamer can't turn the sign of the smallest number there is.
        if numerator == i32::MIN || denominator <= 0 {
            return None;
        }
        self.i32(numerator);
        self.i32(denominator);
        Some(())
    }

    fn type_name(&mut self, of: Type) -> Option<()> {
        (of.name().len() <= Names::MAX_BYTES).then_some(())?;
        self.text(of.name())
    }

    fn range(&mut self, value: &Value, of: Type) -> Option<()> {
        if let Some((bits, mask)) = untyped::flag_set_bits(value) {
            self.record(kind::FLAG_SET, |writer| {
                writer.type_name(of)?;
                writer.u32(bits);
                writer.u32(mask);
                Some(())
            })
        } else if let Some((is_long, ends)) = untyped::int_range_ends(value) {
            // One that was never set says nothing.
            let [first, last, _] = ends;
            if first >= last {
                return None;
            }
            match is_long {
                true => self.record(kind::INT64_RANGE, |writer| {
                    ends.into_iter().for_each(|number| writer.i64(number));
                    Some(())
                }),
                false => self.record(kind::INT_RANGE, |writer| {
                    ends.into_iter()
                        .for_each(|number| writer.i32(number as i32));
                    Some(())
                }),
            }
        } else if let Some((first, last)) = untyped::double_range_ends(value) {
            if first >= last {
                return None;
            }
            self.record(kind::DOUBLE_RANGE, |writer| {
                writer.f64(first);
                writer.f64(last);
                Some(())
            })
        } else if let Some(ends) = untyped::fraction_range_ends(value) {
            let [(a, b), (c, d)] = ends.map(|(over, under)| (i64::from(over), i64::from(under)));
            if a * d >= c * b {
                return None;
            }
            self.record(kind::FRACTION_RANGE, |writer| {
                ends.into_iter()
                    .try_for_each(|end| writer.fraction_parts(end))
            })
        } else {
            None
        }
    }

    fn date(&mut self, date: &glib::Date) -> Option<()> {
        if !date.valid() || !DAYS.contains(&date.julian()) {
            return None;
        }
        self.record(kind::DATE, |writer| {
            writer.u32(date.julian());
            Some(())
        })
    }

    fn date_time(&mut self, date_time: &gst::DateTime) -> Option<()> {
        // GStreamer makes no time that is further from UTC than this.
        let is_far = date_time
            .time_zone_offset()
            .is_some_and(|hours| hours.abs() > 12.0);
        let date_time = match is_far {
            true => &date_time.to_utc().ok()?,
            false => date_time,
        };
        self.record(kind::DATE_TIME, |writer| {
            writer.i32(date_time.year());
            for part in [
                date_time.month(),
                date_time.day(),
                date_time.hour(),
                date_time.minute(),
                date_time.second(),
                date_time.microsecond(),
            ] {
                writer.i32(part.unwrap_or(-1));
            }
            let hours = date_time.time_zone_offset().unwrap_or(0.0);
            writer.i32((hours * 60.0).round() as i32);
            Some(())
        })
    }

    /// A date and time of GLib's, as a value.
    pub(crate) fn g_date_time(&mut self, date_time: &glib::DateTime) -> Option<()> {
        self.count()?;
        // GLib has it in UTC only where that is in the years that it knows.
        date_time.to_utc().ok()?;
        let ahead = i32::try_from(date_time.utc_offset().as_seconds()).ok()?;
        if ahead.unsigned_abs() >= DAY {
            return None;
        }
        self.record(kind::G_DATE_TIME, |writer| {
            writer.i64(date_time.to_unix());
            writer.i32(date_time.microsecond());
            writer.i32(ahead);
            Some(())
        })
    }

    fn strings(&mut self, strings: &glib::StrV) -> Option<()> {
        self.record(kind::STRINGS, |writer| {
            writer.u32(strings.len().try_into().ok()?);
            strings.iter().try_for_each(|text| {
                writer.count()?;
                writer.text(untyped::text(text)?)
            })
        })
    }

    /// A buffer, as a value: its times and its bytes. Its metas stay behind.
    pub(crate) fn buffer(&mut self, buffer: &gst::BufferRef) -> Option<()> {
        self.count()?;
        self.record(kind::BUFFER, |writer| {
            for time in [buffer.pts(), buffer.dts(), buffer.duration()] {
                writer.time(time);
            }
            writer.u64(buffer.offset());
            writer.u64(buffer.offset_end());
            writer.u32((buffer.flags() - gst::BufferFlags::TAG_MEMORY).bits());
            for memory in buffer.iter_memories() {
                writer.raw(&memory.map_readable().ok()?);
            }
            Some(())
        })
    }

    fn sample(&mut self, sample: &gst::SampleRef) -> Option<()> {
        self.record(kind::SAMPLE, |writer| {
            let (caps, buffer, info) = (sample.caps_owned(), sample.buffer(), sample.info());
            let parts = [caps.is_some(), buffer.is_some(), info.is_some()];
            writer.u32(
                parts
                    .iter()
                    .rev()
                    .fold(0, |all, &is| all << 1 | u32::from(is)),
            );
            if let Some(caps) = caps {
                writer.caps(&caps)?;
            }
            if let Some(buffer) = buffer {
                writer.buffer(buffer)?;
            }
            match info {
                Some(info) => writer.structure(info),
                None => Some(()),
            }
        })
    }

    /// Caps, as a value: all of them or nothing.
    pub(crate) fn caps(&mut self, caps: &gst::CapsRef) -> Option<()> {
        self.count()?;
        self.record(kind::CAPS, |writer| {
            writer.u32(caps.is_any().into());
            writer.u32(caps.size().try_into().ok()?);
            for (structure, features) in caps.iter_with_features() {
                writer.record(kind::FEATURES, |writer| {
                    writer.u32(features.is_any().into());
                    writer.u32(features.size() as u32);
                    (features.size() <= MAX_FEATURES).then_some(())?;
                    features.iter().try_for_each(|feature| {
                        is_feature_name(feature).then_some(())?;
                        writer.text(feature)
                    })
                })?;
                writer.structure(structure)?;
            }
            Some(())
        })
    }

    /// A list of tags, as a value. Tags that can't be written are left out.
    pub(crate) fn tag_list(&mut self, tags: &gst::TagListRef) -> Option<()> {
        self.count()?;
        self.record(kind::TAG_LIST, |writer| {
            writer.u32((tags.scope() == gst::TagScope::Global).into());
            writer.counted(|writer| {
                let mut written = 0;
                for (name, values) in tags.iter_generic() {
                    if written == MAX_FIELDS || writer.text(name).is_none() {
                        break;
                    }
                    written += 1;
                    writer.counted(|writer| {
                        let mut written = 0;
                        for value in values {
                            if written < MAX_TAG_VALUES && writer.value(value).is_some() {
                                written += 1;
                            } else {
                                leave_out("tag", name, value);
                            }
                        }
                        written
                    });
                }
                written
            });
            Some(())
        })
    }
}

fn leave_out(what: &str, name: &str, value: &SendValue) {
    gst::debug!(
        crate::CAT,
        "The {what} {name} is left out: a {} can't be passed on here",
        value.type_()
    );
}

/// Values that are written in four bytes.
fn small(value: &Value, of: Type) -> Option<(u32, u32)> {
    Some(match of {
        Type::BOOL => (kind::BOOL, value.get::<bool>().ok()?.into()),
        Type::I32 => (kind::INT, value.get::<i32>().ok()? as u32),
        Type::U32 => (kind::UINT, value.get().ok()?),
        Type::F32 => (kind::FLOAT, value.get::<f32>().ok()?.to_bits()),
        Type::I8 => (kind::CHAR, i32::from(value.get::<i8>().ok()?) as u32),
        Type::U8 => (kind::UCHAR, value.get::<u8>().ok()?.into()),
        _ => return None,
    })
}

/// Values that are written in eight bytes.
// C's `long` has 32 bits on some machines.
#[allow(clippy::useless_conversion)]
fn large(value: &Value, of: Type) -> Option<(u32, u64)> {
    Some(match of {
        Type::I64 => (kind::INT64, value.get::<i64>().ok()? as u64),
        Type::U64 => (kind::UINT64, value.get().ok()?),
        Type::F64 => (kind::DOUBLE, value.get::<f64>().ok()?.to_bits()),
        Type::I_LONG => (
            kind::LONG,
            i64::from(value.get::<glib::ILong>().ok()?.0) as u64,
        ),
        Type::U_LONG => (kind::ULONG, u64::from(value.get::<glib::ULong>().ok()?.0)),
        _ if of == gst::Bitmask::static_type() => {
            (kind::BITMASK, *value.get::<gst::Bitmask>().ok()?)
        }
        _ => return None,
    })
}
