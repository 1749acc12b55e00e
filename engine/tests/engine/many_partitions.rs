//! Very many partitions: a checkpoint states each as it was at the end of a segment, although only a few are noted at a time
//! while commits go on. The simulated disk is used because a commit takes a few turns of the scheduler there, so that many
//! become durable while partitions are noted. On a real disk the noting often ends before the first commit does.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use keylane_engine::disk::Disk;
use keylane_engine::record_batch::build;
use keylane_engine::shard::{CommitState, Shard, ShardOptions};
use keylane_engine::{AppendError, LogId, OpenError, ShardId};
use keylane_sim_disk::{CrashStyle, SimDisk, SimOptions};

/// Many more partitions than are noted at once.
const PARTITIONS: u32 = 20_000;

async fn open(disk: &SimDisk) -> Result<Shard, OpenError> {
    let live: HashSet<_> = (0..PARTITIONS).map(LogId).collect();
    let options = ShardOptions {
        segment_bytes: 256 << 10,
        chunk_bytes: 16 << 10,
        uncommitted_bytes_max: 32 << 10,
        regroup_extent_bytes: 0,
        zero_fill: false,
        ..ShardOptions::default()
    };
    Shard::open(disk.clone(), [1; 16], ShardId(0), &live, options).await
}

/// Three rounds of a start, appends while segments are sealed, and kill -9. The next start scans the unsealed segments, and
/// refuses a log that does not continue at the end that the checkpoint states.
fn starts_and_crashes() -> Result<(), OpenError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut disk = SimDisk::new(1, SimOptions { latency_turns: (0, 2), ..SimOptions::default() });
    let mut ends = vec![0u64; PARTITIONS as usize];
    for round in 0..3u64 {
        let history = async {
            disk.create_dir("").await.unwrap();
            let shard = open(&disk).await?;
            let parts: Vec<_> = (0..PARTITIONS).map(|log| shard.partition(LogId(log)).unwrap()).collect();
            for (at, end) in parts.iter().zip(&ends) {
                assert_eq!(shard.offsets(*at).unwrap().high_watermark, *end);
            }
            let batch = build(&[(b"key", &[round as u8; 500])], 1_000);
            let mut last = 0;
            for i in 0..4_000u64 {
                // The partitions that are noted first and last are written to all the time.
                let number = match i % 3 {
                    0 => PARTITIONS as u64 - 1 - i % 100,
                    1 => i % 100,
                    _ => i * 7919 % u64::from(PARTITIONS),
                } as usize;
                last = loop {
                    match shard.check_and_append(parts[number], &batch) {
                        Ok(done) => break done.seq,
                        Err(AppendError::Busy) => shard.space().await,
                        Err(e) => panic!("{e}"),
                    }
                };
                ends[number] += 1;
            }
            assert_eq!(shard.committed(last).await, CommitState::Durable);
            assert!(shard.counters().sealed.load(Ordering::Relaxed) > 3);
            Ok::<_, OpenError>(())
        };
        runtime.block_on(tokio::task::LocalSet::new().run_until(history))?;
        disk = disk.crash_image(round, CrashStyle::AllKept);
    }
    Ok(())
}

#[test]
fn a_start_after_a_crash_finds_every_partition_where_it_was() {
    starts_and_crashes().unwrap();
}

/// Negative control; in a build with `--cfg keylane_planted` only.
#[cfg(keylane_planted)]
#[test]
fn a_planted_late_note_of_a_partition_is_found() {
    use keylane_engine::planted::{Bug, plant};
    plant(Some(Bug::NotedTooLate));
    let found = starts_and_crashes();
    plant(None);
    let Err(found @ OpenError::Damaged { .. }) = found else { panic!("{found:?}") };
    println!("planted: NotedTooLate, very many partitions: {found}");
}
