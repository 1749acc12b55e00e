//! What an engine has done since it was opened.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::shard;

/// What an open engine has done since it was opened, in all its shards: see [`Keylane::counters`](crate::Keylane::counters).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Commits that became durable. Each is one write and one flush; one commit has the appends that waited at the same time.
    pub commits: u64,
    /// Bytes of these commits, as written.
    pub commit_bytes: u64,
    /// Batches in these commits: an append is one batch.
    pub batches: u64,
    /// Disk reads on behalf of readers (record data and index blocks).
    pub disk_reads: u64,
    /// Bytes of these reads.
    pub disk_read_bytes: u64,
    /// Segments that were filled up and got an index.
    pub sealed: u64,
    /// Segments rewritten by partition.
    pub regrouped: u64,
    /// Passes of compaction that took effect.
    pub compacted: u64,
    /// Bytes read and written in the background, by rewriting and compaction.
    pub background_bytes: u64,
    /// Segments freed, because all their records were deleted or rewritten.
    pub freed: u64,
    /// Bytes scanned when the directory was opened.
    pub scanned_bytes: u64,
}

impl Counters {
    pub(super) fn add(&mut self, of: &shard::Counters) {
        let add = |sum: &mut u64, counter: &AtomicU64| *sum += counter.load(Ordering::Relaxed);
        add(&mut self.commits, &of.commits);
        add(&mut self.commit_bytes, &of.commit_bytes);
        add(&mut self.batches, &of.batches);
        add(&mut self.disk_reads, &of.disk_reads);
        add(&mut self.disk_read_bytes, &of.disk_read_bytes);
        add(&mut self.sealed, &of.sealed);
        add(&mut self.regrouped, &of.regrouped);
        add(&mut self.compacted, &of.compacted);
        add(&mut self.background_bytes, &of.background_bytes);
        add(&mut self.freed, &of.freed);
        add(&mut self.scanned_bytes, &of.scanned_bytes);
    }
}
