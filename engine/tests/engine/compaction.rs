//! Compaction on the simulated disk: the latest record of every key is there, in order, at its offset, before and
//! after restarts. Superseded records are removed, and their space is freed. Readers are served during a pass.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use keylane_engine::disk::Disk;
use keylane_engine::record_batch::{self, BatchFields, RecordBatch, put_record, seal};
use keylane_engine::records::{Opened, compress};
use keylane_engine::shard::{CommitState, PartitionRef, Shard, ShardOptions};
use keylane_engine::{AppendError, LogConfig, LogId, ReadError, ShardId};
use keylane_sim_disk::{CrashStyle, SimDisk, SimOptions};

type SimShard = Shard;

const TIME: i64 = 1_700_000_000_000;
const SEGMENT: u64 = 64 << 10;

fn options() -> ShardOptions {
    ShardOptions {
        segment_bytes: SEGMENT,
        chunk_bytes: 16 << 10,
        early_commit_bytes: 4096,
        zero_fill: false,
        ..ShardOptions::default()
    }
}

fn compacted() -> LogConfig {
    LogConfig { compact: true, delete: false, ..LogConfig::keep_all() }
}

fn disk() -> SimDisk {
    SimDisk::new(1, SimOptions { latency_turns: (0, 2), ..SimOptions::default() })
}

fn inside<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(future))
}

async fn open_with(disk: &SimDisk, logs: &[u32], config: LogConfig, options: ShardOptions) -> SimShard {
    let live: HashSet<_> = logs.iter().map(|l| LogId(*l)).collect();
    disk.create_dir("").await.unwrap();
    let shard = Shard::open(disk.clone(), [1; 16], ShardId(0), &live, options).await.unwrap();
    let config = Arc::new(config);
    for &log in logs {
        shard.configure(at(&shard, log), Arc::clone(&config));
    }
    shard
}

async fn open(disk: &SimDisk, logs: &[u32], config: LogConfig) -> SimShard {
    open_with(disk, logs, config, options()).await
}

fn at(shard: &SimShard, log: u32) -> PartitionRef {
    shard.partition(LogId(log)).unwrap()
}

/// Key and value of a record; a tombstone has no value.
type Pair = (Option<String>, Option<String>);

fn pair(key: impl ToString, value: impl ToString) -> Pair {
    (Some(key.to_string()), Some(value.to_string()))
}

fn tombstone(key: impl ToString) -> Pair {
    (Some(key.to_string()), None)
}

/// A batch with a codec, a producer id (-1: none) and the sequence of its first record.
fn batch(pairs: &[Pair], time: i64, codec: i16, producer: i64, sequence: i32) -> Vec<u8> {
    fn text(text: &Option<String>) -> Option<&[u8]> {
        text.as_ref().map(String::as_bytes)
    }
    let mut plain = Vec::new();
    for (delta, (key, value)) in (0i32..).zip(pairs) {
        put_record(&mut plain, 0, delta, text(key), text(value), &[]);
    }
    let epoch = if producer < 0 { -1 } else { 0 };
    let fields = BatchFields {
        attributes: codec,
        producer_id: producer,
        producer_epoch: epoch,
        base_sequence: sequence,
        ..BatchFields::new(pairs.len() as i32, time)
    };
    let mut out = fields.header().to_vec();
    compress(codec, &plain, &mut out).unwrap();
    seal(&mut out);
    RecordBatch::check_stored(&out).unwrap();
    out
}

/// Appends a batch; returns the offset of its first record. With `wait` the batch is durable then.
async fn append(shard: &SimShard, log: u32, batch: &[u8], wait: bool) -> u64 {
    loop {
        match shard.check_and_append(at(shard, log), batch) {
            Ok(done) => {
                if wait {
                    assert_eq!(shard.committed(done.seq).await, CommitState::Durable);
                }
                return done.base_offset;
            }
            Err(AppendError::Busy) => shard.space().await,
            Err(e) => panic!("{e}"),
        }
    }
}

/// A record as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    offset: u64,
    time: i64,
    pair: Pair,
}

