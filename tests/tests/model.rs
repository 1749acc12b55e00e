//! Random sequences of operations against a model: a list of batches for each partition. Several topics,
//! idempotent producers among others, restarts and crashes at any point between operations.
//!
//! To add an operation: a variant of [`Op`], a line in [`op`], and a method of [`World`] that does it to
//! the engine and to the model and says what differs. A failure shrinks to a short list of operations.

use std::collections::BTreeMap;
use std::future::Future;

use keylane_engine::catalog::NewTopic;
use keylane_engine::disk::sim::{CrashStyle, SimDisk, SimOptions};
use keylane_engine::shard::{CommitState, PartitionRef, Shard, ShardOptions};
use keylane_engine::{AppendError, CommitSeq, LogId, ReadError, record_batch};
use keylane_tests::crash::check::split;
use keylane_tests::crash::engine::Engine;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence};
use tokio::task::LocalSet;

const SHARDS: u16 = 2;
const TIME: i64 = 1_700_000_000_000;

/// One operation. Numbers that choose a partition, a batch or an offset are taken modulo what there is.
#[derive(Debug, Clone)]
enum Op {
    CreateTopic { partitions: usize },
    DeleteTopic { topic: usize },
    Append { partition: usize, producer: Option<u8>, records: u8, bytes: u16, time: u8, wait: bool },
    Repeat { partition: usize },
    Read { partition: usize, offset: u16, bytes_max: u16 },
    Offsets { partition: usize },
    FindByTime { partition: usize, time: u8 },
    Reopen,
    Crash { seed: u64, style: u8 },
}

fn op() -> impl Strategy<Value = Op> {
    let partition = any::<u8>().prop_map(usize::from);
    let append =
        (partition.clone(), prop::option::of(0..3u8), 1..5u8, 0..9000u16, any::<u8>(), any::<bool>());
    prop_oneof![
        2 => (1..4usize).prop_map(|partitions| Op::CreateTopic { partitions }),
        1 => any::<u8>().prop_map(|topic| Op::DeleteTopic { topic: usize::from(topic) }),
        20 => append.prop_map(|(partition, producer, records, bytes, time, wait)| {
            Op::Append { partition, producer, records, bytes, time, wait }
        }),
        2 => partition.clone().prop_map(|partition| Op::Repeat { partition }),
        6 => (partition.clone(), any::<u16>(), any::<u16>())
            .prop_map(|(partition, offset, bytes_max)| Op::Read { partition, offset, bytes_max }),
        3 => partition.clone().prop_map(|partition| Op::Offsets { partition }),
        3 => (partition, any::<u8>()).prop_map(|(partition, time)| Op::FindByTime { partition, time }),
        1 => Just(Op::Reopen),
        2 => (any::<u64>(), 0..3u8).prop_map(|(seed, style)| Op::Crash { seed, style }),
    ]
}

/// A batch in the model.
#[derive(Debug, Clone)]
struct Batch {
    base: u64,
    span: u64,
    time: i64,
    bytes: Vec<u8>,
    /// Producer and first sequence.
    producer: Option<(u8, i32)>,
    seq: CommitSeq,
}

impl Batch {
    fn end(&self) -> u64 {
        self.base + self.span
    }

    fn is(&self, stored: &[u8]) -> bool {
        stored.len() == self.bytes.len()
            && record_batch::base_offset(stored) == Some(self.base)
            && stored[16..] == self.bytes[16..]
    }
}

#[derive(Debug)]
struct Log {
    topic: String,
    log: LogId,
    batches: Vec<Batch>,
    /// So many of them are known to be durable.
    acked: usize,
}

impl Log {
    fn end(&self) -> u64 {
        self.batches.last().map_or(0, Batch::end)
    }

    fn next_sequence(&self, producer: u8) -> i32 {
        let mine =
            self.batches.iter().rev().filter_map(|b| b.producer.map(|(id, first)| (id, first, b.span)));
        mine.into_iter().find(|(id, ..)| *id == producer).map_or(0, |(_, first, span)| first + span as i32)
    }
}

/// The engine, and what it should hold.
struct World {
    disk: SimDisk,
    engine: Option<Engine>,
    logs: Vec<Log>,
    deleted: Vec<(Shard<SimDisk>, PartitionRef)>,
    topics: usize,
    counter: u64,
}

fn options() -> ShardOptions {
    ShardOptions {
        segment_bytes: 64 << 10,
        chunk_bytes: 16 << 10,
        tail_cache_bytes: 16 << 10,
        early_commit_bytes: 4096,
        zero_fill: false,
        ..ShardOptions::default()
    }
}

