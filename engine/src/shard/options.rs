//! Limits and sizes of a shard.

use crate::aligned::{BLOCK, round_up};
use crate::error::OpenError;

/// Limits and sizes of one shard.
#[derive(Debug, Clone)]
pub struct ShardOptions {
    /// Bytes of a commit segment. A start scans about two segments at most.
    pub segment_bytes: u64,
    /// Bytes of one memory chunk. A commit is at most this large, unless a single batch is larger.
    pub chunk_bytes: usize,
    /// Most bytes of recent commits that are kept in memory for readers (the tail cache).
    pub tail_cache_bytes: usize,
    /// Most bytes that are appended and not durable. Beyond it `append` says `Busy`.
    pub uncommitted_bytes_max: usize,
    /// Most commits that are written at the same time.
    pub commits_in_flight: usize,
    /// While a commit is in flight, another starts only when this many bytes wait.
    pub early_commit_bytes: usize,
    /// Whether zeros are written over the next segment while the log is idle: a flush after an overwrite is cheaper than
    /// one after a write into new space.
    pub zero_fill: bool,
    /// Sealed segments whose extents are smaller than this many bytes on average are rewritten by partition, in the
    /// background. 0: never.
    pub regroup_extent_bytes: u64,
    /// Bytes that are read ahead, into the system's page cache, after a read from the disk.
    pub read_ahead_bytes: usize,
    /// Most bytes of memory for the latest offsets of keys, 25 for each key. With more keys, compaction takes several
    /// passes.
    pub compaction_keys_bytes: usize,
}

impl Default for ShardOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 128 << 20,
            chunk_bytes: 2 << 20,
            tail_cache_bytes: 64 << 20,
            uncommitted_bytes_max: 16 << 20,
            commits_in_flight: 2,
            early_commit_bytes: 256 << 10,
            zero_fill: true,
            regroup_extent_bytes: 1 << 20,
            read_ahead_bytes: 64 << 20,
            compaction_keys_bytes: 32 << 20,
        }
    }
}

impl ShardOptions {
    /// Largest batch that can be appended.
    pub fn batch_bytes_max(&self) -> usize {
        usize::try_from(self.segment_bytes / 4).unwrap_or(usize::MAX).min(1 << 30)
    }

    /// Rounds sizes to whole blocks, and bounds each by those that it depends on.
    pub(crate) fn fitted(mut self) -> Result<Self, OpenError> {
        let bad = |what: &str| Err(OpenError::Options(what.to_owned()));
        self.segment_bytes = self.segment_bytes.next_multiple_of(BLOCK as u64);
        self.chunk_bytes = round_up(self.chunk_bytes);
        if self.segment_bytes < 16 * BLOCK as u64 || self.segment_bytes > 2 << 30 {
            return bad("segment_bytes must be between 64 KiB and 2 GiB");
        }
        let quarter = (self.segment_bytes / 4) as usize;
        self.chunk_bytes = self.chunk_bytes.min(quarter / BLOCK * BLOCK);
        self.uncommitted_bytes_max = self.uncommitted_bytes_max.min(quarter);
        if self.commits_in_flight == 0 {
            return bad("commits_in_flight must be at least 1");
        }
        Ok(self)
    }
}
