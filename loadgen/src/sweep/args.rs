//! Arguments of `sweep`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::ArgPredicate;

use super::spec::{BatchSize, BrokerSpec};
use crate::args::Cores;
use crate::fetch_shape::FetchShape;
use crate::units::{parse_duration, parse_size};

#[derive(Debug, Clone, Args)]
pub struct SweepArgs {
    /// A broker to measure; may be given several times. `NAME=embedded` is a Keylane in this process. PID:
    /// the process whose processor time, memory and writes are reported. TEXT (last): its durability, where
    /// it does not tell.
    #[arg(long = "broker", value_name = "NAME=HOST:PORT[,pid=PID][,note=TEXT]")]
    pub brokers: Vec<BrokerSpec>,
    /// Short for `--broker broker=HOST:PORT`; without any broker: an embedded Keylane.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "brokers")]
    pub bootstrap: Option<String>,
    /// Numbers of partitions.
    #[arg(long, value_delimiter = ',', default_value = "1,10,100",
          value_parser = clap::value_parser!(i32).range(1..=100_000), value_name = "LIST")]
    pub partitions: Vec<i32>,
    /// Sizes of batches, or `single`: one record in each request.
    #[arg(long, value_delimiter = ',', default_value = "64k,16k", value_name = "LIST")]
    pub batch: Vec<BatchSize>,
    /// Acks asked for: all, 1, 0.
    #[arg(long, value_delimiter = ',', default_value = "all", value_name = "LIST")]
    pub acks: Vec<String>,
    /// What is measured, each time.
    #[arg(long, default_value = "10s", value_parser = parse_duration, value_name = "TIME")]
    pub duration: Duration,
    /// Load before each measurement.
    #[arg(long, default_value = "2s", value_parser = parse_duration, value_name = "TIME")]
    pub warmup: Duration,
    /// How often each point is measured.
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub repeat: u32,
    /// Records a second (open loop); default: as many as the broker takes (closed loop).
    #[arg(long, value_name = "RECORDS/S")]
    pub rate: Option<f64>,
    /// Bytes of a record's key and value together.
    #[arg(long, default_value = "1024", value_parser = parse_size, value_name = "SIZE")]
    pub record_bytes: usize,
    /// Producer connections; default: 8, and 16 for single records.
    #[arg(long, value_name = "N")]
    pub connections: Option<usize>,
    /// Requests in flight on each; default: 5, and 64 for single records.
    #[arg(long, value_name = "N")]
    pub window: Option<usize>,
    /// Consumers that check what comes back; 0 (default without --catch-up): nothing is read, and nothing is checked.
    #[arg(
        long,
        default_value_t = 0,
        default_value_if("catch_up", ArgPredicate::IsPresent, "1"),
        value_name = "N"
    )]
    pub consumers: usize,
    /// Groups of consumers that begin at the topic's start when half of the duration is over; how fast they catch up is
    /// told.
    #[arg(long, value_parser = clap::value_parser!(u32).range(..=64), value_name = "N")]
    pub catch_up: Option<u32>,
    /// The client whose Fetch requests consumers send.
    #[arg(long, value_enum, value_name = "CLIENT")]
    pub fetch_shape: Option<FetchShape>,
    /// Cores of the load.
    #[arg(long, value_name = "LIST")]
    pub cores: Option<Cores>,
    /// Cores of an embedded server.
    #[arg(long, value_name = "LIST")]
    pub server_cores: Option<Cores>,
    /// Directory below which an embedded server's data lies while it runs.
    #[arg(long, value_name = "DIR")]
    pub data_parent: Option<PathBuf>,
    /// Further options of `run`, separated by blanks.
    #[arg(long, default_value = "", allow_hyphen_values = true, value_name = "OPTIONS")]
    pub run_options: String,
    /// Rest between measurements, after all dirty pages were written out.
    #[arg(long, default_value = "500ms", value_parser = parse_duration, value_name = "TIME")]
    pub pause: Duration,
    /// How long to wait until the processes of all brokers (pid=) are at rest before a measurement.
    #[arg(long, default_value = "120s", value_parser = parse_duration, value_name = "TIME")]
    pub quiet_timeout: Duration,
    /// Before all, load each broker until its rate has settled, at most for so long.
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    pub settle: Option<Duration>,
    /// A report with plots, in one file that needs no network.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// One line for each measurement.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Directory for HdrHistogram logs (V2) and percentile distributions of each point.
    #[arg(long, value_name = "DIR")]
    pub hgrm: Option<PathBuf>,
    /// No line on stderr for each measurement.
    #[arg(long)]
    pub no_progress: bool,
}

impl SweepArgs {
    /// The options that `text` (separated by blanks) gives, defaults for the rest.
    pub fn from_text(text: &str) -> Result<Self, clap::Error> {
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            args: SweepArgs,
        }
        use clap::Parser;
        Ok(Only::try_parse_from(std::iter::once("sweep").chain(text.split_ascii_whitespace()))?.args)
    }
}
