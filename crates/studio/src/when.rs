//! Times as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `2026-11-23 16:46`, in UTC.
pub(crate) fn utc(time: SystemTime) -> String {
    let seconds = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX / 2),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX / 2),
    };
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}",
        second / 3600,
        second / 60 % 60
    )
}

/// The date of a day counted from 1970-01-01, in the Gregorian calendar: years are counted from March, so
/// that the leap day is the last, in eras of 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + next, month, day)
}

/// `40 s`, `3 min`, `5 h`, `12 days`.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// How long ago something was; what lies ahead, by another machine's clock, is now.
pub(crate) fn ago(time: SystemTime) -> String {
    let age = SystemTime::now().duration_since(time).unwrap_or_default();
    format!("{} ago", span(age))
}

/// `3.2 MB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{n} B"),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, wanted) in [
            (0, "1970-01-01 00:00"),
            (951_782_399, "2000-02-28 23:59"),
            (951_782_400, "2000-02-29 00:00"),
            (1_709_251_199, "2024-02-29 23:59"),
            (1_795_452_360, "2026-11-23 16:46"),
            (4_107_542_399, "2100-02-28 23:59"),
            (4_107_542_400, "2100-03-01 00:00"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), wanted);
        }
        assert_eq!(
            utc(UNIX_EPOCH - Duration::from_secs(60)),
            "1969-12-31 23:59"
        );
    }

    #[test]
    fn spans_and_sizes_have_the_unit_that_fits() {
        let spans = [
            (5, "5 s"),
            (300, "5 min"),
            (7200, "2 h"),
            (900_000, "10 days"),
        ];
        for (seconds, wanted) in spans {
            assert_eq!(span(Duration::from_secs(seconds)), wanted);
        }
        for (n, wanted) in [
            (12, "12 B"),
            (1_200, "1.2 kB"),
            (999_999, "1.0 MB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(bytes(n), wanted);
        }
        let ahead = SystemTime::now() + Duration::from_secs(500);
        assert_eq!(ago(ahead), "0 s ago");
    }
}
