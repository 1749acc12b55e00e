//! `lab hot`: one key is used more than all the others together. The same records are sent three times: with even keys,
//! with the hot key, and with the hot key split into several (salted). Each time one consumer for each partition works
//! them off; what counts is who is done when, and in which order the hot key's records come.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use serde::Serialize;

use super::client::{Client, Record};
use super::world::World;
use super::{Claims, Common, Finding, bar, thousands, verdict};
use crate::keys::{Rng, partition_of};
use crate::units::parse_size;

const HOT: &str = "celebrity";
/// Records of a batch.
const BATCH: usize = 64;
/// Connections that send, in turn.
const CONNECTIONS: usize = 8;
const BAR: usize = 40;
/// Bytes at the start of a value: the sequence of the record among those of its key.
const SEQUENCE_BYTES: usize = 8;

#[derive(Debug, Clone, Args)]
pub struct HotArgs {
    #[command(flatten)]
    pub common: Common,
    /// Partitions of the topics.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(i32).range(2..=64))]
    pub partitions: i32,
    /// Records that are sent each time.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1000..=200_000))]
    pub records: u32,
    /// Bytes of a value.
    #[arg(long, default_value = "1000", value_parser = parse_size, value_name = "SIZE")]
    pub record_bytes: usize,
    /// Other keys.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub keys: u32,
    /// Part of the records that has the hot key.
    #[arg(long, default_value_t = 0.6, value_parser = share)]
    pub hot_share: f64,
    /// Keys that the hot key is split into.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub salts: u32,
    /// Microseconds that a consumer takes for a record.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub work_us: u64,
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("{text}: not a number"))?;
    if (0.3..=0.95).contains(&share) { Ok(share) } else { Err("a hot key has 0.3 to 0.95 of all".to_owned()) }
}

/// How records get their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Keys {
    Even,
    Hot,
    Salted,
}

/// What came of one of them.
#[derive(Debug, Clone, Serialize)]
pub struct Act {
    pub keys: Keys,
    /// Records by partition.
    pub partitions: Vec<u64>,
    /// Processor time of each of the server's cores while it took the records, in milliseconds; empty where the
    /// server is another process.
    pub core_cpu_ms: Vec<f64>,
    /// When the consumer of each partition was done, in milliseconds.
    pub consumer_ms: Vec<f64>,
    /// Partitions that the hot key's records are in.
    pub hot_partitions: Vec<i32>,
    /// The hot key's records, and how many of them are read after a later one.
    pub hot_records: u64,
    pub hot_out_of_order: u64,
    /// Within each of the keys that it was split into, likewise.
    pub part_out_of_order: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct HotFinding {
    pub broker: String,
    pub records: u32,
    pub hot_share: f64,
    pub salts: u32,
    pub work_us: u64,
    pub acts: Vec<Act>,
    pub wrong: Vec<String>,
}

impl Finding for HotFinding {
    fn wrong(&self) -> &[String] {
        &self.wrong
    }
}

impl Act {
    fn largest(&self) -> f64 {
        let all: u64 = self.partitions.iter().sum();
        self.partitions.iter().max().map_or(0.0, |most| *most as f64 / all.max(1) as f64)
    }

