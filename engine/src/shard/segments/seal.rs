//! Sealing: a full segment gets its index, and the checkpoint names it.

use std::io;
use std::rc::Rc;

use crate::ids::{CommitSeq, LogId};
use crate::log::index::{self, IndexEntry};
use crate::shard::counters::Counters;
use crate::shard::inner::Inner;
use crate::shard::partitions::PartitionRef;
use crate::shard::state::State;
use crate::shard::tasks::Task;

use super::base::Base;
use super::set::SealJob;

/// Partitions noted for a checkpoint without giving way.
const NOTED_AT_ONCE: usize = 1000;

/// Seals the segment of the first job.
pub async fn seal(inner: &Rc<Inner>, job: &SealJob) -> io::Result<()> {
    let generation = job.sealed.generation;
    let base = base_of_first(inner).await;
    let logs = inner.state.borrow().batches_of(job);
    let (content, index) = index::build(inner.dir.identity.shard, job.sealed, &logs);
    {
        let mut state = inner.state.borrow_mut();
        state.space.index_bytes = index.bytes();
        state.space.set_index(generation, index.bytes());
    }
    inner.dir.write_index(generation, content).await?;
    {
        let _manifest = inner.manifest.lock().await;
        // A segment without commits need not be named.
        let named = (job.sealed.next_seq > job.sealed.first_seq).then_some(job.sealed);
        inner.store_checkpoint(&base, named.as_slice(), &[], None).await?;
        let mut state = inner.state.borrow_mut();
        state.segments.base = base;
        state.deleted.checkpointed(generation);
        state.adopt(&index);
        state.recount(&job.touched);
        let extent_bytes = inner.options.regroup_extent_bytes;
        if state.segments.sealed.get(&generation).is_some_and(|s| s.is_scattered(extent_bytes)) {
            state.segments.to_regroup.push_back(generation);
            inner.tasks.wake(Task::Regroup);
        }
        Counters::add(&inner.counters.sealed, 1);
    }
    inner.keep_to_size(&index);
    inner.look_for_space(&mut inner.state.borrow_mut());
    inner.tasks.wake(Task::Compact);
    Ok(())
}

/// The base of the first job. If it is still being made, it is finished here, giving way to others.
async fn base_of_first(inner: &Rc<Inner>) -> Rc<Base> {
    loop {
        {
            let mut guard = inner.state.borrow_mut();
            let state = &mut *guard;
            if let Some(base) = state.segments.jobs.front().and_then(|job| job.base.clone()) {
                return base;
            }
            state.segments.note_some(&mut state.partitions, NOTED_AT_ONCE);
        }
        tokio::task::yield_now().await;
    }
}

impl State {
    /// The batches of a segment that count, by partition and offset.
    fn batches_of(&self, job: &SealJob) -> Vec<(LogId, Vec<IndexEntry>)> {
        let mut logs = Vec::with_capacity(job.touched.len());
        for &at in job.touched.iter() {
            let Some(partition) = self.partitions.get(at) else { continue };
            let from = partition.recent.partition_point(|b| b.seq < job.sealed.first_seq);
            let to = partition.recent.partition_point(|b| b.seq < job.sealed.next_seq);
            let mut entries = Vec::with_capacity(to - from);
            for batch in partition.recent.range(from..to).filter(|b| b.end() > partition.start) {
                let Some((_, position)) = self.recent.position(batch.seq) else { continue };
                entries.push(batch.index_entry(position));
            }
            if !entries.is_empty() {
                logs.push((at.log(), entries));
            }
        }
        logs.sort_by_key(|(log, _)| *log);
        logs
    }

    /// Lets the runs of the segment of the first job take the place of the recent batches in it.
    fn adopt(&mut self, index: &index::Index) {
        let mut segment = index.segment();
        for (log, run) in &index.runs {
            let Some(at) = self.partitions.find(*log) else { continue };
            let Some(partition) = self.partitions.get_mut(at) else { continue };
            partition.runs.push(*run);
            segment.add(run);
            self.partitions.note_listing_sealed(at);
            // The log start offset may have been raised meanwhile.
            self.deleted.look_through(at);
        }
        let next_seq = index.sealed.next_seq;
        self.segments.jobs.pop_front();
        self.segments.add(segment);
        self.segments.sealed_below = next_seq;
        self.forget_sealed(next_seq);
    }

    /// Counts the bytes of partitions again: batches that were deleted before their segment was sealed are in no run of
    /// it.
    fn recount(&mut self, touched: &[PartitionRef]) {
        let sealed_below = self.segments.sealed_below;
        for &at in touched {
            let Some(partition) = self.partitions.get_mut(at) else { continue };
            let from = partition.recent.partition_point(|b| b.seq < sealed_below);
            let start = partition.start;
            let unsealed = partition.recent.range(from..).filter(|b| b.end() > start);
            let unsealed = unsealed.map(|b| u64::from(b.len));
            partition.bytes = partition.runs.iter().map(|r| u64::from(r.bytes)).chain(unsealed).sum();
        }
    }

    /// Forgets where the batches and commits of sealed segments lie that have left the tail cache.
    fn forget_sealed(&mut self, sealed_below: CommitSeq) {
        self.partitions.forget_sealed(sealed_below, self.recent.cache.first());
        self.recent.forget_sealed(sealed_below);
    }
}
