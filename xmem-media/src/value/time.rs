//! Dates, and points in time.

use crate::error::{InvalidValue, check};

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
        use Precision as P;
        let (month, day) = match precision {
            P::Year => (1, 1),
            P::Month(month) => (month, 1),
            P::Day(month, day) | P::Minute(month, day, ..) | P::Microsecond(month, day, ..) => {
                (month, day)
            }
        };
        Date::new(year, month, day)?;
        let [hour, minute, second, microsecond] = match precision {
            P::Minute(_, _, hour, minute) => [hour, minute, 0, 0],
            P::Microsecond(_, _, hour, minute, second, microsecond) => {
                [hour, minute, second, microsecond]
            }
            _ => [0; 4],
        };
        check(
            hour < 24 && minute < 60 && second < 60 && microsecond < 1_000_000,
            "a time is one of a day",
        )?;
        check(
            offset.abs() <= MAX_OFFSET,
            "a time is 12 hours from UTC at most",
        )?;
        let has_time = matches!(precision, P::Minute(..) | P::Microsecond(..));
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
