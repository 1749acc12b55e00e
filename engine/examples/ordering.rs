//! Which records keep their order, and why: parcels that are scanned on their way, in a log inside a program.
//!
//! ```sh
//! cargo run --release -p keylane-engine --example ordering [DIRECTORY]
//! ```
//!
//! With the parcel's number as key, all scans of a parcel lie in one partition, in the order in which they were appended.
//! With random keys they lie in all partitions, and a reader of one partition after the other gets them in another order.
//! A program that needs more partitions makes a new topic: who reads the old one to its end before the new one finds each
//! parcel's scans in order. The same story for other clients: `docs/examples`.
//!
//! Without a directory it uses a new one below the temporary directory, and removes it. (If that is refused for
//! lack of O_DIRECT, name one on a disk.)

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::Path;

use keylane_engine::{Keylane, Options, Record, Topic, TopicOptions};

type Failure = Box<dyn Error + Send + Sync>;

const STEPS: [&str; 7] =
    ["picked up", "at the depot", "on the lorry", "at the border", "in the city", "at the door", "delivered"];
const PARCELS: usize = 8;

fn main() -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match std::env::args_os().nth(1) {
        Some(directory) => story(Path::new(&directory), &mut out).map(drop),
        None => {
            let directory = std::env::temp_dir().join(format!("keylane-ordering-{}", std::process::id()));
            let told = story(&directory, &mut out);
            std::fs::remove_dir_all(&directory)?;
            told.map(drop)
        }
    }
}

/// The whole example, told to `out`. Returns how many parcels were in order: with their keys, with random ones, with a
/// second topic in the middle.
pub fn story(directory: &Path, out: &mut dyn Write) -> Result<[usize; 3], Failure> {
    let log = Keylane::open(directory, Options::default())?;
    let fresh = |name: &str, partitions| -> Result<Topic, Failure> {
        if log.topics().iter().any(|topic| topic.name() == name) {
            log.delete_topic(name)?;
        }
        Ok(log.create_topic(name, TopicOptions::new(partitions))?)
    };

    let by_parcel = fresh("by-parcel", 3)?;
    scan(&by_parcel, 0..STEPS.len(), parcel)?;
    let kept = tell("the key is the parcel", &read(&by_parcel)?, out)?;

    let random = RandomState::new();
    let by_chance = fresh("by-chance", 3)?;
    scan(&by_chance, 0..STEPS.len(), |number| {
        format!("{:x}", random.hash_one((number, std::time::Instant::now())))
    })?;
    let mixed = tell("the key is random", &read(&by_chance)?, out)?;

    // More partitions: the rest goes to another topic, and is read after all of the first.
    let (first, second) = (fresh("few-partitions", 3)?, fresh("more-partitions", 5)?);
    scan(&first, 0..4, parcel)?;
    scan(&second, 4..STEPS.len(), parcel)?;
    let all = [read(&first)?, read(&second)?].concat();
    let grown = tell("the key is the parcel, and a topic with more partitions takes over", &all, out)?;
    log.close()?;
    Ok([kept, mixed, grown])
}

fn parcel(number: usize) -> String {
    format!("parcel-{number}")
}

/// Appends a record for each step and parcel; all are durable when it returns.
fn scan(topic: &Topic, steps: std::ops::Range<usize>, key: impl Fn(usize) -> String) -> Result<(), Failure> {
    let mut pending = Vec::new();
    for place in steps {
        for number in 0..PARCELS {
            let value = format!("{number} {place} {}", STEPS[place]);
            pending.push(topic.submit(Record::new(key(number), value))?);
        }
    }
    for append in pending {
        append.wait()?;
    }
    Ok(())
}

/// Parcel and place of each record, one partition after the other.
fn read(topic: &Topic) -> Result<Vec<(usize, usize)>, Failure> {
    let mut all = Vec::new();
    for partition in topic.partitions() {
        let mut next = partition.offsets()?.start;
        loop {
            let found = partition.read(next, 64 << 10)?;
            let Some(last) = found.last() else { break };
            next = last.offset + 1;
            for stored in found {
                let value = stored.record.value.unwrap_or_default();
                let text = String::from_utf8(value.to_vec())?;
                let mut words = text.split(' ').map(str::parse);
                let (Some(parcel), Some(place)) = (words.next(), words.next()) else { continue };
                all.push((parcel?, place?));
            }
        }
    }
    Ok(all)
}

/// Tells what became of each parcel. Returns how many are in order.
fn tell(way: &str, read: &[(usize, usize)], out: &mut dyn Write) -> Result<usize, Failure> {
    writeln!(out, "{way}:")?;
    let mut ordered = 0;
    for number in 0..PARCELS {
        let places: Vec<usize> =
            read.iter().filter(|(parcel, _)| *parcel == number).map(|(_, place)| *place).collect();
        let in_order = places.iter().copied().eq(0..STEPS.len());
        ordered += usize::from(in_order);
        let told = if in_order { "in order".to_owned() } else { format!("out of order {places:?}") };
        writeln!(out, "  {}: {told}", parcel(number))?;
    }
    writeln!(out, "  {ordered} of {PARCELS} parcels are in order")?;
    Ok(ordered)
}
