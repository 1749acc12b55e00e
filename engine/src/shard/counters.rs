//! Counters of a shard. May be read from any thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of a shard since it was opened. May be read from any thread.
#[derive(Debug, Default)]
pub struct Counters {
    /// Commits that became durable.
    pub commits: AtomicU64,
    /// Bytes of these commits, as written.
    pub commit_bytes: AtomicU64,
    /// Batches in these commits.
    pub batches: AtomicU64,
    /// Disk reads on behalf of readers (record data and index blocks).
    pub disk_reads: AtomicU64,
    /// Bytes of these reads.
    pub disk_read_bytes: AtomicU64,
    /// Segments sealed.
    pub sealed: AtomicU64,
    /// Segments rewritten by partition.
    pub regrouped: AtomicU64,
    /// Passes of compaction that took effect.
    pub compacted: AtomicU64,
    /// Bytes read and written by regrouping and compaction.
    pub background_bytes: AtomicU64,
    /// Segments freed.
    pub freed: AtomicU64,
    /// Bytes scanned by the recovery.
    pub scanned_bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}
