//! Deletion by size, by age and on request, and rewritten segments, on the real disk: the space comes
//! is freed, the remaining records are as they were sent, and a restart changes nothing.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keylane_engine::disk::uring::UringDisk;
use keylane_engine::record_batch::{self, build};
use keylane_engine::shard::{CommitState, PartitionRef, Shard, ShardOptions};
use keylane_engine::{AppendError, LogConfig, LogId, ReadError, ShardId, TrimError};

type UringShard = Shard;

const SEGMENT: u64 = 256 << 10;

fn options(segment_bytes: u64) -> ShardOptions {
    ShardOptions {
        segment_bytes,
        chunk_bytes: 32 << 10,
        tail_cache_bytes: 64 << 10,
        uncommitted_bytes_max: 64 << 10,
        ..ShardOptions::default()
    }
}

async fn open(root: &Path, logs: &[u32]) -> UringShard {
    open_with(root, logs, SEGMENT).await
}

async fn open_with(root: &Path, logs: &[u32], segment_bytes: u64) -> UringShard {
    let live: HashSet<_> = logs.iter().map(|l| LogId(*l)).collect();
    let options = options(segment_bytes);
    Shard::open(UringDisk::new(root, true), [1; 16], ShardId(0), &live, options).await.unwrap()
}

/// A batch of about 8 KiB with one record, which contains its number.
fn batch(log: u32, i: u64) -> Vec<u8> {
    let value = vec![i as u8; 8000 + (i as usize * 37) % 400];
    build(&[(format!("{log}/{i}").as_bytes(), &value)], 1_000 + i as i64)
}

async fn append(shard: &UringShard, at: PartitionRef, from: u64, to: u64) {
    for i in from..to {
        let seq = loop {
            match shard.check_and_append(at, &batch(at.log().0, i)) {
                Ok(done) => break done.seq,
                Err(AppendError::Busy) => shard.space().await,
                Err(e) => panic!("{e}"),
            }
        };
        if i % 4 == 3 || i + 1 == to {
            assert_eq!(shard.committed(seq).await, CommitState::Durable);
        }
    }
}

/// Checks that every record from the log start offset on is there as it was sent; returns the log start offset.
async fn check(shard: &UringShard, log: u32, count: u64) -> u64 {
    let at = shard.partition(LogId(log)).unwrap();
    let offsets = shard.offsets(at).unwrap();
    assert_eq!(offsets.high_watermark, count);
    let mut offset = offsets.start;
    while offset < count {
        let part = shard.read(at, offset, 20_000).await.unwrap();
        for mut rest in part.slices.iter().map(|s| &s[..]) {
            while !rest.is_empty() {
                let mut want = batch(log, offset);
                record_batch::patch(&mut want, offset, 0);
                assert_eq!(&rest[..want.len()], want, "log {log} offset {offset}");
                (rest, offset) = (&rest[want.len()..], offset + 1);
            }
        }
        assert_eq!(offset, part.next_offset);
    }
    if offsets.start > 0 {
        let before = shard.read(at, offsets.start - 1, 1).await;
        assert!(matches!(before, Err(ReadError::OutOfRange { .. })), "{before:?}");
    }
    offsets.start
}

/// Bytes that the files of the directory take on the disk.
fn used(root: &Path) -> u64 {
    std::fs::read_dir(root.join("shard-00000"))
        .unwrap()
        .map(|e| e.unwrap().metadata().map_or(0, |m| m.blocks() * 512))
        .sum()
}

async fn eventually(what: &str, done: impl Fn() -> bool) {
    for _ in 0..1500 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("thirty seconds passed: {what}");
}

fn temp() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[test]
fn a_partition_keeps_to_its_size_while_it_is_written_to() {
    let dir = temp();
    let segment = 4 * SEGMENT;
    let bound = 4 * segment;
    tokio_uring::start(async {
        let shard = open_with(dir.path(), &[1], segment).await;
        let at = shard.partition(LogId(1)).unwrap();
        shard.configure(at, Arc::new(LogConfig { retention_bytes: Some(bound), ..LogConfig::keep_all() }));
        // Indexes and checkpoint come on top, and a fifth for the padding of such small commits.
        let limit = bound / 4 * 5 + segment + (256 << 10);
        for round in 0..60 {
            append(&shard, at, round * 20, round * 20 + 20).await;
            // Freeing is a background matter of a few flushes.
            eventually("the partition keeps to its size", || used(dir.path()) <= limit).await;
        }
        let start = check(&shard, 1, 1200).await;
        assert!(start > 500, "{start}");
        let kept = (1200 - start) * 8300;
        assert!(kept > bound / 2, "{kept} bytes kept of {bound}");
        shard.close().await.unwrap();
        let shard = open_with(dir.path(), &[1], segment).await;
        assert_eq!(check(&shard, 1, 1200).await, start);
        assert!(used(dir.path()) <= limit);
    });
}

