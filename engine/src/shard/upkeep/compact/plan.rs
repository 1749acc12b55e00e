//! Which partitions are due for compaction, and what a pass over one of them may cover.

use std::rc::Rc;

use crate::compaction::{Dirt, Due, Policy};
use crate::ids::Offset;
use crate::log_config::LogConfig;
use crate::partition::Partition;
use crate::shard::inner::Inner;
use crate::shard::partitions::PartitionRef;

/// What a pass may cover.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// What is clean and what is dirty.
    pub dirt: Dirt,
    /// The rules.
    pub policy: Policy,
    /// Log start offset.
    pub start: Offset,
    /// Where the dirty part begins.
    pub clean_end: Offset,
    /// Where the part ends that may be cleaned: at the end of a run.
    pub end: Offset,
    /// No batch follows the part, so its last batch is left alone.
    pub is_last: bool,
}

impl Policy {
    fn of(config: &LogConfig) -> Self {
        Self {
            min_cleanable_dirty_ratio: config.min_cleanable_dirty_ratio,
            min_compaction_lag_ms: config.min_compaction_lag_ms,
            max_compaction_lag_ms: config.max_compaction_lag_ms,
            delete_retention_ms: config.delete_retention_ms,
        }
    }
}

impl Partition {
    /// What a pass may cover. `None`: there is nothing dirty, or only what the last pass has seen.
    pub(crate) fn plan(&self, now_ms: i64) -> Option<Plan> {
        if !self.config.compact || now_ms < self.compaction.not_before_ms {
            return None;
        }
        let policy = Policy::of(&self.config);
        let cleaned = self.compacted.as_ref().map_or(0, |c| c.clean_end);
        let clean_bytes = self.compacted.as_ref().map_or(0, |c| c.clean_bytes);
        let (mut clean, mut dirty, mut end) = (0u64, 0u64, self.start);
        for run in self.runs.iter().filter(|r| r.next_offset > self.start) {
            let bytes = u64::from(run.bytes);
            if run.next_offset <= cleaned {
                clean += bytes;
            } else if !policy.may_clean(run.max_timestamp, now_ms) {
                break;
            } else {
                let also_clean = if run.base_offset < cleaned { clean_bytes.min(bytes) } else { 0 };
                clean += also_clean;
                dirty += bytes - also_clean;
            }
            end = run.next_offset;
        }
        let is_last = self.high_watermark == end;
        if dirty == 0 || self.compaction.settled == Some((end, !is_last)) {
            return None;
        }
        let dirt = Dirt { clean_bytes: clean, dirty_bytes: dirty, oldest_dirty_ms: None };
        Some(Plan { dirt, policy, start: self.start, clean_end: cleaned.max(self.start), end, is_last })
    }
}

impl Inner {
    /// The partitions for which a pass is due, the most urgent first.
    pub(crate) async fn due_for_compaction(self: &Rc<Self>) -> Vec<(Due, PartitionRef)> {
        let Some(now_ms) = self.state.borrow().clock.now_ms() else { return Vec::new() };
        let plans: Vec<_> = {
            let state = self.state.borrow();
            state.partitions.iter().filter_map(|(at, p)| Some((at, p.plan(now_ms)?))).collect()
        };
        let mut due = Vec::new();
        for (at, plan) in plans {
            let limited = plan.policy.max_compaction_lag_ms < i64::MAX as u64;
            let oldest_dirty_ms = if limited { self.oldest_dirty(at, &plan).await } else { None };
            let dirt = Dirt { oldest_dirty_ms, ..plan.dirt };
            due.extend(plan.policy.due(&dirt, now_ms).map(|due| (due, at)));
        }
        due.sort_by(|(a, _), (b, _)| urgency(b).total_cmp(&urgency(a)));
        due
    }

    /// The largest timestamp of the first dirty batch, if it has one.
    async fn oldest_dirty(self: &Rc<Self>, at: PartitionRef, plan: &Plan) -> Option<i64> {
        let from = plan.clean_end;
        let known = self.state.borrow().partitions.get(at)?.compaction.oldest;
        if let Some((_, oldest)) = known.filter(|(offset, _)| *offset == from) {
            return Some(oldest).filter(|t| *t >= 0);
        }
        let run = {
            let state = self.state.borrow();
            *state.partitions.get(at)?.runs.iter().find(|run| run.next_offset > from)?
        };
        let (mut number, mut first) = (0, None);
        while first.is_none() && number < run.entries {
            let block = self.entries_from(&run, number).await.ok()?;
            first = block.iter().find(|e| e.end() > from).map(|e| e.max_timestamp);
            number += block.len() as u32;
        }
        let first = first?;
        self.state.borrow_mut().partitions.get_mut(at)?.compaction.oldest = Some((from, first));
        Some(first).filter(|t| *t >= 0)
    }
}

/// The partition with the highest urgency is compacted first.
fn urgency(due: &Due) -> f64 {
    match due {
        Due::Ratio(ratio) => *ratio,
        // Above any ratio, which is at most 1.
        Due::Lag(ms) => 2.0 + *ms as f64,
    }
}
