//! Dates, and points in time.

use super::body::Body;
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{DecodeError, InvalidValue, check};
use crate::field::{self, Field};

/// Days of the years 1 to 9999.
const LAST_DAY: u32 = 3_652_059;
/// The first of January of 1970, in days.
const EPOCH: i64 = 719_163;
/// Seconds of a day. No time is as far from UTC.
const DAY: i64 = 24 * 60 * 60;
/// Most minutes that a [`DateTime`] can be from UTC: GStreamer makes none that is further.
const MAX_OFFSET: i32 = 12 * 60;

/// A day of the years 1 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(u32);

impl Date {
    /// The day with this number; the first of January of year 1 is day 1.
    ///
    /// # Errors
    /// [`InvalidValue`] where it is in no year from 1 to 9999.
    pub fn from_days(days: u32) -> Result<Date, InvalidValue> {
        check(
            (1..=LAST_DAY).contains(&days),
            "a date is in the years 1 to 9999",
        )?;
        Ok(Date(days))
    }

    /// This day.
    ///
    /// # Errors
    /// [`InvalidValue`] where there is no such day in the years 1 to 9999.
    pub fn new(year: i32, month: u32, day: u32) -> Result<Date, InvalidValue> {
        check(
            (1..=9999).contains(&year),
            "a date is in the years 1 to 9999",
        )?;
        check((1..=12).contains(&month), "a month is 1 to 12")?;
        check(
            (1..=days_of_month(year, month)).contains(&day),
            "a day is one of its month",
        )?;
        let before = (1..month).map(|month| days_of_month(year, month));
        Ok(Date(days_before_year(year) + before.sum::<u32>() + day))
    }

    /// The number of the day; the first of January of year 1 is day 1.
    pub fn days(self) -> u32 {
        self.0
    }

    /// Year, month and day.
    pub fn parts(self) -> (i32, u32, u32) {
        // No year is longer than 366 days, so this one is not after that of the day.
        let mut year = (self.0 / 366) as i32 + 1;
        while days_before_year(year + 1) < self.0 {
            year += 1;
        }
        let mut day = self.0 - days_before_year(year);
        let mut month = 1;
        while day > days_of_month(year, month) {
            day -= days_of_month(year, month);
            month += 1;
        }
        (year, month, day)
    }
}

/// The days of the years before this one.
fn days_before_year(year: i32) -> u32 {
    let years = year as u32 - 1;
    years * 365 + years / 4 - years / 100 + years / 400
}

fn days_of_month(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// How precisely a [`DateTime`] is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// The year.
    Year,
    /// The year and the month.
    Month(u32),
    /// The day: month and day.
    Day(u32, u32),
    /// The minute: month, day, hour and minute.
    Minute(u32, u32, u32, u32),
    /// The microsecond: month, day, hour, minute, second and microsecond.
    Microsecond(u32, u32, u32, u32, u32, u32),
}

impl Precision {
    /// So precise that these parts are known: month, day, hour, minute, second, microsecond.
    pub(crate) fn of(known: &[u32]) -> Option<Precision> {
        Some(match *known {
            [] => Precision::Year,
            [month] => Precision::Month(month),
            [month, day] => Precision::Day(month, day),
            [month, day, hour, minute] => Precision::Minute(month, day, hour, minute),
            [month, day, hour, minute, second, microsecond] => {
                Precision::Microsecond(month, day, hour, minute, second, microsecond)
            }
            _ => return None,
        })
    }

    /// The parts that are known.
    pub(crate) fn known(self) -> Vec<u32> {
        match self {
            Precision::Year => vec![],
            Precision::Month(month) => vec![month],
            Precision::Day(month, day) => vec![month, day],
            Precision::Minute(month, day, hour, minute) => vec![month, day, hour, minute],
            Precision::Microsecond(month, day, hour, minute, second, microsecond) => {
                vec![month, day, hour, minute, second, microsecond]
            }
        }
    }
}

/// A date and time, as precise as it is known (a `GstDateTime`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    year: i32,
    precision: Precision,
    offset: i32,
}