    fn last_ms(&self) -> f64 {
        self.consumer_ms.iter().copied().fold(0.0, f64::max)
    }
}

/// Sends all records; returns how many each partition got.
fn send(args: &HotArgs, keys: Keys, world: &World, topic: &str) -> Result<Vec<u64>> {
    let mut rng = Rng::new(args.common.seed);
    let mut clients = (0..CONNECTIONS).map(|_| world.client()).collect::<Result<Vec<Client>>>()?;
    let mut waiting: Vec<Vec<Record>> = (0..args.partitions).map(|_| Vec::new()).collect();
    let mut counts = vec![0u64; waiting.len()];
    let mut hot = 0u64;
    let threshold = (args.hot_share * u64::MAX as f64) as u64;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut turn = 0;
    let mut flush = |partition: usize, records: &mut Vec<Record>| -> Result<()> {
        turn += 1;
        let client = &mut clients[turn % CONNECTIONS];
        client.produce(topic, partition as i32, records)?;
        records.clear();
        Ok(())
    };
    for _ in 0..args.records {
        let (pick, other) = (rng.next_u64(), rng.next_u64() % u64::from(args.keys));
        let is_hot = keys != Keys::Even && pick < threshold;
        let key = match keys {
            _ if !is_hot => format!("user-{other}"),
            Keys::Salted => format!("{HOT}#{}", hot % u64::from(args.salts)),
            _ => HOT.to_owned(),
        };
        let mut value = vec![0; args.record_bytes.max(SEQUENCE_BYTES)];
        value[..SEQUENCE_BYTES].copy_from_slice(&hot.to_be_bytes());
        hot += u64::from(is_hot);
        let partition = partition_of(key.as_bytes(), args.partitions) as usize;
        counts[partition] += 1;
        waiting[partition].push(Record { key, value, time_ms: now.as_millis() as i64 });
        if waiting[partition].len() == BATCH {
            flush(partition, &mut waiting[partition])?;
        }
    }
    for (partition, records) in waiting.iter_mut().enumerate() {
        if !records.is_empty() {
            flush(partition, records)?;
        }
    }
    Ok(counts)
}

/// What a consumer found: its time, and key and sequence of the hot key's records.
type Worked = (f64, Vec<(String, u64)>);

/// Works off a partition.
fn work(address: SocketAddr, topic: &str, partition: i32, count: u64, work: Duration) -> Result<Worked> {
    let started = Instant::now();
    let mut client = Client::connect(address)?;
    let (mut next, mut hot) = (0, Vec::new());
    while (next as u64) < count {
        let rows = client.fetch(topic, partition, next, 256 << 10)?;
        ensure!(!rows.is_empty(), "{topic}-{partition} ends at {next} instead of {count}");
        // As one that asks something else for every record, and waits.
        std::thread::sleep(work * rows.len() as u32);
        for row in rows {
            next = row.offset + 1;
            if row.key.starts_with(HOT) {
                let head =
                    row.value.first_chunk::<SEQUENCE_BYTES>().context("a record of this experiment")?;
                hot.push((row.key, u64::from_be_bytes(*head)));
            }
        }
    }
    Ok((started.elapsed().as_secs_f64() * 1e3, hot))
}

fn act(args: &HotArgs, keys: Keys, world: &World) -> Result<Act> {
    let name = match keys {
        Keys::Even => "lab-even",
        Keys::Hot => "lab-hot",
        Keys::Salted => "lab-salted",
    };
    let topic = world.client()?.create_topic(name, args.partitions)?;
    let before = core_cpu();
    let partitions = send(args, keys, world, &topic)?;
    let core_cpu_ms = match world.is_embedded() {
        true => core_cpu().iter().zip(&before).map(|(a, b)| a.1.saturating_sub(b.1) as f64 / 1e6).collect(),
        false => Vec::new(),
    };
    let time = Duration::from_micros(args.work_us);
    let worked = std::thread::scope(|scope| {
        let start = |(partition, count): (i32, &u64)| {
            let (topic, count, address) = (&topic, *count, world.address());
            scope.spawn(move || work(address, topic, partition, count, time))
        };
        let consumers: Vec<_> = (0i32..).zip(&partitions).map(start).collect();
        let done = consumers.into_iter().map(|c| c.join().map_err(|_| anyhow!("a consumer panicked"))?);
        done.collect::<Result<Vec<Worked>>>()
    })?;
    let (mut latest, mut hot_out_of_order, mut part_out_of_order) = (None, 0, 0);
    let mut latest_of: BTreeMap<&str, u64> = BTreeMap::new();
    for (key, sequence) in worked.iter().flat_map(|(_, hot)| hot) {
        hot_out_of_order += u64::from(latest.is_some_and(|latest| *sequence < latest));
        latest = latest.max(Some(*sequence));
        let of_part = latest_of.entry(key).or_insert(*sequence);
        part_out_of_order += u64::from(*sequence < *of_part);
        *of_part = (*of_part).max(*sequence);
    }
    let holds_hot = |(partition, worked): (i32, &Worked)| (!worked.1.is_empty()).then_some(partition);
    Ok(Act {
        keys,
        partitions,
        core_cpu_ms,
        consumer_ms: worked.iter().map(|(ms, _)| *ms).collect(),
        hot_partitions: (0i32..).zip(&worked).filter_map(holds_hot).collect(),
        hot_records: worked.iter().map(|(_, hot)| hot.len() as u64).sum(),
        hot_out_of_order,
        part_out_of_order,
    })
}

/// Processor time in nanoseconds of each of this process's server threads, by name.
fn core_cpu() -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let name = read("comm").trim().to_owned();
        if name.starts_with("keylane-core") {
            let ns = read("schedstat").split(' ').next().and_then(|ns| ns.parse().ok());
            found.push((name, ns.unwrap_or(0)));
        }
    }
    found.sort();
    found
}

