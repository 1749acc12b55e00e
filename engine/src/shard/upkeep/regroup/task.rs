//! The background task that regroups segments.

use std::io;
use std::rc::Rc;

use crate::error::is_full;
use crate::ids::Generation;
use crate::log::sealed::SealedSegment;
use crate::shard::inner::Inner;
use crate::shard::tasks::Task;
use crate::shard::upkeep::pace::{Pace, Wait};

use super::rewrite::rewrite;

/// Regroups segments, one after the other, until the shard stops or fails.
pub async fn regrouper(inner: Rc<Inner>) {
    let mut pace = Pace::new(Wait::ForEver);
    while !inner.ends() {
        let woken = inner.tasks.woken(Task::Regroup);
        let next = inner.state.borrow_mut().segments.to_regroup.pop_front();
        let Some(generation) = next else {
            woken.await;
            continue;
        };
        match regroup(&inner, generation, &mut pace).await {
            Ok(()) => {}
            Err(e) if is_full(&e) => tracing::warn!(%generation, "no space to regroup a segment: it stays"),
            Err(e) => {
                // Nothing depends on it: the segment stays as it is, and the log goes on.
                tracing::warn!(%generation, %e, "regrouping a segment failed: it stays as it is");
            }
        }
    }
}

async fn regroup(inner: &Rc<Inner>, generation: Generation, pace: &mut Pace) -> io::Result<()> {
    let wasteful = inner.state.borrow().segments.sealed.get(&generation).map(SealedSegment::is_wasteful);
    let Some(wasteful) = wasteful else { return Ok(()) };
    // What is done for the space must not wait for ever.
    pace.wait = if wasteful { Wait::AWhile } else { Wait::ForEver };
    rewrite(inner, generation, pace).await.map(drop)
}
