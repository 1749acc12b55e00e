//! Counters of a shard. May be read from any thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of a shard since it was opened. May be read from any thread.
#[derive(Debug, Default)]
pub struct Counters {
    /// Commits that became durable.
    pub commits: AtomicU64,
    /// Bytes of them, as written.
    pub commit_bytes: AtomicU64,
    /// Batches in them.
    pub batches: AtomicU64,
    /// Disk reads on behalf of readers (record data and index blocks).
    pub disk_reads: AtomicU64,
    /// Bytes of them.
    pub disk_read_bytes: AtomicU64,
    /// Segments sealed.
    pub sealed: AtomicU64,
    /// Segments written anew by partition.
    pub regrouped: AtomicU64,
    /// Passes of compaction that took effect.
    pub compacted: AtomicU64,
    /// Bytes read and written in the background: regrouping, compaction.
    pub background_bytes: AtomicU64,
    /// Segments freed, or used again.
    pub freed: AtomicU64,
    /// Bytes scanned by the recovery.
    pub scanned_bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}
