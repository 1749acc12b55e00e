//! Sealed segments: what their files state of them, and what a shard keeps of them in memory.
//!
//! A segment is sealed when nothing is written to it any more, its index is durable and the checkpoint names it.

use crate::ids::{CommitSeq, Generation, Offset};

/// A smaller segment is not rewritten to gain space.
const WASTE_BYTES_MIN: u64 = 64 << 10;

/// What a segment is, as its index and the checkpoint state it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// Generation of the segment.
    pub generation: Generation,
    /// Sequence of the first commit.
    pub first_seq: CommitSeq,
    /// Sequence after the last commit.
    pub next_seq: CommitSeq,
    /// Bytes up to the end of the last commit.
    pub data_end: u64,
}

/// A run: the batches of one partition in one sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The segment.
    pub generation: Generation,
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset after the last record.
    pub next_offset: Offset,
    /// Largest timestamp of the records, in milliseconds.
    pub max_timestamp: i64,
    /// Bytes of the batches.
    pub bytes: u32,
    /// Number of the run's first entry in the segment's index.
    pub first_entry: u32,
    /// Number of the run's entries in the segment's index.
    pub entries: u32,
}

/// A sealed segment in memory.
#[derive(Debug, Clone)]
pub struct SealedSegment {
    /// Sequences of the commits, and end of the data.
    pub sealed: Sealed,
    /// First block of entries in the segment's index.
    pub entries_block: u32,
    /// Extents: stretches of neighbouring batches of one partition, each of which is read in one go.
    pub extents: u32,
    /// Partitions that have a run in the segment.
    pub live_runs: u32,
    /// Bytes of these runs.
    pub live_bytes: u64,
}

impl SealedSegment {
    /// Counts a run that a partition has in the segment.
    pub fn add(&mut self, run: &Run) {
        self.live_runs += 1;
        self.live_bytes += u64::from(run.bytes);
    }

    /// Stops counting a run, because it was deleted or replaced.
    pub fn remove(&mut self, run: &Run) {
        self.live_runs -= 1;
        self.live_bytes = self.live_bytes.saturating_sub(u64::from(run.bytes));
    }

    /// Whether regrouping the segment is worth the work: it holds commits, several partitions have runs in it, and its
    /// extents are smaller than `extent_bytes` on average.
    pub fn is_scattered(&self, extent_bytes: u64) -> bool {
        let extent = self.sealed.data_end / u64::from(self.extents.max(1));
        !self.sealed.generation.is_sorted() && self.live_runs > 1 && extent < extent_bytes
    }

    /// Whether so little of the segment is still needed, less than a quarter, that a rewrite is worth the space it wins:
    /// that of deleted batches, of the directories of commits, and of index entries.
    pub fn is_wasteful(&self) -> bool {
        let end = self.sealed.data_end;
        end >= WASTE_BYTES_MIN && self.live_bytes < end / 4
    }
}
