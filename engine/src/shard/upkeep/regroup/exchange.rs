//! A sorted segment takes the place of the segment that it was made from.

use std::io;
use std::rc::Rc;

use crate::ids::Generation;
use crate::log::index::Index;
use crate::shard::counters::Counters;
use crate::shard::inner::Inner;
use crate::shard::segments::free::discard;
use crate::shard::state::State;
use crate::shard::tasks::Task;

/// Lets a sorted segment take the place of `old`, durably. `false`: `old` was freed meanwhile, and the new one goes.
pub async fn exchange(inner: &Rc<Inner>, old: Generation, index: &Index) -> io::Result<bool> {
    let new = index.sealed.generation;
    let exchanged = {
        let _manifest = inner.manifest.lock().await;
        let there = inner.state.borrow().segments.sealed.contains_key(&old);
        if there {
            let base = Rc::clone(&inner.state.borrow().segments.base);
            if let Err(e) = inner.store_checkpoint(&base, &[index.sealed], &[old], None).await {
                // The checkpoint may be in force all the same, so the new segment goes only after the next checkpoint.
                inner.state.borrow_mut().segments.dead.push(new);
                inner.tasks.wake(Task::Seal);
                return Err(e);
            }
            inner.state.borrow_mut().exchange(old, index);
        }
        there
    };
    if !exchanged {
        return discard(inner, new).await.map(|()| false);
    }
    Counters::add(&inner.counters.regrouped, 1);
    inner.tasks.wake(Task::Seal);
    Ok(true)
}

impl State {
    /// Lets the runs of a sorted segment take the place of those of the segment it was made from.
    fn exchange(&mut self, old: Generation, index: &Index) {
        let (mut segment, mut gone) = (index.segment(), Vec::new());
        for (log, run) in &index.runs {
            let at = self.partitions.find(*log);
            let partition = at.and_then(|at| self.partitions.get_mut(at));
            let replaced = partition.and_then(|p| {
                let old_run = p.runs.iter_mut().find(|r| r.generation == old)?;
                // What was deleted of the run was not copied.
                p.bytes = p.bytes.saturating_sub(u64::from(old_run.bytes)) + u64::from(run.bytes);
                *old_run = *run;
                at
            });
            match replaced {
                Some(at) => {
                    segment.add(run);
                    self.deleted.look_through(at);
                }
                // Deleted or compacted since it was copied: the old run is gone already.
                None => gone.push(*run),
            }
        }
        // A run that was deleted as a whole before the copy was made is in the old segment only.
        let before = self.segments.sealed.remove(&old);
        if before.is_some_and(|before| before.live_runs > segment.live_runs) {
            self.drop_runs_in(old);
        }
        self.deleted.forget_holes(old);
        self.segments.dead.push(old);
        let in_use = segment.live_runs > 0;
        self.segments.add(segment);
        if in_use {
            for run in gone {
                self.deleted.add_hole(run, true);
            }
        }
    }

    /// Has partitions forget their runs in a segment.
    fn drop_runs_in(&mut self, generation: Generation) {
        let slots = self.partitions.slots();
        for partition in self.partitions.range_mut(0, slots) {
            let gone = partition.runs.extract_if(.., |r| r.generation == generation);
            let bytes: u64 = gone.map(|r| u64::from(r.bytes)).sum();
            partition.bytes = partition.bytes.saturating_sub(bytes);
        }
    }
}
