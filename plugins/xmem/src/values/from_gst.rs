//! From GStreamer's values. What means nothing in another process is `None`: objects, pointers,
//! ranges that were never set.

use glib::Type;
use glib::value::SendValue;
use gst::prelude::*;
use xmem_media::value::{
    Buffer, Caps, Date, DateTime, DoubleRange, EnumValue, EpochTime, Features, FlagSet, FlagsValue,
    Fraction, FractionRange, IntRange, Precision, Sample, Structure, TagList, Text, Value, Values,
};

use super::untyped;

/// A value of any type.
pub(crate) fn value(value: &glib::Value) -> Option<Value> {
    let of = value.type_();
    if let Some(number) = number(value, of) {
        Some(number)
    } else if of == Type::STRING {
        let text = untyped::string(value).ok()?;
        let text = text.map(Text::new).transpose().ok()?;
        Some(Value::String(text))
    } else if let Some(fraction) = untyped::fraction_parts(value) {
        Some(self::fraction(fraction)?.into())
    } else if of.is_a(Type::ENUM) {
        let number = untyped::enumeration_number(value)?;
        EnumValue::new(of.name(), number).ok().map(Value::from)
    } else if of.is_a(Type::FLAGS) {
        let bits = untyped::flags_bits(value)?;
        FlagsValue::new(of.name(), bits).ok().map(Value::from)
    } else if of == gst::Structure::static_type() {
        Some(structure(value.get().ok()?)?.into())
    } else if of == gst::Caps::static_type() {
        Some(caps(value.get::<&gst::CapsRef>().ok()?)?.into())
    } else if of == gst::TagList::static_type() {
        Some(tag_list(value.get::<&gst::TagListRef>().ok()?).into())
    } else if of == gst::Array::static_type() {
        values(value.get::<gst::ArrayRef>().ok()?.as_slice()).map(Value::Array)
    } else if of == gst::List::static_type() {
        values(value.get::<gst::ListRef>().ok()?.as_slice()).map(Value::List)
    } else if of == gst::Buffer::static_type() {
        Some(buffer(value.get::<&gst::BufferRef>().ok()?)?.into())
    } else if of == gst::Sample::static_type() {
        Some(sample(value.get::<&gst::SampleRef>().ok()?)?.into())
    } else if of == glib::Bytes::static_type() {
        let bytes = value.get::<glib::Bytes>().ok()?;
        Some(Value::Bytes(bytes.to_vec()))
    } else if of == glib::StrV::static_type() {
        let texts = value.get::<glib::StrV>().ok()?;
        let texts = texts.iter().map(|one| Text::new(untyped::text(one)?).ok());
        Value::strings(texts.collect::<Option<_>>()?).ok()
    } else if of == glib::Date::static_type() {
        let date = value.get::<glib::Date>().ok()?;
        let days = date.valid().then(|| date.julian())?;
        Date::from_days(days).ok().map(Value::from)
    } else if of == gst::DateTime::static_type() {
        Some(date_time(&value.get().ok()?)?.into())
    } else if of == glib::DateTime::static_type() {
        Some(g_date_time(&value.get().ok()?)?.into())
    } else {
        range(value, of)
    }
}

/// Numbers of the types that C and GStreamer have.
// C's `long` has 32 bits on some machines.
#[allow(clippy::useless_conversion)]
fn number(value: &glib::Value, of: Type) -> Option<Value> {
    Some(match of {
        Type::BOOL => value.get::<bool>().ok()?.into(),
        Type::I32 => value.get::<i32>().ok()?.into(),
        Type::U32 => value.get::<u32>().ok()?.into(),
        Type::I64 => value.get::<i64>().ok()?.into(),
        Type::U64 => value.get::<u64>().ok()?.into(),
        Type::F32 => value.get::<f32>().ok()?.into(),
        Type::F64 => value.get::<f64>().ok()?.into(),
        Type::I8 => value.get::<i8>().ok()?.into(),
        Type::U8 => value.get::<u8>().ok()?.into(),
        Type::I_LONG => Value::Long(value.get::<glib::ILong>().ok()?.0.into()),
        Type::U_LONG => Value::Ulong(value.get::<glib::ULong>().ok()?.0.into()),
        _ if of == gst::Bitmask::static_type() => {
            Value::Bitmask(*value.get::<gst::Bitmask>().ok()?)
        }
        _ => return None,
    })
}

fn range(value: &glib::Value, of: Type) -> Option<Value> {
    if let Some((bits, mask)) = untyped::flag_set_bits(value) {
        FlagSet::new(of.name(), bits, mask).ok().map(Value::from)
    } else if let Some((is_long, [first, last, step])) = untyped::int_range_ends(value) {
        if is_long {
            IntRange::new(first, last, step).ok().map(Value::from)
        } else {
            let range = IntRange::new(first as i32, last as i32, step as i32);
            range.ok().map(Value::from)
        }
    } else if let Some((first, last)) = untyped::double_range_ends(value) {
        DoubleRange::new(first, last).ok().map(Value::from)
    } else if let Some([first, last]) = untyped::fraction_range_ends(value) {
        let range = FractionRange::new(fraction(first)?, fraction(last)?);
        range.ok().map(Value::from)
    } else {
        unique_list(value, of)
    }
}

#[cfg(feature = "v1_28")]
fn unique_list(value: &glib::Value, of: Type) -> Option<Value> {
    if of != gst::UniqueList::static_type() {
        return None;
    }
    let list = value.get::<gst::UniqueList>().ok()?;
    values(list.as_slice()).map(Value::UniqueList)
}

