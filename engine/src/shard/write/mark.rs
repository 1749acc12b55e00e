//! A log that has become idle proves its last commit: an empty commit states that the one before it is durable.
//!
//! Without such a commit, damage to the very last commit looks like a write that was under way when power failed, and a
//! start would cut off acknowledged records. With it, the start is refused, as for damage anywhere else.

use std::rc::Rc;
use std::time::Duration;

use crate::aligned::BLOCK;
use crate::shard::inner::Inner;
use crate::shard::tasks::Task;

/// The log counts as idle when nothing was committed for this long.
const IDLE: Duration = Duration::from_millis(100);

/// Has the last commit proven whenever the log becomes idle, until the shard stops or fails.
pub async fn marker(inner: Rc<Inner>) {
    while !inner.ends() {
        let woken = inner.tasks.woken(Task::Mark);
        let before = inner.durable_below.get();
        if !inner.state.borrow().commits.is_unproven() {
            woken.await;
            continue;
        }
        inner.tasks.sleep(IDLE).await;
        if inner.durable_below.get() == before && !inner.ends() {
            inner.mark();
        }
    }
}

impl Inner {
    /// Begins an empty commit, if it would prove something and has room.
    fn mark(&self) {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        let idle = state.commits.none_in_flight() && state.commits.none_waits();
        let room = state.front.active.room() >= BLOCK as u64 || state.front.is_next_ready();
        if !idle || !room || !state.commits.is_unproven() {
            return;
        }
        let open = state.commits.open_mut();
        if !open.fits(0) {
            open.renew(self.pool.take());
        }
        open.mark();
        self.tasks.wake(Task::Commit);
    }
}