/// All records of a log from its start; checks that their offsets rise.
async fn read_all(shard: &SimShard, log: u32) -> Vec<Seen> {
    let offsets = shard.offsets(at(shard, log)).unwrap();
    let (mut next, mut out) = (offsets.start, Vec::<Seen>::new());
    while next < offsets.high_watermark {
        let part = shard.read(at(shard, log), next, 20_000).await.unwrap();
        assert!(part.next_offset > next, "nothing at {next}, the log ends at {}", offsets.high_watermark);
        for slice in &part.slices {
            let mut rest = &slice[..];
            while !rest.is_empty() {
                let (batch, after) = rest.split_at(record_batch::total_len(rest).unwrap());
                RecordBatch::check_stored(batch).unwrap();
                let opened = Opened::of(batch, 1 << 20).unwrap();
                for record in opened.records() {
                    let record = record.unwrap();
                    let text = |b: Option<&[u8]>| b.map(|b| String::from_utf8(b.to_vec()).unwrap());
                    let pair = (text(record.key), text(record.value));
                    out.push(Seen { offset: record.offset, time: record.timestamp, pair });
                }
                rest = after;
            }
        }
        next = part.next_offset;
    }
    assert!(out.windows(2).all(|pair| pair[0].offset < pair[1].offset), "offsets rise");
    out
}

/// The latest record of every key.
fn latest(records: &[Seen]) -> BTreeMap<String, Seen> {
    records.iter().map(|r| (r.pair.0.clone().unwrap(), r.clone())).collect()
}

/// Lets time pass until this many more passes took effect.
async fn passes(shard: &SimShard, more: u64, now_ms: i64) {
    let counters = shard.counters();
    let wanted = counters.compacted.load(Relaxed) + more;
    for _ in 0..2000 {
        shard.tend(now_ms);
        tokio::time::sleep(Duration::from_millis(2)).await;
        if counters.compacted.load(Relaxed) >= wanted {
            return settle(shard).await;
        }
    }
    panic!("{} passes of {wanted}", counters.compacted.load(Relaxed));
}

/// Waits until no background task changes anything any more.
async fn settle(shard: &SimShard) {
    let counters = shard.counters();
    let busy = || {
        let all = [&counters.compacted, &counters.sealed, &counters.background_bytes, &counters.freed];
        all.map(|c| c.load(Relaxed))
    };
    let (mut before, mut quiet) = (busy(), 0);
    while quiet < 10 {
        tokio::time::sleep(Duration::from_millis(3)).await;
        let now = busy();
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
    }
}

/// Bytes of the blocks that are not all zero, because the simulated disk counts holes as used.
fn used(disk: &SimDisk) -> usize {
    let blocks = |path: String| {
        let content = disk.content(&path).unwrap();
        content.chunks(4096).filter(|block| block.iter().any(|b| *b != 0)).count()
    };
    disk.paths().into_iter().map(blocks).sum::<usize>() * 4096
}

/// Overwrites `keys` keys in `rounds` batches; returns what was written.
async fn overwrite(shard: &SimShard, log: u32, keys: u64, rounds: u64, from: u64) -> Vec<Seen> {
    let mut all = Vec::new();
    for round in from..from + rounds {
        let time = TIME + round as i64;
        let pairs: Vec<_> =
            (0..keys).map(|k| pair(k, format!("{round} of {k} {}", "x".repeat(60)))).collect();
        let base = append(shard, log, &batch(&pairs, time, 0, -1, -1), round % 5 == 4).await;
        all.extend((base..).zip(pairs).map(|(offset, pair)| Seen { offset, time, pair }));
    }
    append(shard, log, &batch(&[pair("end", from)], TIME, 0, -1, -1), true).await;
    let offset = all.last().map_or(0, |r| r.offset + 1);
    all.push(Seen { offset, time: TIME, pair: pair("end", from) });
    all
}

