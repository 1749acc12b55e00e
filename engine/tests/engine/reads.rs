//! Readers of old data, on the simulated disk: each byte is read about once, memory is given back, read-ahead is in time, no
//! reader waits for another one, and a segment that is freed during a read leaves nothing behind.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keylane_engine::disk::Disk;
use keylane_engine::record_batch::build;
use keylane_engine::shard::{CommitState, PartitionRef, Shard, ShardOptions};
use keylane_engine::{AppendError, LogId, ReadError, ShardId};
use keylane_sim_disk::{Fault, Op, Rule, SimDisk, SimOptions};

const PARTITIONS: u32 = 8;
/// Batches of 48 KiB and a little.
const BATCHES: u64 = 800;

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(test))
}

/// A shard with nearly all batches on the disk only, and its partitions.
async fn filled(disk: &SimDisk) -> (Shard, Vec<PartitionRef>) {
    disk.create_dir("").await.unwrap();
    let options = ShardOptions {
        segment_bytes: 8 << 20,
        tail_cache_bytes: 64 << 10,
        regroup_extent_bytes: 0,
        zero_fill: false,
        ..ShardOptions::default()
    };
    let live: HashSet<_> = (0..PARTITIONS).map(LogId).collect();
    let shard = Shard::open(disk.clone(), [1; 16], ShardId(0), &live, options).await.unwrap();
    let parts: Vec<_> = (0..PARTITIONS).map(|log| shard.attach(LogId(log))).collect();
    let batch = build(&[(b"key", &vec![7; 48 << 10])], 1);
    let mut last = 0;
    for n in 0..BATCHES {
        last = loop {
            match shard.check_and_append(parts[(n % u64::from(PARTITIONS)) as usize], &batch) {
                Ok(done) => break done.seq,
                Err(AppendError::Busy) => shard.space().await,
                Err(e) => panic!("{e}"),
            }
        };
    }
    assert_eq!(shard.committed(last).await, CommitState::Durable);
    // Reads are throttled for a moment after the last commit: wait until that is over.
    tokio::time::sleep(Duration::from_millis(300)).await;
    (shard, parts)
}

