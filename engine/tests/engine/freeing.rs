//! Freed segments give their space back a little at a time, as a file system may hold up all flushes meanwhile. On the
//! simulated disk.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keylane_engine::disk::Disk;
use keylane_engine::record_batch::build;
use keylane_engine::shard::{CommitState, Shard, ShardOptions};
use keylane_engine::{AppendError, LogId, ShardId};
use keylane_sim_disk::{SimDisk, SimOptions};

const SEGMENT: u64 = 16 << 20;
/// Bytes that are freed at once, and an index of a segment.
const AT_ONCE: u64 = (4 << 20) + (64 << 10);
const BATCHES: u64 = 2500;

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(test))
}

#[test]
fn a_freed_segment_gives_its_space_back_in_parts() {
    run(async {
        let disk = SimDisk::new(1, SimOptions { latency_turns: (0, 3), ..SimOptions::default() });
        disk.create_dir("").await.unwrap();
        let options = ShardOptions {
            segment_bytes: SEGMENT,
            tail_cache_bytes: 64 << 10,
            regroup_extent_bytes: 0,
            zero_fill: false,
            ..ShardOptions::default()
        };
        let live = HashSet::from([LogId(0)]);
        let shard = Shard::open(disk.clone(), [1; 16], ShardId(0), &live, options).await.unwrap();
        let at = shard.attach(LogId(0));
        let batch = build(&[(b"key", &vec![7; 48 << 10])], 1);
        let mut last = 0;
        for _ in 0..BATCHES {
            last = loop {
                match shard.check_and_append(at, &batch) {
                    Ok(done) => break done.seq,
                    Err(AppendError::Busy) => shard.space().await,
                    Err(e) => panic!("{e}"),
                }
            };
        }
        assert_eq!(shard.committed(last).await, CommitState::Durable);
        let (used, most) = (Rc::new(Cell::new(disk.used_bytes())), Rc::new(Cell::new(0)));
        let filled = used.get();
        let seen = (Rc::clone(&used), Rc::clone(&most));
        disk.on_step(Some(Rc::new(move |_, disk: &SimDisk| {
            let before = seen.0.replace(disk.used_bytes());
            seen.1.set(before.saturating_sub(disk.used_bytes()).max(seen.1.get()));
        })));
        last = shard.trim(at, BATCHES - 1).unwrap();
        assert_eq!(shard.committed(last).await, CommitState::Durable);
        // All segments but the active one, the next one and two spares.
        let due = filled - 4 * SEGMENT;
        for _ in 0..500 {
            if disk.used_bytes() <= due {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let freed = shard.counters().freed.load(Ordering::Relaxed);
        assert!(disk.used_bytes() <= due, "{} of {filled} bytes are left, {freed} freed", disk.used_bytes());
        assert!(most.get() > AT_ONCE / 2, "nothing was seen: {}", most.get());
        assert!(most.get() <= AT_ONCE, "{} bytes were given back at once", most.get());
        disk.on_step(None);
        shard.close().await.unwrap();
    });
}