impl DateTime {
    /// This time, `offset` minutes ahead of UTC.
    ///
    /// # Errors
    /// [`InvalidValue`] where there is no such time in the years 1 to 9999, or it is more than 12
    /// hours from UTC.
    pub fn new(year: i32, precision: Precision, offset: i32) -> Result<DateTime, InvalidValue> {
        let known = precision.known();
        let mut parts = [1, 1, 0, 0, 0, 0];
        parts[..known.len()].copy_from_slice(&known);
        let [month, day, hour, minute, second, microsecond] = parts;
        Date::new(year, month, day)?;
        check(
            hour < 24 && minute < 60 && second < 60 && microsecond < 1_000_000,
            "a time is one of a day",
        )?;
        check(
            offset.abs() <= MAX_OFFSET,
            "a time is 12 hours from UTC at most",
        )?;
        let has_time = known.len() > 2;
        Ok(DateTime {
            year,
            precision,
            offset: if has_time { offset } else { 0 },
        })
    }

    /// The year.
    pub fn year(self) -> i32 {
        self.year
    }

    /// The rest, as far as it is known.
    pub fn precision(self) -> Precision {
        self.precision
    }

    /// The minutes that the time is ahead of UTC.
    pub fn offset(self) -> i32 {
        self.offset
    }
}

/// A point in time with an offset (GLib's `GDateTime`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochTime {
    seconds: i64,
    microsecond: u32,
    offset: i32,
}

impl EpochTime {
    /// So many seconds after the beginning of 1970 in UTC, and microseconds after that; told as a
    /// time that is `offset` seconds ahead of UTC.
    ///
    /// # Errors
    /// [`InvalidValue`] where it is not in the years 1 to 9999, in UTC or as it is told; or the offset
    /// is a day or more.
    pub fn new(seconds: i64, microsecond: u32, offset: i32) -> Result<EpochTime, InvalidValue> {
        check(microsecond < 1_000_000, "a second has 1000000 microseconds")?;
        check(
            i64::from(offset).abs() < DAY,
            "a time is less than a day from UTC",
        )?;
        for seconds in [Some(seconds), seconds.checked_add(offset.into())] {
            let day = seconds.and_then(|seconds| seconds.div_euclid(DAY).checked_add(EPOCH));
            check(
                day.is_some_and(|day| (1..=i64::from(LAST_DAY)).contains(&day)),
                "a date is in the years 1 to 9999",
            )?;
        }
        Ok(EpochTime {
            seconds,
            microsecond,
            offset,
        })
    }

    /// Seconds after the beginning of 1970 in UTC.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Microseconds after these.
    pub fn microsecond(self) -> u32 {
        self.microsecond
    }

    /// The seconds that the time is ahead of UTC.
    pub fn offset(self) -> i32 {
        self.offset
    }
}

impl Field for Date {
    fn decode(decoder: &mut Decoder<'_>) -> field::Result<Date> {
        Ok(Date::from_days(decoder.u32()?)?)
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        self.0.encode(encoder)
    }
}

/// Year, month, day, hour, minute, second, microsecond, -1 for those that are not known; the minutes
/// ahead of UTC.
impl Field for DateTime {
    fn decode(decoder: &mut Decoder<'_>) -> field::Result<DateTime> {
        let [year, parts @ .., offset]: [i32; 8] = Field::decode(decoder)?;
        let unknown = DecodeError::Invalid("a time is known from the year on");
        let mut known = Vec::new();
        for (number, part) in parts.into_iter().enumerate() {
            if part != -1 {
                let is_next = number == known.len();
                let part = u32::try_from(part).ok().filter(|_| is_next);
                known.push(part.ok_or(unknown)?);
            }
        }
        if known.len() == 5 {
            known.push(0);
        }
        let precision = Precision::of(&known).ok_or(unknown)?;
        Ok(DateTime::new(year, precision, offset)?)
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        let mut parts = [-1; 6];
        for (part, known) in parts.iter_mut().zip(self.precision.known()) {
            *part = known as i32;
        }
        self.year.encode(encoder)?;
        parts.encode(encoder)?;
        self.offset.encode(encoder)
    }
}

impl Body for EpochTime {
    fn read(decoder: &mut Decoder<'_>) -> field::Result<EpochTime> {
        let (seconds, microsecond) = (decoder.i64()?, decoder.u32()?);
        Ok(EpochTime::new(seconds, microsecond, decoder.i32()?)?)
    }

    fn write(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.i64(self.seconds);
        encoder.u32(self.microsecond);
        encoder.i32(self.offset);
        Some(())
    }
}
