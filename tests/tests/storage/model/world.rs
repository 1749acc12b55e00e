//! The engine on a simulated disk beside the model, and the operations on both.

use std::collections::BTreeMap;
use std::sync::Arc;

use keylane_engine::catalog::NewTopic;
use keylane_engine::shard::{CommitState, PartitionRef, Shard, ShardOptions};
use keylane_engine::{AppendError, LogConfig, ReadError, record_batch};
use keylane_sim_disk::{SimDisk, SimOptions};
use keylane_tests::crash::check::split;
use keylane_tests::crash::compacted::{compare, is_cleaned, read_all};
use keylane_tests::crash::engine::Engine;
use keylane_tests::crash::model::{lying, with_tombstones};

use super::Op;
use super::log::{Batch, Log};

const SHARDS: u16 = 2;
pub const TIME: i64 = 1_700_000_000_000;
/// Keys of compacted logs.
const KEYS: u64 = 5;

/// How often something happened that a run must not be without.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Log start offsets raised on request.
    pub trimmed: u64,
    /// Log start offsets raised by age or size.
    pub deleted: u64,
    /// Compacted logs in which something was missing when they were read.
    pub cleaned: u64,
}

/// The engine, and what it should hold.
pub struct World {
    pub disk: SimDisk,
    pub engine: Option<Engine>,
    pub logs: Vec<Log>,
    pub deleted: Vec<(Shard, PartitionRef)>,
    pub topics: usize,
    /// Names of topics that were deleted.
    pub free_names: Vec<String>,
    pub tally: Tally,
    pub counter: u64,
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

/// Settings of a log. Segments of compacted ones are closed early, so that there is something to clean.
pub fn config(compacted: bool) -> Arc<LogConfig> {
    let all = LogConfig::keep_all();
    Arc::new(match compacted {
        true => LogConfig {
            compact: true,
            delete: false,
            segment_bytes: 8 << 10,
            min_cleanable_dirty_ratio: 0.0,
            delete_retention_ms: i64::MAX as u64,
            ..all
        },
        false => all,
    })
}

/// Says what differs, with the operation's own words.
pub fn differs<T>(what: impl std::fmt::Display) -> Result<T, String> {
    Err(what.to_string())
}

impl World {
    pub fn new(ignore_syncs: bool) -> Self {
        let options =
            SimOptions { latency_turns: (0, 4), short_write_1_in: 10, ignore_syncs, ..SimOptions::default() };
        let disk = SimDisk::new(9, options);
        Self {
            disk,
            engine: None,
            logs: Vec::new(),
            deleted: Vec::new(),
            topics: 0,
            free_names: Vec::new(),
            tally: Tally::default(),
            counter: 0,
        }
    }

    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("open while operations run")
    }

    /// Opens the engine and brings the model in line with what a crash may have taken.
    pub async fn open(&mut self) -> Result<(), String> {
        let engine =
            Engine::open(&self.disk, SHARDS, &options()).await.map_err(|e| format!("opening: {e}"))?;
        for log in &mut self.logs {
            let Some((shard, at)) = engine.find(log.log) else {
                return differs(format!("log {} of {} is gone", log.log, log.topic));
            };
            shard.configure(at, config(log.compacted));
            let offsets = shard.offsets(at).map_err(|e| e.to_string())?;
            log.saw_start(offsets.start)?;
            log.trims = (Vec::new(), 0);
            let end = offsets.end;
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
            let start = self.logs[index].start;
            self.read_from(index, start, usize::from(u16::MAX)).await?;
        }
        Ok(())
    }

    pub async fn apply(&mut self, op: &Op) -> Result<(), String> {
        let pick = |n: usize| if self.logs.is_empty() { None } else { Some(n % self.logs.len()) };
        match op {
            Op::CreateTopic { partitions, compacted, again } => {
                self.create(*partitions, *compacted, *again).await
            }
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
            Op::Offsets { partition } => match pick(*partition) {
                Some(index) => self.offsets(index),
                None => Ok(()),
            },
            Op::FindByTime { partition, time } => match pick(*partition) {
                Some(index) => {
                    self.settle(index).await?;
                    self.find_by_time(index, *time).await
                }
                None => Ok(()),
            },
            Op::Trim { partition, offset, wait } => match pick(*partition) {
                Some(index) => self.trim(index, *offset, *wait).await,
                None => Ok(()),
            },
            Op::KeepTime { partition, time } => match pick(*partition) {
                Some(index) => self.keep_time(index, *time).await,
                None => Ok(()),
            },
            Op::KeepBytes { partition, bytes } => match pick(*partition) {
                Some(index) => self.keep_bytes(index, u64::from(*bytes)).await,
                None => Ok(()),
            },
            Op::Compact => {
                self.compact().await;
                Ok(())
            }
            Op::Reopen | Op::Crash { .. } => Ok(()),
        }
    }

