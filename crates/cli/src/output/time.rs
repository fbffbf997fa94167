//! Formats ages and timestamps.

use agent_team_protocol::text;
use agent_team_system::clock::wall_ms;

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// The interval, in milliseconds, at whose multiples the text of [`age`] changes.
pub(crate) fn age_step(ms: u64) -> u64 {
    match ms {
        0..MINUTE => SECOND,
        MINUTE..HOUR => MINUTE,
        HOUR.. => HOUR,
    }
}

/// [`text::age`] for a live display: an age below a minute is in whole seconds.
pub(crate) fn age(ms: u64) -> String {
    match ms {
        0..MINUTE => format!("{} s", ms / SECOND),
        MINUTE.. => text::age(ms),
    }
}

/// The time since a Unix timestamp in milliseconds, such as `3 min ago`.
pub(crate) fn ago(at: u64) -> String {
    format!("{} ago", text::age(wall_ms().saturating_sub(at)))
}

/// `2026-11-21T03:42:19Z` for a Unix timestamp in milliseconds.
pub(crate) fn utc(at: u64) -> String {
    let seconds = at / 1000;
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day for a number of days since 1970-01-01. The calculation uses years that begin in March, so that
/// the leap day is the last day of its year (see Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_iso_8601() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_795_232_539_000), "2026-11-21T03:42:19Z");
        assert_eq!(utc(1_767_225_599_000), "2025-12-31T23:59:59Z");
    }
}
