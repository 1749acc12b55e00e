//! Very many partitions: a checkpoint states them as they were at the end of its segment, although they are noted a
//! few at a time while commits go on.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::Ordering;

use keylane_engine::disk::uring::UringDisk;
use keylane_engine::record_batch::build;
use keylane_engine::shard::{CommitState, Shard, ShardOptions};
use keylane_engine::{AppendError, LogId, ShardId};

/// Far more than are noted at once.
const PARTITIONS: u32 = 20_000;

async fn open(root: &Path) -> Shard<UringDisk> {
    let live: HashSet<_> = (0..PARTITIONS).map(LogId).collect();
    let options = ShardOptions {
        segment_bytes: 256 << 10,
        chunk_bytes: 16 << 10,
        uncommitted_bytes_max: 32 << 10,
        regroup_extent_bytes: 0,
        ..ShardOptions::default()
    };
    Shard::open(UringDisk::new(root, true), [1; 16], ShardId(0), &live, options).await.unwrap()
}

#[test]
fn a_start_after_a_crash_finds_every_partition_where_it_was() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut ends = vec![0u64; PARTITIONS as usize];
    for round in 0..3u64 {
        // A runtime that ends without a close is a crash: what is unsealed is scanned, and what does not go on
        // where the checkpoint says that it ends is refused.
        tokio_uring::start(async {
            let shard = open(dir.path()).await;
            let parts: Vec<_> = (0..PARTITIONS).map(|log| shard.partition(LogId(log)).unwrap()).collect();
            for (at, end) in parts.iter().zip(&ends) {
                assert_eq!(shard.offsets(*at).unwrap().high_watermark, *end);
            }
            let batch = build(&[(b"key", &[round as u8; 500])], 1_000);
            let mut last = 0;
            for i in 0..4_000u64 {
                // The last slots are noted last, the first ones first: both are written to all the time.
                let number = match i % 3 {
                    0 => PARTITIONS as u64 - 1 - i % 100,
                    1 => i % 100,
                    _ => i * 7919 % u64::from(PARTITIONS),
                } as usize;
                last = loop {
                    match shard.append(parts[number], &batch) {
                        Ok(done) => break done.seq,
                        Err(AppendError::Busy) => shard.space().await,
                        Err(e) => panic!("{e}"),
                    }
                };
                ends[number] += 1;
            }
            assert_eq!(shard.committed(last).await, CommitState::Durable);
            assert!(shard.counters().sealed.load(Ordering::Relaxed) > 3);
        });
    }
}
