//! Points in time, as they are given on the command line and printed.
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A point in time, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub i64);

impl FromStr for Time {
    type Err = String;

    /// Milliseconds since 1970; a date or a time as RFC 3339 has them, UTC unless it says otherwise; a duration: so long ago.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(ms) = text.parse::<u64>() {
            return i64::try_from(ms).map(Self).map_err(|_| WAYS.to_owned());
        }
        let ago = |length: SignedDuration| Timestamp::now().checked_sub(length.abs()).ok();
        let in_utc = |time: DateTime| TimeZone::UTC.to_timestamp(time).ok();
        let found = (text.parse::<Timestamp>().ok())
            .or_else(|| text.parse::<DateTime>().ok().and_then(in_utc))
            .or_else(|| text.parse::<SignedDuration>().ok().and_then(ago));
        found.map(|time| Self(time.as_millisecond())).ok_or_else(|| WAYS.to_owned())
    }
}

const WAYS: &str = "write milliseconds since 1970, a time as 2026-11-29T10:00:00Z, or how long ago, as 10m";

/// Now, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// A time as RFC 3339 writes it; as the number if there is no such time.
pub fn rfc3339(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_given_in_many_ways() {
        for (text, ms) in [
            ("1764403200123", 1_764_403_200_123),
            ("2025-11-29T08:00:00.123Z", 1_764_403_200_123),
            ("2025-11-29T09:00:00.123+01:00", 1_764_403_200_123),
            ("2025-11-29T08:00", 1_764_403_200_000),
            ("2025-11-29", 1_764_374_400_000),
        ] {
            assert_eq!(text.parse::<Time>(), Ok(Time(ms)), "{text}");
        }
        for text in ["1h30m", "-1h30m", "90m"] {
            let ago = now_ms() - text.parse::<Time>().unwrap().0;
            assert!((5_400_000..5_460_000).contains(&ago), "{text}: {ago}");
        }
        assert!("yesterday".parse::<Time>().unwrap_err().contains("write"));
        assert_eq!(rfc3339(1_764_403_200_123), "2025-11-29T08:00:00.123Z");
        assert_eq!(rfc3339(i64::MIN), i64::MIN.to_string());
    }
}
