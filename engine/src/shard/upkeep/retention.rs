//! Deleting: records before the log start offset, which rises by size, by age, or on request.
//!
//! An entry in the commit log raises the log start offset, so that the offset is never seen to go back. Then whole runs
//! before it are forgotten. A segment without runs is freed; in one that stays, the space of deleted runs is given back
//! to the file system (`punch`). Retention deletes whole runs (the part of a sealed segment that belongs to the
//! partition), and of segments that are not sealed whole batches.

use std::rc::Rc;
use std::sync::Arc;

use crate::ids::{LogId, Offset};
use crate::log::index;
use crate::log::sealed::Run;
use crate::log_config::LogConfig;
use crate::partition::Partition;
use crate::shard::handle::Shard;
use crate::shard::inner::Inner;
use crate::shard::partitions::PartitionRef;
use crate::shard::state::State;
use crate::shard::tasks::Task;

impl Shard {
    /// Sets what is kept of a partition. In force from the next [`Shard::tend`], or sealing of a segment, on.
    pub fn configure(&self, at: PartitionRef, config: Arc<LogConfig>) {
        if let Some(partition) = self.inner.state.borrow_mut().partitions.get_mut(at) {
            partition.config = config;
        }
    }

    /// What is kept of a partition.
    pub fn config(&self, at: PartitionRef) -> Option<Arc<LogConfig>> {
        self.inner.state.borrow().partitions.get(at).map(|p| Arc::clone(&p.config))
    }

    /// Does what is due at this time (milliseconds since 1970): deletes what is too old or too much, leaves the active
    /// segment if records in it are older than `segment.ms`, and wakes compaction, which otherwise looks when a segment
    /// is sealed. To be called every few seconds: the engine has no clock of its own.
    pub fn tend(&self, now_ms: i64) {
        if self.inner.ends() {
            return;
        }
        let due = {
            let mut state = self.inner.state.borrow_mut();
            state.clock.tell(now_ms);
            let too_much = |p: &Partition| p.expired(now_ms).max(p.surplus(0));
            let due = state.partitions.iter().filter_map(|(at, p)| Some((at, too_much(p)?)));
            let due: Vec<_> = due.collect();
            state.roll_if_old(now_ms);
            due
        };
        self.inner.delete(&due);
        self.inner.tasks.wake(Task::Commit);
        self.inner.tasks.wake(Task::Regroup);
        self.inner.tasks.wake(Task::Compact);
        self.inner.look_for_space(&mut self.inner.state.borrow_mut());
    }
}

impl Partition {
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
        for batch in self.recent.iter().skip(self.recent_position(start)) {
            let end = batch.end();
            if end > self.high_watermark || !old(batch.max_timestamp) {
                break;
            }
            start = end;
        }
        (start > self.start).then_some(start)
    }

    /// The log start offset by size, if it has to be raised so that `headroom` bytes are free below the bound. For the
    /// headroom, no run is deleted that would leave less than half of the bound.
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
        for batch in self.recent.iter().skip(self.recent_position(start)) {
            let end = batch.end();
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
    /// Deletes what is too much in the partitions that have a run in a segment that was just sealed. As much again is
    /// kept free below their bounds, so that they stay within them while the next segment fills up.
    pub(crate) fn keep_to_size(self: &Rc<Self>, sealed: &index::Index) {
        let due: Vec<_> = {
            let state = self.state.borrow();
            let over = |(log, run): &(LogId, Run)| {
                let at = state.partitions.find(*log)?;
                Some((at, state.partitions.get(at)?.surplus(u64::from(run.bytes))?))
            };
            sealed.runs.iter().filter_map(over).collect()
        };
        self.delete(&due);
    }

    /// Raises log start offsets. If the log is too busy to take one, the rest is left to the next time.
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
    /// Has the active segment left if it holds records that are older than their partition allows.
    fn roll_if_old(&mut self, now_ms: i64) {
        let too_old = |&at: &PartitionRef| {
            let partition = self.partitions.get(at)?;
            let from = partition.recent.partition_point(|b| b.seq < self.front.active.first_seq);
            let first = partition.recent.get(from)?;
            let age = u64::try_from(now_ms.saturating_sub(first.max_timestamp)).unwrap_or(0);
            let config = &partition.config;
            // Only sealed records can be compacted.
            let lag = if config.compact { config.max_compaction_lag_ms } else { u64::MAX };
            Some(first.max_timestamp >= 0 && age > config.segment_ms.min(lag))
        };
        if self.front.active.touched.iter().any(|t| too_old(t) == Some(true)) {
            self.front.roll_wanted = true;
        }
    }

    /// Forgets the runs that lie before the log start offsets that were raised.
    pub(crate) fn drop_deleted_runs(&mut self) {
        for at in self.deleted.take_raised() {
            let Some(partition) = self.partitions.get_mut(at) else { continue };
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
}