/// GStreamer has these lists since 1.28.
#[cfg(not(feature = "v1_28"))]
fn unique_list(_: &glib::Value, _: Type) -> Option<Value> {
    None
}

fn fraction((numerator, denominator): (i32, i32)) -> Option<Fraction> {
    Fraction::new(numerator, denominator).ok()
}

/// All values of an array or a list, or none.
fn values(values: &[SendValue]) -> Option<Values> {
    let values = values.iter().map(|one| value(one));
    Values::new(values.collect::<Option<_>>()?).ok()
}

/// A structure. Fields that can't cross are left out.
pub(crate) fn structure(structure: &gst::StructureRef) -> Option<Structure> {
    let name = structure.name();
    let fields = || {
        structure.iter().filter_map(|(field, value)| {
            let converted = self::value(value);
            if converted.is_none() {
                leave_out("field", field, value);
            }
            Some((field.as_str(), converted?))
        })
    };
    let all = fields()
        .map(|(field, value)| (field.into(), value))
        .collect();
    if let Ok(structure) = Structure::from_fields(name, all) {
        return Some(structure);
    }
    // Too much in all: as much as is possible.
    let mut some = Structure::new(name).ok()?;
    for (field, value) in fields() {
        if let Err(why) = some.set(field, value) {
            gst::debug!(crate::log::CAT, "The field {field} is left out: {why}");
        }
    }
    Some(some)
}

fn leave_out(what: &str, name: &str, value: &SendValue) {
    gst::debug!(
        crate::log::CAT,
        "The {what} {name} is left out: a {} cannot cross",
        value.type_()
    );
}

/// Caps, without fields that can't cross.
pub(crate) fn caps(caps: &gst::CapsRef) -> Option<Caps> {
    if caps.is_any() {
        return Some(Caps::ANY);
    }
    let structures = caps.iter_with_features().map(|(structure, features)| {
        let features = if features.is_any() {
            Features::ANY
        } else {
            Features::new(features.iter().map(|feature| feature.as_str())).ok()?
        };
        Some((features, self::structure(structure)?))
    });
    Caps::new(structures.collect::<Option<_>>()?).ok()
}

/// A list of tags, without those that can't cross.
pub(crate) fn tag_list(tags: &gst::TagListRef) -> TagList {
    let mut list = TagList::empty(tags.scope() == gst::TagScope::Global);
    for (name, values) in tags.iter_generic() {
        for tag in values {
            let added = value(tag).map(|value| list.add(name, value));
            if !matches!(added, Some(Ok(()))) {
                leave_out("tag", name, tag);
            }
        }
    }
    list
}

/// The times and the bytes of a buffer. Its metas do not cross.
pub(crate) fn buffer(buffer: &gst::BufferRef) -> Option<Buffer> {
    let mut bytes = Vec::with_capacity(buffer.size());
    for memory in buffer.iter_memories() {
        bytes.extend_from_slice(&memory.map_readable().ok()?);
    }
    Some(Buffer {
        pts: buffer.pts().map(gst::ClockTime::nseconds),
        dts: buffer.dts().map(gst::ClockTime::nseconds),
        duration: buffer.duration().map(gst::ClockTime::nseconds),
        offset: buffer.offset(),
        offset_end: buffer.offset_end(),
        flags: (buffer.flags() - gst::BufferFlags::TAG_MEMORY).bits(),
        bytes,
    })
}

fn sample(sample: &gst::SampleRef) -> Option<Sample> {
    let mut parts = (None, None, None);
    // A sample crosses whole or not at all.
    if let Some(caps) = sample.caps() {
        parts.0 = Some(self::caps(caps)?);
    }
    if let Some(buffer) = sample.buffer() {
        parts.1 = Some(self::buffer(buffer)?);
    }
    if let Some(info) = sample.info() {
        parts.2 = Some(structure(info)?);
    }
    Sample::new(parts.0, parts.1, parts.2).ok()
}

fn date_time(time: &gst::DateTime) -> Option<DateTime> {
    // GStreamer makes no time that is further from UTC than this.
    let is_far = time
        .time_zone_offset()
        .is_some_and(|hours| hours.abs() > 12.0);
    let time = if is_far { &time.to_utc().ok()? } else { time };
    let part = |part: Option<i32>| part.and_then(|part| u32::try_from(part).ok());
    let [month, day, hour, minute, second, microsecond] = [
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.microsecond(),
    ]
    .map(part);
    let precision = match (month, day, hour.zip(minute), second) {
        (None, ..) => Precision::Year,
        (Some(month), None, ..) => Precision::Month(month),
        (Some(month), Some(day), None, _) => Precision::Day(month, day),
        (Some(month), Some(day), Some((hour, minute)), None) => {
            Precision::Minute(month, day, hour, minute)
        }
        (Some(month), Some(day), Some((hour, minute)), Some(second)) => {
            let microsecond = microsecond.unwrap_or(0);
            Precision::Microsecond(month, day, hour, minute, second, microsecond)
        }
    };
    let hours = time.time_zone_offset().unwrap_or(0.0);
    DateTime::new(time.year(), precision, (hours * 60.0).round() as i32).ok()
}

/// A date and time of GLib's.
pub(crate) fn g_date_time(time: &glib::DateTime) -> Option<EpochTime> {
    let ahead = i32::try_from(time.utc_offset().as_seconds()).ok()?;
    let microsecond = u32::try_from(time.microsecond()).ok()?;
    EpochTime::new(time.to_unix(), microsecond, ahead).ok()
}
