//! Retention by size bounds the space of a shard, on the simulated disk: its files never take more than all
//! `retention.bytes` together and one segment, whether partitions fill at the same pace or not. Each partition keeps at
//! least half of its `retention.bytes`, with the records as they were sent, also after a crash.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::collections::HashSet;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use keylane_engine::disk::Disk;
use keylane_engine::record_batch::{self, build};
use keylane_engine::shard::{CommitState, PartitionRef, Shard, ShardOptions};
use keylane_engine::{AppendError, LogConfig, LogId, ShardId};
use keylane_sim_disk::{CrashStyle, Rng, SimDisk, SimOptions};

type SimShard = Shard;

const SEGMENT: u64 = 1 << 20;

fn options() -> ShardOptions {
    ShardOptions {
        segment_bytes: SEGMENT,
        chunk_bytes: 128 << 10,
        tail_cache_bytes: 256 << 10,
        uncommitted_bytes_max: 256 << 10,
        zero_fill: false,
        ..ShardOptions::default()
    }
}

/// Time stands still while anything is left to do: a process that is stopped for some seconds would otherwise find that
/// the engine has waited long enough for space, and goes beyond its bound. That failed on a busy machine.
fn inside<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(future))
}

fn batch(log: u32, i: u64) -> Vec<u8> {
    let value = vec![(i + u64::from(log)) as u8; 8000];
    build(&[(format!("{log:03}/{i:010}").as_bytes(), &value)], 1_000 + i as i64)
}

async fn open(disk: &SimDisk, logs: &[Option<u64>]) -> SimShard {
    let live: HashSet<_> = (0..logs.len()).map(|log| LogId(log as u32)).collect();
    let shard = Shard::open(disk.clone(), [1; 16], ShardId(0), &live, options()).await.unwrap();
    for (log, bound) in logs.iter().enumerate() {
        let config = Arc::new(LogConfig { retention_bytes: *bound, ..LogConfig::keep_all() });
        shard.configure(at(&shard, log), config);
    }
    shard
}

fn at(shard: &SimShard, log: usize) -> PartitionRef {
    shard.partition(LogId(log as u32)).unwrap()
}

/// Checks that every batch from the log start offset on is there as it was sent; returns the log start offset.
async fn check(shard: &SimShard, log: usize, count: u64) -> u64 {
    let offsets = shard.offsets(at(shard, log)).unwrap();
    assert!(offsets.high_watermark >= count, "log {log}: {offsets:?}, {count} acknowledged");
    let mut offset = offsets.start;
    while offset < count {
        let part = shard.read(at(shard, log), offset, 100_000).await.unwrap();
        for mut rest in part.slices.iter().map(|s| &s[..]) {
            while !rest.is_empty() {
                let mut want = batch(log as u32, offset);
                record_batch::patch(&mut want, offset, 0);
                assert_eq!(&rest[..want.len()], want, "log {log} offset {offset}");
                (rest, offset) = (&rest[want.len()..], offset + 1);
            }
        }
        assert_eq!(offset, part.next_offset);
    }
    offsets.start
}

/// Appends this many batches to partitions drawn by weight; checks the space at each step of the disk.
fn fill(seed: u64, batches: u64, logs: &[(u64, Option<u64>)]) {
    let bounds: Vec<_> = logs.iter().map(|(_, bound)| *bound).collect();
    let weights: u64 = logs.iter().map(|(weight, _)| weight).sum();
    let len = batch(0, 0).len() as u64;
    let disk = SimDisk::new(seed, SimOptions { latency_turns: (0, 3), ..SimOptions::default() });
    let mut counts = vec![0u64; logs.len()];
    let highest = Rc::new(Cell::new(0));
    let allowed = |counts: &[u64]| -> u64 {
        bounds.iter().zip(counts).map(|(bound, count)| bound.unwrap_or(count * len)).sum()
    };
    inside(async {
        disk.create_dir("").await.unwrap();
        let shard = open(&disk, &bounds).await;
        let seen = Rc::clone(&highest);
        disk.on_step(Some(Rc::new(move |_, disk: &SimDisk| seen.set(disk.used_bytes().max(seen.get())))));
        let mut rng = Rng::new(seed);
        for i in 0..batches {
            let mut drawn = rng.below(weights);
            let heavier = |(weight, _): &(u64, _)| {
                let here = drawn < *weight;
                drawn = drawn.saturating_sub(*weight);
                here
            };
            let log = logs.iter().position(heavier).unwrap();
            let seq = loop {
                match shard.check_and_append(at(&shard, log), &batch(log as u32, counts[log])) {
                    Ok(done) => break done.seq,
                    Err(AppendError::Busy) => shard.space().await,
                    Err(e) => panic!("{e}"),
                }
            };
            counts[log] += 1;
            if i % 16 == 15 || i + 1 == batches {
                assert_eq!(shard.committed(seq).await, CommitState::Durable);
                let bound = allowed(&counts) + SEGMENT;
                assert!(highest.get() <= bound, "batch {i}: {} bytes, {bound} are the bound", highest.get());
                highest.set(0);
            }
        }
        disk.on_step(None);
        // A segment that is being emptied may be emptied to the end.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut starts = Vec::new();
        for (log, count) in counts.iter().enumerate() {
            let start = check(&shard, log, *count).await;
            let kept = (count - start) * len;
            let due = bounds[log].map_or(count * len, |bound| (bound / 2).min(count * len));
            assert!(kept >= due, "log {log} keeps {kept} bytes of {bounds:?}");
            starts.push(start);
        }
        assert!(starts.iter().any(|start| *start > 0));
        // As after a crash.
        let after = disk.crash_image(seed, CrashStyle::Mixed);
        let again = open(&after, &bounds).await;
        for (log, count) in counts.iter().enumerate() {
            assert!(check(&again, log, *count).await >= starts[log], "log {log}");
        }
        shard.close().await.unwrap();
    });
}

#[test]
fn partitions_that_fill_alike_keep_to_their_bound_together() {
    for seed in 0..3 {
        fill(seed, 5000, &[(1, Some(1 << 20)); 12]);
    }
}

#[test]
fn slow_partitions_do_not_keep_the_space_of_fast_ones() {
    // Partitions fill at very different rates: the fastest gets 256 times as many batches as the slowest.
    let logs: Vec<_> = (1..=16).map(|i| (i * i, Some(1 << 20))).collect();
    for seed in 0..3 {
        fill(seed, 8000, &logs);
    }
}

#[test]
fn what_has_no_bound_stays_and_keeps_nothing_else() {
    let mut logs = vec![(10, Some(1 << 20)); 12];
    logs.extend([(1, None), (3, None)]);
    for seed in 0..3 {
        fill(seed, 5000, &logs);
    }
}
