//! Deleting: what lies before the log start offset, by size, by age, or because somebody said so.
//!
//! A log start offset is raised by an entry in the commit log, so that it is never seen to go back. Then
//! whole runs before it are forgotten; a segment without runs is freed, and in one that stays the space
//! of what was deleted is given back to the file system (`punch`).
//! Retention deletes whole runs (the part of a sealed segment that belongs to the partition), and of the
//! unsealed part whole batches.

use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;

use crate::ids::{LogId, Offset};
use crate::log::index;
use crate::log_config::LogConfig;
use crate::partition::{Partition, Run};

use crate::shard::{Inner, PartitionRef, Shard, State};

impl Shard {
    /// Sets what is kept of a partition; in force from the next [`Shard::tend`] or sealing on.
    pub fn configure(&self, at: PartitionRef, config: Arc<LogConfig>) {
        if let Some(partition) = self.inner.state.borrow_mut().get_mut(at) {
            partition.config = config;
        }
    }

    /// What is kept of a partition.
    pub fn config(&self, at: PartitionRef) -> Option<Arc<LogConfig>> {
        self.inner.state.borrow().get(at).map(|p| Arc::clone(&p.config))
    }

    /// Does what is due at this time (milliseconds since 1970): deletes what is too old or too much,
    /// closes the active segment where records in it are older than `segment.ms`, has compacted what is
    /// due for it; in between, the last is looked at when a segment is sealed. To be called every few
    /// seconds; the engine has no clock of its own.
    pub fn tend(&self, now_ms: i64) {
        if self.inner.ends() {
            return;
        }
        let due = {
            let mut state = self.inner.state.borrow_mut();
            state.now = Some((now_ms, Instant::now()));
            let due: Vec<_> = state
                .partitions
                .iter()
                .enumerate()
                .filter_map(|(slot, p)| {
                    let p = p.as_ref()?;
                    let at = PartitionRef { slot: slot as u32, log: p.log };
                    Some((at, p.expired(now_ms).max(p.surplus(0))?))
                })
                .collect();
            state.roll_if_old(now_ms);
            due
        };
        self.inner.delete(&due);
        self.inner.work.notify_one();
        self.inner.keeping.notify_one();
        self.inner.cleaning.notify_one();
        self.inner.look_for_room(&mut self.inner.state.borrow_mut());
    }
}

impl Partition {
    /// The bytes that it may have at most, if that is limited.
    pub(crate) fn bound(&self) -> Option<u64> {
        self.config.retention_bytes.filter(|_| self.config.delete)
    }

    /// The log start offset by age, if it has to be raised.
    fn expired(&self, now_ms: i64) -> Option<Offset> {
        let keep_ms = self.config.retention_ms.filter(|_| self.config.delete)?;
        let oldest = now_ms.saturating_sub(i64::try_from(keep_ms).unwrap_or(i64::MAX));
        // Records without a time do not age.
        let old = |t: i64| (0..oldest).contains(&t);
        let mut start = self.start;
        for run in &self.runs {
            if !old(run.max_timestamp) {
                return (start > self.start).then_some(start);
            }
            start = start.max(run.next_offset);
        }
        for batch in self.tail.iter().skip(self.tail_position(start)) {
            let end = batch.base_offset + u64::from(batch.span);
            if end > self.high_watermark || !old(batch.max_timestamp) {
                break;
            }
            start = end;
        }
        (start > self.start).then_some(start)
    }

