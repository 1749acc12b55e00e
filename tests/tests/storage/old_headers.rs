//! Headers that lie, in a directory of format version 3.
//!
//! The story: until version 4 a batch was stored with the maximum timestamp that its producer put into the header, and
//! everything that asks for time believed it. With 0 in it, fresh records were deleted within seconds; with -1 or a
//! time in the far future, old ones never; with one that was too small, lookup by time went past records.
//!
//! `v3-lying.tar.gz` was written by the engine of version 3, which was then stopped without closing: two commit
//! segments (one of them not sealed) and sorted ones, 120 batches of two records for each of the first three logs. All
//! codecs take turns, and some batches have attribute bit 3 (time of the append) set by the client.
//!
//! | log | its records | its headers |
//! |---|---|---|
//! | 0 | `TIME` and after | 0, -1, 1000, 30 days before |
//! | 1 | 30 days before `TIME` | far in the future, or -1 |
//! | 2 | `TIME`, rising by 10 ms a batch | true in every tenth, otherwise -1 or a day before |
//! | 3 | cannot be uncompressed; base timestamps 30 days before `TIME` | -1 |

use std::sync::Arc;
use std::time::Duration;

use keylane_engine::check::{Severity, check};
use keylane_engine::{LogConfig, LogId};
use keylane_sim_disk::{CrashStyle, SimDisk};
use keylane_tests::crash::check::split;
use keylane_tests::crash::engine::Engine;
use keylane_tests::fixture::unpack;
use keylane_tests::held::{Stamp, inside, runtime, small};

const TIME: i64 = 1_700_000_000_000;
const DAY: i64 = 86_400_000;
const BATCHES: u64 = 120;

/// What headers say of the largest timestamp, by batch.
async fn stated(engine: &Engine, log: u32) -> Vec<i64> {
    let (shard, at) = engine.find(LogId(log)).expect("a log");
    let (mut next, mut times) = (0, Vec::new());
    while next < shard.offsets(at).expect("offsets").high_watermark {
        let answer = shard.read(at, next, 1 << 16).await.expect("read");
        let batches = split(&answer).expect("batches");
        times.extend(batches.iter().map(|batch| Stamp::of(batch).expect("a header").time));
        next = answer.next_offset;
    }
    times
}

async fn faults(disk: &SimDisk) -> Vec<String> {
    let report = check(disk, &mut |_, _| {}).await;
    let bad = report.findings.iter().filter(|f| f.severity != Severity::Harmless);
    bad.map(|f| format!("{f:?}")).collect()
}

fn keep(engine: &Engine, log: u32, config: LogConfig) {
    let (shard, at) = engine.find(LogId(log)).expect("a log");
    shard.configure(at, Arc::new(config));
}

fn start_of(engine: &Engine, log: u32) -> u64 {
    let (shard, at) = engine.find(LogId(log)).expect("a log");
    shard.offsets(at).expect("offsets").start
}

#[test]
fn nothing_young_is_deleted_and_nothing_old_is_kept_because_a_header_lies() {
    inside(&runtime(), async {
        let disk = unpack("v3-lying").await;
        let engine = Engine::open(&disk, 1, &small()).await.expect("opens");
        // The headers do lie, and are served as they were stored.
        let young = stated(&engine, 0).await;
        assert!(young.len() as u64 == BATCHES && young.iter().all(|time| *time <= TIME - 30 * DAY));
        assert!(stated(&engine, 1).await.iter().all(|time| *time == -1 || *time > TIME));
        for log in [0, 1, 3] {
            let retention_ms = Some(7 * DAY as u64);
            keep(&engine, log, LogConfig { retention_ms, ..LogConfig::default() });
        }
        let mut turns = 0;
        while (start_of(&engine, 1), start_of(&engine, 3)) != (2 * BATCHES, BATCHES / 5) {
            turns += 1;
            assert!(turns < 200, "logs begin at {} and {}", start_of(&engine, 1), start_of(&engine, 3));
            engine.shards[0].tend(TIME + 60_000);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(start_of(&engine, 0), 0);
        // Negative control: when they are old, they go.
        while start_of(&engine, 0) != 2 * BATCHES {
            turns += 1;
            assert!(turns < 400, "the log begins at {}", start_of(&engine, 0));
            engine.shards[0].tend(TIME + 8 * DAY);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn lookup_by_time_finds_the_first_record_at_or_after_it() {
    inside(&runtime(), async {
        let disk = unpack("v3-lying").await;
        let engine = Engine::open(&disk, 1, &small()).await.expect("opens");
        let honest = stated(&engine, 2).await;
        let misled = (0..BATCHES as i64).filter(|n| honest[*n as usize] < TIME + n * 10).count();
        assert_eq!(misled, 108, "headers would lead past these");
        let (shard, at) = engine.find(LogId(2)).expect("a log");
        for number in 0..BATCHES {
            let time = TIME + number as i64 * 10;
            let found = shard.find_by_time(at, time - 3, 0).await.expect("found");
            assert_eq!(found.map(|(offset, _)| offset), Some(2 * number));
        }
        assert!(shard.find_by_time(at, TIME + 1191, 0).await.expect("looked up").is_none());
        let latest = shard.find_latest_time(at, 0).await.expect("found");
        assert_eq!(latest.map(|(offset, _)| offset), Some(2 * (BATCHES - 1)));
    });
}

/// An index can be derived from its segment: before the directory is raised, after that, and once segments of both
/// versions lie side by side.
#[test]
fn the_check_derives_the_same_times() {
    inside(&runtime(), async {
        let disk = unpack("v3-lying").await;
        assert_eq!(faults(&disk).await, Vec::<String>::new());
        let engine = Engine::open(&disk, 1, &small()).await.expect("opens");
        let (shard, at) = engine.find(LogId(2)).expect("a log");
        let batch = keylane_engine::record_batch::build(&[(b"key", b"new")], TIME + 5_000);
        let appended = shard.check_and_append(at, &batch).expect("appended");
        shard.committed(appended.seq).await;
        engine.shards[0].close().await.expect("closes");
        drop(engine);
        let after = disk.crash_image(1, CrashStyle::AllDropped);
        assert_eq!(faults(&after).await, Vec::<String>::new());
        // Negative control: an index that lacks a bit is found.
        let index = after.paths().into_iter().find(|path| path.ends_with(".idx")).expect("an index");
        after.flip_bit(&index, 4096 + 45, 3).expect("a file");
        assert_ne!(faults(&after).await, Vec::<String>::new());
    });
}