#[test]
fn the_latest_record_of_every_key_is_left_before_and_after_restarts() {
    let disk = disk();
    inside(async {
        let shard = open(&disk, &[1], compacted()).await;
        let written = overwrite(&shard, 1, 20, 200, 0).await;
        passes(&shard, 1, TIME).await;
        let left = read_all(&shard, 1).await;
        assert_eq!(latest(&left), latest(&written));
        assert!(left.iter().all(|r| written[r.offset as usize] == *r), "as they were written");
        let clean = left.iter().filter(|r| r.offset < 2000).count();
        assert!(clean == 0 && left.len() < written.len() / 3, "{} of {}", left.len(), written.len());
        let offsets = shard.offsets(at(&shard, 1)).unwrap();
        assert_eq!((offsets.start, offsets.end), (0, written.len() as u64));
        // As after kill -9, with power lost, and after a close.
        for style in [CrashStyle::AllKept, CrashStyle::AllDropped] {
            let image = disk.crash_image(3, style);
            let shard = open(&image, &[1], compacted()).await;
            assert_eq!(read_all(&shard, 1).await, left, "{style:?}");
            assert_eq!(shard.offsets(at(&shard, 1)).unwrap(), offsets);
        }
        shard.close().await.unwrap();
        let shard = open(&disk, &[1], compacted()).await;
        assert_eq!(read_all(&shard, 1).await, left);
        // A second pass cleans what is dirty now, and what was clean stays.
        let more = overwrite(&shard, 1, 10, 200, 1000).await;
        let (mut all, base) = (written.clone(), written.len() as u64);
        all.extend(more.into_iter().map(|r| Seen { offset: base.max(r.offset), ..r }));
        passes(&shard, 1, TIME).await;
        let left = read_all(&shard, 1).await;
        assert_eq!(latest(&left), latest(&all));
        assert!(left.len() < 800, "{}", left.len());
        // Missing indexes are derived.
        shard.close().await.unwrap();
        for path in disk.paths().into_iter().filter(|p| p.ends_with(".idx")) {
            disk.remove(&path).await.unwrap();
        }
        let shard = open(&disk, &[1], compacted()).await;
        assert_eq!(read_all(&shard, 1).await, left);
    });
}

#[test]
fn tombstones_go_after_their_time_and_not_before() {
    let disk = disk();
    inside(async {
        let config = LogConfig { delete_retention_ms: 1000, ..compacted() };
        let shard = open(&disk, &[1], config.clone()).await;
        overwrite(&shard, 1, 5, 50, 0).await;
        append(&shard, 1, &batch(&[tombstone(1), tombstone(3)], TIME, 0, -1, -1), true).await;
        overwrite(&shard, 1, 1, 1000, 100).await;
        passes(&shard, 1, TIME).await;
        let keys = |records: &[Seen]| latest(records).into_values().map(|r| r.pair).collect::<Vec<_>>();
        let left = keys(&read_all(&shard, 1).await);
        assert!(left.contains(&tombstone(1)) && left.contains(&tombstone(3)), "{left:?}");
        // The time is over for a pass that comes too early, and a restart changes nothing in that.
        overwrite(&shard, 1, 1, 2000, 2000).await;
        passes(&shard, 1, TIME + 900).await;
        assert!(keys(&read_all(&shard, 1).await).contains(&tombstone(3)));
        shard.close().await.unwrap();
        let shard = open(&disk, &[1], config).await;
        overwrite(&shard, 1, 1, 2000, 5000).await;
        passes(&shard, 1, TIME + 2000).await;
        let all = read_all(&shard, 1).await;
        let gone = |key: &str| all.iter().all(|r| r.pair.0.as_deref() != Some(key));
        assert!(gone("1") && gone("3") && !gone("2") && !gone("0"), "{all:?}");
    });
}

#[test]
fn records_without_a_key_go() {
    let disk = disk();
    inside(async {
        let shard = open(&disk, &[1], LogConfig::keep_all()).await;
        for i in 0..300 {
            let pairs = [(None, Some("y".repeat(300))), pair(i % 3, i)];
            append(&shard, 1, &batch(&pairs, TIME, 0, -1, -1), i % 10 == 9).await;
        }
        shard.tend(TIME);
        settle(&shard).await;
        assert_eq!(read_all(&shard, 1).await.len(), 600, "not compacted");
        shard.configure(at(&shard, 1), Arc::new(compacted()));
        passes(&shard, 1, TIME).await;
        let left = read_all(&shard, 1).await;
        let sealed = left.iter().filter(|r| r.offset < 200).count();
        assert!(sealed == 0 && left.len() < 400, "{}", left.len());
        assert_eq!(latest(&left[left.len() - 1..])["2"].pair, pair(2, 299));
    });
}