    /// The log start offset by size, if it has to be raised, with `headroom` bytes to spare. For these, nothing goes
    /// that would leave less than half of the bound.
    fn surplus(&self, headroom: u64) -> Option<Offset> {
        let bound = self.bound()?;
        let max = bound - headroom.min(bound / 2);
        let (mut start, mut bytes) = (self.start, self.bytes);
        for run in &self.runs {
            let left = bytes.saturating_sub(u64::from(run.bytes));
            if bytes <= max || (bytes <= bound && left < bound / 2) {
                return (start > self.start).then_some(start);
            }
            bytes = left;
            start = start.max(run.next_offset);
        }
        for batch in self.tail.iter().skip(self.tail_position(start)) {
            let end = batch.base_offset + u64::from(batch.span);
            let left = bytes.saturating_sub(u64::from(batch.len));
            if bytes <= max || (bytes <= bound && left < bound / 2) || end > self.high_watermark {
                break;
            }
            bytes = left;
            start = end;
        }
        (start > self.start).then_some(start)
    }
}

impl Inner {
    /// Deletes what is too much in the partitions that wrote into a segment that was sealed. Room is made
    /// for as much again, so that they keep to their size while the next segment fills up.
    pub(crate) fn keep_to_size(self: &Rc<Self>, sealed: &index::Index) {
        let due: Vec<_> = {
            let state = self.state.borrow();
            let over = |(log, run): &(LogId, Run)| {
                let at = PartitionRef { slot: *state.by_log.get(log)?, log: *log };
                Some((at, state.get(at)?.surplus(u64::from(run.bytes))?))
            };
            sealed.runs.iter().filter_map(over).collect()
        };
        self.delete(&due);
    }

    /// Raises log start offsets as far as the log takes it; the rest is left to the next time.
    fn delete(self: &Rc<Self>, due: &[(PartitionRef, Offset)]) {
        let shard = Shard { inner: Rc::clone(self) };
        for &(at, offset) in due {
            if let Err(e) = shard.trim(at, offset) {
                tracing::debug!(%e, "retention waits");
                return;
            }
        }
    }
}

impl State {
    /// Closes the active segment if a partition's records in it are older than it allows.
    fn roll_if_old(&mut self, now_ms: i64) {
        let too_old = |&(slot, log): &(u32, LogId)| {
            let partition = self.get(PartitionRef { slot, log })?;
            let from = partition.tail.partition_point(|b| b.seq < self.active.first_seq);
            let first = partition.tail.get(from)?;
            let age = u64::try_from(now_ms.saturating_sub(first.max_timestamp)).unwrap_or(0);
            let config = &partition.config;
            // What is not sealed cannot be compacted.
            let lag = if config.compact { config.max_compaction_lag_ms } else { u64::MAX };
            Some(first.max_timestamp >= 0 && age > config.segment_ms.min(lag))
        };
        if self.active.touched.iter().any(|t| too_old(t) == Some(true)) {
            self.roll_wanted = true;
        }
    }

    /// Forgets the runs that lie before the log start offsets that were raised.
    pub(crate) fn drop_trimmed_runs(&mut self) {
        for (slot, log) in std::mem::take(&mut self.trimmed) {
            let Some(partition) = self.get_mut(PartitionRef { slot, log }) else { continue };
            let gone = partition.runs.partition_point(|r| r.next_offset <= partition.start);
            if gone == 0 {
                continue;
            }
            let runs: Vec<_> = partition.runs.drain(..gone).collect();
            let bytes: u64 = runs.iter().map(|r| u64::from(r.bytes)).sum();
            partition.bytes = partition.bytes.saturating_sub(bytes);
            let bounded = partition.bound().is_some();
            for run in runs {
                self.release(run, bounded);
            }
        }
    }

    /// A run of a partition with or without a bound is no longer needed: its space can be given back, and its segment freed if that was the last one.
    /// That it was deleted is durable. `true`: its segment is no longer needed.
    pub(crate) fn release(&mut self, run: Run, bounded: bool) -> bool {
        let Some(segment) = self.segments.get_mut(&run.generation) else { return true };
        segment.remove(&run);
        if segment.live_runs > 0 {
            self.holes.entry(run.generation).or_default().add(run, bounded);
            return false;
        }
        self.segments.remove(&run.generation);
        self.holes.remove(&run.generation);
        self.dead.push(run.generation);
        true
    }
}