/// What does not hold.
fn claims(acts: &[Act], partitions: i32, hot_share: f64) -> Vec<String> {
    let mut claims = Claims::default();
    let [even, hot, salted] = acts else { return vec!["there are three acts".to_owned()] };
    let fair = 1.0 / f64::from(partitions);
    claims.check(even.largest() < 1.6 * fair, "with even keys no partition has much more than its share");
    claims.check(hot.largest() >= hot_share - 0.02, "the hot key's partition has the hot key's share");
    claims.check(salted.largest() < hot.largest(), "splitting the key makes the largest share smaller");
    claims.check(hot.hot_partitions.len() == 1, "the hot key is in one partition");
    claims.check(hot.hot_out_of_order == 0, "the hot key's records are read in their order");
    claims.check(salted.hot_partitions.len() > 1, "the split key is in several partitions");
    claims.check(salted.part_out_of_order == 0, "each part of the split key is read in its order");
    claims.check(salted.hot_out_of_order > 0, "the split key as a whole is not");
    claims.check(hot.last_ms() > even.last_ms(), "with a hot key the last consumer is done later");
    claims.into_wrong()
}

/// Runs the experiment.
pub fn run(args: &HotArgs) -> Result<HotFinding> {
    ensure!(args.record_bytes <= 16 << 10, "a record of more than 16 KiB");
    let world = World::open(&args.common)?;
    let mut acts = Vec::new();
    for keys in [Keys::Even, Keys::Hot, Keys::Salted] {
        acts.push(act(args, keys, &world)?);
    }
    let wrong = claims(&acts, args.partitions, args.hot_share);
    let broker = world.what();
    world.close()?;
    Ok(HotFinding {
        broker,
        records: args.records,
        hot_share: args.hot_share,
        salts: args.salts,
        work_us: args.work_us,
        acts,
        wrong,
    })
}

