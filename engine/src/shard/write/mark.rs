//! A log that has become idle proves its last commit, by an empty one that says that the one before it is durable.
//!
//! Without it, damage to the very last commit looks like a write that was under way when power failed, and a start
//! would cut off what was acknowledged. With it, the start is refused as for damage anywhere else.

use std::rc::Rc;
use std::time::Duration;

use crate::aligned::BLOCK;

use super::roll::Next;
use crate::shard::{Inner, State};

/// How long nothing is committed before the log counts as idle.
const IDLE: Duration = Duration::from_millis(100);

/// Has the last commit proven whenever the log becomes idle, until the shard stops or fails.
pub(crate) async fn marker(inner: Rc<Inner>) {
    while !inner.ends() {
        let notified = inner.marking.notified();
        let before = inner.durable_below.get();
        if !inner.state.borrow().is_unproven() {
            notified.await;
            continue;
        }
        tokio::time::sleep(IDLE).await;
        if inner.durable_below.get() == before && !inner.ends() {
            inner.mark();
        }
    }
}

impl Inner {
    /// Begins an empty commit, if that would prove something and it has room.
    fn mark(&self) {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        let idle = state.in_flight.is_empty() && state.closed.is_empty() && state.open.is_empty();
        let room = state.active.room() >= BLOCK as u64 || matches!(state.next, Next::Ready { .. });
        if !idle || !room || !state.is_unproven() {
            return;
        }
        if !state.open.fits(0) {
            state.open.renew(self.pool.take());
        }
        state.open.mark();
        self.work.notify_one();
    }
}

impl State {
    /// Whether no commit says yet that the last one with something in it is durable.
    fn is_unproven(&self) -> bool {
        self.filled_below > self.proven_below
    }
}
