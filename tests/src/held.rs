//! What a data directory holds, and whether a directory on a simulated disk still holds it.
//!
//! [`Author`] fills a directory and keeps the list of what was acknowledged. [`look`] opens a directory,
//! reads every batch and looks some up by time; it tells the same, an error, a shorter log and anything
//! else apart. The list holds a [`Stamp`] for each batch, so that it can be kept in a text file.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use keylane_engine::catalog::NewTopic;
use keylane_engine::shard::{CommitState, PartitionRef, Shard, ShardOptions};
use keylane_engine::{AppendError, CommitSeq, LogConfig, LogId, Offset, record_batch};
use keylane_sim_disk::{Rng, SimDisk};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use crate::crash::check::{Finding, split};
use crate::crash::compacted::{compare, read_all};
use crate::crash::engine::Engine;
use crate::crash::model::{Sent, TIME_MS};

/// One stored batch: enough to know it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Offset of its first record.
    pub offset: Offset,
    /// Offsets it spans.
    pub span: u64,
    /// Its bytes.
    pub len: usize,
    /// Largest timestamp, in milliseconds.
    pub time: i64,
    /// CRC-32C of all its bytes from byte 16 on: what lies before is set when it is stored.
    pub crc: u32,
}

impl Stamp {
    /// Of a stored batch; `None` if the bytes are too few.
    pub fn of(stored: &[u8]) -> Option<Self> {
        let delta = i32::from_be_bytes(stored.get(23..27)?.try_into().ok()?);
        Some(Self {
            offset: record_batch::base_offset(stored)?,
            span: u64::try_from(delta).ok()? + 1,
            len: stored.len(),
            time: i64::from_be_bytes(stored.get(35..43)?.try_into().ok()?),
            crc: crc32c::crc32c(stored.get(16..)?),
        })
    }

    /// Offset after its last record.
    pub fn end(&self) -> Offset {
        self.offset + self.span
    }
}

/// Topics and batches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Logs of the partitions of each topic.
    pub topics: BTreeMap<String, Vec<u32>>,
    /// Batches by log.
    pub logs: BTreeMap<u32, Vec<Stamp>>,
}

/// What a directory holds, compared with what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Exactly that.
    Same,
    /// Errors; whatever could be read was right.
    Refused(Vec<String>),
    /// It opened, and some logs end earlier: their number of batches.
    Shorter(BTreeMap<u32, usize>),
    /// Something else.
    Other(String),
}

/// A runtime for [`inside`].
pub fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime of one thread")
}

/// Runs what uses an engine, and drops its tasks at the end.
pub fn inside<T>(runtime: &Runtime, future: impl Future<Output = T>) -> T {
    runtime.block_on(LocalSet::new().run_until(future))
}

/// Small segments, no cache to speak of: what is read comes from the disk.
pub fn small() -> ShardOptions {
    ShardOptions {
        segment_bytes: 64 << 10,
        chunk_bytes: 16 << 10,
        tail_cache_bytes: 4 << 10,
        early_commit_bytes: 4096,
        zero_fill: false,
        ..ShardOptions::default()
    }
}

/// Opens the directory and compares. To be run [`inside`].
pub async fn look(disk: &SimDisk, expected: &Held) -> Verdict {
    let engine = match Engine::open(disk, 1, &small()).await {
        Ok(engine) => engine,
        Err(error) => return Verdict::Refused(vec![error.to_string()]),
    };
    let topics = engine.catalog.topics().map(|topic| {
        let logs = topic.partitions.iter().map(|p| p.log.0).collect();
        (topic.name.clone(), logs)
    });
    if topics.collect::<BTreeMap<String, Vec<u32>>>() != expected.topics {
        return Verdict::Other("other topics".to_owned());
    }
    let (mut errors, mut shorter) = (Vec::new(), BTreeMap::new());
    for (&log, stamps) in &expected.logs {
        let Some((shard, at)) = engine.find(LogId(log)) else {
            return Verdict::Other(format!("log {log} is gone"));
        };
        match look_at_log(&shard, at, stamps, &mut errors).await {
            Ok(batches) if batches < stamps.len() => {
                shorter.insert(log, batches);
            }
            Ok(_) => {}
            Err(what) => return Verdict::Other(format!("log {log}: {what}")),
        }
    }
    match (shorter.is_empty(), errors.is_empty()) {
        (true, true) => Verdict::Same,
        (true, false) => Verdict::Refused(errors),
        (false, _) => Verdict::Shorter(shorter),
    }
}

