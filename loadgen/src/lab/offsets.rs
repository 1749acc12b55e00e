//! `lab offsets`: a consumer assigns its own partitions and keeps its place with commits. It crashes between processing and
//! commit, the server goes down as well, and what was done twice or not at all is counted, for three ways of doing it.
//!
//! What a consumer has in memory dies with it; what the sink has got stays, as a database or a mail would.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use clap::Args;
use keylane_kafka::messages::list_offsets::{EARLIEST, LATEST};
use serde::{Deserialize, Serialize};

use super::client::{Client, Place, Record};
use super::world::{World, server_binary};
use super::{Claims, Common, Finding, verdict};
use crate::keys::{Rng, partition_of};

const ACCOUNTS: u64 = 10;

#[derive(Debug, Clone, Args)]
pub struct OffsetsArgs {
    #[command(flatten)]
    pub common: Common,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=100))]
    pub partitions: i32,
    /// Payments that are processed.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(20..=100_000))]
    pub records: u32,
    /// Payments that are processed between two commits.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub batch: u32,
    /// The `keylane` to start, and to kill with kill -9; default: the one beside this program. Without one the server runs
    /// in this process and is stopped.
    #[arg(long, value_name = "FILE", conflicts_with = "bootstrap")]
    pub server_bin: Option<PathBuf>,
    /// Run the server in this process, whatever there is.
    #[arg(long, conflicts_with_all = ["bootstrap", "server_bin"])]
    pub embedded: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Payment {
    number: u32,
    account: String,
    cents: u64,
}

/// When a consumer commits, and what its sink does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Way {
    /// Process, then commit.
    AtLeastOnce,
    /// Commit, then process.
    AtMostOnce,
    /// Process, then commit; the sink takes each payment once.
    Idempotent,
}

impl Way {
    const ALL: [Self; 3] = [Self::AtLeastOnce, Self::AtMostOnce, Self::Idempotent];

    fn name(self) -> &'static str {
        match self {
            Self::AtLeastOnce => "process, then commit",
            Self::AtMostOnce => "commit, then process",
            Self::Idempotent => "process into an idempotent sink, then commit",
        }
    }

    fn group(self) -> &'static str {
        match self {
            Self::AtLeastOnce => "lab-at-least-once",
            Self::AtMostOnce => "lab-at-most-once",
            Self::Idempotent => "lab-idempotent",
        }
    }
}

/// What is outside and stays: how often each payment was made.
#[derive(Debug, Clone, Default)]
struct Sink {
    made: BTreeMap<u32, u32>,
    cents: u64,
    /// What it has seen, if it looks: partition and offset of each payment.
    seen: Option<BTreeSet<(i32, i64)>>,
}

impl Sink {
    fn take(&mut self, partition: i32, offset: i64, payment: &Payment) {
        if let Some(seen) = &mut self.seen
            && !seen.insert((partition, offset))
        {
            return;
        }
        *self.made.entry(payment.number).or_default() += 1;
        self.cents += payment.cents;
    }
}

/// What came of one way.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    pub way: Way,
    pub crashes: u32,
    pub once: u32,
    pub twice_or_more: u32,
    pub never: u32,
    pub cents: u64,
    /// Committed offsets by partition as they were answered before the server went down, and as they were found.
    pub before: Vec<i64>,
    pub after: Vec<i64>,
    pub metadata: String,
}

/// A part that was read again.
#[derive(Debug, Clone, Serialize)]
pub struct Replay {
    pub from: String,
    pub offsets: Vec<i64>,
    pub read: u32,
    pub expected: u32,
    /// Of those, what the idempotent sink had not seen.
    pub new: u32,
}

#[derive(Debug, Clone, Serialize)]
pub struct OffsetsFinding {
    pub broker: String,
    pub restart: Option<&'static str>,
    pub records: u32,
    pub batch: u32,
    pub cents: u64,
    pub outcomes: Vec<Outcome>,
    pub replays: Vec<Replay>,
    pub wrong: Vec<String>,
}

impl Finding for OffsetsFinding {
    fn wrong(&self) -> &[String] {
        &self.wrong
    }
}

/// Where a life of a consumer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// There is nothing more to read.
    Done,
    /// It crashed.
    Crashed,
}

/// One topic and how it is read.
struct Bench {
    topic: String,
    partitions: i32,
    batch: usize,
}

