//! From another process's bytes to GStreamer's values.

use gst::glib::translate::IntoGlib;
use gst::glib::value::{SendValue, ToSendValue};
use gst::glib::{self, Type};

use super::names::{Names, Told, is_feature_name, is_structure_name};
use super::{
    DAY, DAYS, MAX_DEPTH, MAX_FEATURES, MAX_FIELDS, MAX_TAG_VALUES, MAX_VALUES, are_of_one_type,
    kind, untyped,
};

/// Why something could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// No writer writes this.
    Broken,
    /// It is not known here: an enum of a library that is not loaded, a kind of a later version.
    /// What follows it can be read.
    Unknown,
}

type Result<T> = std::result::Result<T, Unreadable>;

/// Reads from the front of bytes, and checks everything.
///
/// Takes memory in proportion to the bytes, and to [`MAX_VALUES`].
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    names: &'a Names,
    values: u32,
    depth: u32,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(content: impl Into<Told<'a>>) -> Reader<'a> {
        let Told { bytes, names } = content.into();
        Reader {
            bytes,
            names,
            values: MAX_VALUES,
            depth: 0,
        }
    }

    /// Whether all has been read.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (first, rest) = self.bytes.split_first_chunk().ok_or(Unreadable::Broken)?;
        self.bytes = rest;
        Ok(*first)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn f32(&mut self) -> Result<f32> {
        self.array().map(f32::from_le_bytes)
    }

    pub(crate) fn f64(&mut self) -> Result<f64> {
        self.array().map(f64::from_le_bytes)
    }

    /// `u32`, 0 or 1.
    pub(crate) fn bool(&mut self) -> Result<bool> {
        match self.u32()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Unreadable::Broken),
        }
    }

    /// A time in nanoseconds, or none.
    pub(crate) fn time(&mut self) -> Result<Option<gst::ClockTime>> {
        let time = self.u64()?;
        Ok((time != u64::MAX).then(|| gst::ClockTime::from_nseconds(time)))
    }

    /// So many bytes.
    pub(crate) fn raw(&mut self, length: usize) -> Result<&'a [u8]> {
        let (first, rest) = self
            .bytes
            .split_at_checked(length)
            .ok_or(Unreadable::Broken)?;
        self.bytes = rest;
        Ok(first)
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    /// Bytes that their number stands before.
    pub(crate) fn blob(&mut self) -> Result<&'a [u8]> {
        let length = self.u32()? as usize;
        self.raw(length)
    }

    /// A text, without a zero.
    pub(crate) fn text(&mut self) -> Result<&'a str> {
        text(self.blob()?)
    }

    /// How many things of at least `size` bytes follow: no more than there is room for.
    pub(crate) fn count(&mut self, size: usize) -> Result<usize> {
        let count = self.u32()? as usize;
        match count <= self.bytes.len() / size {
            true => Ok(count),
            false => Err(Unreadable::Broken),
        }
    }

    /// A record: `body` gets its kind, and reads of it alone. What it leaves is skipped, also where
    /// it fails.
    pub(crate) fn record<T, E: From<Unreadable>>(
        &mut self,
        body: impl FnOnce(&mut Self, u32) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let kind = self.u32()?;
        let bytes = self.blob()?;
        if self.depth == MAX_DEPTH {
            return Err(Unreadable::Broken.into());
        }
        let rest = std::mem::replace(&mut self.bytes, bytes);
        self.depth += 1;
        let outcome = body(self, kind);
        self.depth -= 1;
        self.bytes = rest;
        outcome
    }

    /// A record that has to be of this kind.
    fn record_of<T>(&mut self, of: u32, body: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.record(|reader, kind| match kind == of {
            true => body(reader),
            false => Err(Unreadable::Broken),
        })
    }

    fn take(&mut self) -> Result<()> {
        self.values = self.values.checked_sub(1).ok_or(Unreadable::Broken)?;
        Ok(())
    }

    /// A structure, without the fields that are not known here.
    pub(crate) fn structure(&mut self) -> Result<gst::Structure> {
        self.take()?;
        self.record_of(kind::STRUCTURE, Self::structure_body)
    }

    /// Caps.
    pub(crate) fn caps(&mut self) -> Result<gst::Caps> {
        self.take()?;
        self.record_of(kind::CAPS, Self::caps_body)
    }

    /// A list of tags, without those that are not known here.
    pub(crate) fn tag_list(&mut self) -> Result<gst::TagList> {
        self.take()?;
        self.record_of(kind::TAG_LIST, Self::tag_list_body)
    }

    /// A buffer.
    pub(crate) fn buffer(&mut self) -> Result<gst::Buffer> {
        self.take()?;
        self.record_of(kind::BUFFER, Self::buffer_body)
    }

    /// A date and time of GLib's.
    pub(crate) fn g_date_time(&mut self) -> Result<glib::DateTime> {
        self.take()?;
        self.record_of(kind::G_DATE_TIME, Self::g_date_time_body)
    }

    /// Whether GStreamer may be told this name, which it will never forget.
    pub(crate) fn admits(&self, name: &str) -> bool {
        self.names.admit(name)
    }

    /// A value of any type.
    pub(crate) fn value(&mut self) -> Result<SendValue> {
        self.take()?;
        self.record(|reader, kind| {
            Ok(match kind {
                kind::BOOL => reader.bool()?.to_send_value(),
                kind::INT => reader.i32()?.to_send_value(),
                kind::UINT => reader.u32()?.to_send_value(),
                kind::INT64 => reader.i64()?.to_send_value(),
                kind::UINT64 => reader.u64()?.to_send_value(),
                kind::FLOAT => reader.f32()?.to_send_value(),
                kind::DOUBLE => reader.f64()?.to_send_value(),
                kind::LONG => {
                    // Of 32 bits on some machines.
                    #[allow(clippy::useless_conversion)]
                    let number = reader.i64()?.try_into().map_err(|_| Unreadable::Unknown)?;
                    glib::ILong(number).to_send_value()
                }
                kind::ULONG => {
                    // Of 32 bits on some machines.
                    #[allow(clippy::useless_conversion)]
                    let number = reader.u64()?.try_into().map_err(|_| Unreadable::Unknown)?;
                    glib::ULong(number).to_send_value()
                }
                kind::CHAR => {
                    let number = i8::try_from(reader.i32()?).map_err(|_| Unreadable::Broken)?;
                    number.to_send_value()
                }
                kind::UCHAR => {
                    let number = u8::try_from(reader.u32()?).map_err(|_| Unreadable::Broken)?;
                    number.to_send_value()
                }
                kind::STRING => text(reader.rest())?.to_send_value(),
                kind::NO_STRING => None::<&str>.to_send_value(),
                kind::FRACTION => reader.fraction()?.to_send_value(),
                kind::BITMASK => gst::Bitmask::new(reader.u64()?).to_send_value(),
                kind::FLAG_SET => {
                    let of = reader.type_name()?;
                    let (bits, mask) = (reader.u32()?, reader.u32()?);
                    // A set of flags that are not known here is still a set of flags.
                    let of = Type::from_name(of).unwrap_or(untyped::flag_set_type());
                    untyped::flag_set(of, bits, mask).ok_or(Unreadable::Broken)?
                }
                kind::INT_RANGE => {
                    let (first, last, step) = (reader.i32()?, reader.i32()?, reader.i32()?);
                    if first >= last || step <= 0 || first % step != 0 || last % step != 0 {
                        return Err(Unreadable::Broken);
                    }
                    gst::IntRange::<i32>::with_step(first, last, step).to_send_value()
                }
                kind::INT64_RANGE => {
                    let (first, last, step) = (reader.i64()?, reader.i64()?, reader.i64()?);
                    if first >= last || step <= 0 || first % step != 0 || last % step != 0 {
                        return Err(Unreadable::Broken);
                    }
                    gst::IntRange::<i64>::with_step(first, last, step).to_send_value()
                }
                kind::DOUBLE_RANGE => {
                    let (first, last) = (reader.f64()?, reader.f64()?);
                    untyped::double_range(first, last).ok_or(Unreadable::Broken)?
                }
                kind::FRACTION_RANGE => {
                    let (first, last) = (reader.fraction()?, reader.fraction()?);
                    if first >= last {
                        return Err(Unreadable::Broken);
                    }
                    gst::FractionRange::new(first, last).to_send_value()
                }
                kind::DATE => reader.date()?.to_send_value(),
                kind::DATE_TIME => reader.date_time()?.to_send_value(),
                kind::G_DATE_TIME => reader.g_date_time_body()?.to_send_value(),
                kind::CAPS => reader.caps_body()?.to_send_value(),
                kind::BYTES => glib::Bytes::from(reader.rest()).to_send_value(),
                kind::BUFFER => reader.buffer_body()?.to_send_value(),
                kind::SAMPLE => reader.sample()?.to_send_value(),
                kind::STRUCTURE => reader.structure_body()?.to_send_value(),
                kind::ARRAY => gst::Array::from_values(reader.values()?).to_send_value(),
                kind::LIST => gst::List::from_values(reader.values()?).to_send_value(),
                kind::TAG_LIST => reader.tag_list_body()?.to_send_value(),
                kind::ENUM => {
                    let of = Type::from_name(reader.type_name()?).ok_or(Unreadable::Unknown)?;
                    let number = reader.i32()?;
                    untyped::enumeration(of, number).ok_or(Unreadable::Unknown)?
                }
                kind::FLAGS => {
                    let of = Type::from_name(reader.type_name()?).ok_or(Unreadable::Unknown)?;
                    let bits = reader.u32()?;
                    untyped::flags(of, bits).ok_or(Unreadable::Unknown)?
                }
                kind::STRINGS => {
                    let count = reader.count(4)?;
                    let strings = (0..count).map(|_| {
                        reader.take()?;
                        reader.text()
                    });
                    let strings = strings.collect::<Result<Vec<_>>>()?;
                    glib::StrV::from(&strings[..]).to_send_value()
                }
                _ => return Err(Unreadable::Unknown),
            })
        })
    }

    /// All values of an array or a list, or none where one is not known here.
    fn values(&mut self) -> Result<Vec<SendValue>> {
        let mut values = Vec::new();
        for _ in 0..self.count(8)? {
            values.push(self.value()?);
        }
        match are_of_one_type(&values) {
            true => Ok(values),
            false => Err(Unreadable::Broken),
        }
    }

    fn type_name(&mut self) -> Result<&'a str> {
        let name = self.text()?;
        match name.is_empty() || name.len() > Names::MAX_BYTES {
            true => Err(Unreadable::Broken),
            false => Ok(name),
        }
    }

    /// A fraction, as two numbers.
    pub(crate) fn fraction(&mut self) -> Result<gst::Fraction> {
        let (numerator, denominator) = (self.i32()?, self.i32()?);
        match numerator == i32::MIN || denominator <= 0 {
            true => Err(Unreadable::Broken),
            false => Ok(gst::Fraction::new(numerator, denominator)),
        }
    }

    fn date(&mut self) -> Result<glib::Date> {
        let day = self.u32()?;
        match DAYS.contains(&day) {
            true => glib::Date::from_julian(day).map_err(|_| Unreadable::Broken),
            false => Err(Unreadable::Broken),
        }
    }

    fn date_time(&mut self) -> Result<gst::DateTime> {
        let year = self.i32()?;
        let mut parts = [None; 6];
        for part in &mut parts {
            let number = self.i32()?;
            *part = (number != -1).then_some(number);
        }
        let [month, day, hour, minute, second, microsecond] = parts;
        let minutes = self.i32()?;
        let broken = Unreadable::Broken;
        if !(-720..=720).contains(&minutes)
            || microsecond.is_some_and(|of| !(0..1_000_000).contains(&of))
        {
            return Err(broken);
        }
        let seconds = second.map(|second| {
            // It is cut off after the sixth digit.
            f64::from(second) + (f64::from(microsecond.unwrap_or(0)) + 0.25) / 1e6
        });
        let date_time = match (month, day, hour) {
            (None, None, None) => gst::DateTime::from_y(year),
            (Some(month), None, None) => gst::DateTime::from_ym(year, month),
            (Some(month), Some(day), None) => gst::DateTime::from_ymd(year, month, day),
            _ => {
                let hours = minutes as f32 / 60.0;
                gst::DateTime::new(hours, year, month, day, hour, minute, seconds)
            }
        };
        date_time.map_err(|_| broken)
    }

    fn g_date_time_body(&mut self) -> Result<glib::DateTime> {
        let (seconds, microsecond) = (self.i64()?, self.i32()?);
        let ahead = self.i32()?;
        if !(0..1_000_000).contains(&microsecond) || ahead.unsigned_abs() >= DAY {
            return Err(Unreadable::Broken);
        }
        let (sign, ahead) = (if ahead < 0 { '-' } else { '+' }, ahead.unsigned_abs());
        let (hour, minute) = (ahead / 3600, ahead / 60 % 60);
        let zone = format!("{sign}{hour:02}:{minute:02}:{:02}", ahead % 60);
        // What is said to be used instead is not in all versions of GLib.
        #[allow(deprecated)]
        let zone = glib::TimeZone::new(Some(&zone));
        let date_time = glib::DateTime::from_unix_utc(seconds)
            .and_then(|time| time.add(glib::TimeSpan(microsecond.into())))
            .and_then(|time| time.to_timezone(&zone));
        date_time.map_err(|_| Unreadable::Broken)
    }

    fn buffer_body(&mut self) -> Result<gst::Buffer> {
        let (pts, dts, duration) = (self.time()?, self.time()?, self.time()?);
        let (offset, offset_end) = (self.u64()?, self.u64()?);
        let flags = gst::BufferFlags::from_bits_truncate(self.u32()?);
        let bytes = self.rest();
        let mut buffer = match bytes.is_empty() {
            true => gst::Buffer::new(),
            false => gst::Buffer::from_slice(bytes.to_vec()),
        };
        let content = buffer.make_mut();
        content.set_pts(pts);
        content.set_dts(dts);
        content.set_duration(duration);
        content.set_offset(offset);
        content.set_offset_end(offset_end);
        content.set_flags(flags - gst::BufferFlags::TAG_MEMORY);
        Ok(buffer)
    }

    fn sample(&mut self) -> Result<gst::Sample> {
        let parts = self.u32()?;
        let has = |part| parts & part != 0;
        let caps = has(1).then(|| self.caps()).transpose()?;
        let buffer = has(2).then(|| self.buffer()).transpose()?;
        let info = has(4).then(|| self.structure()).transpose()?;
        Ok(gst::Sample::builder()
            .caps_if_some(caps.as_ref())
            .buffer_if_some(buffer.as_ref())
            .info_if_some(info)
            .build())
    }

    fn structure_body(&mut self) -> Result<gst::Structure> {
        let name = self.text()?;
        if !is_structure_name(name) {
            return Err(Unreadable::Broken);
        }
        if !self.names.admit(name) {
            return Err(Unreadable::Unknown);
        }
        let mut structure = gst::Structure::new_empty(name);
        // The shortest have a name without bytes, and a value without any.
        let fields = self.count(12)?;
        if fields > MAX_FIELDS {
            return Err(Unreadable::Broken);
        }
        for _ in 0..fields {
            let name = self.text()?;
            if name.is_empty() {
                return Err(Unreadable::Broken);
            }
            match self.value() {
                Ok(value) if self.names.admit(name) => structure.set_value(name, value),
                Ok(_) | Err(Unreadable::Unknown) => {
                    gst::debug!(crate::CAT, "The field {name} is not known here");
                }
                Err(Unreadable::Broken) => return Err(Unreadable::Broken),
            }
        }
        Ok(structure)
    }

    fn caps_body(&mut self) -> Result<gst::Caps> {
        if self.bool()? {
            return Ok(gst::Caps::new_any());
        }
        let mut caps = gst::Caps::new_empty();
        let content = caps.make_mut();
        for _ in 0..self.count(8)? {
            let features = self.record_of(kind::FEATURES, Self::features_body)?;
            let structure = self.structure()?;
            content.append_structure_full(structure, Some(features));
        }
        Ok(caps)
    }

    fn features_body(&mut self) -> Result<gst::CapsFeatures> {
        if self.bool()? {
            return Ok(gst::CapsFeatures::new_any());
        }
        let mut features = gst::CapsFeatures::new_empty();
        let count = self.count(4)?;
        if count > MAX_FEATURES {
            return Err(Unreadable::Broken);
        }
        for _ in 0..count {
            let feature = self.text()?;
            if !is_feature_name(feature) {
                return Err(Unreadable::Broken);
            }
            if !self.names.admit(feature) {
                return Err(Unreadable::Unknown);
            }
            features.add(feature);
        }
        Ok(features)
    }

    fn tag_list_body(&mut self) -> Result<gst::TagList> {
        let mut tags = gst::TagList::new();
        let content = tags.make_mut();
        content.set_scope(match self.bool()? {
            true => gst::TagScope::Global,
            false => gst::TagScope::Stream,
        });
        let count = self.count(8)?;
        if count > MAX_FIELDS {
            return Err(Unreadable::Broken);
        }
        for _ in 0..count {
            let name = self.text()?;
            let values = self.count(8)?;
            if values > MAX_TAG_VALUES {
                return Err(Unreadable::Broken);
            }
            let of = gst::tags::tag_exists(name).then(|| gst::tags::tag_get_type(name));
            if of.is_some() && content.size_by_name(name) > 0 {
                return Err(Unreadable::Broken);
            }
            for _ in 0..values {
                match self.value() {
                    Ok(value) if of == Some(value.type_()) && !is_empty_string(&value) => {
                        let mode = gst::TagMergeMode::Append;
                        let _ = content.add_value(name, &value, mode);
                    }
                    Ok(_) | Err(Unreadable::Unknown) => {
                        gst::debug!(crate::CAT, "The tag {name} is not known here");
                    }
                    Err(Unreadable::Broken) => return Err(Unreadable::Broken),
                }
            }
        }
        Ok(tags)
    }
}

/// The one of these that has this number.
pub(crate) fn one_of<T: Copy + IntoGlib<GlibType = i32>>(all: &[T], number: i32) -> Result<T> {
    let one = all.iter().find(|one| one.into_glib() == number);
    one.copied().ok_or(Unreadable::Broken)
}

/// GStreamer wants no such strings as tags.
fn is_empty_string(value: &SendValue) -> bool {
    value.type_() == Type::STRING
        && untyped::string(value).is_ok_and(|text| text.is_none_or(str::is_empty))
}

fn text(bytes: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::Broken)?;
    match text.contains('\0') {
        true => Err(Unreadable::Broken),
        false => Ok(text),
    }
}
