//! A place in the partitions of a topic: as it is given on the command line, and the offsets that it means.
use std::collections::BTreeMap;
use std::str::FromStr;

use keylane_kafka::cluster::{Cluster, Topic};
use keylane_kafka::messages::list_offsets::{EARLIEST, LATEST};

use super::failure::Failure;
use super::offsets::offsets;
use super::time::Time;

/// A place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The first record that there is.
    Start,
    /// Behind the last one.
    End,
    /// An offset.
    Offset(i64),
    /// So many offsets before the end.
    Last(i64),
    /// The first record of that time or later.
    At(Time),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(time) = text.strip_prefix('@') {
            return time.parse().map(Self::At);
        }
        match text {
            "start" | "beginning" | "earliest" => return Ok(Self::Start),
            "end" | "latest" => return Ok(Self::End),
            _ => {}
        }
        let (digits, kind): (_, fn(i64) -> Self) = match text.strip_prefix('-') {
            Some(digits) => (digits, Self::Last),
            None => (text, Self::Offset),
        };
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let found = digits.parse().ok().filter(|_| is_number).map(kind);
        found.ok_or_else(|| "write start, end, an offset, -N for the last N, or @TIME".to_owned())
    }
}

impl Place {
    /// Its offset in each of these partitions. With `committed`, the end is that of the records whose transactions are decided.
    pub fn find(
        self,
        cluster: &mut Cluster,
        topic: &Topic,
        wanted: &[i32],
        committed: bool,
    ) -> Result<BTreeMap<i32, i64>, Failure> {
        let mut at = |timestamp| offsets(cluster, topic, wanted, timestamp, committed);
        Ok(match self {
            Self::Start => at(EARLIEST)?,
            Self::End => at(LATEST)?,
            Self::Offset(offset) => wanted.iter().map(|index| (*index, offset)).collect(),
            Self::Last(count) => {
                let starts = at(EARLIEST)?;
                let mut ends = at(LATEST)?;
                for (index, end) in &mut ends {
                    let start = starts.get(index).copied().unwrap_or(0);
                    *end = end.saturating_sub(count).max(start);
                }
                ends
            }
            Self::At(time) => {
                let ends = at(LATEST)?;
                let found = at(time.0)?;
                // Where nothing is as young, the place is the end.
                ends.into_iter()
                    .map(|(index, end)| {
                        (index, found.get(&index).copied().filter(|o| *o >= 0).unwrap_or(end))
                    })
                    .collect()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        for (text, place) in [
            ("start", Place::Start),
            ("latest", Place::End),
            ("0", Place::Offset(0)),
            ("9000000000", Place::Offset(9_000_000_000)),
            ("-5", Place::Last(5)),
            ("@1764403200123", Place::At(Time(1_764_403_200_123))),
        ] {
            assert_eq!(text.parse(), Ok(place), "{text}");
        }
        for wrong in ["", "-", "--5", "+5", "soon", "@soon"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }
}