impl Bench {
    /// One life of a consumer: from where its group is, to the end or to the crash in its n-th batch.
    fn live(
        &self,
        world: &World,
        way: Way,
        group: &str,
        sink: &mut Sink,
        crash_in: Option<u32>,
    ) -> Result<(End, u32)> {
        let coordinator = world.client()?.coordinator(group)?;
        let mut keeper = Client::connect(coordinator)?;
        let mut reader = world.client()?;
        let mut places = keeper.committed(group, &self.topic, self.partitions)?;
        let (mut batches, mut read) = (0, 0);
        loop {
            let mut progress = false;
            for place in &mut places {
                let from = place.offset.max(0);
                let mut rows = reader.fetch(&self.topic, place.partition, from, 1 << 20)?;
                rows.truncate(self.batch);
                let Some(last) = rows.last() else { continue };
                progress = true;
                batches += 1;
                let crash = crash_in == Some(batches);
                let next = Place {
                    offset: last.offset + 1,
                    metadata: format!("batch {batches} of {group}"),
                    ..place.clone()
                };
                let commit =
                    |keeper: &mut Client| keeper.commit(group, &self.topic, std::slice::from_ref(&next));
                if way == Way::AtMostOnce {
                    commit(&mut keeper)?;
                    if crash {
                        return Ok((End::Crashed, read));
                    }
                }
                for row in &rows {
                    let payment: Payment =
                        serde_json::from_slice(&row.value).context("a payment of this experiment")?;
                    sink.take(place.partition, row.offset, &payment);
                    read += 1;
                }
                if way != Way::AtMostOnce {
                    if crash {
                        return Ok((End::Crashed, read));
                    }
                    commit(&mut keeper)?;
                }
                *place = next;
            }
            if !progress {
                return Ok((End::Done, read));
            }
        }
    }
}

/// Payments, a second apart; the last one is an hour old.
fn produce(args: &OffsetsArgs, client: &mut Client, topic: &str) -> Result<(Vec<Payment>, i64)> {
    let mut rng = Rng::new(args.common.seed);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let first_ms = (now.as_secs() as i64 - 3600 - i64::from(args.records)) * 1000;
    let mut sent = Vec::new();
    for number in 0..args.records {
        let account = format!("account-{}", rng.next_u64() % ACCOUNTS);
        let payment = Payment { number, account: account.clone(), cents: 100 + rng.next_u64() % 900 };
        let value = serde_json::to_vec(&payment).context("a payment as JSON")?;
        let partition = partition_of(account.as_bytes(), args.partitions);
        let record = Record { key: account, value, time_ms: first_ms + i64::from(number) * 1000 };
        client.produce(topic, partition, &[record])?;
        sent.push(payment);
    }
    Ok((sent, first_ms))
}

fn open(args: &OffsetsArgs) -> Result<World> {
    let own = args.common.bootstrap.is_none() && !args.embedded;
    match args.server_bin.clone().or_else(server_binary).filter(|_| own) {
        Some(binary) => World::spawn(&args.common, &binary),
        None => World::open(&args.common),
    }
}

/// Runs the experiment.
pub fn run(args: &OffsetsArgs) -> Result<OffsetsFinding> {
    ensure!(args.records / args.batch >= 6, "too few batches to crash in: lower --batch or raise --records");
    let mut world = open(args)?;
    let mut client = world.client()?;
    let topic = client.create_topic("lab-payments", args.partitions)?;
    // Groups are as fresh as the topic.
    let suffix = topic.trim_start_matches("lab-payments").to_owned();
    let group = |way: Way| format!("{}{suffix}", way.group());
    let (sent, first_ms) = produce(args, &mut client, &topic)?;
    let bench = Bench { topic, partitions: args.partitions, batch: args.batch as usize };
    let mut sinks =
        Way::ALL.map(|way| Sink { seen: (way == Way::Idempotent).then(BTreeSet::new), ..Sink::default() });

    // The first life ends in its second batch; then the server goes down, too.
    let mut crashes = [0; 3];
    let mut before = Vec::new();
    for ((way, sink), crashes) in Way::ALL.into_iter().zip(&mut sinks).zip(&mut crashes) {
        let (end, _) = bench.live(&world, way, &group(way), sink, Some(2))?;
        *crashes += u32::from(end == End::Crashed);
        before.push(client.committed(&group(way), &bench.topic, args.partitions)?);
    }
    drop(client);
    let restart = world.restart()?;
    let mut client = world.client()?;
    let mut outcomes = Vec::new();
    for (index, way) in Way::ALL.into_iter().enumerate() {
        let after = client.committed(&group(way), &bench.topic, args.partitions)?;
        // The second life goes on from there and crashes once more; the third one comes to the end.
        for crash_in in [Some(3), None] {
            let (end, _) = bench.live(&world, way, &group(way), &mut sinks[index], crash_in)?;
            crashes[index] += u32::from(end == End::Crashed);
        }
        let sink = &sinks[index];
        let count = |wanted: fn(u32) -> bool| {
            let made = |payment: &Payment| sink.made.get(&payment.number).copied().unwrap_or(0);
            sent.iter().filter(|payment| wanted(made(payment))).count() as u32
        };
        let offsets = |places: &[Place]| places.iter().map(|place| place.offset).collect::<Vec<_>>();
        let metadata = after.iter().map(|place| place.metadata.clone()).find(|text| !text.is_empty());
        outcomes.push(Outcome {
            way,
            crashes: crashes[index],
            once: count(|n| n == 1),
            twice_or_more: count(|n| n > 1),
            never: count(|n| n == 0),
            cents: sink.cents,
            before: offsets(&before[index]),
            after: offsets(&after),
            metadata: metadata.unwrap_or_default(),
        });
    }
    let way = Way::Idempotent;
    let replays = replay(args, &bench, &world, &group(way), &mut sinks[2], first_ms)?;
    let cents = sent.iter().map(|payment| payment.cents).sum();
    let wrong = judge(&outcomes, &replays, &before, cents);
    let broker = world.what();
    drop(client);
    world.close()?;
    let (records, batch) = (args.records, args.batch);
    Ok(OffsetsFinding { broker, restart, records, batch, cents, outcomes, replays, wrong })
}

