//! The background tasks of a shard end with the shard: after a failure, and after a close.
//!
//! A failed shard once kept all its memory. The code that failed a shard woke the background tasks by a list that was
//! kept by hand, and the list lacked the task that marks an idle log. That task was parked, held the shard, and never
//! learned that the shard had failed.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use keylane_engine::disk::Disk;
use keylane_engine::record_batch::build;
use keylane_engine::shard::{CommitState, Counters, Shard, ShardOptions};
use keylane_engine::{LogId, ShardId};
use keylane_sim_disk::{Fault, Op, Rule, SimDisk, SimOptions};

/// Runs with a clock that jumps to the next timer whenever nothing else is to be done.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(tokio::task::LocalSet::new().run_until(test));
}

async fn open(disk: &SimDisk) -> Shard {
    let live = HashSet::from([LogId(1)]);
    Shard::open(disk.clone(), [1; 16], ShardId(0), &live, ShardOptions::default()).await.unwrap()
}

async fn disk() -> SimDisk {
    let disk = SimDisk::new(1, SimOptions::default());
    disk.create_dir("").await.unwrap();
    disk
}

/// Whether the memory of a shard goes away once no handle is left: the shard has one reference to its counters.
async fn is_dropped(counters: &Arc<Counters>) -> bool {
    for _ in 0..100 {
        if Arc::strong_count(counters) == 1 {
            return true;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    false
}

#[test]
fn a_failed_shard_ends_its_tasks_and_is_dropped() {
    run(async {
        let disk = disk().await;
        let shard = open(&disk).await;
        let counters = shard.counters();
        // All tasks are parked.
        tokio::time::sleep(Duration::from_secs(10)).await;
        disk.add_rule(Rule::once(Op::Write, Fault::Error).on(".log").times(1_000));
        let appended = shard.check_and_append(shard.attach(LogId(1)), &build(&[(b"k", b"v")], 1)).unwrap();
        assert_eq!(shard.committed(appended.seq).await, CommitState::Failed);
        assert!(!is_dropped(&counters).await, "this handle keeps the shard");
        drop(shard);
        assert!(is_dropped(&counters).await, "a background task keeps a failed shard");
    });
}

#[test]
fn a_closed_shard_ends_its_tasks_and_is_dropped() {
    run(async {
        let disk = disk().await;
        let shard = open(&disk).await;
        let counters = shard.counters();
        tokio::time::sleep(Duration::from_secs(10)).await;
        shard.close().await.unwrap();
        drop(shard);
        assert!(is_dropped(&counters).await, "a background task keeps a closed shard");
    });
}
