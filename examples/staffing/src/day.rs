//! Calendar days.
//!
//! A [`Day`] is stored as the number of days since 1970-01-01, so that the same SQL serves both databases, and written
//! as `2026-11-02` everywhere a person reads it: in the terminal, in JSON, in cache keys.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use staleproof::{KeyPart, key::Segment};

/// A day of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type)]
#[serde(into = "String", try_from = "String")]
#[sqlx(transparent)]
pub struct Day(i64);

impl Day {
    /// The day so many days after 1970-01-01.
    pub const fn from_number(days: i64) -> Self {
        Self(days)
    }

    /// The number of days since 1970-01-01.
    pub const fn number(self) -> i64 {
        self.0
    }

    /// The day so many days later.
    #[must_use]
    pub const fn plus(self, days: i64) -> Self {
        Self(self.0 + days)
    }

    /// The day of this date; `None` if there is no such date.
    pub fn of_date(year: i64, month: i64, day: i64) -> Option<Self> {
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let candidate = Self(days_before(year, month) + day - 1);
        (candidate.date() == (year, month, day)).then_some(candidate)
    }

    /// Year, month and day of the month.
    pub fn date(self) -> (i64, i64, i64) {
        // 400 years have 146,097 days; the guess from them is at most one year too early.
        let mut year = 1970 + self.0.div_euclid(146_097) * 400 + self.0.rem_euclid(146_097) * 400 / 146_097 - 1;
        while days_before(year + 1, 1) <= self.0 {
            year += 1;
        }
        let month = (2..=12).rev().find(|&month| days_before(year, month) <= self.0).unwrap_or(1);
        (year, month, self.0 - days_before(year, month) + 1)
    }
}

/// The number of days from 1970-01-01 to the first day of a month.
fn days_before(year: i64, month: i64) -> i64 {
    const BEFORE_MONTH: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let past = year - 1;
    let leap_days = past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400) - 477;
    let leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    let month_index = usize::try_from((month - 1).rem_euclid(12)).expect("between 0 and 11");
    (year - 1970) * 365 + leap_days + BEFORE_MONTH[month_index] + i64::from(leap && month > 2)
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// A text is not a date in the form `2026-11-02`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a day is written like 2026-11-02")]
pub struct NotADay;

impl FromStr for Day {
    type Err = NotADay;

    fn from_str(text: &str) -> Result<Self, NotADay> {
        let mut numbers = text.splitn(3, '-').map(|number| number.parse().map_err(|_| NotADay));
        let mut next = || numbers.next().unwrap_or(Err(NotADay));
        let (year, month, day) = (next()?, next()?, next()?);
        // The calendar beyond these years is of no use here, and the arithmetic stays far from overflow.
        if !(0..=9999).contains(&year) {
            return Err(NotADay);
        }
        Self::of_date(year, month, day).ok_or(NotADay)
    }
}

/// Keys show the date: `object_time_slots:12:2026-11-02:2026-11-08`.
impl KeyPart for Day {
    fn encode(&self, segment: &mut Segment<'_>) {
        segment.text(&self.to_string());
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.to_string()
    }
}

impl TryFrom<String> for Day {
    type Error = NotADay;

    fn try_from(text: String) -> Result<Self, NotADay> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        for (text, number) in [
            ("1970-01-01", 0),
            ("2000-02-29", 11_016),
            ("2026-11-02", 20_759),
            ("1969-12-31", -1),
            ("2100-03-01", 47_541),
        ] {
            assert_eq!(text.parse(), Ok(Day::from_number(number)), "{text}");
            assert_eq!(Day::from_number(number).to_string(), text);
        }
    }

    #[test]
    fn every_day_of_four_centuries_survives() {
        for number in -80_000..80_000 {
            let day = Day::from_number(number);
            assert_eq!(day.to_string().parse(), Ok(day));
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "2026",
            "2026-11",
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-11-00",
            "x-y-z",
            "99999999999-01-01",
            "2026-11-9223372036854775807",
        ] {
            assert_eq!(text.parse::<Day>(), Err(NotADay), "{text}");
        }
    }
}