#[test]
fn every_codec_is_cleaned_and_keeps_to_itself() {
    let disk = disk();
    inside(async {
        let shard = open(&disk, &[0, 1, 2, 3, 4], compacted()).await;
        let mut written = vec![Vec::new(); 5];
        for round in 0..150i64 {
            for codec in 0..5i16 {
                let text = format!("{round} {}", "z".repeat(400));
                let pairs = [pair(round % 7, &text), pair("all", &text), pair(round, codec)];
                let bytes = batch(&pairs, TIME + round, codec, -1, -1);
                let base = append(&shard, codec as u32, &bytes, round % 10 == 9).await;
                let seen =
                    (base..).zip(pairs).map(|(offset, pair)| Seen { offset, time: TIME + round, pair });
                written[codec as usize].extend(seen);
            }
        }
        passes(&shard, 5, TIME).await;
        for codec in 0..5 {
            let left = read_all(&shard, codec).await;
            let written = &written[codec as usize];
            assert_eq!(latest(&left), latest(written), "codec {codec}");
            assert!(left.iter().all(|r| written[r.offset as usize] == *r), "codec {codec}");
            assert!(left.len() < 400, "codec {codec}: {}", left.len());
            let first = shard.read(at(&shard, codec), 0, 1).await.unwrap();
            assert_eq!(u32::from(first.slices[0][22] & 7), codec);
        }
    });
}

#[test]
fn young_records_wait_and_old_ones_do_not() {
    let disk = disk();
    inside(async {
        let config = LogConfig { min_compaction_lag_ms: 5000, ..compacted() };
        let shard = open(&disk, &[1], config.clone()).await;
        let written = overwrite(&shard, 1, 20, 200, 0).await;
        shard.tend(TIME + 4000);
        settle(&shard).await;
        assert_eq!(read_all(&shard, 1).await, written, "younger than five seconds");
        passes(&shard, 1, TIME + 6000).await;
        let left = read_all(&shard, 1).await.len();
        assert!(left < 2000, "{left}");
        // The dirty ratio is never reached, but the lag is: the lag closes the active segment, too.
        let lazy = LogConfig { min_cleanable_dirty_ratio: 1.0, ..compacted() };
        shard.configure(at(&shard, 1), Arc::new(lazy.clone()));
        overwrite(&shard, 1, 3, 20, 300).await;
        shard.tend(TIME + 7000);
        settle(&shard).await;
        let before = read_all(&shard, 1).await.len();
        shard.configure(at(&shard, 1), Arc::new(LogConfig { max_compaction_lag_ms: 500, ..lazy }));
        passes(&shard, 1, TIME + 8000).await;
        append(&shard, 1, &batch(&[pair("after", 1)], TIME + 8000, 0, -1, -1), true).await;
        passes(&shard, 1, TIME + 9000).await;
        let after = read_all(&shard, 1).await.len();
        assert!(after <= 26 && before > 60, "{before} became {after}");
    });
}

#[test]
fn deletion_and_compaction_work_together() {
    let disk = disk();
    inside(async {
        let both = LogConfig { delete: true, retention_ms: Some(10_000), ..compacted() };
        let shard = open(&disk, &[1, 2], both.clone()).await;
        shard.configure(at(&shard, 2), Arc::new(compacted()));
        let old = overwrite(&shard, 1, 20, 200, 0).await;
        let kept = overwrite(&shard, 2, 20, 200, 0).await;
        passes(&shard, 2, TIME + 1000).await;
        let offsets = shard.offsets(at(&shard, 1)).unwrap();
        assert_eq!((offsets.start, offsets.end), (0, old.len() as u64), "compaction leaves the start alone");
        shard.tend(TIME + 100_000);
        settle(&shard).await;
        let offsets = shard.offsets(at(&shard, 1)).unwrap();
        assert_eq!(offsets.start, old.len() as u64, "all of it is too old");
        assert!(matches!(shard.read(at(&shard, 1), 0, 1).await, Err(ReadError::OutOfRange { .. })));
        assert_eq!(latest(&read_all(&shard, 2).await), latest(&kept));
        // It goes on, and a restart changes nothing.
        let base = old.len() as u64;
        let more = overwrite(&shard, 1, 20, 300, 200_000).await;
        passes(&shard, 1, TIME + 200_000).await;
        let left = read_all(&shard, 1).await;
        assert!(left[0].offset >= base && left.len() < more.len() / 2, "{}", left.len());
        assert_eq!(latest(&left), latest(&more));
        let image = disk.crash_image(1, CrashStyle::AllDropped);
        let shard = open(&image, &[1, 2], both).await;
        assert_eq!(read_all(&shard, 1).await, left);
        assert_eq!(latest(&read_all(&shard, 2).await), latest(&kept));
    });
}

