//! What is asked for: the options of `run`, `verify` and `sink`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::ArgPredicate;
use clap::{Args, Parser, ValueEnum};

use crate::cpu;
use crate::group::args::GroupArgs;
use crate::load_args::{CheckArgs, Codec, Dist, KinesisArgs, ShapeArgs};
use crate::pacing::Rate;
use crate::sink::Stall;
use crate::units::{parse_duration, parse_size};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Acks {
    All,
    #[value(name = "1")]
    One,
    #[value(name = "0")]
    Zero,
}

impl Acks {
    pub fn code(self) -> i16 {
        match self {
            Self::All => -1,
            Self::One => 1,
            Self::Zero => 0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Consume {
    /// Consumers run beside the producers.
    Tail,
    /// All is read back after the load.
    After,
}

/// A list of cores, as `taskset` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cores(pub Vec<usize>);

impl std::str::FromStr for Cores {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        cpu::parse_cores(text).map(Self)
    }
}

#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Broker to load; without it a Keylane server is started in this process.
    #[arg(long, value_name = "HOST:PORT")]
    pub bootstrap: Option<String>,
    /// Server that speaks Kinesis to load, such as http://127.0.0.1:4567; without a URL a Keylane in this process.
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "", conflicts_with = "bootstrap")]
    pub kinesis: Option<String>,
    /// Topic; default: a fresh name.
    #[arg(long)]
    pub topic: Option<String>,
    /// Partitions of a topic that is created.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=100_000))]
    pub partitions: i32,
    /// Bytes of a record's key and value together.
    #[arg(long, default_value = "1024", value_parser = parse_size, value_name = "SIZE")]
    pub record_bytes: usize,
    /// Most bytes of a record batch; each request is one batch.
    #[arg(long, default_value = "65536", value_parser = parse_size, value_name = "SIZE")]
    pub batch_bytes: usize,
    /// Records of a batch, instead of --batch-bytes.
    #[arg(long, conflicts_with = "batch_bytes", value_name = "N")]
    pub batch_records: Option<usize>,
    /// Producer connections.
    #[arg(long, default_value_t = 8, value_name = "N")]
    pub connections: usize,
    /// Requests in flight on each connection.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub window: usize,
    #[arg(long, value_enum, default_value = "all")]
    pub acks: Acks,
    /// Records a second over all connections; default: as many as the broker takes.
    #[arg(long, value_name = "RECORDS/S")]
    pub rate: Option<f64>,
    /// What is measured.
    #[arg(long, default_value = "10s", value_parser = parse_duration, value_name = "TIME")]
    pub duration: Duration,
    /// Load before the measurement.
    #[arg(long, default_value = "1s", value_parser = parse_duration, value_name = "TIME")]
    pub warmup: Duration,
    /// Different keys; for Kinesis 20,000, because a request there has a key once.
    #[arg(long, default_value_t = 1000, default_value_if("kinesis", ArgPredicate::IsPresent, "20000"), value_parser = clap::value_parser!(u32).range(1..=50_000_000))]
    pub keys: u32,
    /// How often each is used: uniform, zipf, hot:SHARE (one key has that share of all records) or one.
    #[arg(long, default_value = "uniform", value_name = "DIST")]
    pub key_dist: Dist,
    /// The k-th key has weight 1 / k^EXPONENT.
    #[arg(long, default_value_t = 1.0, value_name = "EXPONENT")]
    pub zipf_exponent: f64,
    /// Consumer connections; 0: produce only, and nothing is checked.
    #[arg(long, default_value_t = 2, default_value_if("static_payload", "true", "0"), value_name = "N")]
    pub consumers: usize,
    #[arg(long, value_enum, default_value = "tail")]
    pub consume: Consume,
    /// Threads of the load; default: one for each core of the load.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Cores of the load, such as `1`, `2-3` or `0,2`.
    #[arg(long, value_name = "LIST")]
    pub cores: Option<Cores>,
    /// Cores of the embedded server.
    #[arg(long, value_name = "LIST", conflicts_with = "bootstrap")]
    pub server_cores: Option<Cores>,
    /// Directory below which the embedded server's data lies while it runs.
    #[arg(long, value_name = "DIR", conflicts_with = "bootstrap")]
    pub data_parent: Option<PathBuf>,
    /// Process whose CPU time and memory are reported.
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Seed of keys and filler.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Codec of batches; they are compressed as they are sent, by the threads of the load.
    #[arg(long, value_enum, default_value = "none")]
    pub codec: Codec,
    /// Send the same bytes again and again: cheapest, and nothing can be checked.
    #[arg(long, conflicts_with_all = ["state", "consumers"])]
    pub static_payload: bool,
    /// Do not compute the CRC-32C of what is read.
    #[arg(long)]
    pub no_verify_payload: bool,
    /// Version of Produce requests; default: the highest that both sides know.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i16).range(3..=11))]
    pub produce_version: Option<i16>,
    /// Version of Fetch requests.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i16).range(4..=12))]
    pub fetch_version: Option<i16>,
    /// File to keep the books in: what was sent and acked, by key.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Go on from the state file: its topic, its sequences.
    #[arg(long, requires = "state")]
    pub resume: bool,
    /// The broker may go away: the load ends then, and that is no error.
    #[arg(long)]
    pub allow_disconnect: bool,
    /// Refused requests are reported and are no error.
    #[arg(long)]
    pub allow_errors: bool,
    /// One JSON object on stdout instead of tables.
    #[arg(long)]
    pub json: bool,
    /// No line on stderr each second.
    #[arg(long)]
    pub no_progress: bool,
    #[command(flatten)]
    pub kinesis_args: KinesisArgs,
    #[command(flatten)]
    pub shape: ShapeArgs,
    #[command(flatten)]
    pub group: GroupArgs,
    #[command(flatten)]
    pub check: CheckArgs,
}