/// Says what differs, with the operation's own words.
fn differs<T>(what: impl std::fmt::Display) -> Result<T, String> {
    Err(what.to_string())
}

impl World {
    fn new(ignore_syncs: bool) -> Self {
        let options =
            SimOptions { latency_turns: (0, 4), short_write_1_in: 10, ignore_syncs, ..SimOptions::default() };
        let disk = SimDisk::new(9, options);
        Self { disk, engine: None, logs: Vec::new(), deleted: Vec::new(), topics: 0, counter: 0 }
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("open while operations run")
    }

    /// Opens the engine and brings the model in line with what a crash may have taken.
    async fn open(&mut self) -> Result<(), String> {
        let engine =
            Engine::open(&self.disk, SHARDS, &options()).await.map_err(|e| format!("opening: {e}"))?;
        for log in &mut self.logs {
            let Some((shard, at)) = engine.find(log.log) else {
                return differs(format!("log {} of {} is gone", log.log, log.topic));
            };
            let end = shard.offsets(at).map_err(|e| e.to_string())?.end;
            let have = log.batches.partition_point(|batch| batch.end() <= end);
            let found = have.checked_sub(1).map_or(0, |last| log.batches[last].end());
            if found != end || have < log.acked {
                let acked = log.acked;
                return differs(format!("log {} ends at {end}; {acked} of {:?}", log.log, log.batches.len()));
            }
            log.batches.truncate(have);
            log.acked = have;
        }
        let known = self.logs.iter().map(|log| log.topic.as_str()).collect::<std::collections::BTreeSet<_>>();
        let there = engine.catalog.topics().map(|topic| topic.name.as_str()).collect();
        if known != there {
            return differs(format!("topics {there:?}, expected {known:?}"));
        }
        self.engine = Some(engine);
        for index in 0..self.logs.len() {
            self.read(index, 0, u16::MAX).await?;
        }
        Ok(())
    }

    async fn apply(&mut self, op: &Op) -> Result<(), String> {
        let pick = |n: usize| if self.logs.is_empty() { None } else { Some(n % self.logs.len()) };
        match op {
            Op::CreateTopic { partitions } => self.create(*partitions).await,
            Op::DeleteTopic { topic } => match pick(*topic) {
                Some(index) => self.delete(index).await,
                None => Ok(()),
            },
            Op::Append { partition, producer, records, bytes, time, wait } => match pick(*partition) {
                Some(index) => {
                    self.append(index, *producer, *records, *bytes, *time).await?;
                    if *wait { self.settle(index).await } else { Ok(()) }
                }
                None => Ok(()),
            },
            Op::Repeat { partition } => pick(*partition).map_or(Ok(()), |index| self.repeat(index)),
            Op::Read { partition, offset, bytes_max } => match pick(*partition) {
                Some(index) => {
                    self.settle(index).await?;
                    self.read(index, *offset, *bytes_max).await
                }
                None => Ok(()),
            },
            Op::Offsets { partition } => pick(*partition).map_or(Ok(()), |index| self.offsets(index)),
            Op::FindByTime { partition, time } => match pick(*partition) {
                Some(index) => {
                    self.settle(index).await?;
                    self.find_by_time(index, *time).await
                }
                None => Ok(()),
            },
            Op::Reopen | Op::Crash { .. } => Ok(()),
        }
    }

    fn find(&self, index: usize) -> Result<(Shard<SimDisk>, PartitionRef), String> {
        let log = self.logs[index].log;
        self.engine().find(log).ok_or_else(|| format!("log {log} is gone"))
    }

    async fn create(&mut self, partitions: usize) -> Result<(), String> {
        if self.logs.len() > 12 {
            return Ok(());
        }
        let name = format!("topic-{}", self.topics);
        self.topics += 1;
        let new = NewTopic { name: name.clone(), partitions, configs: BTreeMap::new() };
        let engine = self.engine.as_mut().expect("open while operations run");
        let made = engine.catalog.create(vec![new]).await.map_err(|e| format!("creating {name}: {e}"))?;
        for placement in made.iter().flat_map(|topic| &topic.partitions) {
            engine.shards[usize::from(placement.shard)].attach(placement.log);
            if self.logs.iter().any(|log| log.log >= placement.log) {
                return differs(format!("log {} was used before", placement.log));
            }
            self.logs.push(Log { topic: name.clone(), log: placement.log, batches: Vec::new(), acked: 0 });
        }
        Ok(())
    }