    pub fn find(&self, index: usize) -> Result<(Shard, PartitionRef), String> {
        let log = self.logs[index].log;
        self.engine().find(log).ok_or_else(|| format!("log {log} is gone"))
    }

    pub async fn create(&mut self, partitions: usize, compacted: bool, again: bool) -> Result<(), String> {
        if self.logs.len() > 12 {
            return Ok(());
        }
        let name = match if again { self.free_names.pop() } else { None } {
            Some(name) => name,
            None => {
                self.topics += 1;
                format!("topic-{}", self.topics)
            }
        };
        let new = NewTopic { name: name.clone(), partitions, configs: BTreeMap::new() };
        let engine = self.engine.as_mut().expect("open while operations run");
        let made = engine.catalog.create(vec![new]).await.map_err(|e| format!("creating {name}: {e}"))?;
        for placement in made.iter().flat_map(|topic| &topic.partitions) {
            let shard = &engine.shards[usize::from(placement.shard)];
            let at = shard.attach(placement.log);
            shard.configure(at, config(compacted));
            let offsets = shard.offsets(at).map_err(|e| e.to_string())?;
            if (offsets.start, offsets.high_watermark, offsets.end) != (0, 0, 0) {
                return differs(format!("log {} is new: {offsets:?}", placement.log));
            }
            if self.logs.iter().any(|log| log.log >= placement.log) {
                return differs(format!("log {} was used before", placement.log));
            }
            self.logs.push(Log::new(name.clone(), placement.log, compacted));
        }
        Ok(())
    }

    pub async fn delete(&mut self, index: usize) -> Result<(), String> {
        let name = self.logs[index].topic.clone();
        let engine = self.engine.as_mut().expect("open while operations run");
        let gone = engine.catalog.delete(&name).await.map_err(|e| format!("deleting {name}: {e}"))?;
        for placement in &gone.partitions {
            let shard = &engine.shards[usize::from(placement.shard)];
            self.deleted.extend(shard.partition(placement.log).map(|at| (shard.clone(), at)));
            shard.detach(placement.log);
        }
        self.logs.retain(|log| log.topic != name);
        self.free_names.push(name.clone());
        for (shard, at) in &self.deleted {
            if !matches!(shard.read(*at, 0, 1).await, Err(ReadError::UnknownPartition)) {
                return differs(format!("log {} is still read after {name} was deleted", at.log()));
            }
        }
        Ok(())
    }

