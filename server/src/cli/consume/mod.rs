//! `keylane consume`: the records of a topic, from a place to a place, or for ever.
//!
//! Promises: the records of a partition are printed in their order, each once; a partition without an end of its own is
//! followed; brokers that go away and come back within the time-out are waited for.
use std::io::{self, BufWriter, Write as _};
use std::time::{Duration, Instant};

use keylane_kafka::cluster::Cluster;

use super::connect::{Common, existing};
use super::failure::Failure;
use super::format::{self, Format};
use super::place::Place;
use super::say;

mod fetch;
mod opened;
mod span;

use fetch::{Limits, Taken};
use span::Span;

/// Pause before a broker that has gone is asked again.
const AGAIN: Duration = Duration::from_millis(250);

/// Options of `keylane consume`.
#[derive(Debug, clap::Args)]
#[command(after_help = format::HELP)]
pub struct ConsumeArgs {
    #[command(flatten)]
    common: Common,
    /// The topic
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// Partitions, with commas between them [default: all]
    #[arg(short, long, value_name = "N", value_delimiter = ',')]
    partitions: Vec<i32>,
    /// Where to begin: start, end, an offset, -N (the last N of each partition), or @TIME
    ///
    /// A TIME is in milliseconds since 1970, or as 2026-11-29T10:00:00Z, or how long ago: @10m.
    #[arg(short = 'o', long, value_name = "PLACE", default_value = "start", allow_hyphen_values = true)]
    from: Place,
    /// Where to end: end (as it is now), an offset, or @TIME [default: never]
    #[arg(short, long, value_name = "PLACE")]
    until: Option<Place>,
    /// End where the topic ends now: short for --until end
    #[arg(short, long, conflicts_with = "until")]
    exit: bool,
    /// End after so many records
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// How to print a record: a format string; see below [default: %s\n]
    #[arg(short, long, value_name = "FORMAT", conflicts_with = "json")]
    format: Option<Format>,
    /// Print only records whose transaction was committed
    #[arg(long)]
    read_committed: bool,
    /// Most bytes of a partition to ask for at once; larger records are read all the same
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = clap::value_parser!(i32).range(1..))]
    max_partition_bytes: i32,
}

/// Where records go.
struct Printer {
    out: BufWriter<io::StdoutLock<'static>>,
    /// `None`: as JSON.
    format: Option<Format>,
    /// How many may still be printed.
    left: u64,
}

impl Printer {
    fn new(args: &ConsumeArgs) -> Self {
        let plain = || Format::values();
        let format = (!args.common.json).then(|| args.format.clone().unwrap_or_else(plain));
        Self {
            out: BufWriter::with_capacity(1 << 16, io::stdout().lock()),
            format,
            left: args.count.unwrap_or(u64::MAX),
        }
    }

    /// Prints a record. False: there were enough.
    fn print(&mut self, record: &super::record::Found<'_>) -> Result<bool, Failure> {
        if self.left == 0 {
            return Ok(false);
        }
        self.left -= 1;
        match &self.format {
            Some(format) => format.write(&mut self.out, record),
            None => record.json().map_err(io::Error::from).and_then(|line| writeln!(self.out, "{line}")),
        }
        .map_err(Failure::Output)?;
        Ok(self.left > 0)
    }
}

/// Runs the command.
pub fn run(args: &ConsumeArgs) -> Result<(), Failure> {
    let mut cluster = args.common.connect()?;
    let topic = existing(&mut cluster, &args.topic)?;
    let until = if args.exit { Some(Place::End) } else { args.until };
    let mut span = Span::of(&mut cluster, topic, &args.partitions, args.from, until, args.read_committed)?;
    let limits = Limits { committed: args.read_committed, partition_bytes: args.max_partition_bytes };
    let mut printer = Printer::new(args);
    if args.count == Some(0) {
        return Ok(());
    }
    let mut last_answer = Instant::now();
    while !span.is_done() {
        match fetch::round(&mut cluster, &mut span, limits, &mut |record| printer.print(record)) {
            Ok(Taken::Enough) => break,
            Ok(Taken::All) => last_answer = Instant::now(),
            Err(failure) if passes(&failure) && last_answer.elapsed() < cluster.patience() => {
                wait(&mut cluster, &mut span, &failure);
            }
            Err(failure) => {
                printer.out.flush().map_err(Failure::Output)?;
                return Err(failure);
            }
        }
        printer.out.flush().map_err(Failure::Output)?;
    }
    printer.out.flush().map_err(Failure::Output)
}

/// Whether it may be better in a moment.
fn passes(failure: &Failure) -> bool {
    use keylane_kafka::cluster::{ClusterError, passes};
    match failure {
        Failure::Cluster(error) => !matches!(error, ClusterError::Unserved { .. }),
        Failure::Refused { code, .. } => passes(*code),
        _ => false,
    }
}

/// Waits a moment, and looks who leads now.
fn wait(cluster: &mut Cluster, span: &mut Span, failure: &Failure) {
    if !span.told {
        say::tell(&format!("{}; trying again", failure.line()));
        span.told = true;
    }
    std::thread::sleep(AGAIN);
    if let Ok(topic) = existing(cluster, &span.topic.name) {
        span.topic = topic;
    }
}
