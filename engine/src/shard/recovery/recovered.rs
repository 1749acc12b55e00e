//! A shard as a start finds it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::ids::{CommitSeq, Generation, LogId};
use crate::log::checkpoint::{Checkpoint, LogState, LogStates};
use crate::log::sealed::SealedSegment;
use crate::partition::Partition;

/// A shard as recovered: all its segments are sealed.
#[derive(Debug)]
pub struct Recovered {
    /// The partitions that the catalog names.
    pub partitions: HashMap<LogId, Partition>,
    /// The sealed segments.
    pub segments: BTreeMap<Generation, SealedSegment>,
    /// Sequence of the next commit.
    pub next_seq: CommitSeq,
    /// Generation of the next segment.
    pub next_generation: Generation,
    /// Number of the next sorted segment.
    pub next_sorted: u32,
    /// Bytes of log that had to be scanned.
    pub scanned_bytes: u64,
}

impl Recovered {
    /// A new shard.
    pub fn empty() -> Self {
        Self {
            partitions: HashMap::new(),
            segments: BTreeMap::new(),
            next_seq: 1,
            next_generation: Generation(1),
            next_sorted: 1,
            scanned_bytes: 0,
        }
    }

    /// The checkpoint of this shard. All commit segments up to `through` are sealed.
    pub fn checkpoint(&self, through: u64) -> Checkpoint {
        let mut partitions: Vec<_> = self.partitions.values().collect();
        partitions.sort_by_key(|p| p.log);
        let mut logs = LogStates::default();
        for p in partitions {
            let producers = p.producers.snapshot(p.next);
            logs.push(&LogState { log: p.log, start: p.start, next: p.next, producers });
        }
        let segments = self.segments.values().map(|s| s.sealed).collect();
        let mut compacted: Vec<_> = self.partitions.values().filter_map(|p| p.compacted.clone()).collect();
        compacted.sort_by_key(|c| c.log);
        let (next_seq, next_sorted) = (self.next_seq, self.next_sorted);
        Checkpoint {
            through,
            next_seq,
            next_sorted,
            segments,
            trims: Vec::new(),
            compacted,
            logs: Arc::new(logs),
        }
    }
}
