//! `keylane produce`: records from the command line or from stdin into a topic.
//!
//! Promises: records for a partition are written in their order; a record is written at most once; what was acknowledged when
//! something fails is told.
use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::Serialize;

use super::connect::{Common, existing};
use super::failure::Failure;
use super::record::New;
use super::say;
use super::time::Time;

mod batch;
mod input;
mod sender;

use input::{Input, Lines};
use sender::{Sender, Written};

/// Options of `keylane produce`.
#[derive(Debug, clap::Args)]
pub struct ProduceArgs {
    #[command(flatten)]
    common: Common,
    /// The topic
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// Values of records [default: each line of stdin is a record]
    #[arg(value_name = "VALUE", conflicts_with_all = ["from_json", "key_delimiter", "delimiter"])]
    values: Vec<String>,
    /// Key of all records
    #[arg(short, long, value_name = "KEY", conflicts_with_all = ["key_delimiter", "from_json"])]
    key: Option<String>,
    /// What stands between key and value in a line; \t is a tab
    #[arg(short = 'K', long, value_name = "TEXT")]
    key_delimiter: Option<String>,
    /// What stands behind each record of stdin; \0 is a zero byte
    #[arg(short = 'D', long, value_name = "TEXT", default_value = "\\n", hide_default_value = true)]
    delimiter: String,
    /// Each line is a JSON object, as `keylane consume --json` prints it: key, value, headers and timestamp are written
    #[arg(long, conflicts_with = "key_delimiter")]
    from_json: bool,
    /// A header of all records; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = input::header)]
    headers: Vec<input::Header>,
    /// An empty key or value becomes null: a null value deletes its key in a compacted topic
    #[arg(short = 'Z', long)]
    null: bool,
    /// Partition [default: as the key says, as Kafka's clients choose it; in turn without a key]
    #[arg(short, long, value_name = "N")]
    partition: Option<i32>,
    /// Time of the records: milliseconds since 1970, 2026-11-29T10:00:00Z, or how long ago as 10m [default: now]
    #[arg(long, value_name = "TIME")]
    timestamp: Option<Time>,
    /// Compression
    #[arg(short = 'z', long, value_name = "CODEC", default_value = "none")]
    compression: Codec,
    /// Who must have a record before it is acknowledged
    #[arg(short, long, value_name = "WHO", default_value = "all")]
    acks: Acks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Acks {
    /// All replicas that are in sync
    All,
    /// The leader
    #[value(name = "1")]
    Leader,
    /// Nobody: nothing is acknowledged
    #[value(name = "0")]
    Nobody,
}

/// What is printed with `--json`.
#[derive(Serialize)]
struct Told<'a> {
    topic: &'a str,
    partition: i32,
    records: u64,
    /// Offset of the first record; -1 with `--acks 0`.
    first_offset: i64,
    /// Offset of the last record; -1 with `--acks 0`.
    last_offset: i64,
}

/// Runs the command.
pub fn run(args: &ProduceArgs) -> Result<(), Failure> {
    let input = Input {
        key: args.key.clone().map(String::into_bytes),
        key_delimiter: args.key_delimiter.as_deref().map(escaped).transpose()?,
        is_json: args.from_json,
        headers: args.headers.clone(),
        empty_is_null: args.null,
        timestamp: args.timestamp.map(|time| time.0),
    };
    let mut cluster = args.common.connect()?;
    let topic = existing(&mut cluster, &args.topic)?;
    let acks = match args.acks {
        Acks::All => -1,
        Acks::Leader => 1,
        Acks::Nobody => 0,
    };
    let mut sender = Sender::new(cluster, topic, args.partition, args.compression as i16, acks)?;
    let done = match args.values.is_empty() {
        true => lines(&mut sender, &input, &escaped(&args.delimiter)?),
        false => values(&mut sender, &input, &args.values),
    };
    print(args, &sender.written)?;
    done.inspect_err(|_| {
        let acked: u64 = sender.written.values().map(|written| written.records).sum();
        if acked > 0 {
            say::tell(&format!("{acked} records were acknowledged before it failed"));
        }
    })
}

fn escaped(text: &str) -> Result<Vec<u8>, Failure> {
    let bytes = super::format::unescaped(text).map_err(Failure::Unfit)?;
    if bytes.is_empty() {
        Err(Failure::Unfit("a delimiter has at least one byte".to_owned()))
    } else {
        Ok(bytes)
    }
}

fn values(sender: &mut Sender, input: &Input, values: &[String]) -> Result<(), Failure> {
    for value in values {
        sender.add(input.value(value.clone().into_bytes()))?;
    }
    sender.flush()
}

/// Sends what stdin has. When nothing comes for a moment, what came is sent.
fn lines(sender: &mut Sender, input: &Input, delimiter: &[u8]) -> Result<(), Failure> {
    let mut lines = Lines::of_stdin(delimiter)?;
    let mut number = 0u64;
    loop {
        let next = match sender.has_unsent() {
            true => lines.next_soon(),
            false => lines.next().map(Some),
        };
        let line = match next {
            Ok(Some(Some(line))) => line,
            Ok(Some(None)) => return sender.flush(),
            // Nothing came for a moment.
            Ok(None) => {
                sender.flush()?;
                continue;
            }
            Err(failure) => {
                sender.flush()?;
                return Err(failure);
            }
        };
        number += 1;
        let record: Result<New, String> = input.record(line);
        match record {
            Ok(record) => sender.add(record)?,
            Err(what) => {
                sender.flush()?;
                return Err(Failure::Data(format!("record {number} of stdin: {what}")));
            }
        }
    }
}

fn print(args: &ProduceArgs, written: &BTreeMap<i32, Written>) -> Result<(), Failure> {
    let told = written.iter().map(|(partition, written)| Told {
        topic: &args.topic,
        partition: *partition,
        records: written.records,
        first_offset: written.first_offset,
        last_offset: written.last_offset,
    });
    if args.common.json {
        return say::print_json(&told.collect::<Vec<_>>());
    }
    for Told { topic, partition, records, first_offset, last_offset } in told {
        let records = if records == 1 { "1 record".to_owned() } else { format!("{records} records") };
        let place = match (first_offset, last_offset) {
            (-1, _) => "not acknowledged".to_owned(),
            (first, last) if first == last => format!("offset {first}"),
            (first, last) => format!("offsets {first} to {last}"),
        };
        say::print(&format!("{topic}: {records} in partition {partition}, {place}\n"))?;
    }
    Ok(())
}
