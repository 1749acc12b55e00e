//! A shard on the real disk: appended batches are read back, from memory and from the disk, before and after a restart.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::path::Path;

use keylane_engine::disk::uring::UringDisk;
use keylane_engine::record_batch::{build, build_from};
use keylane_engine::shard::{CommitState, PartitionRef, Shard, ShardOptions};
use keylane_engine::{AppendError, LogId, ReadError, ShardId};

type UringShard = Shard;

fn small() -> ShardOptions {
    ShardOptions {
        segment_bytes: 256 << 10,
        chunk_bytes: 32 << 10,
        tail_cache_bytes: 64 << 10,
        uncommitted_bytes_max: 64 << 10,
        ..ShardOptions::default()
    }
}

async fn open(root: &Path, logs: &[u32]) -> UringShard {
    let live: HashSet<_> = logs.iter().map(|l| LogId(*l)).collect();
    Shard::open(UringDisk::new(root, true), [1; 16], ShardId(0), &live, small()).await.unwrap()
}

async fn append(shard: &UringShard, at: PartitionRef, batch: &[u8]) -> u64 {
    loop {
        match shard.check_and_append(at, batch) {
            Ok(done) => return done.base_offset,
            Err(AppendError::Busy) => shard.space().await,
            Err(e) => panic!("{e}"),
        }
    }
}

fn batch(log: u32, i: u64) -> Vec<u8> {
    let value = vec![i as u8; 100 + (i as usize * 37) % 900];
    build(&[(b"key", format!("log {log} record {i}").as_bytes()), (b"key", &value)], 1_000 + i as i64)
}

/// Reads a whole partition and compares it with what was appended.
async fn check(shard: &UringShard, log: u32, count: u64) {
    let at = shard.partition(LogId(log)).unwrap();
    let mut bytes = Vec::new();
    let mut offset = 0;
    while offset < shard.offsets(at).unwrap().high_watermark {
        let part = shard.read(at, offset, 20_000).await.unwrap();
        assert!(part.next_offset > offset, "no progress at {offset}");
        part.slices.iter().for_each(|s| bytes.extend_from_slice(s));
        offset = part.next_offset;
    }
    assert_eq!(offset, count * 2);
    let mut rest = bytes.as_slice();
    for i in 0..count {
        let mut want = batch(log, i);
        keylane_engine::record_batch::patch(&mut want, i * 2, 0);
        assert_eq!(&rest[..want.len()], want, "log {log} batch {i}");
        rest = &rest[want.len()..];
    }
    assert!(rest.is_empty());
}

fn temp() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[test]
fn appended_is_read_back_across_segments_and_restarts() {
    let root = temp();
    let mut count = 0;
    for round in 0..3 {
        tokio_uring::start(async {
            let shard = open(root.path(), &[1, 2, 3]).await;
            for log in 1..=3 {
                check(&shard, log, count).await;
            }
            let mut last = 0;
            for i in count..count + 700 {
                for log in 1..=3 {
                    let at = shard.attach(LogId(log));
                    assert_eq!(append(&shard, at, &batch(log, i)).await, i * 2);
                    last = shard.check_and_append(at, b"bad").map_or(last, |a| a.seq);
                }
            }
            count += 700;
            let at = shard.attach(LogId(1));
            let bytes = build(&[(b"k", b"v")], 1);
            let done = shard.check_and_append(shard.attach(LogId(9)), &bytes).unwrap();
            assert_eq!(shard.committed(done.seq).await, CommitState::Durable);
            for log in 1..=3 {
                check(&shard, log, count).await;
            }
            let (found, _) = shard.find_by_time(at, 1_000 + 5, 0).await.unwrap().unwrap();
            assert_eq!(found, 10);
            let (found, _) = shard.find_latest_time(at, 0).await.unwrap().unwrap();
            assert_eq!(found, (count - 1) * 2);
            if round < 2 {
                shard.close().await.unwrap();
            }
        });
    }
    // The last round ended without a close. After a close, a start has nothing to scan.
    tokio_uring::start(async {
        let shard = open(root.path(), &[1, 2, 3]).await;
        assert!(shard.counters().scanned_bytes.load(std::sync::atomic::Ordering::Relaxed) > 0);
        check(&shard, 2, count).await;
        shard.close().await.unwrap();
        let shard = open(root.path(), &[1, 2, 3]).await;
        assert_eq!(shard.counters().scanned_bytes.load(std::sync::atomic::Ordering::Relaxed), 0);
        check(&shard, 3, count).await;
    });
}

#[test]
fn a_deleted_partition_is_gone_and_its_segments_are_used_again() {
    let root = temp();
    tokio_uring::start(async {
        let shard = open(root.path(), &[1, 2]).await;
        let at = shard.partition(LogId(1)).unwrap();
        for i in 0..2_000 {
            append(&shard, at, &batch(1, i)).await;
        }
        let files = || std::fs::read_dir(root.path().join("shard-00000")).unwrap().count();
        let before = files();
        shard.detach(LogId(1));
        assert!(matches!(shard.check_and_append(at, &batch(1, 0)), Err(AppendError::UnknownPartition)));
        assert!(matches!(shard.read(at, 0, 1).await, Err(ReadError::UnknownPartition)));
        let other = shard.partition(LogId(2)).unwrap();
        for i in 0..300 {
            append(&shard, other, &batch(2, i)).await;
        }
        shard.close().await.unwrap();
        assert!(files() < before / 2, "{before} files before, {} after", files());
        let shard = open(root.path(), &[2]).await;
        assert!(shard.partition(LogId(1)).is_none());
        check(&shard, 2, 300).await;
    });
}

#[test]
fn duplicates_of_idempotent_producers_are_found_after_a_restart() {
    let root = temp();
    let sequence = |n: i32| build_from(&[(b"k", b"v")], 1, 77, 0, n);
    for clean in [true, false, true] {
        tokio_uring::start(async {
            let shard = open(root.path(), &[1]).await;
            let at = shard.partition(LogId(1)).unwrap();
            let from = shard.offsets(at).unwrap().end as i32;
            if from > 0 {
                let again = shard.check_and_append(at, &sequence(from - 1)).unwrap();
                assert!(again.duplicate && again.base_offset == from as u64 - 1);
            }
            for n in from..from + 20 {
                let done = shard.check_and_append(at, &sequence(n)).unwrap();
                assert!(!done.duplicate);
                assert_eq!(shard.committed(done.seq).await, CommitState::Durable);
            }
            assert!(shard.check_and_append(at, &sequence(from + 25)).is_err());
            if clean {
                shard.close().await.unwrap();
            }
        });
    }
}

#[test]
fn readers_see_only_what_is_durable_and_only_what_is_there() {
    let root = temp();
    tokio_uring::start(async {
        let shard = open(root.path(), &[1]).await;
        let at = shard.partition(LogId(1)).unwrap();
        let done = shard.check_and_append(at, &batch(1, 0)).unwrap();
        assert_eq!(shard.offsets(at).unwrap().high_watermark, 0);
        assert!(shard.read(at, 0, 1_000).await.unwrap().slices.is_empty());
        assert!(matches!(shard.read(at, 1, 1_000).await, Err(ReadError::OutOfRange { .. })));
        shard.committed(done.seq).await;
        let middle = shard.read(at, 1, 1).await.unwrap();
        assert_eq!((middle.next_offset, middle.bytes), (2, batch(1, 0).len()));
    });
}