/// Number of batches by its high watermark, each of them compared. What cannot be read goes to `errors`.
async fn look_at_log(
    shard: &Shard,
    at: PartitionRef,
    expected: &[Stamp],
    errors: &mut Vec<String>,
) -> Result<usize, String> {
    let offsets = shard.offsets(at).map_err(|e| e.to_string())?;
    let have = expected.partition_point(|stamp| stamp.end() <= offsets.high_watermark);
    let end = have.checked_sub(1).map_or(0, |last| expected[last].end());
    let start = expected.first().map_or(0, |first| first.offset);
    if offsets.end != end || offsets.high_watermark != end || offsets.start > start {
        return Err(format!("{offsets:?}, and its batches end at {end}"));
    }
    for stamp in &expected[..have] {
        match shard.read(at, stamp.offset, 1).await {
            Ok(answer) => {
                let batches = split(&answer)?;
                let found = batches.first().and_then(|batch| Stamp::of(batch));
                if found != Some(*stamp) || batches.len() != 1 {
                    return Err(format!("{found:?} where {stamp:?} should be"));
                }
            }
            Err(error) => errors.push(error.to_string()),
        }
    }
    let Some(middle) = expected[..have].get(have / 2) else { return Ok(have) };
    let first = expected[..have].iter().find(|stamp| stamp.time >= middle.time);
    match shard.find_by_time(at, middle.time, 0).await {
        Ok(found) => {
            let found = found.map(|(offset, _)| offset);
            if found != first.map(|stamp| stamp.offset) {
                return Err(format!("the first batch at time {} is at {found:?}", middle.time));
            }
        }
        Err(error) => errors.push(error.to_string()),
    }
    Ok(have)
}

/// Opens the directory and looks at the logs that are compacted all the while: whether of every key the latest
/// record is there, and nothing that was not sent. To be run [`inside`].
pub async fn look_compacted(
    disk: &SimDisk,
    sent: &BTreeMap<u32, Vec<Sent>>,
    acked: &BTreeMap<u32, usize>,
) -> Result<(), Finding> {
    let engine = Engine::open(disk, 1, &small()).await.map_err(|e| Finding::Refused(e.to_string()))?;
    for (&log, sent) in sent {
        let found = engine.find(LogId(log)).ok_or_else(|| Finding::Lost(format!("log {log}")))?;
        let (shard, at) = found;
        let offsets = shard.offsets(at).map_err(|e| Finding::Refused(e.to_string()))?;
        let have = sent.partition_point(|batch| batch.end() <= offsets.high_watermark);
        let ends = have.checked_sub(1).map_or(0, |last| sent[last].end()) == offsets.high_watermark;
        if !ends || acked.get(&log).is_some_and(|acked| have < *acked) {
            return Err(Finding::Lost(format!("log {log}: {offsets:?}, {acked:?} acknowledged")));
        }
        compare(&sent[..have], &read_all(&shard, at).await?, offsets.start)?;
    }
    Ok(())
}

/// Settings of a log of which everything sealed is compacted, and everything closed when the time is told.
fn compacting(delete_retention_ms: u64) -> LogConfig {
    let keep_all = LogConfig::keep_all();
    LogConfig { compact: true, delete: false, max_compaction_lag_ms: 1, delete_retention_ms, ..keep_all }
}

