//! A log inside a program: opens a directory, appends keyed events, reads them back, follows them from another
//! thread, finds one by its time, closes, opens again, and finds everything there.
//!
//! ```sh
//! cargo run --release -p keylane-engine --example embed [DIRECTORY]
//! ```
//!
//! Without a directory it uses a new one below the temporary directory, and removes it. (If that is refused for
//! lack of O_DIRECT, name one on a disk.)

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use keylane_engine::{Keylane, Options, Record, TopicOptions};

type Failure = Box<dyn Error + Send + Sync>;

const TOPIC: &str = "readings";
const PARTITIONS: u32 = 4;
const SENSORS: u32 = 6;
const READINGS: u32 = 50;
/// When the first reading was taken: 2026-01-01 in UTC, in milliseconds since 1970.
const BEGIN_MS: i64 = 1_767_225_600_000;

fn main() -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match std::env::args_os().nth(1) {
        Some(directory) => story(Path::new(&directory), &mut out),
        None => {
            let directory = std::env::temp_dir().join(format!("keylane-embed-{}", std::process::id()));
            let told = story(&directory, &mut out);
            std::fs::remove_dir_all(&directory)?;
            told
        }
    }
}

/// The whole example, told to `out`.
pub fn story(directory: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    writeln!(out, "opening {}", directory.display())?;
    let log = Keylane::open(directory, Options::default())?;
    if log.topics().iter().any(|topic| topic.name() == TOPIC) {
        log.delete_topic(TOPIC)?;
        writeln!(out, "an earlier run left topic {TOPIC}: deleted it")?;
    }
    let topic = log.create_topic(TOPIC, TopicOptions::new(PARTITIONS))?;
    writeln!(out, "created topic {TOPIC} with {PARTITIONS} partitions")?;

    // One record, durable when the call returns.
    let (number, offset) = topic.append(reading("sensor-0", 0))?;
    writeln!(out, "sensor-0 belongs to partition {number}; its first reading is durable at offset {offset}")?;

    // Many records on their way together: what waits shares one write and one flush.
    let mut pending = Vec::new();
    for number in 1..READINGS {
        pending.push(topic.submit(reading("sensor-0", number))?);
    }
    for sensor in 1..SENSORS {
        for number in 0..READINGS {
            pending.push(topic.submit(reading(&format!("sensor-{sensor}"), number))?);
        }
    }
    let on_their_way = pending.len();
    for append in pending {
        append.wait()?;
    }
    writeln!(out, "{on_their_way} more appended without waiting for each; all durable now")?;

    // Read one sensor's partition from its first offset on.
    let partition = topic.partition(number)?;
    let records = partition.read(offset, 64 << 10)?;
    let of_sensor = records.iter().filter(|r| r.record.key.as_deref() == Some(b"sensor-0".as_slice()));
    let numbers: Vec<u32> = of_sensor.map(|r| number_of(&r.record)).collect::<Result<_, _>>()?;
    if numbers != (0..READINGS).collect::<Vec<_>>() {
        return Err(format!("readings of sensor-0 out of order: {numbers:?}").into());
    }
    writeln!(
        out,
        "read {} records of partition {number}: sensor-0 has all {READINGS} in order",
        records.len()
    )?;

    // Find where to begin for everything since a moment.
    let moment = BEGIN_MS + 25_000;
    let since = partition.offset_for_time(moment)?.ok_or("no reading is that late")?;
    let first = partition.read(since, 1)?;
    let late = number_of(&first.first().ok_or("nothing at that offset")?.record)?;
    writeln!(out, "the first reading after 25 s is at offset {since}: number {late}")?;

    // Follow the partition from another thread while this one appends.
    let end = partition.offsets()?.high_watermark;
    let seen = std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let mut tail = partition.tail(end);
            let mut seen = Vec::new();
            while seen.len() < 10 {
                match tail.recv(Duration::from_secs(10))? {
                    Some(stored) => seen.push(stored.offset),
                    None => return Err("nothing came for 10 s".into()),
                }
            }
            Ok::<_, Failure>(seen)
        });
        for number in 0..10 {
            topic.append(reading("sensor-0", READINGS + number))?;
        }
        follower.join().map_err(|_| "the follower panicked")?
    })?;
    writeln!(out, "a tail in another thread saw 10 new records, at offsets {} to {}", seen[0], seen[9])?;

    log.close()?;
    writeln!(out, "closed")?;

    let log = Keylane::open(directory, Options::default())?;
    let mut total = 0;
    for partition in log.topic(TOPIC)?.partitions() {
        let offsets = partition.offsets()?;
        let mut next = offsets.start;
        while next < offsets.high_watermark {
            let records = partition.read(next, 64 << 10)?;
            next = records.last().ok_or("a gap before the end")?.offset + 1;
            total += records.len();
        }
    }
    let expected = (SENSORS * READINGS + 10) as usize;
    if total != expected {
        return Err(format!("{total} records after opening again, not {expected}").into());
    }
    writeln!(out, "opened again: all {total} records are there")?;
    log.close()?;
    Ok(())
}

/// One a second from each sensor.
fn reading(sensor: &str, number: u32) -> Record {
    Record::new(sensor.to_owned(), number.to_string())
        .with_header("unit", "celsius")
        .with_timestamp_ms(BEGIN_MS + i64::from(number) * 1000)
}

fn number_of(record: &Record) -> Result<u32, Failure> {
    let value = record.value.as_deref().ok_or("a reading without a value")?;
    Ok(std::str::from_utf8(value)?.parse()?)
}
