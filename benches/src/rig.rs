//! A shard on the real disk, for benchmarks: its directory, its runtime, and appending to it.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use keylane_engine::disk::uring::UringDisk;
use keylane_engine::record_batch::build;
use keylane_engine::shard::{PartitionRef, Shard, ShardOptions};
use keylane_engine::{AppendError, LogId, OpenError, ShardId};

/// A shard in the directory of its own disk.
pub type UringShard = Shard;

/// A valid batch of about `bytes` bytes, in records of at most 1 KiB.
pub fn batch(bytes: usize) -> Vec<u8> {
    let value = [b'x'; 1000];
    let count = (bytes / 1024).max(1);
    let record = (b"key".as_slice(), &value[..value.len().min(bytes)]);
    build(&vec![record; count], 1_700_000_000_000)
}

/// Opens the shard of `root` with partitions 1 to `partitions`. Needs a running `tokio-uring` runtime.
pub async fn open(
    root: &Path,
    partitions: u32,
    options: ShardOptions,
) -> Result<(UringShard, Vec<PartitionRef>), OpenError> {
    let live: HashSet<_> = (1..=partitions).map(LogId).collect();
    let shard = Shard::open(UringDisk::new(root, true), [1; 16], ShardId(0), &live, options).await?;
    let all = (1..=partitions).map(|log| shard.attach(LogId(log))).collect();
    Ok((shard, all))
}

/// Appends `count` batches, taking turns among the partitions, and waits until the last is durable.
pub async fn append(
    shard: &UringShard,
    to: &[PartitionRef],
    batch: &[u8],
    count: u64,
) -> Result<(), AppendError> {
    let mut last = None;
    for (i, &at) in (0..count).zip(to.iter().cycle()) {
        let appended = loop {
            match shard.check_and_append(at, batch) {
                Err(AppendError::Busy) => shard.space().await,
                other => break other?,
            }
        };
        last = Some(appended.seq);
        // As a server would between two receives: lets commits begin and end.
        if i % 16 == 15 {
            tokio::task::yield_now().await;
        }
    }
    if let Some(seq) = last {
        shard.committed(seq).await;
    }
    Ok(())
}

/// A `tokio-uring` runtime that can be entered many times.
pub fn runtime() -> io::Result<tokio_uring::Runtime> {
    tokio_uring::Runtime::new(&tokio_uring::builder())
}
