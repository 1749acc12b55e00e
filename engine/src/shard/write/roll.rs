//! The roll: the full active segment is left for the prepared one.
//!
//! A roll waits until every commit of the old segment is durable, so that the first commit of a segment proves all those
//! before it.

use std::rc::Rc;

use crate::log::sealed::Sealed;
use crate::shard::inner::Inner;
use crate::shard::segments::front::{Active, Next};
use crate::shard::state::State;
use crate::shard::tasks::Task;

/// Segments that may wait to be sealed before a roll waits.
const UNSEALED_MAX: usize = 2;

/// Leaves the full segment for the prepared one. Called with no commit in flight.
pub async fn roll(inner: &Rc<Inner>) {
    loop {
        let changed = inner.segments_changed.notified();
        {
            let mut guard = inner.state.borrow_mut();
            let state = &mut *guard;
            if inner.failure.get().is_some() {
                return;
            }
            assert!(state.commits.none_in_flight(), "a roll waits for the commits in flight");
            inner.want_next(state);
            if state.segments.jobs.len() < UNSEALED_MAX
                && let Some(next) = state.take_next(inner.durable_below.get())
            {
                let old = std::mem::replace(&mut state.front.active, next);
                let (first_seq, next_seq) = (old.first_seq, state.front.active.first_seq);
                let sealed =
                    Sealed { generation: old.generation, first_seq, next_seq, data_end: old.position };
                state.segments.queue(sealed, old.touched, &mut state.partitions);
                inner.tasks.wake(Task::Seal);
                inner.look_for_space(state);
                return;
            }
        }
        changed.await;
    }
}

impl State {
    /// Takes the prepared segment, if it can become active. Its first commit will be `first_seq`.
    fn take_next(&mut self, first_seq: u64) -> Option<Active> {
        match std::mem::replace(&mut self.front.next, Next::Wanted) {
            Next::Ready { file, len, generation, filling: false } => {
                Some(Active::new((file, len), generation, first_seq))
            }
            not_yet => {
                self.front.next = not_yet;
                None
            }
        }
    }
}