    async fn delete(&mut self, index: usize) -> Result<(), String> {
        let name = self.logs[index].topic.clone();
        let engine = self.engine.as_mut().expect("open while operations run");
        let gone = engine.catalog.delete(&name).await.map_err(|e| format!("deleting {name}: {e}"))?;
        for placement in &gone.partitions {
            let shard = &engine.shards[usize::from(placement.shard)];
            self.deleted.extend(shard.partition(placement.log).map(|at| (shard.clone(), at)));
            shard.detach(placement.log);
        }
        self.logs.retain(|log| log.topic != name);
        for (shard, at) in &self.deleted {
            if !matches!(shard.read(*at, 0, 1).await, Err(ReadError::UnknownPartition)) {
                return differs(format!("log {} is still read after {name} was deleted", at.log()));
            }
        }
        Ok(())
    }

    async fn append(
        &mut self,
        index: usize,
        producer: Option<u8>,
        records: u8,
        bytes: u16,
        time: u8,
    ) -> Result<(), String> {
        let (shard, at) = self.find(index)?;
        self.counter += 1;
        let value = format!("{} ", self.counter).repeat(1 + usize::from(bytes) / 40);
        let records: Vec<_> = (0..records).map(|_| (&b"key"[..], value.as_bytes())).collect();
        let (span, time) = (records.len() as u64, TIME + i64::from(time));
        let log = &mut self.logs[index];
        let producer = producer.map(|id| (id, log.next_sequence(id)));
        let bytes = match producer {
            Some((id, first)) => record_batch::build_from(&records, time, i64::from(id), 0, first),
            None => record_batch::build(&records, time),
        };
        let appended = loop {
            match shard.append(at, &bytes) {
                Err(AppendError::Busy | AppendError::DiskFull) => shard.space().await,
                other => break other.map_err(|e| format!("appending to log {}: {e}", log.log))?,
            }
        };
        if appended.base_offset != log.end() || appended.duplicate {
            return differs(format!("log {}: {appended:?}, {} is next", log.log, log.end()));
        }
        log.batches.push(Batch { base: log.end(), span, time, bytes, producer, seq: appended.seq });
        Ok(())
    }

    /// Waits until everything in a log is durable.
    async fn settle(&mut self, index: usize) -> Result<(), String> {
        let (shard, _) = self.find(index)?;
        let log = &mut self.logs[index];
        if let Some(last) = log.batches.last().filter(|_| log.acked < log.batches.len())
            && shard.committed(last.seq).await != CommitState::Durable
        {
            return differs(format!("log {}: {:?}", log.log, shard.failure()));
        }
        log.acked = log.batches.len();
        Ok(())
    }

    /// Sends the last batch again, if it is one of an idempotent producer.
    fn repeat(&self, index: usize) -> Result<(), String> {
        let (shard, at) = self.find(index)?;
        let last = self.logs[index].batches.last().filter(|batch| batch.producer.is_some());
        let Some(last) = last else { return Ok(()) };
        match shard.append(at, &last.bytes) {
            Ok(again) if again.duplicate && again.base_offset == last.base => Ok(()),
            other => differs(format!("log {}, the batch at {} again: {other:?}", at.log(), last.base)),
        }
    }

    /// Reads from some offset on: at least the batch that holds it, at most what was asked for.
    async fn read(&self, index: usize, offset: u16, bytes_max: u16) -> Result<(), String> {
        let (shard, at) = self.find(index)?;
        let log = &self.logs[index];
        let offset = u64::from(offset) % (log.end() + 1);
        let what = format!("log {} at {offset}", log.log);
        let answer =
            shard.read(at, offset, usize::from(bytes_max)).await.map_err(|e| format!("{what}: {e}"))?;
        let stored = split(&answer)?;
        let first = log.batches.partition_point(|batch| batch.end() <= offset);
        let expected = &log.batches[first..];
        if stored.is_empty() != expected.is_empty() || stored.len() > expected.len() {
            return differs(format!("{what}: {} batches, there are {}", stored.len(), expected.len()));
        }
        if stored.len() > 1 && answer.bytes > usize::from(bytes_max) {
            return differs(format!("{what}: {} bytes instead of {bytes_max}", answer.bytes));
        }
        match stored.iter().zip(expected).find(|(stored, expected)| !expected.is(stored)) {
            Some((_, expected)) => differs(format!("{what}: another batch at {}", expected.base)),
            None => Ok(()),
        }
    }

