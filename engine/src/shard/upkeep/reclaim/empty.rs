//! A segment is emptied: what may go is deleted, and what has to stay is written elsewhere.

use std::rc::Rc;
use std::time::Duration;

use crate::error::TrimError;
use crate::ids::{CommitSeq, Offset};
use crate::partition::Partition;
use crate::shard::handle::Shard;
use crate::shard::inner::Inner;
use crate::shard::partitions::PartitionRef;
use crate::shard::tasks::Task;
use crate::shard::upkeep::pace::{Pace, Wait};
use crate::shard::upkeep::regroup::rewrite::rewrite;
use crate::shard::write::commits::CommitState;

use super::victim::Victim;

/// Partitions looked at without giving way.
const AT_ONCE: usize = 1000;
/// Pause after a segment could not be emptied.
const RETRY: Duration = Duration::from_millis(250);

impl Inner {
    /// Calls `each` for every partition, some at a time.
    pub(crate) async fn each_partition(&self, mut each: impl FnMut(PartitionRef, &Partition)) {
        let mut at = 0;
        loop {
            {
                let state = self.state.borrow();
                let slots = state.partitions.slots();
                let to = slots.min(at + AT_ONCE);
                state.partitions.range(at, to).for_each(|(at, partition)| each(at, partition));
                at = to;
                if at == slots {
                    return;
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Empties a segment. `false`: it stays as it is.
    pub(crate) async fn empty(self: &Rc<Self>, victim: &Victim) -> bool {
        let generation = victim.generation;
        if !victim.keeps_all {
            let mut due = Vec::new();
            self.each_partition(|at, p| {
                let cut = p.cut_behind(generation).filter(|cut| *cut > p.start.max(p.trim.0));
                due.extend(cut.map(|cut| (at, cut)));
            })
            .await;
            if !self.delete_durably(&due).await {
                return true;
            }
        }
        self.state.borrow_mut().drop_deleted_runs();
        self.tasks.wake(Task::Seal);
        let is_there = || self.state.borrow().segments.sealed.contains_key(&generation);
        if !is_there() {
            return true;
        }
        match rewrite(self, generation, &mut Pace::new(Wait::Haste)).await {
            Ok(true) => true,
            Ok(false) => !is_there(),
            Err(e) => {
                tracing::warn!(%generation, %e, "a segment could not be emptied yet");
                self.give_up_for_now().await;
                true
            }
        }
    }

    /// Raises log start offsets and waits until they are durable. `false`: the shard ends.
    async fn delete_durably(self: &Rc<Self>, due: &[(PartitionRef, Offset)]) -> bool {
        let shard = Shard { inner: Rc::clone(self) };
        let mut last: Option<CommitSeq> = None;
        for &(at, offset) in due {
            loop {
                match shard.trim(at, offset) {
                    Ok(seq) => last = last.max(Some(seq)),
                    // The active segment is full, and the next one must not wait for this deletion.
                    Err(TrimError::Busy | TrimError::DiskFull) if !self.ends() => {
                        self.give_up_for_now().await;
                        continue;
                    }
                    Err(TrimError::Busy | TrimError::DiskFull | TrimError::Failed(_)) => return false,
                    Err(TrimError::UnknownPartition | TrimError::OutOfRange { .. }) => {}
                }
                break;
            }
        }
        match last {
            Some(seq) => shard.committed(seq).await == CommitState::Durable,
            None => true,
        }
    }

    /// Has tasks that wait for space go on without, and waits a while.
    async fn give_up_for_now(&self) {
        self.state.borrow_mut().space.coming = false;
        self.segments_changed.notify_waiters();
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = self.tasks.woken(Task::Reclaim) => {}
        }
    }
}
