//! What a user of a shard holds, and what can be asked without the disk.

use std::rc::Rc;
use std::sync::Arc;

use crate::error::{Failure, ReadError};
use crate::ids::{LogId, Offset, ShardId};
use crate::partition::{Partition, Watcher};
use crate::producer_state::KnownProducer;

use super::counters::Counters;
use super::inner::Inner;
use super::partitions::{Offsets, PartitionRef};
use super::tasks::Task;

/// A shard. Cloning gives another handle of the same shard.
#[derive(Clone)]
pub struct Shard {
    pub(crate) inner: Rc<Inner>,
}

impl Shard {
    /// Its id.
    pub fn id(&self) -> ShardId {
        self.inner.dir.identity.shard
    }

    /// Its counters.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.inner.counters)
    }

    /// Adds an empty partition, or finds the existing one. Its log must be in the catalog, durably.
    pub fn attach(&self, log: LogId) -> PartitionRef {
        let mut state = self.inner.state.borrow_mut();
        let found = state.partitions.find(log);
        found.unwrap_or_else(|| state.partitions.insert(Partition::new(log)))
    }

    /// Finds a partition.
    pub fn partition(&self, log: LogId) -> Option<PartitionRef> {
        self.inner.state.borrow().partitions.find(log)
    }

    /// Forgets a partition that is no longer in the catalog. Segments that hold no other partition are freed in the
    /// background.
    pub fn detach(&self, log: LogId) {
        let mut state = self.inner.state.borrow_mut();
        let Some(mut partition) = state.partitions.remove(log) else { return };
        state.deleted.forget_log(log);
        partition.wake_watchers();
        for run in partition.runs {
            // The partition's bound by size went with it.
            state.release(run, false);
        }
        self.inner.tasks.wake(Task::Seal);
    }

    /// Offsets of a partition.
    pub fn offsets(&self, at: PartitionRef) -> Result<Offsets, ReadError> {
        let state = self.inner.state.borrow();
        let partition = state.partitions.get(at).ok_or(ReadError::UnknownPartition)?;
        Ok(Offsets { start: partition.start, high_watermark: partition.high_watermark, end: partition.next })
    }

    /// Bytes of the batches that are kept of a partition, as the disk has them; those before the log start offset count
    /// until their part of a sealed segment goes. 0 for a partition that does not exist.
    pub fn bytes(&self, at: PartitionRef) -> u64 {
        self.inner.state.borrow().partitions.get(at).map_or(0, |partition| partition.bytes)
    }

    /// The idempotent producers that a partition remembers, by id. None of a partition that does not exist.
    pub fn producers(&self, at: PartitionRef) -> Vec<KnownProducer> {
        self.inner
            .state
            .borrow()
            .partitions
            .get(at)
            .map_or_else(Vec::new, |partition| partition.producers.known())
    }

    /// Says whether the high watermark is above `seen` (or the partition is gone). If not, `watcher` is told when that
    /// changes.
    pub fn watch(&self, at: PartitionRef, seen: Offset, watcher: &Rc<Watcher>) -> bool {
        let mut state = self.inner.state.borrow_mut();
        let Some(partition) = state.partitions.get_mut(at) else { return true };
        if partition.high_watermark > seen {
            return true;
        }
        partition.watch(watcher);
        false
    }

    /// The failure of the shard, if it has failed.
    pub fn failure(&self) -> Option<Rc<Failure>> {
        self.inner.failure.get().cloned()
    }

    /// Memory chunks alive, in bytes: uncommitted, cached, and held by readers.
    pub fn memory_bytes(&self) -> usize {
        self.inner.pool.alive() * self.inner.pool.buffer_bytes()
    }

    /// Memory of reads from the disk, in bytes: being read into, or held by readers.
    pub fn read_memory_bytes(&self) -> usize {
        self.inner.reads.memory.bytes()
    }
}