/// Sets the group back, to the beginning and to a time, and reads on from there.
fn replay(
    args: &OffsetsArgs,
    bench: &Bench,
    world: &World,
    group: &str,
    sink: &mut Sink,
    first_ms: i64,
) -> Result<Vec<Replay>> {
    let mut client = world.client()?;
    let half = args.records / 2;
    let ends = client.offsets_at(&bench.topic, bench.partitions, LATEST)?;
    let mut replays = Vec::new();
    let to = [
        ("the beginning".to_owned(), EARLIEST, args.records),
        (format!("the time of payment {half}"), first_ms + i64::from(half) * 1000, args.records - half),
    ];
    for (from, time, expected) in to {
        let found = client.offsets_at(&bench.topic, bench.partitions, time)?;
        // Nothing is that young: the end.
        let offset = |(found, end): (&i64, &i64)| if *found < 0 { *end } else { *found };
        let offsets: Vec<i64> = found.iter().zip(&ends).map(offset).collect();
        let place = |(partition, offset): (i32, &i64)| Place {
            partition,
            offset: *offset,
            metadata: format!("set back to {from}"),
        };
        let places: Vec<Place> = (0i32..).zip(&offsets).map(place).collect();
        client.commit(group, &bench.topic, &places)?;
        let made = sink.made.len() as u32;
        let (end, read) = bench.live(world, Way::Idempotent, group, sink, None)?;
        ensure!(end == End::Done, "a replay crashed");
        replays.push(Replay { from, offsets, read, expected, new: sink.made.len() as u32 - made });
    }
    Ok(replays)
}

fn judge(outcomes: &[Outcome], replays: &[Replay], before: &[Vec<Place>], cents: u64) -> Vec<String> {
    let mut claims = Claims::default();
    for (outcome, before) in outcomes.iter().zip(before) {
        let (way, twice, never) = (outcome.way.name(), outcome.twice_or_more, outcome.never);
        claims.check(outcome.crashes == 2, format!("{way}: the consumer crashed twice"));
        let kept = outcome.before == outcome.after;
        claims.check(kept, format!("{way}: what was committed is there after the server went down"));
        let noted = before.iter().any(|place| !place.metadata.is_empty());
        claims.check(
            !noted || before.iter().any(|place| place.metadata == outcome.metadata),
            format!("{way}: the metadata of commits comes back as it was"),
        );
        let (some_twice, some_never) = match outcome.way {
            Way::AtLeastOnce => (true, false),
            Way::AtMostOnce => (false, true),
            Way::Idempotent => (false, false),
        };
        claims.check((twice > 0) == some_twice, format!("{way}: {twice} payments were made twice"));
        claims.check((never > 0) == some_never, format!("{way}: {never} payments were never made"));
        if outcome.way == Way::Idempotent {
            claims.check(outcome.cents == cents, format!("{way}: the sum is that of all payments"));
        }
    }
    for replay in replays {
        let Replay { from, read, expected, new, .. } = replay;
        claims.check(read == expected, format!("from {from}: {expected} payments are read, not {read}"));
        claims.check(*new == 0, format!("from {from}: none of them is new, not {new}"));
    }
    claims.into_wrong()
}

fn money(cents: u64) -> String {
    format!("{}.{:02}", super::thousands(cents / 100), cents % 100)
}

