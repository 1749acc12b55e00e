//! What a pass of compaction wrote takes the place of what it read.

use std::io;
use std::rc::Rc;

use crate::ids::Generation;
use crate::log::checkpoint::Compacted;
use crate::log::index::Index;
use crate::log::sealed::SealedSegment;
use crate::shard::counters::Counters;
use crate::shard::inner::Inner;
use crate::shard::partitions::PartitionRef;
use crate::shard::segments::free::discard;
use crate::shard::state::State;
use crate::shard::tasks::Task;

/// Lets the segments that a pass wrote take the place of the runs that it read, durably. `false`: the partition is gone
/// or the shard ends, and what was written goes.
pub async fn exchange(
    inner: &Rc<Inner>,
    at: PartitionRef,
    compacted: Compacted,
    indexes: Vec<Index>,
) -> io::Result<bool> {
    let new: Vec<_> = indexes.iter().map(|i| i.sealed).collect();
    let stored = {
        let _manifest = inner.manifest.lock().await;
        let there = inner.state.borrow().partitions.get(at).is_some();
        if !there || inner.ends() {
            for sealed in &new {
                discard(inner, sealed.generation).await?;
            }
            return Ok(false);
        }
        let base = Rc::clone(&inner.state.borrow().segments.base);
        let stored = inner.store_checkpoint(&base, &new, &[], Some(&compacted)).await;
        let mut state = inner.state.borrow_mut();
        if stored.is_ok() {
            state.take_compacted(at, compacted, &indexes, inner.options.regroup_extent_bytes > 0);
        } else {
            // The checkpoint may be in force all the same, so the segments go only after the next checkpoint.
            state.segments.dead.extend(new.iter().map(|s| s.generation));
        }
        stored
    };
    inner.tasks.wake(Task::Seal);
    inner.tasks.wake(Task::Regroup);
    stored?;
    Counters::add(&inner.counters.compacted, 1);
    Ok(true)
}

impl State {
    /// Lets the runs that a pass wrote take the place of those that it read.
    fn take_compacted(&mut self, at: PartitionRef, compacted: Compacted, new: &[Index], regroups: bool) {
        let end = compacted.end;
        let Some(partition) = self.partitions.get_mut(at) else {
            // Deleted meanwhile.
            self.segments.dead.extend(new.iter().map(|i| i.sealed.generation));
            return;
        };
        let runs = new.iter().flat_map(|i| &i.runs).map(|(_, run)| *run);
        let covered = partition.runs.partition_point(|r| r.next_offset <= end);
        let old: Vec<_> = partition.runs.splice(..covered, runs.clone()).collect();
        let gone: u64 = old.iter().map(|r| u64::from(r.bytes)).sum();
        let came: u64 = runs.map(|r| u64::from(r.bytes)).sum();
        partition.bytes = partition.bytes.saturating_sub(gone) + came;
        partition.compacted = Some(compacted);
        let bounded = partition.bound().is_some();
        partition.compaction.oldest = None;
        // Readers must not be served from the tail cache what has gone from the log.
        while partition.recent.front().is_some_and(|b| b.end() <= end) {
            partition.recent.pop_front();
        }
        self.partitions.note_compacted(at);
        for index in new {
            let mut segment = index.segment();
            index.runs.iter().for_each(|(_, run)| segment.add(run));
            self.space.set_segment(index.sealed.generation, index.sealed.data_end);
            self.space.set_index(index.sealed.generation, index.bytes());
            self.segments.add(segment);
        }
        for run in old {
            if !self.release(run, bounded) {
                self.regroup_if_wasteful(run.generation, regroups);
            }
        }
        // The log start offset may have been raised meanwhile.
        self.deleted.look_through(at);
    }

    /// Has a segment rewritten for the space, if little is left of it and the shard regroups.
    fn regroup_if_wasteful(&mut self, generation: Generation, regroups: bool) {
        let wasteful = self.segments.sealed.get(&generation).is_some_and(SealedSegment::is_wasteful);
        if regroups && wasteful && !self.segments.to_regroup.contains(&generation) {
            self.segments.to_regroup.push_back(generation);
        }
    }
}