#[test]
fn a_reader_in_the_middle_of_passes_misses_no_key() {
    let disk = SimDisk::new(7, SimOptions { latency_turns: (1, 12), ..SimOptions::default() });
    inside(async {
        // No cache to speak of: everything comes from the disk. And a neighbour in the same segments.
        let small = ShardOptions { tail_cache_bytes: 4096, read_ahead_bytes: 64 << 10, ..options() };
        let shard = open_with(&disk, &[1, 2], compacted(), small).await;
        shard.configure(at(&shard, 2), Arc::new(LogConfig::keep_all()));
        let mut rounds = 0;
        let mut neighbour = Vec::new();
        let mut caught = 0;
        while rounds < 12_000 && caught < 6 {
            let before = shard.counters().compacted.load(Relaxed);
            let written = overwrite(&shard, 1, 20, 60, rounds).await;
            neighbour.extend(overwrite(&shard, 2, 2, 60, rounds).await);
            rounds += 60;
            shard.tend(TIME);
            let read = read_all(&shard, 1).await;
            let (read, written) = (latest(&read), latest(&written));
            assert_eq!(read, written, "after {rounds} rounds");
            let (found, batches) =
                shard.find_by_time(at(&shard, 1), TIME + rounds as i64 - 30, 0).await.unwrap().unwrap();
            assert!(found > 0 && !batches.slices.is_empty());
            caught += shard.counters().compacted.load(Relaxed) - before;
        }
        assert!(caught >= 6, "{caught} passes while it was read");
        let seen = read_all(&shard, 2).await;
        assert_eq!(seen.len(), neighbour.len(), "a neighbour keeps what it has");
        shard.close().await.unwrap();
    });
}

#[test]
fn a_log_that_is_deleted_during_a_pass_leaves_nothing() {
    for turns in [0, 5, 10, 20, 40, 80, 160, 320] {
        let disk = SimDisk::new(turns, SimOptions { latency_turns: (1, 5), ..SimOptions::default() });
        inside(async {
            let shard = open(&disk, &[1, 2], LogConfig::keep_all()).await;
            overwrite(&shard, 1, 20, 200, 0).await;
            let kept = overwrite(&shard, 2, 20, 50, 0).await;
            settle(&shard).await;
            shard.configure(at(&shard, 1), Arc::new(compacted()));
            shard.tend(TIME);
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            let gone = at(&shard, 1);
            shard.detach(LogId(1));
            settle(&shard).await;
            assert!(matches!(shard.read(gone, 0, 1).await, Err(ReadError::UnknownPartition)));
            assert_eq!(read_all(&shard, 2).await, kept);
            shard.close().await.unwrap();
            let left = disk.paths().iter().filter(|p| p.contains(".sorted")).count();
            assert!(left <= 4, "{:?}", disk.paths());
            let shard = open(&disk, &[2], LogConfig::keep_all()).await;
            assert_eq!(read_all(&shard, 2).await, kept);
        });
    }
}

