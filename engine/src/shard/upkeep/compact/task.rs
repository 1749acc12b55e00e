//! The background task that compacts logs.

use std::rc::Rc;

use crate::compaction::Due;
use crate::error::ReadError;
use crate::error::is_full;
use crate::shard::inner::Inner;
use crate::shard::partitions::PartitionRef;
use crate::shard::tasks::Task;
use crate::shard::upkeep::pace::{Pace, Wait};

use super::pass::{PassError, compact};

/// From this dirty ratio on a pass does not wait for a quiet moment. A log that is never quiet would grow without bound.
const URGENT_RATIO: f64 = 0.8;
/// A partition that could not be compacted is left alone for this long, in milliseconds.
const RETRY_MS: i64 = 60_000;

/// Compacts what is due until the shard stops or fails.
pub async fn compactor(inner: Rc<Inner>) {
    let mut pace = Pace::new(Wait::AWhile);
    while !inner.ends() {
        let woken = inner.tasks.woken(Task::Compact);
        let due = inner.due_for_compaction().await;
        if due.is_empty() {
            woken.await;
            continue;
        }
        for (due, at) in due {
            if inner.ends() {
                break;
            }
            let urgent = match due {
                Due::Lag(_) => true,
                Due::Ratio(ratio) => ratio >= URGENT_RATIO,
            };
            pace.wait = if urgent { Wait::Moment } else { Wait::AWhile };
            if let Err(e) = compact(&inner, at, &mut pace).await {
                inner.put_off(at, &e);
            }
        }
    }
}

impl Inner {
    /// Leaves a partition alone for a while.
    fn put_off(&self, at: PartitionRef, error: &PassError) {
        let Some(now_ms) = self.state.borrow().clock.now_ms() else { return };
        let mut state = self.state.borrow_mut();
        // The partition or its records were deleted meanwhile: nothing is wrong.
        let harmless = matches!(
            error,
            PassError::Ends | PassError::Read(ReadError::OutOfRange { .. } | ReadError::UnknownPartition)
        );
        let Some(partition) = state.partitions.get_mut(at).filter(|_| !harmless) else { return };
        partition.compaction.not_before_ms = now_ms.saturating_add(RETRY_MS);
        let log = at.log();
        if matches!(error, PassError::Io(e) if is_full(e)) {
            tracing::warn!(%log, "no space to compact a log: it is tried again");
        } else {
            tracing::warn!(%log, %error, "compacting a log failed: it stays as it is, and is tried again");
        }
    }
}