    fn offsets(&self, index: usize) -> Result<(), String> {
        let (shard, at) = self.find(index)?;
        let log = &self.logs[index];
        let offsets = shard.offsets(at).map_err(|e| e.to_string())?;
        let acked = log.acked.checked_sub(1).map_or(0, |last| log.batches[last].end());
        let sound = offsets.start == 0
            && offsets.end == log.end()
            && (acked..=log.end()).contains(&offsets.high_watermark);
        let expected = (acked, log.end());
        if sound { Ok(()) } else { differs(format!("log {}: {offsets:?}, {expected:?}", log.log)) }
    }

    async fn find_by_time(&self, index: usize, time: u8) -> Result<(), String> {
        let (shard, at) = self.find(index)?;
        let log = &self.logs[index];
        let time = TIME + i64::from(time);
        let found = shard.find_by_time(at, time).await.map_err(|e| e.to_string())?;
        let expected = log.batches.iter().find(|batch| batch.time >= time).map(|batch| batch.base);
        let found = found.map(|(offset, _)| offset);
        if found == expected {
            Ok(())
        } else {
            differs(format!("log {}, {time}: {found:?}, {expected:?}", log.log))
        }
    }

    /// Closes the engine; everything appended is durable then.
    async fn close(&mut self) -> Result<(), String> {
        for shard in &self.engine().shards {
            shard.close().await.map_err(|e| format!("closing: {e}"))?;
        }
        for log in &mut self.logs {
            log.acked = log.batches.len();
        }
        Ok(())
    }
}

/// Runs operations; each reopening gets tasks of its own, as a new process would.
fn run(ops: &[Op], ignore_syncs: bool) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let mut world = World::new(ignore_syncs);
    let mut rest = ops;
    loop {
        let end =
            rest.iter().position(|op| matches!(op, Op::Reopen | Op::Crash { .. })).unwrap_or(rest.len());
        let (now, later) = rest.split_at(end);
        let last = later.first();
        block_on(&runtime, async {
            world.open().await?;
            for op in now {
                world.apply(op).await.map_err(|what| format!("{op:?}: {what}"))?;
            }
            if let Some(Op::Crash { seed, style }) = last {
                let style =
                    [CrashStyle::AllDropped, CrashStyle::AllKept, CrashStyle::Mixed][usize::from(*style)];
                world.disk = world.disk.crash_image(*seed, style);
                Ok(())
            } else {
                world.close().await
            }
        })?;
        world.engine = None;
        world.deleted.clear();
        let Some((_, after)) = later.split_first() else { break };
        rest = after;
    }
    block_on(&runtime, world.open())
}

fn block_on<T>(runtime: &tokio::runtime::Runtime, future: impl Future<Output = T>) -> T {
    runtime.block_on(LocalSet::new().run_until(future))
}

proptest! {
    #![proptest_config(Config {
        cases: 300,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Config::default()
    })]

    #[test]
    fn the_engine_does_as_the_model(ops in prop::collection::vec(op(), 1..120)) {
        if let Err(what) = run(&ops, false) {
            return Err(TestCaseError::fail(what));
        }
    }
}

/// Negative control: with flushes that do nothing, the model must find loss, and a short list is enough.
#[test]
fn a_disk_that_ignores_flushes_is_found_out() {
    let append = Op::Append { partition: 0, producer: None, records: 1, bytes: 10, time: 1, wait: true };
    let ops = [Op::CreateTopic { partitions: 1 }, append, Op::Crash { seed: 1, style: 0 }];
    run(&ops, false).expect("an honest disk");
    run(&ops, true).expect_err("loss");
}

/// Found by the sequences above: after a restart, freeing the segments of a deleted topic wrote a checkpoint
/// that named no segment at all; the next start took them all for freed ones and removed them.
#[test]
fn segments_outlive_a_topic_that_is_deleted_after_a_restart() {
    let append =
        |partition| Op::Append { partition, producer: None, records: 1, bytes: 10, time: 1, wait: true };
    let create = Op::CreateTopic { partitions: 2 };
    let mut ops = vec![create.clone(), create, append(0), Op::Reopen, append(2), Op::Reopen];
    ops.push(Op::DeleteTopic { topic: 0 });
    ops.extend((0..8).map(|_| append(0)));
    ops.push(Op::Crash { seed: 1, style: 0 });
    run(&ops, false).expect("what was acknowledged is there");
}