#[test]
fn the_end_of_the_log_and_its_producers_outlive_the_last_records() {
    let disk = disk();
    inside(async {
        let config = LogConfig { delete_retention_ms: 0, min_cleanable_dirty_ratio: 0.0, ..compacted() };
        let shard = open(&disk, &[1], config.clone()).await;
        let mut sequence = 0;
        for round in 0..100 {
            let pairs: Vec<_> = (0..10).map(|k| pair(k, format!("{round} {}", "x".repeat(80)))).collect();
            append(&shard, 1, &batch(&pairs, TIME, 0, 9, sequence), round % 10 == 9).await;
            sequence += 10;
        }
        let gone: Vec<_> = (0..10).map(tombstone).collect();
        append(&shard, 1, &batch(&gone, TIME, 0, 9, sequence), true).await;
        let last = batch(&[tombstone("x")], TIME, 0, 9, sequence + 10);
        let end = append(&shard, 1, &last, true).await + 1;
        // Closing seals the active segment.
        shard.close().await.unwrap();
        let shard = open(&disk, &[1], config.clone()).await;
        passes(&shard, 1, TIME).await;
        // The tombstones have a horizon now; with one more dirty segment they go.
        append(&shard, 1, &batch(&[tombstone("y")], TIME, 0, -1, -1), true).await;
        shard.close().await.unwrap();
        let shard = open(&disk, &[1], config.clone()).await;
        passes(&shard, 1, TIME + 10).await;
        append(&shard, 1, &batch(&[tombstone("z")], TIME, 0, -1, -1), true).await;
        shard.close().await.unwrap();
        let shard = open(&disk, &[1], config.clone()).await;
        passes(&shard, 1, TIME + 20).await;
        let left = read_all(&shard, 1).await;
        assert!(left.iter().all(|r| r.offset >= end), "{left:?}");
        assert_eq!(left.last().unwrap().offset, end + 1, "the last batch shows where the log ends");
        let offsets = shard.offsets(at(&shard, 1)).unwrap();
        assert_eq!((offsets.start, offsets.end, offsets.high_watermark), (0, end + 2, end + 2));
        let image = disk.crash_image(1, CrashStyle::AllDropped);
        for disk in [&disk, &image] {
            let shard = open(disk, &[1], config.clone()).await;
            assert_eq!(shard.offsets(at(&shard, 1)).unwrap(), offsets);
            let again = shard.check_and_append(at(&shard, 1), &last).unwrap();
            assert!(again.duplicate && again.base_offset == end - 1, "{again:?}");
            let next = batch(&[pair("k", "v")], TIME, 0, 9, sequence + 11);
            assert_eq!(append(&shard, 1, &next, true).await, end + 2, "offsets go on");
        }
    });
}

#[test]
fn more_keys_than_there_is_memory_for_take_several_passes() {
    let disk = disk();
    inside(async {
        let few = ShardOptions { compaction_keys_bytes: 25 << 6, ..options() };
        let shard = open_with(&disk, &[1], compacted(), few).await;
        let written = overwrite(&shard, 1, 100, 60, 0).await;
        passes(&shard, 2, TIME).await;
        let left = read_all(&shard, 1).await;
        assert_eq!(latest(&left), latest(&written));
        assert!(left.len() < 1500, "{} of {}", left.len(), written.len());
        let image = disk.crash_image(1, CrashStyle::AllDropped);
        let shard = open(&image, &[1], compacted()).await;
        assert_eq!(read_all(&shard, 1).await, left);
    });
}

/// Committed offsets are like this: few keys, small records, overwritten again and again, and other
/// partitions in the same segments.
#[test]
fn fifty_keys_overwritten_a_million_times_take_little_room() {
    let disk = SimDisk::new(1, SimOptions::immediate());
    inside(async {
        let large = ShardOptions { segment_bytes: 1 << 20, ..options() };
        let shard = open_with(&disk, &[1, 2], compacted(), large).await;
        // A record of its neighbour in every segment, each of another key.
        let (mut most, mut rare) = (0, 0);
        for round in 0..20_000u64 {
            let pairs: Vec<_> = (0..50).map(|k| pair(k, format!("{round:07}"))).collect();
            append(&shard, 1, &batch(&pairs, TIME + round as i64, 0, -1, -1), round % 20 == 19).await;
            if round % 400 == 0 {
                append(&shard, 2, &batch(&[pair(round, "rare")], TIME, 0, -1, -1), true).await;
                rare += 1;
            }
            if round % 100 == 99 {
                shard.tend(TIME + round as i64);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if round % 500 == 499 {
                most = most.max(used(&disk));
            }
        }
        // Active segment, the next one, and what is left of the others.
        for _ in 0..2000 {
            shard.tend(TIME + 20_000);
            tokio::time::sleep(Duration::from_millis(2)).await;
            if used(&disk) < 2 << 20 {
                break;
            }
        }
        let left = read_all(&shard, 1).await;
        assert_eq!(latest(&left).len(), 50);
        assert!(latest(&left).values().all(|r| r.pair.1.as_deref() == Some("0019999")));
        assert_eq!(read_all(&shard, 2).await.len(), rare);
        assert!(most < 16 << 20, "{most} bytes at most");
        shard.close().await.unwrap();
        let used = used(&disk);
        let sizes: Vec<_> = disk.paths().into_iter().map(|p| (disk.content(&p).unwrap().len(), p)).collect();
        assert!(used < 2 << 20, "{used} bytes in {sizes:?}");
    });
}
