//! Shard iterators: a position in a shard, for five minutes.

use uuid::Uuid;

use super::fault::Fault;
use super::token::Tokens;

/// How long an iterator holds, in milliseconds.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetShardIterator.html>
const LIFE_MS: i64 = 300_000;
/// The kind of its token.
const KIND: u8 = 1;
const BYTES: usize = 16 + 4 + 8 + 8;

/// A position in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Iterator {
    /// The topic: another one of the same name is another stream.
    pub topic: Uuid,
    /// The partition.
    pub shard: u32,
    /// The offset to be read next.
    pub offset: u64,
}

impl Iterator {
    /// The iterator as a client gets it at this time.
    pub fn seal(&self, tokens: &Tokens, now_ms: i64) -> String {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(self.topic.as_bytes());
        bytes.extend_from_slice(&self.shard.to_be_bytes());
        bytes.extend_from_slice(&self.offset.to_be_bytes());
        bytes.extend_from_slice(&now_ms.to_be_bytes());
        tokens.seal(KIND, &bytes)
    }

    /// The iterator that a client hands back.
    ///
    /// # Errors
    /// InvalidArgumentException, ExpiredIteratorException.
    pub fn open(tokens: &Tokens, text: &str, now_ms: i64) -> Result<Self, Fault> {
        let invalid = || Fault::argument("Invalid ShardIterator.");
        let bytes = tokens.open(KIND, text).ok_or_else(invalid)?;
        let bytes: [u8; BYTES] = bytes.try_into().map_err(|_| invalid())?;
        let number = |at: usize| {
            let mut out = [0; 8];
            out.copy_from_slice(&bytes[at..at + 8]);
            u64::from_be_bytes(out)
        };
        let made_ms = number(28) as i64;
        if now_ms.saturating_sub(made_ms) > LIFE_MS {
            return Err(Fault::expired_iterator(format!(
                "Iterator expired. The iterator was created at time {} while right now it is {} which is further in \
                 the future than the tolerated delay of {LIFE_MS} milliseconds.",
                date(made_ms),
                date(now_ms)
            )));
        }
        let mut topic = [0; 16];
        topic.copy_from_slice(&bytes[..16]);
        let shard = (number(16) >> 32) as u32;
        Ok(Self { topic: Uuid::from_bytes(topic), shard, offset: number(20) })
    }
}

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A time for people, in UTC, as the protocol writes it in texts: `Thu Jan 22 01:22:02 UTC 2015`.
pub fn date(ms: i64) -> String {
    let seconds = ms.div_euclid(1000);
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 0000-03-01, in eras of 400 years.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let weekday = DAYS[((days + 4).rem_euclid(7)) as usize];
    let month = MONTHS[month as usize - 1];
    format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year:04}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iterator_holds_for_five_minutes() {
        let tokens = Tokens::new("d");
        let iterator = Iterator { topic: Uuid::from_u128(7), shard: 3, offset: u64::MAX - 1 };
        let now_ms = 1_700_000_000_000;
        let text = iterator.seal(&tokens, now_ms);
        assert_eq!(Iterator::open(&tokens, &text, now_ms + LIFE_MS), Ok(iterator));
        let expired = Iterator::open(&tokens, &text, now_ms + LIFE_MS + 1).unwrap_err();
        assert_eq!(expired.kind, "ExpiredIteratorException");
        assert!(expired.message.contains("Tue Nov 14 22:13:20 UTC 2023"), "{}", expired.message);
        let foreign = Tokens::new("other").seal(KIND, &[0; BYTES]);
        for wrong in [foreign, tokens.seal(KIND, b"short"), tokens.seal(2, &[0; BYTES]), String::new()] {
            let refused = Iterator::open(&tokens, &wrong, now_ms).unwrap_err();
            assert_eq!(
                (refused.kind, &*refused.message),
                ("InvalidArgumentException", "Invalid ShardIterator.")
            );
        }
    }

    #[test]
    fn dates() {
        for (ms, text) in [
            (0, "Thu Jan 01 00:00:00 UTC 1970"),
            (951_782_400_000, "Tue Feb 29 00:00:00 UTC 2000"),
            (1_764_386_400_500, "Sat Nov 29 03:20:00 UTC 2025"),
            (-1, "Wed Dec 31 23:59:59 UTC 1969"),
        ] {
            assert_eq!(date(ms), text);
        }
    }
}
