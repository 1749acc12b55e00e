//! Settings of an embedded engine.

use crate::error::OpenError;
use crate::shard::ShardOptions;

/// How a directory is opened: threads, and bounds of memory. The defaults suit a laptop, or a service that has other things to
/// do as well.
///
/// ```
/// use keylane_engine::Options;
///
/// let options = Options::new().threads(1).segment_bytes(16 << 20).tail_cache_bytes(8 << 20);
/// # let _ = options;
/// ```
///
/// Each shard has one log that its partitions write into. An open directory takes, for each shard, about
/// [`tail_cache_bytes`](Self::tail_cache_bytes) + [`uncommitted_bytes_max`](Self::uncommitted_bytes_max) +
/// [`queue_bytes`](Self::queue_bytes) of memory.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    pub(super) threads: usize,
    pub(super) shards: u16,
    pub(super) direct_io: bool,
    pub(super) queue_bytes: usize,
    pub(super) shard: ShardOptions,
}

impl Default for Options {
    fn default() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let shard =
            ShardOptions { segment_bytes: 64 << 20, tail_cache_bytes: 32 << 20, ..ShardOptions::default() };
        Self { threads: cpus.min(2), shards: 2, direct_io: true, queue_bytes: 4 << 20, shard }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Threads of the engine; thread `n` owns the shards `n`, `n + threads`, ... At most one thread is started for each shard.
    /// Default: 2, or 1 with one CPU.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Number of shards when the directory is formatted; an existing directory keeps its number. Default: 2.
    #[must_use]
    pub fn shards(mut self, shards: u16) -> Self {
        self.shards = shards;
        self
    }

    /// Whether files are opened with O_DIRECT. Without it (for file systems that lack it) flushes still make writes durable,
    /// but every byte is copied once more and goes through the page cache. Default: yes.
    #[must_use]
    pub fn direct_io(mut self, direct_io: bool) -> Self {
        self.direct_io = direct_io;
        self
    }

    /// Bytes of appends that may wait for each shard's thread, beside those that wait for the disk
    /// ([`uncommitted_bytes_max`](Self::uncommitted_bytes_max)). While the queue is full, appenders wait. Default: 4 MiB.
    #[must_use]
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// Bytes of a segment file, 64 KiB to 2 GiB. After a crash, the next open scans about two of them in each shard. A batch may
    /// have a quarter of it. Default: 64 MiB.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.shard.segment_bytes = bytes;
        self
    }

    /// Most bytes of recent appends that each shard keeps in memory for readers. Default: 32 MiB.
    #[must_use]
    pub fn tail_cache_bytes(mut self, bytes: usize) -> Self {
        self.shard.tail_cache_bytes = bytes;
        self
    }

    /// Most bytes that each shard has taken and that are not on the disk yet. Default: 16 MiB; at most a quarter of a segment.
    #[must_use]
    pub fn uncommitted_bytes_max(mut self, bytes: usize) -> Self {
        self.shard.uncommitted_bytes_max = bytes;
        self
    }

    /// Bytes of one piece of memory; a write to the disk has at most this many, unless a single batch has more. Default: 2 MiB;
    /// at most a quarter of a segment.
    #[must_use]
    pub fn chunk_bytes(mut self, bytes: usize) -> Self {
        self.shard.chunk_bytes = bytes;
        self
    }

    /// Bytes that are read ahead, into the system's page cache, after a read from the disk; of one partition at most 16 MiB.
    /// Default: 64 MiB.
    #[must_use]
    pub fn read_ahead_bytes(mut self, bytes: usize) -> Self {
        self.shard.read_ahead_bytes = bytes;
        self
    }

    /// Most bytes of memory for compaction in each shard; a key takes 25. With more keys it takes several passes. Default: 32 MiB.
    #[must_use]
    pub fn compaction_keys_bytes(mut self, bytes: usize) -> Self {
        self.shard.compaction_keys_bytes = bytes;
        self
    }

    /// Whether an idle engine writes zeros over the next segment ahead of time, which makes later flushes cheaper. Default: yes.
    #[must_use]
    pub fn zero_fill(mut self, zero_fill: bool) -> Self {
        self.shard.zero_fill = zero_fill;
        self
    }

    pub(super) fn check(&self) -> Result<(), OpenError> {
        let zero = [
            (self.threads == 0, "threads"),
            (self.shards == 0, "shards"),
            (self.queue_bytes == 0, "queue_bytes"),
        ];
        match zero.iter().find(|(is, _)| *is) {
            Some((_, name)) => Err(OpenError::Options(format!("Options::{name} must be at least 1"))),
            None => Ok(()),
        }
    }
}