/// Fills a directory.
pub struct Author {
    /// The open directory.
    pub engine: Engine,
    /// What was appended so far: all of it acknowledged, unless an append failed.
    pub held: Held,
    /// Batches of each log that were acknowledged.
    pub acked: BTreeMap<u32, usize>,
    /// Of logs that are compacted all the while, which `held` does not list: what was appended.
    pub sent: BTreeMap<u32, Vec<Sent>>,
    rng: Rng,
}

impl Author {
    /// Opens a directory that holds `held`, formats an empty one with `shards` shards.
    pub async fn open(disk: &SimDisk, shards: u16, held: Held, seed: u64) -> Result<Self, String> {
        let engine = Engine::open(disk, shards, &small()).await.map_err(|e| e.to_string())?;
        let acked = held.logs.iter().map(|(log, stamps)| (*log, stamps.len())).collect();
        Ok(Self { engine, held, acked, sent: BTreeMap::new(), rng: Rng::new(seed) })
    }

    /// Creates a topic.
    pub async fn create(&mut self, topic: &str, partitions: usize) -> Result<(), String> {
        let new = NewTopic { name: topic.to_owned(), partitions, configs: BTreeMap::new() };
        let made = self.engine.catalog.create(vec![new]).await.map_err(|e| e.to_string())?;
        for placement in made.iter().flat_map(|topic| &topic.partitions) {
            self.engine.shards[usize::from(placement.shard)].attach(placement.log);
            self.held.logs.insert(placement.log.0, Vec::new());
            self.held.topics.entry(topic.to_owned()).or_default().push(placement.log.0);
        }
        Ok(())
    }

    /// Creates a topic that is compacted whenever the time is told; its tombstones stay.
    pub async fn create_compacted(&mut self, topic: &str, partitions: usize) -> Result<(), String> {
        self.create(topic, partitions).await?;
        for &log in &self.held.topics[topic] {
            self.held.logs.remove(&log);
            self.sent.insert(log, Vec::new());
            let (shard, at) = self.engine.find(LogId(log)).ok_or("no such log")?;
            shard.configure(at, Arc::new(compacting(i64::MAX as u64)));
        }
        Ok(())
    }

