//! Arguments of a run that shape its load and say how strictly it is checked.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::fetch_shape::FetchShape;
use crate::keys::KeyDist;
use crate::payload::Payload;
use crate::sabotage::Sabotage;
use crate::units::parse_duration;

/// How often each key is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Dist {
    Uniform,
    Zipf,
    /// One key has this share of all records.
    Hot(f64),
    One,
}

impl FromStr for Dist {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.split_once(':')) {
            ("uniform", _) => Ok(Self::Uniform),
            ("zipf", _) => Ok(Self::Zipf),
            ("one", _) => Ok(Self::One),
            (_, Some(("hot", share))) => match share.parse::<f64>() {
                Ok(share) if share > 0.0 && share < 1.0 => Ok(Self::Hot(share)),
                _ => Err(format!("{share}: the share of a hot key lies between 0 and 1")),
            },
            _ => Err(format!("{text}: uniform, zipf, hot:SHARE or one")),
        }
    }
}

impl Dist {
    /// The weights of `keys` keys.
    pub fn weights(self, keys: u32, zipf_exponent: f64) -> KeyDist {
        match self {
            Self::Uniform | Self::One => KeyDist::Uniform,
            Self::Zipf => KeyDist::Zipf(zipf_exponent),
            Self::Hot(share) => {
                KeyDist::Hot(share / (1.0 - share) * f64::from(keys.saturating_sub(1).max(1)))
            }
        }
    }
}

/// `RECORDS@INTERVAL`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    pub records: u64,
    pub every: Duration,
}

impl FromStr for Burst {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: bursts are such as 10000@500ms");
        let (records, every) = text.split_once('@').ok_or_else(wrong)?;
        let (records, every) = (records.parse().map_err(|_| wrong())?, parse_duration(every)?);
        if records == 0 || every.is_zero() { Err(wrong()) } else { Ok(Self { records, every }) }
    }
}

/// `FROM..TO`, records a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ramp {
    pub from: f64,
    pub to: f64,
}

impl FromStr for Ramp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: ramps are such as 1000..50000");
        let (from, to) = text.split_once("..").ok_or_else(wrong)?;
        let (from, to): (f64, f64) = (from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?);
        let fine = from >= 0.0 && to >= 0.0 && from + to > 0.0 && (from + to).is_finite();
        if fine { Ok(Self { from, to }) } else { Err(wrong()) }
    }
}

#[derive(Debug, Clone, Args)]
pub struct KinesisArgs {
    /// Send what was refused again later, behind what came after it, as a program does that does not think of order: the
    /// checks find what comes of it.
    #[arg(long, requires = "kinesis")]
    pub careless: bool,
    /// The server in this process refuses what is beyond the rates of a shard.
    #[arg(long, requires = "kinesis")]
    pub kinesis_throttle: bool,
    /// How long a shard is left alone in which a reader found nothing.
    #[arg(long, default_value = "50ms", value_parser = parse_duration, value_name = "TIME")]
    pub poll: Duration,
}

#[derive(Debug, Clone, Args)]
pub struct ShapeArgs {
    /// So many records at once, over all connections, every so often (open loop): such as `10000@500ms`.
    #[arg(long, value_name = "RECORDS@TIME", conflicts_with = "rate")]
    pub burst: Option<Burst>,
    /// The rate rises (or falls) evenly over the duration (open loop): such as `1000..50000` records a second.
    #[arg(long, value_name = "FROM..TO", conflicts_with_all = ["rate", "burst"])]
    pub ramp: Option<Ramp>,
    /// Groups of consumers that each read everything.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64), value_name = "N")]
    pub fanout: u32,
    /// Further groups that begin at the topic's start when half of the duration is over, beside the others.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=64), value_name = "N")]
    pub catch_up: u32,
    /// The client whose Fetch requests consumers send; default: all partitions, 1 MiB each, few of them at once.
    #[arg(long, value_enum, value_name = "CLIENT")]
    pub fetch_shape: Option<FetchShape>,
    /// What values hold.
    #[arg(long, value_enum, default_value_t = Payload::Noise)]
    pub payload: Payload,
    /// Part of noise that compresses to nearly nothing: 0 is noise alone, 1 is one short text over and over.
    #[arg(long, default_value_t = 0.0, value_name = "0..1")]
    pub compressibility: f64,
}

#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// File for what is wrong, as JSON lines: what, partition, offset, key, seq, expected, reader.
    #[arg(long, value_name = "FILE")]
    pub evidence: Option<PathBuf>,
    /// The broker goes away and comes back: connections are tried again, what was in flight is unknown (neither
    /// acked nor lost), and everything is read once more at the end. A run without a restart is not valid.
    #[arg(long, conflicts_with_all = ["allow_disconnect", "static_payload"])]
    pub expect_restart: bool,
    /// How long a broker may be away.
    #[arg(long, default_value = "60s", value_parser = parse_duration, value_name = "TIME")]
    pub restart_timeout: Duration,
    /// Read everything once more from the beginning after the load: what was read must still be there.
    #[arg(long)]
    pub reread: bool,
    /// Spoil what is sent, so that the checkers must find it.
    #[arg(long, value_enum, conflicts_with = "static_payload")]
    pub sabotage: Option<Sabotage>,
    /// Before the load, write one record to every partition and wait until the broker's process (--server-pid) is at
    /// rest: what a partition costs at its first write is not measured then.
    #[arg(long, conflicts_with_all = ["state", "static_payload"])]
    pub prime: bool,
    /// Delete the topic afterwards.
    #[arg(long)]
    pub delete_topic: bool,
}

/// What is compressed with: the number in a batch's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    pub fn code(self) -> i16 {
        self as i16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_read_from_text() {
        assert_eq!("hot:0.5".parse(), Ok(Dist::Hot(0.5)));
        assert_eq!("one".parse(), Ok(Dist::One));
        assert!("hot:1".parse::<Dist>().is_err() && "cold".parse::<Dist>().is_err());
        assert_eq!("100@2s".parse(), Ok(Burst { records: 100, every: Duration::from_secs(2) }));
        assert!("100".parse::<Burst>().is_err() && "0@1s".parse::<Burst>().is_err());
        assert_eq!("10..20".parse(), Ok(Ramp { from: 10.0, to: 20.0 }));
        assert!("0..0".parse::<Ramp>().is_err() && "5".parse::<Ramp>().is_err());
        assert_eq!((Codec::None.code(), Codec::Zstd.code()), (0, 4));
    }
}
