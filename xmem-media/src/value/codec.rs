//! Values to and from bytes: each is a record, whose kind says what it holds.

use super::buffer::Buffer;
use super::features::Features;
use super::kind;
use super::number::{DoubleRange, Fraction, FractionRange, IntRange};
use super::text::Text;
use super::time::{Date, DateTime, EpochTime, Precision};
use super::typed::{EnumValue, FlagSet, FlagsValue};
use super::types::{Caps, Sample, Size, Structure, TagList, Unknown, Value, Values};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{DecodeError, InvalidValue};
use crate::limits::{MAX_FEATURES, MAX_FIELDS, MAX_TAG_VALUES};

type Result<T> = std::result::Result<T, DecodeError>;

/// Defines how a type is read and written by itself, and as bytes that hold nothing else.
macro_rules! standalone {
    ($($of:ident: $kind:expr, $read:ident, $write:ident;)*) => {$(
        impl $of {
            /// Reads one.
            ///
            /// # Errors
            /// [`DecodeError`] where the bytes are none.
            pub fn decode(decoder: &mut Decoder<'_>) -> Result<$of> {
                decoder.apart(|decoder| nested(decoder, $kind, $read))
            }

            /// Writes it, as a record; `None` where the encoder has written too many values, or this
            /// takes more than 4 GiB.
            pub fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
                encoder.count_values(self.size().values)?;
                encoder.apart(|encoder| encoder.record($kind, |encoder| $write(self, encoder)))
            }

            /// Reads bytes that hold one.
            ///
            /// # Errors
            /// [`DecodeError`] where the bytes are none, or more than one.
            pub fn from_bytes(bytes: &[u8]) -> Result<$of> {
                let mut decoder = Decoder::new(bytes);
                let read = Self::decode(&mut decoder)?;
                if decoder.is_empty() {
                    Ok(read)
                } else {
                    Err(DecodeError::Invalid("there are bytes after the value"))
                }
            }

            /// Its bytes.
            ///
            /// # Errors
            /// [`InvalidValue`] where these are more than 4 GiB.
            pub fn to_bytes(&self) -> std::result::Result<Vec<u8>, InvalidValue> {
                let mut bytes = Vec::new();
                match self.encode(&mut Encoder::new(&mut bytes)) {
                    Some(()) => Ok(bytes),
                    None => Err(InvalidValue("a value takes 4 GiB at most")),
                }
            }
        }
    )*};
}

standalone! {
    Structure: kind::STRUCTURE, read_structure, write_structure;
    Caps: kind::CAPS, read_caps, write_caps;
    TagList: kind::TAG_LIST, read_tags, write_tags;
    Buffer: kind::BUFFER, read_buffer, write_buffer;
    EpochTime: kind::EPOCH_TIME, read_epoch_time, write_epoch_time;
}

impl Buffer {
    fn size(&self) -> Size {
        Size::ONE
    }
}

impl EpochTime {
    fn size(&self) -> Size {
        Size::ONE
    }
}

impl Fraction {
    /// Reads a fraction: two numbers, without a record.
    ///
    /// # Errors
    /// [`DecodeError`] where they are none.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Fraction> {
        Ok(Fraction::new(decoder.i32()?, decoder.i32()?)?)
    }

    /// Writes the fraction: two numbers, without a record.
    pub fn encode(self, encoder: &mut Encoder<'_>) {
        encoder.i32(self.numerator());
        encoder.i32(self.denominator());
    }
}