    /// Tells the time, which closes the segments of compacted logs and has them compacted, and waits a little.
    pub async fn tend(&self) {
        self.engine.shards.iter().for_each(|shard| shard.tend(TIME_MS + 3_600_000));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    /// Appends a batch to each of these logs, then waits until all are durable. Logs of odd number have
    /// an idempotent producer.
    pub async fn append(&mut self, logs: &[u32]) -> Result<(), String> {
        let mut waiting: Vec<(Shard, CommitSeq)> = Vec::new();
        for &log in logs {
            let batch = self.make(log);
            let (shard, at) = self.engine.find(LogId(log)).ok_or("no such log")?;
            let appended = loop {
                match shard.check_and_append(at, &batch) {
                    Err(AppendError::Busy | AppendError::DiskFull) => shard.space().await,
                    other => break other.map_err(|e| e.to_string())?,
                }
            };
            let stamp = Stamp::of(&batch).ok_or("a batch has a header")?;
            if let Some(sent) = self.sent.get_mut(&log) {
                let (base_offset, count) = (appended.base_offset, stamp.span as u32);
                sent.push(Sent { base_offset, count, bytes: batch.into() });
            } else {
                let stamps = self.held.logs.entry(log).or_default();
                stamps.push(Stamp { offset: appended.base_offset, ..stamp });
            }
            waiting.push((shard, appended.seq));
        }
        for (shard, seq) in waiting {
            if shard.committed(seq).await != CommitState::Durable {
                return Err(format!("{:?}", shard.failure()));
            }
        }
        for log in logs {
            let appended = self.sent.get(log).map_or_else(|| self.held.logs[log].len(), Vec::len);
            self.acked.insert(*log, appended);
        }
        Ok(())
    }

    /// Sends the last batch of a log with an idempotent producer again; it must be recognised.
    pub async fn repeat(&self, log: u32) -> Result<(), String> {
        let Some(last) = self.held.logs[&log].last().filter(|_| log % 2 == 1) else { return Ok(()) };
        let (shard, at) = self.engine.find(LogId(log)).ok_or("no such log")?;
        let answer = shard.read(at, last.offset, 1).await.map_err(|e| e.to_string())?;
        let mut batch = split(&answer)?.remove(0).to_vec();
        // As it was sent: the log has given it its offset.
        record_batch::patch(&mut batch, 0, -1);
        match shard.check_and_append(at, &batch) {
            Ok(again) if again.duplicate && again.base_offset == last.offset => Ok(()),
            other => Err(format!("log {log}: a batch sent again was answered with {other:?}")),
        }
    }

    /// Has these logs compacted, as far as they go: the active segment is closed, and tombstones would go at once.
    /// What is left of them then counts as held.
    pub async fn compact(&mut self, logs: &[u32]) -> Result<(), String> {
        let config = Arc::new(compacting(0));
        for &log in logs {
            let (shard, at) = self.engine.find(LogId(log)).ok_or("no such log")?;
            shard.configure(at, Arc::clone(&config));
        }
        let (mut before, mut quiet) = (0, 0);
        while quiet < 20 {
            self.engine.shards.iter().for_each(|shard| shard.tend(TIME_MS + 3_600_000));
            tokio::time::sleep(Duration::from_millis(5)).await;
            let counters = self.engine.shards.iter().map(Shard::counters);
            let now: u64 = counters
                .map(|c| {
                    c.sealed.load(Relaxed) + c.compacted.load(Relaxed) + c.background_bytes.load(Relaxed)
                })
                .sum();
            quiet = if now == before { quiet + 1 } else { 0 };
            before = now;
        }
        for &log in logs {
            let (shard, at) = self.engine.find(LogId(log)).ok_or("no such log")?;
            shard.configure(at, Arc::new(LogConfig::keep_all()));
            let offsets = shard.offsets(at).map_err(|e| e.to_string())?;
            let (mut next, mut stamps) = (offsets.start, Vec::new());
            while next < offsets.high_watermark {
                let answer = shard.read(at, next, 1 << 16).await.map_err(|e| e.to_string())?;
                let stored = split(&answer)?;
                let read = stored.iter().map(|batch| Stamp::of(batch).ok_or("a batch has a header"));
                stamps.extend(read.collect::<Result<Vec<_>, _>>()?);
                next = answer.next_offset;
            }
            if stamps.len() >= self.held.logs[&log].len() {
                return Err(format!("log {log} still has {} batches", stamps.len()));
            }
            self.acked.insert(log, stamps.len());
            self.held.logs.insert(log, stamps);
        }
        Ok(())
    }

    /// Closes all shards.
    pub async fn close(self) -> Result<Held, String> {
        self.stop().await?;
        Ok(self.held)
    }

    /// Closes all shards, and keeps the list of what was sent and acknowledged.
    pub async fn stop(&self) -> Result<(), String> {
        for shard in &self.engine.shards {
            shard.close().await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn make(&mut self, log: u32) -> Vec<u8> {
        let held = self.held.logs.get(&log).and_then(|stamps| stamps.last()).map(Stamp::end);
        let sent = self.sent.get(&log).and_then(|sent| sent.last()).map(Sent::end);
        let end = held.or(sent).unwrap_or(0);
        let records: Vec<(Vec<u8>, Vec<u8>)> = (0..self.rng.between(1, 4))
            .map(|record| {
                let text = format!("log {log}, record {}. ", end + record);
                let value = text.repeat(self.rng.between(3, 30) as usize);
                (format!("key {}", self.rng.below(10)).into_bytes(), value.into_bytes())
            })
            .collect();
        let records: Vec<(&[u8], &[u8])> = records.iter().map(|(k, v)| (&k[..], &v[..])).collect();
        // Times rise, but not without exception.
        let time = TIME_MS + (end * 10) as i64 - self.rng.below(30) as i64;
        match log % 2 {
            1 => record_batch::build_from(&records, time, i64::from(log), 0, end as i32),
            _ => record_batch::build(&records, time),
        }
    }
}