/// Reads a partition to its end, 1 MiB at a time, and returns the bytes.
async fn read_all(shard: &Shard, at: PartitionRef, most: &Cell<usize>) -> u64 {
    let (mut offset, mut bytes) = (0, 0);
    while offset < BATCHES / u64::from(PARTITIONS) {
        let part = shard.read(at, offset, 1 << 20).await.unwrap();
        assert!(part.next_offset > offset);
        (offset, bytes) = (part.next_offset, bytes + part.bytes as u64);
        shard.read_ahead(vec![(at, offset)]);
        most.set(most.get().max(shard.read_memory_bytes()));
        // A client needs a moment for its records. Without it, bytes would be requested before the read-ahead has brought them,
        // and count twice.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bytes
}

#[test]
fn each_byte_is_read_about_once_and_its_memory_comes_back() {
    run(async {
        let disk = SimDisk::new(1, SimOptions { latency_turns: (1, 4), ..SimOptions::default() });
        let (shard, parts) = filled(&disk).await;
        let most = Rc::new(Cell::new(0));
        let readers = parts.iter().map(|at| {
            let (shard, at, most) = (shard.clone(), *at, Rc::clone(&most));
            tokio::task::spawn_local(async move { read_all(&shard, at, &most).await })
        });
        let mut bytes = 0;
        for reader in readers.collect::<Vec<_>>() {
            bytes += reader.await.unwrap();
        }
        let read = shard.counters().disk_read_bytes.load(Ordering::Relaxed);
        assert!(read < bytes * 6 / 5, "{read} bytes were read for {bytes}");
        // 1 MiB of each reader, in buffers of 2 MiB that they share.
        assert!(most.get() <= 2 * PARTITIONS as usize * (2 << 20), "{} bytes were held", most.get());
    });
}

#[test]
fn what_is_wanted_next_is_here_when_it_is_asked_for() {
    run(async {
        let disk = SimDisk::new(3, SimOptions { latency_turns: (1, 4), ..SimOptions::default() });
        let (shard, parts) = filled(&disk).await;
        let part = shard.read(parts[0], 0, 1 << 20).await.unwrap();
        // Without read-ahead the next read goes to the disk.
        let before = disk.steps();
        let part = shard.read(parts[0], part.next_offset, 1 << 20).await.unwrap();
        assert!(disk.steps() > before);
        shard.read_ahead(vec![(parts[0], part.next_offset)]);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let before = disk.steps();
        let next = shard.read(parts[0], part.next_offset, 1 << 20).await.unwrap();
        assert_eq!(disk.steps(), before, "the disk was asked for what was read ahead");
        assert!(next.bytes > 512 << 10 && next.next_offset > part.next_offset);
    });
}

#[test]
fn no_reader_waits_for_another_one() {
    run(async {
        let disk = SimDisk::new(4, SimOptions { latency_turns: (1, 4), ..SimOptions::default() });
        let (shard, parts) = filled(&disk).await;
        // The first read of a segment never ends within the test.
        disk.add_rule(Rule::once(Op::Read, Fault::Delay(u32::MAX)).on(".log"));
        let (stuck, first) = (shard.clone(), parts[0]);
        let stuck = tokio::task::spawn_local(async move { stuck.read(first, 0, 64 << 10).await });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        for at in &parts[1..] {
            let most = Cell::new(0);
            let all = read_all(&shard, *at, &most);
            tokio::time::timeout(Duration::from_secs(60), all).await.expect("a reader waited");
        }
        // A reader of the very same bytes does not wait either.
        let same = tokio::time::timeout(Duration::from_secs(60), shard.read(parts[0], 0, 64 << 10)).await;
        assert!(same.expect("a reader waited").unwrap().bytes > 0);
        assert!(!stuck.is_finished());
        stuck.abort();
    });
}

#[test]
fn of_a_segment_that_is_freed_meanwhile_nothing_is_kept() {
    run(async {
        let disk = SimDisk::new(2, SimOptions { latency_turns: (1, 4), ..SimOptions::default() });
        let (shard, parts) = filled(&disk).await;
        // The first reads of the segments do not end before the segments are freed.
        disk.add_rule(Rule::once(Op::Read, Fault::Delay(1_000_000)).on(".log").times(8));
        let readers: Vec<_> = parts
            .iter()
            .map(|at| {
                let (shard, at) = (shard.clone(), *at);
                tokio::task::spawn_local(async move {
                    let mut offset = 0;
                    loop {
                        match shard.read(at, offset, 1 << 20).await {
                            Ok(part) if part.slices.is_empty() => return offset,
                            Ok(part) => {
                                offset = part.next_offset;
                                shard.read_ahead(vec![(at, offset)]);
                            }
                            Err(ReadError::OutOfRange { start, .. }) if start > offset => offset = start,
                            Err(e) => panic!("{e}"),
                        }
                    }
                })
            })
            .collect();
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        let end = BATCHES / u64::from(PARTITIONS);
        let freed = shard.counters().freed.load(Ordering::Relaxed);
        let mut last = 0;
        for at in &parts {
            last = shard.trim(*at, end - 1).unwrap();
        }
        assert_eq!(shard.committed(last).await, CommitState::Durable);
        for _ in 0..100_000 {
            if shard.counters().freed.load(Ordering::Relaxed) > freed {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(shard.counters().freed.load(Ordering::Relaxed) > freed, "no segment was freed meanwhile");
        let going = readers.iter().filter(|reader| !reader.is_finished()).count();
        assert!(going > 0, "nothing was under way meanwhile");
        for reader in readers {
            assert_eq!(reader.await.unwrap(), end);
        }
        // Memory of the delayed reads is given back.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let held = shard.read_memory_bytes();
        assert!(held <= 4 << 20, "{held} bytes of freed segments are held");
    });
}
