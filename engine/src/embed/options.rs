//! Settings of an embedded engine.

use crate::error::OpenError;
use crate::shard::ShardOptions;

/// How an engine is opened. The defaults suit a laptop, or a service that has other things to do as well.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads of the engine; thread `n` owns the shards `n`, `n + threads`, ... At most one thread is started for each shard.
    /// Default: 2, or 1 with one CPU.
    pub threads: usize,
    /// Number of shards when the directory is formatted; an existing directory keeps its number. Default: 2.
    pub shards: u16,
    /// Open files with O_DIRECT. Without it (for file systems that lack it) flushes still make writes durable,
    /// but every byte is copied once more and goes through the page cache.
    pub direct_io: bool,
    /// Bytes of appends that may wait for each shard's thread, beside those that wait for the disk
    /// ([`ShardOptions::uncommitted_bytes_max`]). While the queue is full, appenders wait. Default: 4 MiB.
    pub queue_bytes: usize,
    /// Limits and sizes of each shard. Default: segments of 64 MiB, a tail cache of 32 MiB, 16 MiB that wait for the disk.
    pub shard: ShardOptions,
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