    pub async fn append(
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
        let keys: Vec<_> =
            (0..u64::from(records)).map(|i| format!("key {}", (self.counter * 7 + i) % KEYS)).collect();
        let records: Vec<_> = keys.iter().map(|key| (key.as_bytes(), value.trim_end().as_bytes())).collect();
        let (span, time) = (records.len() as u64, TIME + i64::from(time));
        let log = &mut self.logs[index];
        let producer = producer.map(|id| (id, log.next_sequence(id)));
        let bytes = match producer {
            Some((id, first)) => record_batch::build_from(&records, time, i64::from(id), 0, first),
            None => record_batch::build(&records, time),
        };
        // Values with a number that ends with 0 or 8 become tombstones.
        let bytes = if log.compacted { with_tombstones(bytes) } else { bytes };
        let appended = loop {
            match shard.check_and_append(at, &lying(&bytes)) {
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
    pub async fn settle(&mut self, index: usize) -> Result<(), String> {
        let (shard, at) = self.find(index)?;
        let log = &mut self.logs[index];
        if let Some(last) = log.batches.last().filter(|_| log.acked < log.batches.len())
            && shard.committed(last.seq).await != CommitState::Durable
        {
            return differs(format!("log {}: {:?}", log.log, shard.failure()));
        }
        log.acked = log.batches.len();
        if shard.committed(log.trims.1).await != CommitState::Durable {
            return differs(format!("log {}, raising its start: {:?}", log.log, shard.failure()));
        }
        let start = shard.offsets(at).map_err(|e| e.to_string())?.start;
        log.saw_start(start)?;
        match log.trims.0.first() {
            Some(asked) => differs(format!("log {} starts at {start}, asked for was {asked}", log.log)),
            None => Ok(()),
        }
    }

    /// Sends the last batch again, if it is one of an idempotent producer.
    pub fn repeat(&self, index: usize) -> Result<(), String> {
        let (shard, at) = self.find(index)?;
        let last = self.logs[index].batches.last().filter(|batch| batch.producer.is_some());
        let Some(last) = last else { return Ok(()) };
        match shard.check_and_append(at, &lying(&last.bytes)) {
            Ok(again) if again.duplicate && again.base_offset == last.base => Ok(()),
            other => differs(format!("log {}, the batch at {} again: {other:?}", at.log(), last.base)),
        }
    }

    /// Reads from some offset on: below the start nothing, and the error says where it is.
    pub async fn read(&mut self, index: usize, offset: u16, bytes_max: u16) -> Result<(), String> {
        let (shard, at) = self.find(index)?;
        let log = &self.logs[index];
        let offset = u64::from(offset) % (log.end() + 1);
        if offset >= log.start {
            return self.read_from(index, offset, usize::from(bytes_max)).await;
        }
        match shard.read(at, offset, usize::from(bytes_max)).await {
            Err(ReadError::OutOfRange { offset: asked, start, high_watermark })
                if (asked, start, high_watermark) == (offset, log.start, log.end()) =>
            {
                Ok(())
            }
            other => differs(format!("log {} at {offset}, below {}: {other:?}", log.log, log.start)),
        }
    }

    /// At least the batch that holds the offset, at most what was asked for.
    pub async fn read_from(&mut self, index: usize, offset: u64, bytes_max: usize) -> Result<(), String> {
        let (shard, at) = self.find(index)?;
        let log = &self.logs[index];
        let what = format!("log {} at {offset}", log.log);
        let answer = shard.read(at, offset, bytes_max).await.map_err(|e| format!("{what}: {e}"))?;
        let stored = split(&answer)?;
        if stored.len() > 1 && answer.bytes > bytes_max {
            return differs(format!("{what}: {} bytes instead of {bytes_max}", answer.bytes));
        }
        if log.compacted {
            let sent = log.sent();
            let end = stored.last().and_then(|b| record_batch::end_offset(b)).unwrap_or(log.end());
            let first = stored.first().and_then(|b| record_batch::end_offset(b));
            if stored.is_empty() != (offset == log.end()) || first.is_some_and(|end| end <= offset) {
                return differs(format!("{what}: {} batches, the first to {first:?}", stored.len()));
            }
            compare(&sent, &stored, log.end()).map_err(|e| format!("{what}, to {end}: {e}"))?;
            let all = read_all(&shard, at).await.map_err(|e| format!("{what}: {e}"))?;
            compare(&sent, &all, log.start).map_err(|e| format!("{what}, all of it: {e}"))?;
            let first = log.batches.len() - log.kept().len();
            self.tally.cleaned += u64::from(is_cleaned(&sent[first..], &all));
            return Ok(());
        }
        let first = log.batches.partition_point(|batch| batch.end() <= offset);
        let expected = &log.batches[first..];
        if stored.is_empty() != expected.is_empty() || stored.len() > expected.len() {
            return differs(format!("{what}: {} batches, there are {}", stored.len(), expected.len()));
        }
        match stored.iter().zip(expected).find(|(stored, expected)| !expected.is(stored)) {
            Some((_, expected)) => differs(format!("{what}: another batch at {}", expected.base)),
            None => Ok(()),
        }
    }

    pub fn offsets(&mut self, index: usize) -> Result<(), String> {
        let (shard, at) = self.find(index)?;
        let log = &mut self.logs[index];
        let offsets = shard.offsets(at).map_err(|e| e.to_string())?;
        log.saw_start(offsets.start)?;
        let acked = log.acked.checked_sub(1).map_or(0, |last| log.batches[last].end());
        let sound = offsets.end == log.end() && (acked..=log.end()).contains(&offsets.high_watermark);
        let expected = (acked, log.end());
        if sound { Ok(()) } else { differs(format!("log {}: {offsets:?}, {expected:?}", log.log)) }
    }

    /// The first batch that is new enough; of a compacted log one that was, and none behind the first that must be
    /// there.
    pub async fn find_by_time(&self, index: usize, time: u8) -> Result<(), String> {
        let (shard, at) = self.find(index)?;
        let log = &self.logs[index];
        let time = TIME + i64::from(time);
        let found = shard.find_by_time(at, time, 0).await.map_err(|e| e.to_string())?;
        let fits = log.kept().iter().filter(|batch| batch.time >= time);
        let found = found.map(|(offset, _)| offset);
        let mut offsets = fits.map(|batch| batch.base.max(log.start));
        let right = match found {
            Some(found) if log.compacted => offsets.any(|offset| offset == found),
            None if log.compacted => true,
            found => found == offsets.next(),
        };
        if right { Ok(()) } else { differs(format!("log {}, {time}: {found:?}", log.log)) }
    }

    /// Closes the engine; everything appended is durable then.
    pub async fn close(&mut self) -> Result<(), String> {
        for shard in &self.engine().shards {
            shard.close().await.map_err(|e| format!("closing: {e}"))?;
        }
        for log in &mut self.logs {
            log.acked = log.batches.len();
            if let Some(highest) = log.trims.0.iter().max().copied() {
                log.saw_start(highest)?;
            }
        }
        Ok(())
    }
}