#[test]
fn records_go_when_they_are_too_old_and_never_before() {
    let dir = temp();
    tokio_uring::start(async {
        let shard = open(dir.path(), &[1, 2]).await;
        let (one, two) = (shard.partition(LogId(1)).unwrap(), shard.partition(LogId(2)).unwrap());
        shard.configure(one, Arc::new(LogConfig { retention_ms: Some(50), ..LogConfig::default() }));
        append(&shard, one, 0, 100).await;
        append(&shard, two, 0, 100).await;
        // The newest record of partition 1 has the time 1,099.
        shard.tend(1_050);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(shard.offsets(one).unwrap().start, 0, "nothing is older than 50 ms at 1,050");
        shard.tend(10_000);
        eventually("all of partition 1 is deleted", || shard.offsets(one).unwrap().start == 100).await;
        assert_eq!(check(&shard, 1, 100).await, 100);
        assert_eq!(check(&shard, 2, 100).await, 0, "another partition keeps what it has");
        append(&shard, one, 100, 110).await;
        assert_eq!(check(&shard, 1, 110).await, 100);
    });
    tokio_uring::start(async {
        let shard = open(dir.path(), &[1, 2]).await;
        assert_eq!((check(&shard, 1, 110).await, check(&shard, 2, 100).await), (100, 0));
    });
}

/// One record from an hour ahead once held up retention for as long as its producer liked. It does so until it is old itself,
/// which the bounds of timestamps limit; and a clock that jumps back deletes nothing and takes nothing back.
#[test]
fn a_record_from_the_future_and_a_clock_that_jumps_back_hold_up_deletion_for_a_while() {
    const HOUR: i64 = 3_600_000;
    let dir = temp();
    tokio_uring::start(async {
        let shard = open(dir.path(), &[1]).await;
        let at = shard.partition(LogId(1)).unwrap();
        shard.configure(at, Arc::new(LogConfig { retention_ms: Some(50), ..LogConfig::default() }));
        append(&shard, at, 0, 100).await;
        let ahead = build(&[(b"from", b"the future")], 1_100 + HOUR);
        let seq = shard.check_and_append(at, &ahead).unwrap().seq;
        assert_eq!(shard.committed(seq).await, CommitState::Durable);
        append(&shard, at, 101, 200).await;
        let start = || shard.offsets(at).unwrap().start;
        shard.tend(10_000);
        eventually("parts before the one with that record are deleted", || start() > 0).await;
        // The clock is set back by nine seconds: by it nothing is old.
        let before = start();
        assert!(before <= 100, "{before}");
        shard.tend(1_000);
        append(&shard, at, 200, 230).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(start(), before, "deleted, or back again");
        shard.tend(1_000 + HOUR);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(start() <= 100, "that record is still ahead: {}", start());
        shard.tend(1_100 + HOUR + 51);
        eventually("all is deleted when that record is old", || start() == 230).await;
    });
}

#[test]
fn deleted_on_request_is_deleted_durably_and_its_space_comes_back() {
    let dir = temp();
    tokio_uring::start(async {
        let shard = open(dir.path(), &[1, 2]).await;
        let (one, two) = (shard.partition(LogId(1)).unwrap(), shard.partition(LogId(2)).unwrap());
        append(&shard, one, 0, 300).await;
        append(&shard, two, 0, 5).await;
        let before = used(dir.path());
        assert!(matches!(shard.trim(one, 301), Err(TrimError::OutOfRange { high_watermark: 300, .. })));
        let seq = shard.trim(one, 290).unwrap();
        assert_eq!(shard.offsets(one).unwrap().start, 0, "not before it is durable");
        shard.committed(seq).await;
        assert_eq!(check(&shard, 1, 300).await, 290);
        // A lower log start offset than the present one changes nothing.
        shard.committed(shard.trim(one, 10).unwrap()).await;
        assert_eq!(check(&shard, 1, 300).await, 290);
        eventually("space comes back", || used(dir.path()) < before / 2).await;
        assert_eq!(check(&shard, 2, 5).await, 0);
    });
    // As after kill -9: nothing is closed.
    tokio_uring::start(async {
        let shard = open(dir.path(), &[1, 2]).await;
        assert_eq!((check(&shard, 1, 300).await, check(&shard, 2, 5).await), (290, 0));
        shard.close().await.unwrap();
    });
}