impl fmt::Display for HotFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partitions = self.acts.first().map_or(0, |act| act.partitions.len());
        writeln!(f, "lab hot: what one key that is used more than all others does")?;
        writeln!(
            f,
            "  {} records go to {partitions} partitions, on {}; then each partition has a consumer",
            thousands(self.records.into()),
            self.broker
        )?;
        writeln!(f, "  that takes {} us for a record.", self.work_us)?;
        for (number, act) in self.acts.iter().enumerate() {
            writeln!(f)?;
            let share = (self.hot_share * 100.0).round();
            match act.keys {
                Keys::Even => writeln!(f, "{}. Even keys", number + 1)?,
                Keys::Hot => writeln!(f, "{}. {share} % of the records have the key {HOT}", number + 1)?,
                Keys::Salted => writeln!(
                    f,
                    "{}. {HOT} is split: {HOT}#0 to {HOT}#{}, in turn",
                    number + 1,
                    self.salts - 1
                )?,
            }
            let all: u64 = act.partitions.iter().sum();
            for (partition, (count, ms)) in act.partitions.iter().zip(&act.consumer_ms).enumerate() {
                let part = *count as f64 / all.max(1) as f64;
                let hot = if act.hot_partitions.contains(&(partition as i32)) { "*" } else { " " };
                writeln!(
                    f,
                    "   partition {partition:<2}{hot} {} {:>5.1} %   done after {:>4.0} ms",
                    bar(part, BAR),
                    part * 100.0,
                    ms
                )?;
            }
            let cpu: f64 = act.core_cpu_ms.iter().sum();
            for (core, ms) in act.core_cpu_ms.iter().enumerate() {
                let part = ms / cpu.max(1e-9);
                writeln!(
                    f,
                    "   core {core:<8} {} {:>5.1} %   of the server's processor time",
                    bar(part, BAR),
                    part * 100.0
                )?;
            }
            let (hot, late) = (thousands(act.hot_records), thousands(act.hot_out_of_order));
            match act.keys {
                Keys::Even => {}
                Keys::Hot => writeln!(f, "   order of {HOT} (*): kept, all {hot} in one partition")?,
                Keys::Salted => writeln!(
                    f,
                    "   order of {HOT} (*): lost, {late} of {hot} are read after a later one;\n   kept within \
                     each of its {} parts",
                    self.salts
                )?,
            }
        }
        writeln!(f)?;
        let done: Vec<String> = self.acts.iter().map(|act| format!("{:.0} ms", act.last_ms())).collect();
        let lesson = format!(
            "The work was done after {}: a topic is as fast\n  as its fullest partition, and more partitions do \
             not help, because a key has one. Splitting the key\n  gives its order away: split by something \
             that needs order only within itself.",
            done.join(", ")
        );
        verdict(f, &self.wrong, &lesson)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(keys: Keys, partitions: [u64; 2], hot_partitions: &[i32], out_of_order: (u64, u64)) -> Act {
        Act {
            keys,
            partitions: partitions.to_vec(),
            core_cpu_ms: Vec::new(),
            consumer_ms: partitions.iter().map(|count| *count as f64).collect(),
            hot_partitions: hot_partitions.to_vec(),
            hot_records: 60,
            hot_out_of_order: out_of_order.0,
            part_out_of_order: out_of_order.1,
        }
    }

    /// The control of the check: acts that are not as they should be.
    #[test]
    fn claims_that_do_not_hold_are_named() {
        let even = act(Keys::Even, [50, 50], &[], (0, 0));
        let hot = act(Keys::Hot, [80, 20], &[0], (0, 0));
        let salted = act(Keys::Salted, [55, 45], &[0, 1], (30, 0));
        let of = |even: &Act, hot: &Act, salted: &Act| {
            claims(&[even.clone(), hot.clone(), salted.clone()], 2, 0.6)
        };
        assert!(of(&even, &hot, &salted).is_empty());
        assert_eq!(of(&hot, &hot, &salted).len(), 2, "uneven keys");
        let mixed = act(Keys::Hot, [80, 20], &[0], (1, 1));
        assert_eq!(of(&even, &mixed, &salted), ["the hot key's records are read in their order"]);
        let cold = act(Keys::Hot, [57, 43], &[0], (0, 0));
        assert_eq!(of(&even, &cold, &salted), ["the hot key's partition has the hot key's share"]);
        let unsplit = act(Keys::Salted, [80, 20], &[0], (0, 0));
        assert_eq!(of(&even, &hot, &unsplit).len(), 3);
        let broken = act(Keys::Salted, [55, 45], &[0, 1], (30, 1));
        assert_eq!(of(&even, &hot, &broken), ["each part of the split key is read in its order"]);
    }
}
