//! Operations by which records go: on request, by age, by size, and because a later one has their key.

use std::sync::Arc;
use std::time::Duration;

use keylane_engine::shard::{CommitState, PartitionRef, Shard};
use keylane_engine::{LogConfig, TrimError};

use super::world::{TIME, World, differs};

/// Later than all records.
const NOW: i64 = TIME + 1000;
/// Retention may have to wait for space in the commit; it is told the time again.
const LOOKS: u32 = 10;
/// Passes in which there may be something to do still. The clock of the tests moves only when nothing else can happen.
const PASSES: u32 = 3;
const A_WHILE: Duration = Duration::from_millis(50);

impl World {
    /// Raises the start of a log to some offset; above the high watermark it must be refused.
    pub async fn trim(&mut self, index: usize, offset: u16, wait: bool) -> Result<(), String> {
        let (shard, at) = self.find(index)?;
        let offsets = shard.offsets(at).map_err(|e| e.to_string())?;
        let log = &mut self.logs[index];
        let offset = u64::from(offset) % (log.end() + 2);
        let seq = loop {
            match shard.trim(at, offset) {
                Err(TrimError::Busy | TrimError::DiskFull) => shard.space().await,
                Err(TrimError::OutOfRange { .. }) if offset > offsets.high_watermark => return Ok(()),
                Ok(seq) if offset <= shard.offsets(at).map_err(|e| e.to_string())?.high_watermark => {
                    break seq;
                }
                other => return differs(format!("log {}, trim to {offset}: {other:?}", log.log)),
            }
        };
        log.trims.1 = log.trims.1.max(seq);
        if offset > log.start {
            log.trims.0.push(offset);
            self.tally.trimmed += 1;
        }
        if wait { self.settle(index).await } else { self.offsets(index) }
    }

    /// Has all records go that are older than `time`.
    pub async fn keep_time(&mut self, index: usize, time: u8) -> Result<(), String> {
        let oldest = TIME + i64::from(time);
        let retention_ms = Some((NOW - oldest) as u64);
        let config = LogConfig { retention_ms, ..LogConfig::keep_all() };
        // A sealed part is as old as its newest record, which need not be above the start.
        let all_old = self.logs[index].batches.iter().all(|batch| batch.time < oldest);
        self.delete_old(index, config, |_| all_old, |(_, time)| time < oldest).await
    }

    /// Has a log keep to so many bytes.
    pub async fn keep_bytes(&mut self, index: usize, bytes: u64) -> Result<(), String> {
        let config = LogConfig { retention_bytes: Some(bytes), ..LogConfig::keep_all() };
        let too_much = |kept: &[(u64, i64)]| kept.iter().map(|(len, _)| len).sum::<u64>() > bytes;
        let log = &self.logs[index];
        let all: u64 = log.kept().iter().map(|batch| batch.bytes.len() as u64).sum();
        // Of a log whose start was raised, more is counted than can be read.
        let must_stay = log.start == 0 && log.trims.0.is_empty() && all <= bytes;
        self.delete_old(index, config, too_much, move |_| !must_stay).await
    }

    /// Deletes by `config`: as long as `more` says so of what is kept (bytes and time of each batch), nothing but what
    /// `may_go`, and whole batches.
    async fn delete_old(
        &mut self,
        index: usize,
        config: LogConfig,
        more: impl Fn(&[(u64, i64)]) -> bool,
        may_go: impl Fn((u64, i64)) -> bool,
    ) -> Result<(), String> {
        self.settle(index).await?;
        if self.logs[index].compacted {
            return Ok(());
        }
        let (shard, at) = self.find(index)?;
        let before = self.logs[index].start;
        shard.configure(at, Arc::new(config));
        for look in 0..LOOKS {
            let start = tend(&shard, at).await?;
            let log = &mut self.logs[index];
            let rest = log.batches.partition_point(|batch| batch.end() <= start);
            let of = |batch: &super::log::Batch| (batch.bytes.len() as u64, batch.time);
            let (gone, kept): (Vec<_>, Vec<_>) =
                (0..).zip(&log.batches).partition(|(number, _)| *number < rest);
            let whole = start == before || gone.last().is_some_and(|(_, batch)| batch.end() == start);
            let old =
                gone.iter().filter(|(_, batch)| batch.end() > before).all(|(_, batch)| may_go(of(batch)));
            if start < before || !whole || !old {
                return differs(format!("log {}: deleted to {start}, from {before}", log.log));
            }
            let kept: Vec<_> = kept.into_iter().map(|(_, batch)| of(batch)).collect();
            if kept.is_empty() || !more(&kept) {
                break;
            }
            if look + 1 == LOOKS {
                return differs(format!("log {}: nothing is deleted from {start} on", log.log));
            }
        }
        shard.configure(at, super::world::config(false));
        let start = shard.offsets(at).map_err(|e| e.to_string())?.start;
        self.logs[index].start = start;
        self.tally.deleted += u64::from(start > before);
        Ok(())
    }

    /// Tells all shards the time, and gives them some for compaction.
    pub async fn compact(&self) {
        for _ in 0..PASSES {
            self.engine().shards.iter().for_each(|shard| shard.tend(NOW));
            tokio::time::sleep(A_WHILE).await;
        }
    }
}

/// Tells a shard the time; where the log starts when what it decided is durable.
async fn tend(shard: &Shard, at: PartitionRef) -> Result<u64, String> {
    shard.tend(NOW);
    loop {
        // Lower than it is: gives the commit of the last raise.
        match shard.trim(at, 0) {
            Err(TrimError::Busy | TrimError::DiskFull) => shard.space().await,
            Err(other) => return Err(other.to_string()),
            Ok(seq) if shard.committed(seq).await != CommitState::Durable => {
                return differs(format!("{:?}", shard.failure()));
            }
            Ok(_) => return Ok(shard.offsets(at).map_err(|e| e.to_string())?.start),
        }
    }
}
