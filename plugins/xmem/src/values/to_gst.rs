//! To GStreamer's values. What this process has no type for, or may not learn the name of, is
//! [`DecodeError::Unsupported`]: the bytes of all values have been checked before.

use glib::Type;
use glib::value::{SendValue, ToSendValue};
use xmem_media::DecodeError;
use xmem_media::value::{
    Buffer, Caps, DateTime, EpochTime, Features, Fraction, Precision, Sample, Structure, TagList,
    Value, Values,
};

use super::names::Names;
use super::untyped;

type Result<T> = std::result::Result<T, DecodeError>;

/// A value of a type that is not there, or cannot have it.
const NO_TYPE: DecodeError = DecodeError::Unsupported("a type that this process does not have");
/// A name beyond those that GStreamer may learn.
const NO_NAME: DecodeError = DecodeError::Unsupported("one more name than a user may bring in");

/// What may come of values that are not known here.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    /// The names that this process may learn.
    pub(crate) names: &'a Names,
    /// Fields that are not known here fail, and are not left out.
    is_strict: bool,
}

impl<'a> Rules<'a> {
    /// Fields that are not known here fail.
    pub(crate) fn strict(names: &'a Names) -> Rules<'a> {
        Rules {
            names,
            is_strict: true,
        }
    }

    /// Fields that are not known here are left out.
    pub(crate) fn lenient(names: &'a Names) -> Rules<'a> {
        Rules {
            names,
            is_strict: false,
        }
    }
}

/// A value of any type.
pub(crate) fn value(value: Value, rules: Rules<'_>) -> Result<SendValue> {
    Ok(match value {
        Value::Bool(is) => is.to_send_value(),
        Value::Int(number) => number.to_send_value(),
        Value::Uint(number) => number.to_send_value(),
        Value::Int64(number) => number.to_send_value(),
        Value::Uint64(number) => number.to_send_value(),
        Value::Float(number) => number.to_send_value(),
        Value::Double(number) => number.to_send_value(),
        Value::Char(number) => number.to_send_value(),
        Value::Uchar(number) => number.to_send_value(),
        // Of 32 bits on some machines.
        #[allow(clippy::useless_conversion)]
        Value::Long(number) => glib::ILong(number.try_into().map_err(|_| NO_TYPE)?).to_send_value(),
        #[allow(clippy::useless_conversion)]
        Value::Ulong(number) => {
            glib::ULong(number.try_into().map_err(|_| NO_TYPE)?).to_send_value()
        }
        Value::String(text) => text.as_deref().to_send_value(),
        Value::Strings(texts) => {
            let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
            glib::StrV::from(&texts[..]).to_send_value()
        }
        Value::Fraction(of) => fraction(of).to_send_value(),
        Value::Bitmask(bits) => gst::Bitmask::new(bits).to_send_value(),
        Value::FlagSet(set) => {
            // A set of flags that are not known here is still a set of flags.
            let of = Type::from_name(set.type_name()).unwrap_or(untyped::flag_set_type());
            untyped::flag_set(of, set.bits(), set.mask()).ok_or(NO_TYPE)?
        }
        Value::IntRange(range) => {
            let (first, last, step) = (range.first(), range.last(), range.step());
            gst::IntRange::<i32>::with_step(first, last, step).to_send_value()
        }
        Value::Int64Range(range) => {
            let (first, last, step) = (range.first(), range.last(), range.step());
            gst::IntRange::<i64>::with_step(first, last, step).to_send_value()
        }
        Value::DoubleRange(range) => {
            untyped::double_range(range.first(), range.last()).ok_or(NO_TYPE)?
        }
        Value::FractionRange(range) => {
            gst::FractionRange::new(fraction(range.first()), fraction(range.last())).to_send_value()
        }
        Value::Date(date) => {
            let date = glib::Date::from_julian(date.days()).map_err(|_| NO_TYPE)?;
            date.to_send_value()
        }
        Value::DateTime(time) => date_time(time)?.to_send_value(),
        Value::EpochTime(time) => g_date_time(time)?.to_send_value(),
        Value::Bytes(bytes) => glib::Bytes::from_owned(bytes).to_send_value(),
        Value::Buffer(of) => buffer(*of).to_send_value(),
        Value::Sample(of) => sample(*of, rules)?.to_send_value(),
        Value::Structure(of) => structure(of, rules)?.to_send_value(),
        Value::Caps(of) => caps(of, rules)?.to_send_value(),
        Value::TagList(tags) => tag_list(tags, rules).to_send_value(),
        Value::Array(of) => gst::Array::from_values(values(of, rules)?).to_send_value(),
        Value::List(of) => gst::List::from_values(values(of, rules)?).to_send_value(),
        #[cfg(feature = "v1_28")]
        Value::UniqueList(of) => {
            let values = values(of, rules)?;
            values
                .into_iter()
                .collect::<gst::UniqueList>()
                .to_send_value()
        }
        Value::Enum(of) => {
            let known = Type::from_name(of.type_name()).ok_or(NO_TYPE)?;
            untyped::enumeration(known, of.number()).ok_or(NO_TYPE)?
        }
        Value::Flags(of) => {
            let known = Type::from_name(of.type_name()).ok_or(NO_TYPE)?;
            untyped::flags(known, of.bits()).ok_or(NO_TYPE)?
        }
        _ => return Err(DecodeError::Unsupported("a value of a later version")),
    })
}

/// All values of an array or a list, or none where one is not known here.
fn values(values: Values, rules: Rules<'_>) -> Result<Vec<SendValue>> {
    let values = values.into_iter().map(|one| value(one, rules));
    values.collect()
}

pub(crate) fn fraction(fraction: Fraction) -> gst::Fraction {
    gst::Fraction::new(fraction.numerator(), fraction.denominator())
}

/// A structure, without the fields that are not known here.
pub(crate) fn structure(structure: Structure, rules: Rules<'_>) -> Result<gst::Structure> {
    if !rules.names.admit(structure.name()) {
        return Err(NO_NAME);
    }
    let mut made = gst::Structure::new_empty(structure.name());
    for (field, value) in structure.into_fields() {
        let value = self::value(value, rules).and_then(|value| {
            let is_known = rules.names.admit(&field);
            is_known.then_some(value).ok_or(NO_NAME)
        });
        match value {
            Ok(value) => made.set_value(&*field, value),
            Err(why) if rules.is_strict => return Err(why),
            Err(why) => gst::debug!(crate::log::CAT, "The field {field} is left out: {why}"),
        }
    }
    Ok(made)
}

/// Caps.
pub(crate) fn caps(caps: Caps, rules: Rules<'_>) -> Result<gst::Caps> {
    if caps.is_any() {
        return Ok(gst::Caps::new_any());
    }
    let mut made = gst::Caps::new_empty();
    let content = made.make_mut();
    for (features, structure) in caps.into_structures() {
        let features = self::features(&features, rules)?;
        content.append_structure_full(self::structure(structure, rules)?, features);
    }
    Ok(made)
}

/// The features; `None` for those of system memory.
fn features(features: &Features, rules: Rules<'_>) -> Result<Option<gst::CapsFeatures>> {
    if features.is_any() {
        return Ok(Some(gst::CapsFeatures::new_any()));
    }
    if features.is_system_memory() {
        return Ok(None);
    }
    let mut made = gst::CapsFeatures::new_empty();
    for feature in features.names() {
        if !rules.names.admit(feature) {
            return Err(NO_NAME);
        }
        made.add(feature);
    }
    Ok(Some(made))
}

/// A list of tags, without those that are not known here.
pub(crate) fn tag_list(tags: TagList, rules: Rules<'_>) -> gst::TagList {
    let mut made = gst::TagList::new();
    let content = made.make_mut();
    content.set_scope(if tags.is_global() {
        gst::TagScope::Global
    } else {
        gst::TagScope::Stream
    });
    for (name, values) in tags.into_tags() {
        let of = gst::tags::tag_exists(&*name).then(|| gst::tags::tag_get_type(&*name));
        for value in values {
            match value_of(of, value, rules) {
                Some(value) => {
                    let mode = gst::TagMergeMode::Append;
                    let _ = content.add_value(&*name, &value, mode);
                }
                None => gst::debug!(crate::log::CAT, "The tag {name} is not known here"),
            }
        }
    }
    made
}

/// A tag's value, where the tag is known and the value is of its type.
fn value_of(of: Option<Type>, value: Value, rules: Rules<'_>) -> Option<SendValue> {
    let value = self::value(value, rules).ok()?;
    let fits = of == Some(value.type_()) && !untyped::is_empty_string(&value);
    fits.then_some(value)
}

/// A buffer.
pub(crate) fn buffer(buffer: Buffer) -> gst::Buffer {
    let mut made = if buffer.bytes.is_empty() {
        gst::Buffer::new()
    } else {
        gst::Buffer::from_slice(buffer.bytes)
    };
    let content = made.make_mut();
    content.set_pts(buffer.pts.map(gst::ClockTime::from_nseconds));
    content.set_dts(buffer.dts.map(gst::ClockTime::from_nseconds));
    content.set_duration(buffer.duration.map(gst::ClockTime::from_nseconds));
    content.set_offset(buffer.offset);
    content.set_offset_end(buffer.offset_end);
    let flags = gst::BufferFlags::from_bits_truncate(buffer.flags);
    content.set_flags(flags - gst::BufferFlags::TAG_MEMORY);
    made
}

fn sample(sample: Sample, rules: Rules<'_>) -> Result<gst::Sample> {
    let (caps, buffer, info) = sample.into_parts();
    let caps = caps.map(|of| self::caps(of, rules)).transpose()?;
    let buffer = buffer.map(self::buffer);
    let info = info.map(|of| structure(of, rules)).transpose()?;
    Ok(gst::Sample::builder()
        .caps_if_some(caps.as_ref())
        .buffer_if_some(buffer.as_ref())
        .info_if_some(info)
        .build())
}

fn date_time(time: DateTime) -> Result<gst::DateTime> {
    use Precision as P;
    let year = time.year();
    let hours = time.offset() as f32 / 60.0;
    let full = |[month, day, hour, minute]: [u32; 4], seconds: Option<f64>| {
        let [month, day, hour, minute] = [month, day, hour, minute].map(|part| part as i32);
        gst::DateTime::new(hours, year, month, day, hour, minute, seconds)
    };
    let made = match time.precision() {
        P::Year => gst::DateTime::from_y(year),
        P::Month(month) => gst::DateTime::from_ym(year, month as i32),
        P::Day(month, day) => gst::DateTime::from_ymd(year, month as i32, day as i32),
        P::Minute(month, day, hour, minute) => full([month, day, hour, minute], None),
        P::Microsecond(month, day, hour, minute, second, microsecond) => {
            // GStreamer cuts it off after the sixth digit.
            let seconds = f64::from(second) + (f64::from(microsecond) + 0.25) / 1e6;
            full([month, day, hour, minute], Some(seconds))
        }
    };
    made.map_err(|_| NO_TYPE)
}

/// A date and time of GLib's.
pub(crate) fn g_date_time(time: EpochTime) -> Result<glib::DateTime> {
    let (sign, ahead) = if time.offset() < 0 {
        ('-', time.offset().unsigned_abs())
    } else {
        ('+', time.offset().unsigned_abs())
    };
    let (hour, minute) = (ahead / 3600, ahead / 60 % 60);
    let zone = format!("{sign}{hour:02}:{minute:02}:{:02}", ahead % 60);
    // What is said to be used instead is not in all versions of GLib.
    #[allow(deprecated)]
    let zone = glib::TimeZone::new(Some(&zone));
    let made = glib::DateTime::from_unix_utc(time.seconds())
        .and_then(|made| made.add(glib::TimeSpan(time.microsecond().into())))
        .and_then(|made| made.to_timezone(&zone));
    made.map_err(|_| NO_TYPE)
}