impl fmt::Display for OffsetsFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "lab offsets: what a consumer that crashes does twice, or not at all")?;
        writeln!(
            f,
            "  {} payments of {} in all are read {} at a time, by three groups that differ in one thing.",
            self.records,
            money(self.cents),
            self.batch
        )?;
        writeln!(
            f,
            "  Each consumer crashes between processing and commit, in its 2nd batch, and once more later."
        )?;
        match self.restart {
            Some(how) => {
                writeln!(f, "  After the first crash the server ({}) was {how}, too.", self.broker)?;
            }
            None => writeln!(f, "  The server is {}; it was not restarted.", self.broker)?,
        }
        writeln!(f)?;
        writeln!(f, "1. Where the groups were after the first crash, and when the next consumers asked")?;
        for outcome in &self.outcomes {
            let list = |offsets: &[i64]| {
                let texts = offsets.iter().map(|o| if *o < 0 { "-".to_owned() } else { o.to_string() });
                texts.collect::<Vec<_>>().join(" ")
            };
            let (before, after) = (list(&outcome.before), list(&outcome.after));
            let group = outcome.way.group();
            let note = if outcome.metadata.is_empty() {
                String::new()
            } else {
                format!("   metadata \"{}\"", outcome.metadata)
            };
            writeln!(f, "   {group:<18} {before}  ->  {after}{note}")?;
        }
        writeln!(f)?;
        writeln!(f, "2. What was done in the end")?;
        writeln!(f, "   {:<46} {:>5} {:>6} {:>6}   {:>9}", "", "once", "twice", "never", "sum")?;
        for outcome in &self.outcomes {
            writeln!(
                f,
                "   {:<46} {:>5} {:>6} {:>6}   {:>9}",
                outcome.way.name(),
                outcome.once,
                outcome.twice_or_more,
                outcome.never,
                money(outcome.cents)
            )?;
        }
        writeln!(f, "   {:<46} {:>5} {:>6} {:>6}   {:>9}", "wanted", self.records, 0, 0, money(self.cents))?;
        writeln!(f)?;
        writeln!(f, "3. Reading again, into the idempotent sink: the group is set back with a commit")?;
        for replay in &self.replays {
            let offsets: Vec<String> = replay.offsets.iter().map(i64::to_string).collect();
            let (from, read, new) = (&replay.from, replay.read, replay.new);
            writeln!(f, "   to {from:<24} offsets {}: {read} read, {new} new", offsets.join(" "))?;
        }
        writeln!(f)?;
        let lesson = "Commit after processing, and a crash repeats; commit before,\n  and it loses. Repeating into \
                      a sink that knows what it has (here by partition and offset)\n  comes out right, and makes \
                      it safe to read everything again.";
        verdict(f, &self.wrong, lesson)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(way: Way, twice_or_more: u32, never: u32) -> Outcome {
        Outcome {
            way,
            crashes: 2,
            once: 60 - twice_or_more - never,
            twice_or_more,
            never,
            cents: 1000,
            before: vec![5, -1],
            after: vec![5, -1],
            metadata: "m".to_owned(),
        }
    }

    /// The control of the check: outcomes that are not as they should be.
    #[test]
    fn claims_that_do_not_hold_are_named() {
        let good =
            [outcome(Way::AtLeastOnce, 5, 0), outcome(Way::AtMostOnce, 0, 5), outcome(Way::Idempotent, 0, 0)];
        let replay = |read, new| Replay { from: "x".to_owned(), offsets: vec![0], read, expected: 60, new };
        let places = vec![Place { partition: 0, offset: 5, metadata: "m".to_owned() }];
        let before = [places.clone(), places.clone(), places];
        let of = |outcomes: &[Outcome], replay: Replay| judge(outcomes, &[replay], &before, 1000);
        assert!(of(&good, replay(60, 0)).is_empty());
        assert_eq!(of(&good, replay(59, 0)), ["from x: 60 payments are read, not 59"]);
        assert_eq!(of(&good, replay(60, 1)), ["from x: none of them is new, not 1"]);
        let wrong: [fn(&mut [Outcome; 3]); 7] = [
            |all| all[0].never = 1,
            |all| all[0].twice_or_more = 0,
            |all| all[1].twice_or_more = 1,
            |all| all[1].never = 0,
            |all| all[2].cents += 1,
            |all| all[2].after[0] = 4,
            |all| all[1].metadata = "n".to_owned(),
        ];
        for (number, change) in wrong.iter().enumerate() {
            let mut outcomes = good.clone();
            change(&mut outcomes);
            assert_eq!(of(&outcomes, replay(60, 0)).len(), 1, "change {number}");
        }
    }
}