impl RunArgs {
    /// The options that `text` (separated by blanks) gives, defaults for the rest.
    pub fn from_text(text: &str) -> Result<Self, clap::Error> {
        Self::from_words(text.split_ascii_whitespace())
    }

    pub fn from_words<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, clap::Error> {
        #[derive(Parser)]
        struct Only {
            #[command(flatten)]
            args: RunArgs,
        }
        Ok(Only::try_parse_from(std::iter::once("run").chain(words))?.args)
    }

    /// Whether the server is started in this process.
    pub fn is_embedded(&self) -> bool {
        self.bootstrap.is_none() && self.kinesis.as_ref().is_none_or(String::is_empty)
    }

    /// With the consequences that options have for others.
    pub fn normalised(&self) -> Self {
        let mut args = self.clone();
        if args.kinesis.is_some() {
            // Over HTTP/1.1, a connection has one request at a time.
            args.window = 1;
        }
        if args.key_dist == Dist::One {
            // The order of a key is that of its one connection.
            args.window = args.window.saturating_mul(args.connections);
            (args.keys, args.connections) = (1, 1);
        }
        if !args.resume {
            args.keys = args.keys.max(u32::try_from(args.connections).unwrap_or(u32::MAX));
        }
        args
    }

    /// How fast all connections together are to send.
    pub fn pace(&self) -> Rate {
        let (steady_ns, over_ns) = (self.warmup.as_nanos() as u64, self.duration.as_nanos() as u64);
        match (self.rate, self.shape.burst, self.shape.ramp) {
            (Some(rate), _, _) => Rate::Fixed(rate),
            (_, Some(burst), _) => Rate::Bursts { records: burst.records, every: burst.every },
            (_, _, Some(ramp)) => Rate::Ramp { from: ramp.from, to: ramp.to, steady_ns, over_ns },
            (None, None, None) => Rate::Unlimited,
        }
    }
}

#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    #[arg(long, value_name = "HOST:PORT")]
    pub bootstrap: String,
    /// Default: the one that the state file names.
    #[arg(long)]
    pub topic: Option<String>,
    #[arg(long, value_name = "FILE")]
    pub state: PathBuf,
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub consumers: usize,
    /// If all is well, note in the state file that what was read without having been acked is there: it
    /// must be there the next time, too.
    #[arg(long)]
    pub settle: bool,
    #[arg(long)]
    pub no_verify_payload: bool,
    /// Readers that each read everything; what they see at each offset must be the same.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub fanout: u32,
    /// File for what is wrong, as JSON lines.
    #[arg(long, value_name = "FILE")]
    pub evidence: Option<PathBuf>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct SinkArgs {
    #[arg(long, default_value = "127.0.0.1:0", value_name = "HOST:PORT")]
    pub listen: String,
    #[arg(long, default_value_t = 4)]
    pub partitions: i32,
    #[arg(long)]
    pub core: Option<usize>,
    /// Ends after this time.
    #[arg(long, default_value = "60s", value_parser = parse_duration, value_name = "TIME")]
    pub duration: Duration,
    /// Stand still for so long, so often: `200ms@2s`.
    #[arg(long, value_name = "TIME@TIME")]
    pub stall: Option<Stall>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_from_text() {
        let args = RunArgs::from_text("--batch-records 1 --acks 0 --cores 0,2").unwrap();
        assert_eq!((args.batch_records, args.acks), (Some(1), Acks::Zero));
        assert_eq!(args.cores, Some(Cores(vec![0, 2])));
        assert!(RunArgs::from_text("--static-payload --consumers 1").is_err());
        assert!(RunArgs::from_text("--resume").is_err());
    }
}