/// A topic that is deleted gives its space back although its segments stay for a neighbour, also while the
/// log is never quiet, and also without indexes afterwards.
#[test]
fn a_deleted_neighbour_gives_its_space_back_on_a_busy_log() {
    let dir = temp();
    tokio_uring::start(async {
        let shard = open(dir.path(), &[1, 2, 3]).await;
        let [one, two, three] = [1, 2, 3].map(|log| shard.partition(LogId(log)).unwrap());
        for round in 0..20 {
            append(&shard, one, round * 16, round * 16 + 16).await;
            append(&shard, two, round * 2, round * 2 + 2).await;
        }
        let counters = shard.counters();
        eventually("segments are regrouped", || {
            counters.regrouped.load(Ordering::Relaxed) + 2 > counters.sealed.load(Ordering::Relaxed)
        })
        .await;
        let before = used(dir.path());
        let busy = {
            let shard = shard.clone();
            tokio::task::spawn_local(async move {
                for i in 0.. {
                    append(&shard, three, i, i + 1).await;
                    // Log 3 itself takes no space that lasts.
                    shard.committed(shard.trim(three, i).unwrap()).await;
                }
            })
        };
        tokio::time::sleep(Duration::from_millis(100)).await;
        shard.detach(LogId(1));
        eventually("space comes back", || used(dir.path()) < before / 2).await;
        busy.abort();
        assert_eq!(check(&shard, 2, 40).await, 0);
    });
    // As after kill -9: operations in flight ended with the runtime.
    tokio_uring::start(async {
        for entry in std::fs::read_dir(dir.path().join("shard-00000")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|x| x == "idx") {
                std::fs::remove_file(path).unwrap();
            }
        }
        let shard = open(dir.path(), &[2, 3]).await;
        assert_eq!(check(&shard, 2, 40).await, 0);
    });
}

#[test]
fn regrouped_segments_hold_the_same_before_and_after_a_restart() {
    let dir = temp();
    let logs: Vec<u32> = (1..=5).collect();
    tokio_uring::start(async {
        let shard = open(dir.path(), &logs).await;
        for round in 0..40 {
            for &log in &logs {
                append(&shard, shard.partition(LogId(log)).unwrap(), round * 4, round * 4 + 4).await;
            }
        }
        let counters = shard.counters();
        eventually("segments are regrouped", || {
            counters.regrouped.load(Ordering::Relaxed) + 2 > counters.sealed.load(Ordering::Relaxed)
        })
        .await;
        assert!(counters.regrouped.load(Ordering::Relaxed) > 10);
        for &log in &logs {
            assert_eq!(check(&shard, log, 160).await, 0);
        }
        // Half of one partition goes; its stretches in the sorted segments are given back.
        let at = shard.partition(LogId(3)).unwrap();
        shard.committed(shard.trim(at, 80).unwrap()).await;
    });
    // As after kill -9: operations in flight ended with the runtime.
    tokio_uring::start(async {
        let shard = open(dir.path(), &logs).await;
        for &log in &logs {
            assert_eq!(check(&shard, log, 160).await, if log == 3 { 80 } else { 0 });
        }
        // Without its indexes, too: they are derived, holes and all.
        shard.close().await.unwrap();
        for entry in std::fs::read_dir(dir.path().join("shard-00000")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|x| x == "idx") {
                std::fs::remove_file(path).unwrap();
            }
        }
        let shard = open(dir.path(), &logs).await;
        for &log in &logs {
            assert_eq!(check(&shard, log, 160).await, if log == 3 { 80 } else { 0 });
        }
    });
}