/// Reads a value of one kind, within another or by itself.
fn nested<T>(
    decoder: &mut Decoder<'_>,
    kind: u32,
    read: impl FnOnce(&mut Decoder<'_>) -> Result<T>,
) -> Result<T> {
    decoder.count_value()?;
    decoder.record_of(kind, read)
}

/// Reads a value.
pub(super) fn value(decoder: &mut Decoder<'_>) -> Result<Value> {
    decoder.count_value()?;
    decoder.record(|decoder, kind| {
        Ok(match kind {
            kind::BOOL => decoder.bool()?.into(),
            kind::INT => decoder.i32()?.into(),
            kind::UINT => decoder.u32()?.into(),
            kind::INT64 => decoder.i64()?.into(),
            kind::UINT64 => decoder.u64()?.into(),
            kind::FLOAT => decoder.f32()?.into(),
            kind::DOUBLE => decoder.f64()?.into(),
            kind::LONG => Value::Long(decoder.i64()?),
            kind::ULONG => Value::Ulong(decoder.u64()?),
            kind::CHAR => {
                let out_of_range = |_| DecodeError::Invalid("a char is -128 to 127");
                i8::try_from(decoder.i32()?).map_err(out_of_range)?.into()
            }
            kind::UCHAR => {
                let out_of_range = |_| DecodeError::Invalid("an unsigned char is 0 to 255");
                u8::try_from(decoder.u32()?).map_err(out_of_range)?.into()
            }
            kind::STRING => Value::String(Some(Text::new(decoder.rest_text()?)?)),
            kind::NO_STRING => Value::String(None),
            kind::STRINGS => Value::Strings(read_strings(decoder)?),
            kind::FRACTION => Fraction::decode(decoder)?.into(),
            kind::BITMASK => Value::Bitmask(decoder.u64()?),
            kind::FLAG_SET => {
                let of = decoder.text()?;
                FlagSet::new(of, decoder.u32()?, decoder.u32()?)?.into()
            }
            kind::INT_RANGE => {
                IntRange::<i32>::new(decoder.i32()?, decoder.i32()?, decoder.i32()?)?.into()
            }
            kind::INT64_RANGE => {
                IntRange::<i64>::new(decoder.i64()?, decoder.i64()?, decoder.i64()?)?.into()
            }
            kind::DOUBLE_RANGE => DoubleRange::new(decoder.f64()?, decoder.f64()?)?.into(),
            kind::FRACTION_RANGE => {
                let (first, last) = (Fraction::decode(decoder)?, Fraction::decode(decoder)?);
                FractionRange::new(first, last)?.into()
            }
            kind::DATE => Date::from_days(decoder.u32()?)?.into(),
            kind::DATE_TIME => read_date_time(decoder)?.into(),
            kind::EPOCH_TIME => read_epoch_time(decoder)?.into(),
            kind::BYTES => Value::Bytes(decoder.rest().to_vec()),
            kind::BUFFER => read_buffer(decoder)?.into(),
            kind::SAMPLE => read_sample(decoder)?.into(),
            kind::STRUCTURE => read_structure(decoder)?.into(),
            kind::CAPS => read_caps(decoder)?.into(),
            kind::TAG_LIST => read_tags(decoder)?.into(),
            kind::ARRAY => Value::Array(read_values(decoder)?),
            kind::LIST => Value::List(read_values(decoder)?),
            kind::UNIQUE_LIST => Value::UniqueList(read_values(decoder)?),
            kind::ENUM => EnumValue::new(decoder.text()?, decoder.i32()?)?.into(),
            kind::FLAGS => FlagsValue::new(decoder.text()?, decoder.u32()?)?.into(),
            // A record that only ever stands within caps.
            kind::FEATURES => return Err(DecodeError::Invalid("features are no value")),
            kind => Value::Unknown(Unknown::new(kind, decoder.rest())?),
        })
    })
}

/// Writes a value that the encoder has counted.
pub(super) fn write(value: &Value, encoder: &mut Encoder<'_>) -> Option<()> {
    encoder.record(value.kind(), |encoder| {
        match value {
            Value::Bool(is) => encoder.u32((*is).into()),
            Value::Int(number) => encoder.i32(*number),
            Value::Uint(number) => encoder.u32(*number),
            Value::Int64(number) | Value::Long(number) => encoder.i64(*number),
            Value::Uint64(number) | Value::Ulong(number) | Value::Bitmask(number) => {
                encoder.u64(*number);
            }
            Value::Float(number) => encoder.f32(*number),
            Value::Double(number) => encoder.f64(*number),
            Value::Char(number) => encoder.i32((*number).into()),
            Value::Uchar(number) => encoder.u32((*number).into()),
            Value::String(Some(text)) => encoder.raw(text.as_bytes()),
            Value::String(None) => {}
            Value::Strings(texts) => {
                encoder.count(texts.len())?;
                texts.iter().try_for_each(|text| encoder.text(text))?;
            }
            Value::Fraction(fraction) => fraction.encode(encoder),
            Value::FlagSet(set) => {
                encoder.text(set.type_name())?;
                encoder.u32(set.bits());
                encoder.u32(set.mask());
            }
            Value::IntRange(range) => {
                for number in [range.first(), range.last(), range.step()] {
                    encoder.i32(number);
                }
            }
            Value::Int64Range(range) => {
                for number in [range.first(), range.last(), range.step()] {
                    encoder.i64(number);
                }
            }
            Value::DoubleRange(range) => {
                encoder.f64(range.first());
                encoder.f64(range.last());
            }
            Value::FractionRange(range) => {
                range.first().encode(encoder);
                range.last().encode(encoder);
            }
            Value::Date(date) => encoder.u32(date.days()),
            Value::DateTime(time) => write_date_time(*time, encoder),
            Value::EpochTime(time) => write_epoch_time(time, encoder)?,
            Value::Bytes(bytes) => encoder.raw(bytes),
            Value::Buffer(buffer) => write_buffer(buffer, encoder)?,
            Value::Sample(sample) => write_sample(sample, encoder)?,
            Value::Structure(structure) => write_structure(structure, encoder)?,
            Value::Caps(caps) => write_caps(caps, encoder)?,
            Value::TagList(tags) => write_tags(tags, encoder)?,
            Value::Array(values) | Value::List(values) | Value::UniqueList(values) => {
                encoder.count(values.len())?;
                values.iter().try_for_each(|value| write(value, encoder))?;
            }
            Value::Enum(value) => {
                encoder.text(value.type_name())?;
                encoder.i32(value.number());
            }
            Value::Flags(value) => {
                encoder.text(value.type_name())?;
                encoder.u32(value.bits());
            }
            Value::Unknown(unknown) => encoder.raw(unknown.bytes()),
        }
        Some(())
    })
}

fn read_strings(decoder: &mut Decoder<'_>) -> Result<Vec<Text>> {
    let count = decoder.count(4)?;
    let texts = (0..count).map(|_| {
        decoder.count_value()?;
        Ok(Text::new(decoder.text()?)?)
    });
    texts.collect()
}

fn read_values(decoder: &mut Decoder<'_>) -> Result<Values> {
    let mut values = Vec::new();
    for _ in 0..decoder.count(8)? {
        values.push(value(decoder)?);
    }
    Ok(Values::new(values)?)
}

fn read_date_time(decoder: &mut Decoder<'_>) -> Result<DateTime> {
    use Precision as P;
    let year = decoder.i32()?;
    let mut parts = [None; 6];
    for part in &mut parts {
        let number = decoder.i32()?;
        let out_of_range = |_| DecodeError::Invalid("a part of a time is not below 0");
        if number != -1 {
            *part = Some(u32::try_from(number).map_err(out_of_range)?);
        }
    }
    let precision = match parts {
        [None, None, None, None, None, None] => P::Year,
        [Some(month), None, None, None, None, None] => P::Month(month),
        [Some(month), Some(day), None, None, None, None] => P::Day(month, day),
        [Some(month), Some(day), Some(hour), Some(minute), None, None] => {
            P::Minute(month, day, hour, minute)
        }
        [
            Some(month),
            Some(day),
            Some(hour),
            Some(minute),
            Some(second),
            part,
        ] => P::Microsecond(month, day, hour, minute, second, part.unwrap_or(0)),
        _ => return Err(DecodeError::Invalid("a time is known from the year on")),
    };
    Ok(DateTime::new(year, precision, decoder.i32()?)?)
}

fn write_date_time(time: DateTime, encoder: &mut Encoder<'_>) {
    use Precision as P;
    let known: &[u32] = match time.precision() {
        P::Year => &[],
        P::Month(month) => &[month],
        P::Day(month, day) => &[month, day],
        P::Minute(month, day, hour, minute) => &[month, day, hour, minute],
        P::Microsecond(month, day, hour, minute, second, microsecond) => {
            &[month, day, hour, minute, second, microsecond]
        }
    };
    encoder.i32(time.year());
    for at in 0..6 {
        encoder.i32(known.get(at).map_or(-1, |part| *part as i32));
    }
    encoder.i32(time.offset());
}

fn read_epoch_time(decoder: &mut Decoder<'_>) -> Result<EpochTime> {
    Ok(EpochTime::new(
        decoder.i64()?,
        decoder.u32()?,
        decoder.i32()?,
    )?)
}

fn write_epoch_time(time: &EpochTime, encoder: &mut Encoder<'_>) -> Option<()> {
    encoder.i64(time.seconds());
    encoder.u32(time.microsecond());
    encoder.i32(time.offset());
    Some(())
}

fn read_buffer(decoder: &mut Decoder<'_>) -> Result<Buffer> {
    Ok(Buffer {
        pts: decoder.time()?,
        dts: decoder.time()?,
        duration: decoder.time()?,
        offset: decoder.u64()?,
        offset_end: decoder.u64()?,
        flags: decoder.u32()?,
        bytes: decoder.rest().to_vec(),
    })
}

fn write_buffer(buffer: &Buffer, encoder: &mut Encoder<'_>) -> Option<()> {
    for time in [buffer.pts, buffer.dts, buffer.duration] {
        encoder.time(time);
    }
    encoder.u64(buffer.offset);
    encoder.u64(buffer.offset_end);
    encoder.u32(buffer.flags);
    encoder.raw(&buffer.bytes);
    Some(())
}

fn read_sample(decoder: &mut Decoder<'_>) -> Result<Sample> {
    let parts = decoder.u32()?;
    let mut caps = None;
    if parts & 1 != 0 {
        caps = Some(nested(decoder, kind::CAPS, read_caps)?);
    }
    let mut buffer = None;
    if parts & 2 != 0 {
        buffer = Some(nested(decoder, kind::BUFFER, read_buffer)?);
    }
    let mut info = None;
    if parts & 4 != 0 {
        info = Some(nested(decoder, kind::STRUCTURE, read_structure)?);
    }
    Ok(Sample::new(caps, buffer, info)?)
}

fn write_sample(sample: &Sample, encoder: &mut Encoder<'_>) -> Option<()> {
    let (caps, buffer, info) = (sample.caps(), sample.buffer(), sample.info());
    let parts = [caps.is_some(), buffer.is_some(), info.is_some()];
    let bits = parts.iter().rev();
    encoder.u32(bits.fold(0, |all, &is| all << 1 | u32::from(is)));
    if let Some(caps) = caps {
        encoder.record(kind::CAPS, |encoder| write_caps(caps, encoder))?;
    }
    if let Some(buffer) = buffer {
        encoder.record(kind::BUFFER, |encoder| write_buffer(buffer, encoder))?;
    }
    if let Some(info) = info {
        encoder.record(kind::STRUCTURE, |encoder| write_structure(info, encoder))?;
    }
    Some(())
}

fn read_structure(decoder: &mut Decoder<'_>) -> Result<Structure> {
    let name = decoder.text()?;
    // The shortest field has a name of one byte, and a value without any.
    let count = decoder.count(13)?;
    if count > MAX_FIELDS {
        return Err(DecodeError::Invalid("a structure has 4096 fields at most"));
    }
    let mut fields = Vec::with_capacity(count);
    for _ in 0..count {
        let name = decoder.text()?.into();
        fields.push((name, value(decoder)?));
    }
    Ok(Structure::from_fields(name, fields)?)
}

fn write_structure(structure: &Structure, encoder: &mut Encoder<'_>) -> Option<()> {
    encoder.text(structure.name())?;
    encoder.count(structure.fields().len())?;
    for (name, value) in structure.fields() {
        encoder.text(name)?;
        write(value, encoder)?;
    }
    Some(())
}

fn read_caps(decoder: &mut Decoder<'_>) -> Result<Caps> {
    if decoder.bool()? {
        return Ok(Caps::ANY);
    }
    let mut structures = Vec::new();
    for _ in 0..decoder.count(8)? {
        let features = decoder.record_of(kind::FEATURES, read_features)?;
        structures.push((features, nested(decoder, kind::STRUCTURE, read_structure)?));
    }
    Ok(Caps::new(structures)?)
}

fn write_caps(caps: &Caps, encoder: &mut Encoder<'_>) -> Option<()> {
    encoder.u32(caps.is_any().into());
    encoder.count(caps.structures().len())?;
    for (features, structure) in caps.structures() {
        encoder.record(kind::FEATURES, |encoder| {
            encoder.u32(features.is_any().into());
            encoder.count(features.names().len())?;
            features.names().try_for_each(|name| encoder.text(name))
        })?;
        encoder.record(kind::STRUCTURE, |encoder| {
            write_structure(structure, encoder)
        })?;
    }
    Some(())
}

fn read_features(decoder: &mut Decoder<'_>) -> Result<Features> {
    if decoder.bool()? {
        return Ok(Features::ANY);
    }
    let count = decoder.count(4)?;
    if count > MAX_FEATURES {
        return Err(DecodeError::Invalid("a structure has 64 features at most"));
    }
    let mut names = Vec::with_capacity(count);
    for _ in 0..count {
        names.push(decoder.text()?);
    }
    Ok(Features::new(names)?)
}

fn read_tags(decoder: &mut Decoder<'_>) -> Result<TagList> {
    let is_global = decoder.bool()?;
    let count = decoder.count(8)?;
    if count > MAX_FIELDS {
        return Err(DecodeError::Invalid("there are 4096 tags at most"));
    }
    let mut tags = Vec::with_capacity(count);
    for _ in 0..count {
        let name = decoder.text()?.into();
        let count = decoder.count(8)?;
        if count > MAX_TAG_VALUES {
            return Err(DecodeError::Invalid("a tag has 256 values at most"));
        }
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(value(decoder)?);
        }
        tags.push((name, values));
    }
    Ok(TagList::new(is_global, tags)?)
}

fn write_tags(tags: &TagList, encoder: &mut Encoder<'_>) -> Option<()> {
    encoder.u32(tags.is_global().into());
    encoder.count(tags.tags().len())?;
    for (name, values) in tags.tags() {
        encoder.text(name)?;
        encoder.count(values.len())?;
        values.iter().try_for_each(|value| write(value, encoder))?;
    }
    Some(())
}
