//! The pause that a server requests in an error response. Called by `failure`.
//!
//! Providers send `retry-after-ms`, `retry-after`, or the reset times of exhausted limits; Google sends a delay in the
//! body. A response without any of them requests no pause.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::HeaderMap;

/// Headers with the remaining quota of a limit, each with the header that contains its reset time.
const LIMITS: [(&str, &str); 8] = [
    (
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
    ),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("ratelimit-remaining", "ratelimit-reset"),
    (
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset",
    ),
    (
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-reset",
    ),
    (
        "anthropic-ratelimit-input-tokens-remaining",
        "anthropic-ratelimit-input-tokens-reset",
    ),
    (
        "anthropic-ratelimit-output-tokens-remaining",
        "anthropic-ratelimit-output-tokens-reset",
    ),
];

/// Numbers from `EPOCH_MILLISECONDS` are milliseconds since the epoch, numbers from `EPOCH_SECONDS` are seconds since
/// the epoch, and smaller numbers are a duration in seconds.
const EPOCH_MILLISECONDS: f64 = 1e11;
const EPOCH_SECONDS: f64 = 1e9;

/// The pause that the headers request. If they give a point in time, the pause is counted from the time in the
/// `date` header, or from `now` if that header is missing or invalid.
pub(super) fn requested(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let now = text("date")
        .and_then(|date| rfc2822::parse(date).ok())
        .map_or(now, |date| date.timestamp());
    if let Some(milliseconds) = text("retry-after-ms").and_then(|text| text.parse().ok()) {
        return duration(milliseconds, 1e-3);
    }
    if let Some(pause) = text("retry-after").and_then(|text| parse_pause(text, now)) {
        return Some(pause);
    }
    let is_exhausted = |remaining| text(remaining).is_some_and(|left| left == "0");
    LIMITS
        .into_iter()
        .filter(|(remaining, _)| is_exhausted(remaining))
        .filter_map(|(_, reset)| parse_pause(text(reset)?, now))
        .max()
}

/// Parses a number of seconds, a time since the epoch, a duration such as `1m30.5s`, or a date, and returns the pause
/// from `now`.
pub(super) fn parse_pause(text: &str, now: Timestamp) -> Option<Duration> {
    let date = |date: Timestamp| Duration::try_from(date.duration_since(now)).unwrap_or_default();
    if let Ok(number) = text.parse::<f64>() {
        let now = Duration::try_from(now.as_duration()).ok()?;
        return if number >= EPOCH_MILLISECONDS {
            Some(duration(number, 1e-3)?.saturating_sub(now))
        } else if number >= EPOCH_SECONDS {
            Some(duration(number, 1.0)?.saturating_sub(now))
        } else {
            duration(number, 1.0)
        };
    }
    parse_duration(text)
        .or_else(|| text.parse().ok().map(date))
        .or_else(|| {
            let zoned = rfc2822::parse(text).ok()?;
            Some(date(zoned.timestamp()))
        })
}

fn parse_duration(mut text: &str) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    while !text.is_empty() {
        let digits = text.find(|c: char| c != '.' && !c.is_ascii_digit())?;
        let (number, rest) = text.split_at(digits);
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(letters);
        let unit = match unit {
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        sum = sum.checked_add(duration(number.parse().ok()?, unit)?)?;
        text = rest;
    }
    Some(sum)
}

fn duration(number: f64, unit: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number * unit).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn pause(headers: &[(&'static str, &'static str)]) -> Option<Duration> {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let headers = headers.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        requested(&headers.collect(), now)
    }

    #[test]
    fn all_pause_formats_are_parsed() {
        for (headers, milliseconds) in [
            (&[("retry-after", "7")][..], 7_000),
            (&[("retry-after", "1.5")], 1_500),
            (&[("retry-after-ms", "250"), ("retry-after", "7")], 250),
            (&[("retry-after", "Thu, 01 Jan 2026 00:01:00 GMT")], 60_000),
            (
                &[
                    ("date", "Thu, 01 Jan 2026 00:00:50 GMT"),
                    ("retry-after", "Thu, 01 Jan 2026 00:01:00 GMT"),
                ],
                10_000,
            ),
            (&[("retry-after", "Wed, 31 Dec 2025 00:00:00 GMT")], 0),
            (
                &[
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", "6m1.5s"),
                    ("x-ratelimit-remaining-tokens", "12"),
                    ("x-ratelimit-reset-tokens", "1h"),
                ],
                361_500,
            ),
            (
                &[
                    ("anthropic-ratelimit-tokens-remaining", "0"),
                    ("anthropic-ratelimit-tokens-reset", "2026-01-01T00:00:30Z"),
                ],
                30_000,
            ),
            (
                &[
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", "1767225605000"),
                ],
                5_000,
            ),
        ] {
            assert_eq!(
                pause(headers),
                Some(Duration::from_millis(milliseconds)),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn absent_and_invalid_headers_request_no_pause() {
        for headers in [
            &[][..],
            &[("retry-after", "soon")],
            &[("retry-after", "-3")],
            &[("retry-after", "NaN")],
            &[("retry-after", "1e300")],
            &[
                ("x-ratelimit-remaining-requests", "3"),
                ("x-ratelimit-reset-requests", "1s"),
            ],
        ] {
            assert_eq!(pause(headers), None, "{headers:?}");
        }
    }
}
