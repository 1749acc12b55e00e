//! The partitions of a shard, by slot and by log.
//!
//! A slot is a number that the commits in memory use in place of a log's id, so that a commit finds its partitions
//! without a hash. A slot is used again after its partition was deleted, so each use compares the log as well.

use std::collections::{BTreeSet, HashMap};

use crate::ids::{CommitSeq, LogId, Offset};
use crate::partition::Partition;

use super::checked::Invariant;

/// A partition of a shard. Stays valid while the partition exists; afterwards every use of it is answered with
/// `UnknownPartition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PartitionRef {
    slot: u32,
    log: LogId,
}

impl PartitionRef {
    /// The partition's log.
    pub fn log(self) -> LogId {
        self.log
    }

    /// The partition's slot.
    pub(crate) fn slot(self) -> u32 {
        self.slot
    }

    /// The partition that had this slot when it had this log.
    pub(crate) fn new(slot: u32, log: LogId) -> Self {
        Self { slot, log }
    }
}

/// Offsets of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offsets {
    /// First offset that can be read.
    pub start: Offset,
    /// First offset that is not durable yet: readers stop here.
    pub high_watermark: Offset,
    /// What the next record gets.
    pub end: Offset,
}

/// See the module's header.
#[derive(Default)]
pub struct Partitions {
    /// Each partition at its slot. `None`: the slot is free.
    slots: Vec<Option<Partition>>,
    /// The free slots.
    free: Vec<u32>,
    /// The slot of each log.
    by_log: HashMap<LogId, u32>,
    /// Slots of the partitions that compaction has rewritten.
    compacted: BTreeSet<u32>,
    /// Slots of the partitions that list batches of sealed segments, because these batches are still in the tail cache.
    listing_sealed: Vec<u32>,
}

impl Partitions {
    /// Adds a partition. Its log has none yet.
    pub fn insert(&mut self, partition: Partition) -> PartitionRef {
        let log = partition.log;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        if partition.compacted.is_some() {
            self.compacted.insert(slot);
        }
        self.slots[slot as usize] = Some(partition);
        self.by_log.insert(log, slot);
        PartitionRef { slot, log }
    }

    /// Takes the partition of a log away.
    pub fn remove(&mut self, log: LogId) -> Option<Partition> {
        let slot = self.by_log.remove(&log)?;
        self.free.push(slot);
        self.compacted.remove(&slot);
        self.slots[slot as usize].take()
    }

    /// The partition of a log.
    pub fn find(&self, log: LogId) -> Option<PartitionRef> {
        self.by_log.get(&log).map(|&slot| PartitionRef { slot, log })
    }

    /// The partition, if it still exists.
    pub fn get(&self, at: PartitionRef) -> Option<&Partition> {
        self.slots.get(at.slot as usize)?.as_ref().filter(|p| p.log == at.log)
    }

    /// The partition, if it still exists.
    pub fn get_mut(&mut self, at: PartitionRef) -> Option<&mut Partition> {
        self.slots.get_mut(at.slot as usize)?.as_mut().filter(|p| p.log == at.log)
    }

    /// All partitions.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionRef, &Partition)> {
        self.range(0, self.slots.len())
    }

    /// Number of slots, the free ones included.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The partitions in a range of slots.
    pub fn range(&self, from: usize, to: usize) -> impl Iterator<Item = (PartitionRef, &Partition)> {
        let slots = (from as u32..).zip(&self.slots[from..to]);
        slots.filter_map(|(slot, p)| p.as_ref().map(|p| (PartitionRef { slot, log: p.log }, p)))
    }

    /// The partitions in a range of slots.
    pub fn range_mut(&mut self, from: usize, to: usize) -> impl Iterator<Item = &mut Partition> {
        self.slots[from..to].iter_mut().flatten()
    }

    /// Notes that compaction has rewritten a partition.
    pub fn note_compacted(&mut self, at: PartitionRef) {
        if self.get(at).is_some() {
            self.compacted.insert(at.slot);
        }
    }

    /// The partitions that compaction has rewritten.
    pub fn compacted(&self) -> impl Iterator<Item = &Partition> {
        self.compacted.iter().filter_map(|slot| self.slots[*slot as usize].as_ref())
    }

    /// Notes that a partition may list batches of a segment that is now sealed.
    pub fn note_listing_sealed(&mut self, at: PartitionRef) {
        self.listing_sealed.push(at.slot);
    }

    /// Has partitions forget the batches of sealed segments, those before commit `sealed_below`, that have left the tail
    /// cache, which begins with commit `cached_from`.
    pub fn forget_sealed(&mut self, sealed_below: CommitSeq, cached_from: CommitSeq) {
        let slots = &mut self.slots;
        self.listing_sealed.retain(|&slot| {
            let Some(partition) = slots[slot as usize].as_mut() else { return false };
            while partition.recent.front().is_some_and(|b| b.seq < sealed_below.min(cached_from)) {
                partition.recent.pop_front();
            }
            partition.recent.front().is_some_and(|b| b.seq < sealed_below)
        });
        self.listing_sealed.sort_unstable();
        self.listing_sealed.dedup();
    }
}

impl Invariant for Partitions {
    fn check(&self) {
        assert_eq!(self.by_log.len() + self.free.len(), self.slots.len(), "each slot has a log or is free");
        let compacted = |slot: &u32| {
            self.slots[*slot as usize].as_ref().is_some_and(|partition| partition.compacted.is_some())
        };
        assert!(self.compacted.iter().all(compacted), "a slot listed as compacted has a compacted partition");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_used_again_and_an_old_reference_does_not_find_its_new_partition() {
        let mut partitions = Partitions::default();
        let old = partitions.insert(Partition::new(LogId(1)));
        assert!(partitions.remove(LogId(1)).is_some() && partitions.get(old).is_none());
        let new = partitions.insert(Partition::new(LogId(2)));
        assert_eq!(new.slot(), old.slot());
        assert!(partitions.get(old).is_none() && partitions.get(new).is_some());
        partitions.check();
    }

    #[test]
    #[should_panic(expected = "each slot has a log or is free")]
    fn a_slot_that_is_lost_is_found() {
        let mut partitions = Partitions::default();
        partitions.insert(Partition::new(LogId(1)));
        partitions.by_log.clear();
        partitions.check();
    }
}
