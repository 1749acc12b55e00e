//! Waiting for disk space that the reclaimer makes.
//!
//! A task that is about to make a file asks for its space, and waits while the reclaimer empties a segment for it. If no
//! space can be made, the bound is exceeded and the log goes on. In a shard without a partition with a bound no task waits.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::disk::DiskFile;
use crate::ids::Generation;
use crate::shard::inner::Inner;
use crate::shard::state::State;
use crate::shard::tasks::Task;

use super::spares::take_spare;

/// How long the next segment waits for space that is being made.
const PATIENCE: Duration = Duration::from_secs(2);

impl State {
    /// Whether the next segment will take space that is not counted yet.
    pub(crate) fn next_is_uncounted(&self) -> bool {
        !self.front.is_next_ready() && !self.space.preparing
    }
}

impl Inner {
    /// Has the reclaimer look whether there is space.
    pub(crate) fn look_for_space(&self, state: &mut State) {
        state.space.coming = true;
        state.space.calls += 1;
        self.tasks.wake(Task::Reclaim);
    }

    /// Waits for a spare, or for the space of a new segment, to make the next segment of. `None`: a new one is to be made;
    /// there is space for it, or no space is being made. Reserved space is not taken.
    pub(crate) async fn spare_or_space(self: &Rc<Self>, len: u64) -> Option<Generation> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let changed = self.segments_changed.notified();
            let waits =
                |state: &State| state.space.coming && Instant::now() < deadline && !self.ends_in(state);
            let may_take = {
                let mut state = self.state.borrow_mut();
                state.space.preparing = state.space.fits(0) || !waits(&state);
                state.space.preparing
            };
            if may_take && let Some(spare) = take_spare(self, len).await {
                return Some(spare);
            }
            {
                let mut state = self.state.borrow_mut();
                if may_take && (state.space.fits(len + state.space.index_bytes) || !waits(&state)) {
                    return None;
                }
                state.space.preparing = false;
            }
            tokio::select! {
                () = changed => {}
                () = self.tasks.woken(Task::Prepare) => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    /// Whether there is space for optional work. Waits while it is being made.
    pub(crate) async fn space_for(&self, bytes: u64) -> bool {
        {
            let mut state = self.state.borrow_mut();
            if state.space.limit.is_none() {
                return true;
            }
            state.space.requested = bytes;
            self.look_for_space(&mut state);
        }
        let fits = loop {
            let changed = self.segments_changed.notified();
            {
                let state = self.state.borrow();
                let fits = state.space.fits(bytes);
                if fits || !state.space.coming || self.ends_in(&state) {
                    break fits;
                }
            }
            changed.await;
        };
        self.state.borrow_mut().space.requested = 0;
        fits
    }

    /// Finds out what the segments take that a start found.
    pub(crate) async fn measure_found(&self) {
        if !self.state.borrow().space.knows_checkpoint() {
            let size = match self.dir.open_checkpoint().await {
                Ok(file) => file.size().await.unwrap_or(0),
                Err(_) => 0,
            };
            self.state.borrow_mut().space.found_checkpoint(size);
        }
        loop {
            let Some(generation) = self.state.borrow_mut().space.take_unmeasured() else { return };
            let segment = match self.dir.open_segment(generation).await {
                Ok(file) => file.size().await.unwrap_or(0),
                Err(_) => 0,
            };
            let index = match self.dir.open_index(generation).await {
                Ok(file) => file.size().await.unwrap_or(0),
                Err(_) => 0,
            };
            let mut state = self.state.borrow_mut();
            let segments = &state.segments;
            if segments.sealed.contains_key(&generation) || segments.dead.contains(&generation) {
                state.space.set_segment(generation, segment);
                state.space.set_index(generation, index);
                state.space.index_bytes = state.space.index_bytes.max(index);
            }
        }
    }
}
