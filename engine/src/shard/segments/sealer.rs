//! The background task that seals full segments and frees those that are not needed: one at a time, in order.

use std::rc::Rc;
use std::time::Duration;

use crate::error::is_full;
use crate::planted::{self, Bug};
use crate::shard::inner::Inner;
use crate::shard::tasks::Task;

use super::seal::seal;
use super::spares::free_dead;

/// Pause before a segment is tried again that could not be sealed.
const RETRY: Duration = Duration::from_millis(250);

/// Starts the sealer unless it runs: two at a time would write the same files.
pub fn start_sealer(inner: &Rc<Inner>) {
    if !inner.tasks.runs(Task::Seal) {
        inner.tasks.start(Task::Seal, sealer(Rc::clone(inner)));
    }
}

/// Seals and frees segments until the shard stops or fails.
async fn sealer(inner: Rc<Inner>) {
    while inner.failure.get().is_none() {
        let (job, garbage, stop) = {
            let mut state = inner.state.borrow_mut();
            state.drop_deleted_runs();
            if !state.deleted.holes().is_empty() {
                inner.tasks.wake(Task::Punch);
            }
            let stop = state.stopping && !inner.tasks.runs(Task::Commit);
            (state.segments.jobs.front().cloned(), !state.segments.dead.is_empty(), stop)
        };
        let result = match (job, garbage) {
            (Some(job), _) => seal(&inner, &job).await,
            (None, true) => free_dead(&inner).await,
            (None, false) if stop => break,
            (None, false) => {
                inner.tasks.woken(Task::Seal).await;
                continue;
            }
        };
        match result {
            Ok(()) => inner.segments_changed.notify_waiters(),
            Err(e) if is_full(&e) => {
                if planted::is(Bug::FullTakenForSealed)
                    && inner.state.borrow_mut().segments.jobs.pop_front().is_some()
                {
                    continue;
                }
                if stop {
                    // A close does not wait for disk space.
                    let shard = inner.dir.identity.shard.0;
                    tracing::warn!(shard, "no space to seal the last segment; the next start scans it");
                    break;
                }
                tokio::time::sleep(RETRY).await;
            }
            Err(e) => inner.fail("sealing a segment", e),
        }
    }
    inner.segments_changed.notify_waiters();
}
