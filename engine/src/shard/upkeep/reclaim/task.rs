//! The background task that makes disk space.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::ids::Generation;
use crate::shard::inner::Inner;
use crate::shard::segments::spares::drop_spare;
use crate::shard::state::State;
use crate::shard::tasks::Task;

use super::victim::Victim;

/// Most bytes that the files of a shard may take when its partitions may hold `allowed` bytes. A little is left for what
/// the file system itself stores about the files.
fn limit(allowed: u64, segment: u64) -> u64 {
    (allowed + segment).max(allowed / 2 + segment * 9 / 2) - segment / 256
}

/// What the reclaimer does next.
enum Step {
    /// There is space, or none to be had.
    Rest,
    /// Freed segments are about to be removed.
    Wait,
    /// A segment is emptied.
    Empty(Victim),
    /// A spare is removed: it takes space that is needed for something else.
    DropSpare(Generation),
}

/// Makes space until the shard stops or fails.
pub async fn reclaimer(inner: Rc<Inner>) {
    // Segments that could not be emptied.
    let mut left = HashSet::new();
    while !inner.ends() {
        let woken = inner.tasks.woken(Task::Reclaim);
        let calls = inner.state.borrow().space.calls;
        match inner.next_to_reclaim(&left).await {
            Step::Rest => {
                {
                    let mut state = inner.state.borrow_mut();
                    state.space.coming = state.space.calls != calls;
                }
                inner.segments_changed.notify_waiters();
                woken.await;
            }
            Step::Wait => woken.await,
            Step::DropSpare(generation) => drop_spare(&inner, generation).await,
            Step::Empty(victim) => {
                let emptied = inner.empty(&victim).await;
                inner.state.borrow_mut().space.reserved = 0;
                inner.segments_changed.notify_waiters();
                if !emptied {
                    left.insert(victim.generation);
                }
            }
        }
    }
}

impl Inner {
    /// Looks how much space there is, and what is to be done for it.
    async fn next_to_reclaim(&self, left: &HashSet<Generation>) -> Step {
        let Some(allowed) = self.allowed_bytes().await else {
            self.state.borrow_mut().space.limit = None;
            return Step::Rest;
        };
        self.measure_found().await;
        let segment = self.options.segment_bytes;
        let short = {
            let mut state = self.state.borrow_mut();
            // Deleted batches that never belonged to a bound still take space until holes are punched for them.
            let allowed = allowed.saturating_add(state.deleted.unbounded_bytes()).min(u64::MAX / 4);
            state.space.limit = Some(limit(allowed, segment));
            state.space.reserved = 0;
            state.is_short_of(segment + state.space.requested, segment)
        };
        if short {
            let mut contents = HashMap::new();
            self.each_partition(|_, p| p.add_content(&mut contents)).await;
            let mut state = self.state.borrow_mut();
            if let Some(victim) = state.choose_victim(&contents, left, segment) {
                // What stays needs space before the segment gives any back; if need be that of the next segment.
                state.space.reserved = victim.stay;
                if state.space.fits(0) {
                    return Step::Empty(victim);
                }
                return match state.let_go(0, 0) {
                    Step::Rest => Step::Empty(victim),
                    first => first,
                };
            }
        }
        let mut state = self.state.borrow_mut();
        let (requested, needed) = (state.space.requested, usize::from(state.next_is_uncounted()));
        state.let_go(requested, needed)
    }

    /// Bytes that all partitions may hold: those of their bounds, and what those without a bound hold. `None`: no
    /// partition has a bound.
    async fn allowed_bytes(&self) -> Option<u64> {
        let (mut bounded, mut allowed) = (false, 0u64);
        self.each_partition(|_, p| {
            bounded |= p.bound().is_some();
            allowed = allowed.saturating_add(p.bound().unwrap_or(p.bytes));
        })
        .await;
        bounded.then_some(allowed)
    }
}

impl State {
    /// What is to be done so that `bytes` fit, before a segment is emptied or when none has to be. `needed` spares stay.
    fn let_go(&mut self, bytes: u64, needed: usize) -> Step {
        if !self.space.fits(bytes)
            && self.segments.spares.len() > needed
            && let Some(spare) = self.segments.spares.pop()
        {
            return Step::DropSpare(spare);
        }
        if self.segments.dead.is_empty() { Step::Rest } else { Step::Wait }
    }
}
