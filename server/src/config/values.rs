//! Values of settings as people write them: sizes and lists of cores.
//!
//! The same notation is read from the command line, the environment and the file.
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Unexpected, Visitor};

/// Largest core number in a list: what an affinity mask of the system holds.
const CORE_MAX: usize = 1023;

/// A value that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Not a size.
    #[error(
        "`{0}` is not a size; write bytes, or a number with k, M or G (powers of 1024): 65536, 64k, 1MiB, 128M"
    )]
    Size(String),
    /// A size above 2^64.
    #[error("`{0}` is larger than any size this system can hold")]
    SizeTooLarge(String),
    /// Not a size or -1.
    #[error("`{0}` is not a limit; write -1 for none, or a size: 65536, 64k, 1MiB, 128M")]
    Limit(String),
    /// Not a list of cores.
    #[error("`{0}` is not a list of cores; write it as for taskset -c: 0 or 0-3 or 0,2 or 0-6:2")]
    Cores(String),
    /// A core number above any mask.
    #[error("core {0} is above {CORE_MAX}, the largest that an affinity mask holds")]
    CoreTooLarge(usize),
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::Size(text.to_owned());
        let trimmed = text.trim();
        let digits_end = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (digits, unit) = trimmed.split_at(digits_end);
        let shift = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kib" => 10,
            "m" | "mib" => 20,
            "g" | "gib" => 30,
            _ => return Err(wrong()),
        };
        if digits.is_empty() {
            return Err(wrong());
        }
        let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
        number.map(Size).ok_or_else(|| ValueError::SizeTooLarge(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size: a number of bytes, or text such as \"64k\" or \"1MiB\"")
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Size, E> {
                u64::try_from(value).map(Size).map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Size, E> {
                Ok(Size(value))
            }

            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Size, E> {
                value.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(SizeVisitor)
    }
}

/// A number of bytes, or -1 for no limit, as Kafka writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub i64);

impl FromStr for Limit {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.trim() == "-1" {
            return Ok(Self(-1));
        }
        let wrong = || ValueError::Limit(text.to_owned());
        let Size(bytes) = text.parse().map_err(|_| wrong())?;
        i64::try_from(bytes).map(Self).map_err(|_| wrong())
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LimitVisitor;
        impl Visitor<'_> for LimitVisitor {
            type Value = Limit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, text such as \"64k\" or \"1MiB\", or -1")
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Limit, E> {
                let limit = Some(value).filter(|value| *value >= -1).map(Limit);
                limit.ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
            }

            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Limit, E> {
                value.parse().map_err(|_| E::invalid_value(Unexpected::Str(value), &self))
            }
        }
        deserializer.deserialize_any(LimitVisitor)
    }
}

/// Core numbers, ascending, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreList(pub Vec<usize>);

impl FromStr for CoreList {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::Cores(text.to_owned());
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            let number = if digits { part.parse::<usize>().ok() } else { None };
            number.ok_or_else(wrong)
        };
        let mut cores = Vec::new();
        for part in text.trim().split(',') {
            let (range, step) = match part.trim().split_once(':') {
                Some((range, step)) => (range, Some(number(step)?)),
                None => (part.trim(), None),
            };
            let (first, last) = match range.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None if step.is_some() => return Err(wrong()),
                None => (number(range)?, number(range)?),
            };
            let step = step.unwrap_or(1);
            if last < first || step == 0 {
                return Err(wrong());
            }
            if last > CORE_MAX {
                return Err(ValueError::CoreTooLarge(last));
            }
            cores.extend((first..=last).step_by(step));
        }
        cores.sort_unstable();
        cores.dedup();
        Ok(Self(cores))
    }
}

impl<'de> Deserialize<'de> for CoreList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl fmt::Display for CoreList {
    /// As short as a list gets: `0-3,8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_slice();
        let mut separator = "";
        while let Some(&first) = rest.first() {
            let run = rest.iter().zip(first..).take_while(|(core, expected)| **core == *expected).count();
            let (taken, left) = rest.split_at(run);
            match taken {
                [_] => write!(f, "{separator}{first}")?,
                _ => write!(f, "{separator}{first}-{}", first + run - 1)?,
            }
            separator = ",";
            rest = left;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let read = |text: &str| text.parse::<Size>().map(|size| size.0);
        for (text, bytes) in [
            ("0", 0),
            ("1048588", 1_048_588),
            ("64k", 64 << 10),
            ("64 K", 64 << 10),
            ("1MiB", 1 << 20),
            ("128M", 128 << 20),
            (" 2gib ", 2 << 30),
            ("7b", 7),
        ] {
            assert_eq!(read(text), Ok(bytes), "{text}");
        }
        for text in ["", "k", "-1", "1.5M", "1 MB", "64kb", "x", "0x10"] {
            assert_eq!(read(text), Err(ValueError::Size(text.to_owned())), "{text}");
        }
        for text in ["18446744073709551616", "99999999999G"] {
            assert_eq!(read(text), Err(ValueError::SizeTooLarge(text.to_owned())));
        }
    }

    #[test]
    fn limits() {
        let read = |text: &str| text.parse::<Limit>().map(|limit| limit.0);
        assert_eq!((read("-1"), read("0"), read("1G")), (Ok(-1), Ok(0), Ok(1 << 30)));
        for text in ["-2", "", "unlimited", "9223372036854775808"] {
            assert_eq!(read(text), Err(ValueError::Limit(text.to_owned())));
        }
    }

    #[test]
    fn lists_of_cores() {
        let read = |text: &str| text.parse::<CoreList>().map(|list| list.0);
        for (text, cores) in [
            ("0", vec![0]),
            ("0-3", vec![0, 1, 2, 3]),
            ("0,2", vec![0, 2]),
            ("0-6:2", vec![0, 2, 4, 6]),
            ("0-5:2", vec![0, 2, 4]),
            ("3, 1-2,2", vec![1, 2, 3]),
            ("1023", vec![1023]),
        ] {
            assert_eq!(read(text), Ok(cores), "{text}");
        }
        for text in ["", ",", "0,", "a", "-1", "3-1", "0-6:0", "0:2", "0-", "1-2-3", "0x1", "+1", "0-6:"] {
            assert_eq!(read(text), Err(ValueError::Cores(text.to_owned())), "{text}");
        }
        assert_eq!(read("0-99999999999"), Err(ValueError::CoreTooLarge(99_999_999_999)));
    }

    #[test]
    fn lists_are_printed_as_they_are_read() {
        for text in ["0", "0-3", "0,2", "0-1,4,6-7"] {
            assert_eq!(text.parse::<CoreList>().unwrap().to_string(), text);
        }
        assert_eq!("0-6:2".parse::<CoreList>().unwrap().to_string(), "0,2,4,6");
    }
}
