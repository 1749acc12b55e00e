//! The embedded engine on the real disk: order under concurrency, records after a close and a drop, tails, times, errors,
//! back-pressure.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use keylane_engine::record_batch::{HEADER_BYTES, build, patch};
use keylane_engine::records::recompress;
use keylane_engine::{
    Cleanup, Compression, Error, Keylane, OpenError, Options, Partition, PendingAppend, Record, StoredRecord,
    TimestampType, Topic, TopicOptions,
};

const TOPIC: &str = "events";
const PARTITIONS: u32 = 4;
/// A wait that takes longer than this counts as hanging.
const LONG: Duration = Duration::from_secs(30);

fn temp() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn small(threads: usize) -> Options {
    Options::new()
        .threads(threads)
        .shards(2)
        .queue_bytes(64 << 10)
        .segment_bytes(1 << 20)
        .chunk_bytes(64 << 10)
        .tail_cache_bytes(128 << 10)
        .uncommitted_bytes_max(128 << 10)
}

fn open(path: &Path, threads: usize) -> Keylane {
    Keylane::open(path, small(threads)).unwrap()
}

fn created(path: &Path) -> Keylane {
    let log = open(path, 2);
    log.create_topic(TOPIC, TopicOptions::new(PARTITIONS)).unwrap();
    log
}

fn topic(log: &Keylane) -> Topic {
    log.topic(TOPIC).unwrap()
}

fn part(log: &Keylane, number: u32) -> Partition {
    topic(log).partition(number).unwrap()
}

fn read_all(log: &Keylane, partition: u32) -> Vec<StoredRecord> {
    let mut all: Vec<StoredRecord> = Vec::new();
    loop {
        let part = part(log, partition).read(all.len() as u64, 40_000).unwrap();
        if part.is_empty() {
            return all;
        }
        for record in part {
            assert_eq!(record.offset, all.len() as u64, "offsets are dense");
            all.push(record);
        }
    }
}

fn numbered(key: &str, number: u32) -> Record {
    Record::new(key.to_owned(), number.to_string().into_bytes())
}

fn number(record: &StoredRecord) -> u32 {
    std::str::from_utf8(record.record.value.as_ref().unwrap()).unwrap().parse().unwrap()
}

/// Checks that the numbers of each key are 0, 1, 2, ...; returns how many each key has.
fn check_order(records: &[StoredRecord]) -> Result<HashMap<Bytes, u32>, String> {
    let mut next: HashMap<Bytes, u32> = HashMap::new();
    for record in records {
        let key = record.record.key.clone().unwrap();
        let expected = next.entry(key.clone()).or_default();
        if number(record) != *expected {
            return Err(format!("{key:?}: {} where {expected} was due", number(record)));
        }
        *expected += 1;
    }
    Ok(next)
}

/// Checks that every acked record is there, with its content.
fn check_acked(log: &Keylane, acked: &[(u32, u64, Record)]) -> Result<(), String> {
    let all: Vec<_> = (0..PARTITIONS).map(|p| read_all(log, p)).collect();
    for (partition, offset, record) in acked {
        let stored = all[*partition as usize].get(*offset as usize);
        if stored.map(|s| &s.record) != Some(record) {
            return Err(format!("{partition}/{offset}: {record:?} was acked, there is {stored:?}"));
        }
    }
    Ok(())
}

#[test]
fn concurrent_appenders_keep_the_order_of_each_key() {
    const THREADS: u32 = 3;
    const KEYS: u32 = 7;
    const EACH: u32 = 700;
    let dir = temp();
    let log = created(dir.path());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = &log;
            scope.spawn(move || {
                let mut pending = Vec::new();
                for number in 0..EACH {
                    for key in 0..KEYS {
                        let record = numbered(&format!("{thread}-{key}"), number);
                        pending.push((topic(log).submit(record.clone()).unwrap(), record));
                    }
                }
                for (append, record) in pending {
                    let partition = append.partition();
                    let offset = append.wait().unwrap();
                    if number_is_some_hundred(&record) {
                        // An acked record can be read at once.
                        assert_eq!(part(log, partition).read(offset, 1).unwrap()[0].record, record);
                    }
                }
            });
        }
    });
    let mut keys = 0;
    for partition in 0..PARTITIONS {
        let records = read_all(&log, partition);
        assert_eq!(part(&log, partition).offsets().unwrap().high_watermark, records.len() as u64);
        for (key, count) in check_order(&records).unwrap() {
            assert_eq!(count, EACH, "{key:?}");
            assert_eq!(topic(&log).partition_for_key(&key).number(), partition);
            keys += 1;
        }
        // Negative control: the checker can fail.
        let mut swapped = records.clone();
        let key = swapped[0].record.key.clone();
        let other = swapped.iter().skip(1).position(|r| r.record.key == key).unwrap() + 1;
        swapped.swap(0, other);
        assert!(check_order(&swapped).is_err());
        assert!(check_order(&records[1..]).is_err());
    }
    assert_eq!(keys, THREADS * KEYS);
    log.close().unwrap();
}

fn number_is_some_hundred(record: &Record) -> bool {
    record.value.as_ref().is_some_and(|v| v.ends_with(b"00"))
}

/// Segments without an index, which the next open scans.
fn unsealed(dir: &Path) -> usize {
    let shards = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir());
    let files = shards.flat_map(|s| std::fs::read_dir(s).unwrap().map(|e| e.unwrap().path()));
    files.filter(|f| f.extension().is_some_and(|e| e == "log") && !f.with_extension("idx").exists()).count()
}

#[test]
fn acked_records_are_there_after_a_close_and_after_a_drop() {
    let dir = temp();
    drop(created(dir.path()));
    let mut acked = Vec::new();
    for (round, threads) in [1, 2, 3, 1].into_iter().enumerate() {
        let log = open(dir.path(), threads);
        check_acked(&log, &acked).unwrap();
        let mut pending = Vec::new();
        for n in 0..400 {
            let record = Record::new(format!("key {n}"), vec![n as u8; 100 + n * 7])
                .with_header("round", round.to_string())
                .with_timestamp_ms(n as i64);
            pending.push((topic(&log).submit(record.clone()).unwrap(), record));
        }
        for (append, record) in pending {
            acked.push((append.partition(), append.wait().unwrap(), record));
        }
        if round % 2 == 0 {
            log.close().unwrap();
            log.close().unwrap();
            assert!(matches!(part(&log, 0).read(0, 1), Err(Error::Closed)));
            assert!(matches!(part(&log, 0).append(&[Record::new("k", "v")]), Err(Error::Closed)));
            assert!(matches!(log.create_topic("late", TopicOptions::new(1)), Err(Error::Closed)));
            assert_eq!(unsealed(dir.path()), 0, "a closed directory needs no scan");
        } else {
            drop(log);
            assert!(unsealed(dir.path()) > 0);
        }
    }
    let log = open(dir.path(), 2);
    check_acked(&log, &acked).unwrap();
    // Negative control: the checker can fail.
    let (partition, offset, mut record) = acked[17].clone();
    assert!(check_acked(&log, &[(partition, offset + 1, record.clone())]).is_err());
    assert!(check_acked(&log, &[(partition, 1 << 20, record.clone())]).is_err());
    record.headers.clear();
    assert!(check_acked(&log, &[(partition, offset, record)]).is_err());
}

#[test]
fn a_drop_with_appends_and_reads_under_way_neither_hangs_nor_loses_what_was_acked() {
    let dir = temp();
    drop(created(dir.path()));
    let (mut acked, mut interrupted) = (Vec::new(), 0);
    for round in 0..12 {
        let log = open(dir.path(), 2);
        check_acked(&log, &acked).unwrap();
        let mut pending = Vec::new();
        for n in 0..300 + 10 * round {
            let record = Record::new(format!("key {n}"), vec![round as u8; 1_000]);
            pending.push((topic(&log).submit(record.clone()).unwrap(), record));
        }
        let mut tail = part(&log, 0).tail(0);
        let reader = std::thread::spawn(move || while let Some(Ok(_)) = tail.next() {});
        std::thread::sleep(Duration::from_micros(300 * round));
        let begin = Instant::now();
        drop(log);
        for (append, record) in pending {
            let partition = append.partition();
            match append.wait() {
                Ok(offset) => acked.push((partition, offset, record)),
                Err(Error::Interrupted) => interrupted += 1,
                Err(e) => panic!("{e}"),
            }
        }
        reader.join().unwrap();
        assert!(begin.elapsed() < LONG);
    }
    assert!(interrupted > 0 && !acked.is_empty(), "{interrupted} interrupted, {} acked", acked.len());
    check_acked(&open(dir.path(), 1), &acked).unwrap();
}

#[test]
fn a_close_makes_durable_what_was_submitted_and_refuses_the_rest() {
    let dir = temp();
    let log = created(dir.path());
    let stop = AtomicBool::new(false);
    let acked: Vec<_> = std::thread::scope(|scope| {
        let submit_until_closed = |thread: u32| {
            let mut pending: Vec<(PendingAppend, Record)> = Vec::new();
            loop {
                let record = Record::new(format!("{thread} {}", pending.len()), vec![1; 500]);
                match topic(&log).submit(record.clone()) {
                    Ok(append) => pending.push((append, record)),
                    Err(Error::Closed) => break,
                    Err(e) => panic!("{e}"),
                }
                stop.store(pending.len() > 500, Ordering::Relaxed);
            }
            pending.into_iter().map(|(a, r)| (a.partition(), a.wait().unwrap(), r)).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..3).map(|t| scope.spawn(move || submit_until_closed(t))).collect();
        while !stop.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        log.close().unwrap();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    assert!(acked.len() > 500);
    drop(log);
    check_acked(&open(dir.path(), 2), &acked).unwrap();
}

#[test]
fn tails_see_durable_records_in_order_and_nothing_else() {
    let dir = temp();
    let log = created(dir.path());
    let mut seen = Vec::new();
    let mut tail = part(&log, 1).tail(0);
    assert!(tail.recv(Duration::from_millis(20)).unwrap().is_none());
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            while seen.len() < 2_000 {
                let record = tail.recv(LONG).unwrap().expect("records come");
                assert!(record.offset < part(&log, 1).offsets().unwrap().high_watermark);
                assert_eq!(tail.position(), record.offset + 1);
                seen.push(record);
            }
        });
        // More than is waited for: the last of them are under way when the engine is dropped.
        let mut pending = Vec::new();
        for n in 0..2_100 {
            pending.push(part(&log, 1).submit(&[numbered("key", n)]).unwrap());
        }
        follower.join().unwrap();
    });
    drop(log);
    assert!(matches!(tail.recv(LONG), Ok(Some(_)) | Err(Error::Closed)));
    assert!(tail.next().is_none() || tail.all(|r| r.is_ok()), "a tail ends when its engine is gone");
    check_order(&seen).unwrap();
    let log = open(dir.path(), 2);
    assert_eq!(read_all(&log, 1)[..seen.len()], seen);
}

#[test]
fn offsets_are_found_by_time() {
    let dir = temp();
    let log = created(dir.path());
    let times = [100, 300, 200, 400, 400, 900];
    let records: Vec<_> = times.iter().map(|t| Record::new("k", "v").with_timestamp_ms(*t)).collect();
    part(&log, 0).append(&records[..4]).unwrap();
    part(&log, 0).append(&records[4..]).unwrap();
    let found = |ms| part(&log, 0).offset_for_time(ms).unwrap();
    assert_eq!(
        [0, 100, 101, 300, 301, 401, 901].map(found),
        [Some(0), Some(0), Some(1), Some(1), Some(3), Some(5), None]
    );
    assert_eq!(part(&log, 1).offset_for_time(0).unwrap(), None);
}

#[test]
fn what_is_wrong_is_said() {
    let dir = temp();
    let log = created(dir.path());
    let one = [Record::new("k", "v")];
    assert!(matches!(log.topic("nowhere"), Err(Error::UnknownTopic(t)) if t == "nowhere"));
    assert!(matches!(log.delete_topic("nowhere"), Err(Error::UnknownTopic(_))));
    let partition = topic(&log).partition(4).unwrap_err();
    assert_eq!(partition.to_string(), r#"topic "events" has the partitions 0 to 3, not 4"#);
    assert!(matches!(topic(&log).partition(9), Err(Error::UnknownPartition { .. })));
    assert!(matches!(part(&log, 0).append(&[]), Err(Error::Empty)));
    assert!(matches!(topic(&log).append(Record::without_key("v")), Err(Error::NoKey)));
    let large = [Record::new("k", vec![0; 1 << 20])];
    assert!(matches!(part(&log, 0).append(&large), Err(Error::TooLarge { .. })));
    assert!(matches!(part(&log, 0).append_batch(b"no batch".as_slice()), Err(Error::Batch(_))));
    let beyond = part(&log, 0).read(1, 1).unwrap_err();
    assert!(matches!(beyond, Error::OffsetOutOfRange { offset: 1, start: 0, high_watermark: 0 }), "{beyond}");
    let mut tail = part(&log, 0).tail(7);
    assert!(matches!(tail.next(), Some(Err(Error::OffsetOutOfRange { .. }))));
    assert!(tail.next().is_none());
    assert!(matches!(log.create_topic("a/b", TopicOptions::new(1)), Err(Error::InvalidTopic { .. })));
    assert!(matches!(log.create_topic("a", TopicOptions::new(0)), Err(Error::InvalidTopic { .. })));
    assert!(matches!(log.create_topic(TOPIC, TopicOptions::new(1)), Err(Error::TopicExists(_))));
    // None of it was stored, and the log works.
    assert_eq!(part(&log, 0).append(&one).unwrap(), 0);
    part(&log, 1).append(&one).unwrap();
    let mut tail = part(&log, 1).tail(1);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || tail.recv(LONG));
        std::thread::sleep(Duration::from_millis(20));
        log.delete_topic(TOPIC).unwrap();
        assert!(matches!(waiting.join().unwrap(), Err(Error::Deleted)));
    });
    assert!(log.topics().is_empty());
    log.create_topic(TOPIC, TopicOptions::new(1)).unwrap();
    assert!(part(&log, 0).read(0, 1).unwrap().is_empty(), "a new topic does not inherit records");
    assert_eq!(log.topics()[0].partition_count(), 1);
}

#[test]
fn a_directory_that_cannot_be_opened_is_refused_with_the_reason() {
    let dir = temp();
    let log = created(dir.path());
    assert!(matches!(Keylane::open(dir.path(), small(1)), Err(Error::Open(OpenError::InUse(_)))));
    part(&log, 0).append(&[Record::new("k", "v")]).unwrap();
    drop(log);
    open(dir.path(), 1).close().unwrap();
    let none = small(0);
    assert!(matches!(Keylane::open(dir.path(), none), Err(Error::Open(OpenError::Options(_)))));
    let tiny = small(1).segment_bytes(4096);
    assert!(matches!(Keylane::open(dir.path(), tiny), Err(Error::Open(OpenError::Options(_)))));
    let file = dir.path().join("keylane.format");
    assert!(matches!(Keylane::open(&file, small(1)), Err(Error::Open(OpenError::Environment(_)))));
    let good = std::fs::read(&file).unwrap();
    std::fs::write(&file, &good[..100]).unwrap();
    assert!(matches!(Keylane::open(dir.path(), small(2)), Err(Error::Open(OpenError::Damaged { .. }))));
    std::fs::write(&file, &good).unwrap();
    // No failed attempt kept the lock.
    assert_eq!(read_all(&open(dir.path(), 2), 0).len(), 1);
    let foreign = temp();
    std::fs::write(foreign.path().join("letter.txt"), "hello").unwrap();
    assert!(matches!(Keylane::open(foreign.path(), small(1)), Err(Error::Open(OpenError::NotOurs(_)))));
}

#[test]
fn a_full_queue_says_so_or_lets_the_appender_wait() {
    let dir = temp();
    let log = created(dir.path());
    let record = [Record::new("k", vec![7; 10_000])];
    let (mut pending, mut busy) = (Vec::new(), 0);
    let begin = Instant::now();
    while busy < 100 {
        match part(&log, 0).try_submit(&record) {
            Ok(append) => pending.push(append),
            Err(Error::Busy) => busy += 1,
            Err(e) => panic!("{e}"),
        }
        assert!(begin.elapsed() < LONG, "the queue has no bound");
    }
    // Another shard has a queue of its own: partition 1 was placed there.
    part(&log, 1).append(&[Record::new("k", "v")]).unwrap();
    for _ in 0..500 {
        pending.push(part(&log, 0).submit(&record).unwrap());
    }
    let count = pending.len() as u64;
    for (offset, append) in pending.into_iter().enumerate() {
        assert_eq!(append.wait().unwrap(), offset as u64);
    }
    assert_eq!(part(&log, 0).offsets().unwrap().high_watermark, count);
    // A batch that is larger than the whole queue gets through as well.
    part(&log, 0).append(&[Record::new("k", vec![7; 100_000])]).unwrap();
}

#[test]
fn batches_of_other_encoders_are_stored_as_they_are() {
    let dir = temp();
    let log = created(dir.path());
    let mut plain = build(&[(b"a", b"1"), (b"b", b"2")], 5);
    assert_eq!(part(&log, 0).append_batch(plain.clone()).unwrap(), 0);
    let one = build(&[(b"a", b"1")], 5);
    let mut zstd = recompress(&one, Compression::Zstd { level: 3 }).unwrap().expect("another codec");
    assert_eq!(part(&log, 0).submit_batch(zstd.clone()).unwrap().wait().unwrap(), 2);
    patch(&mut plain, 0, 0);
    patch(&mut zstd, 2, 0);
    let batches = part(&log, 0).read_batches(0, 1 << 20).unwrap();
    assert_eq!(batches.slices.concat(), [plain.clone(), zstd].concat());
    assert_eq!(batches.next_offset, 3);
    let middle = part(&log, 0).read(1, 1).unwrap();
    assert_eq!((middle.len(), middle[0].offset), (1, 1), "a batch is entered in its middle");
    let uncompressed = part(&log, 0).read(2, 1).unwrap();
    assert_eq!((uncompressed.len(), uncompressed[0].offset), (1, 2));
    assert_eq!(uncompressed[0].record.value.as_deref(), Some(b"1".as_slice()));
    assert!(plain.len() > HEADER_BYTES);
}

#[test]
fn an_async_runtime_can_use_it() {
    let dir = temp();
    let log = created(dir.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut pending = Vec::new();
        for n in 0..500 {
            let record = Record::new("k", vec![n as u8; 1_000]);
            pending.push(part(&log, 2).submit_async(&[record]).await.unwrap());
        }
        for (offset, append) in pending.into_iter().enumerate() {
            assert_eq!(append.await.unwrap(), offset as u64);
        }
        assert_eq!(part(&log, 2).read_async(499, 1).await.unwrap()[0].offset, 499);
        let mut tail = part(&log, 2).tail(499);
        assert!(tail.recv_async(LONG).await.unwrap().is_some());
        assert!(tail.recv_async(Duration::from_millis(5)).await.unwrap().is_none());
        // Blocking calls block the runtime's thread, but work.
        part(&log, 2).append(&[Record::new("k", "v")]).unwrap();
        log.close().unwrap();
    });
}

#[test]
fn the_handle_can_be_shared_between_threads() {
    fn check<T: Send + Sync>() {}
    fn check_future<T: Send + 'static>(_: &T) {}
    check::<Keylane>();
    check::<Topic>();
    check::<Partition>();
    check::<PendingAppend>();
    check::<Error>();
    let dir = temp();
    let log = std::sync::Arc::new(created(dir.path()));
    let partition = part(&log, 0);
    check_future(&async move { partition.submit_async(&[Record::new("k", "v")]).await });
    let keyed = topic(&log);
    check_future(&async move { keyed.submit_async(Record::new("k", "v")).await });
}

/// Records with these values, without keys, and with the time 1000 ms after 1970.
fn old(values: &[&str]) -> Vec<Record> {
    values.iter().map(|v| Record::without_key((*v).to_owned()).with_timestamp_ms(1_000)).collect()
}

#[test]
fn trimmed_records_stay_away() {
    let dir = temp();
    let log = created(dir.path());
    let partition = part(&log, 3);
    partition.append(&old(&["a", "b"])).unwrap();
    partition.append(&old(&["c", "d"])).unwrap();
    assert_eq!(partition.trim(0).unwrap(), 0);
    assert_eq!(partition.trim(1).unwrap(), 1);
    assert_eq!(partition.trim(3).unwrap(), 3);
    assert_eq!(partition.trim(2).unwrap(), 3, "the first offset never goes back");
    let beyond = partition.trim(5).unwrap_err();
    assert!(matches!(beyond, Error::TrimOutOfRange { offset: 5, high_watermark: 4 }), "{beyond}");
    let gone = partition.read(2, 1).unwrap_err();
    assert!(matches!(gone, Error::OffsetOutOfRange { start: 3, .. }), "{gone}");
    // Not closed: what was acked is durable.
    drop(log);
    let log = open(dir.path(), 1);
    assert_eq!(part(&log, 3).offsets().unwrap().start, 3);
    assert_eq!(part(&log, 3).read(3, 1 << 20).unwrap().len(), 1);
    assert!(matches!(partition.trim(4), Err(Error::Closed)), "a handle does not outlive its engine");
}

/// Waits until this is true.
fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_true() {
        assert!(begin.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn retention_deletes_by_age_and_by_size_and_keeps_the_rest() {
    let dir = temp();
    let log = open(dir.path(), 2);
    let one = |name: &str, options| log.create_topic(name, options).unwrap().partition(0).unwrap();
    let aged = one("aged", TopicOptions::new(1).retention(Duration::from_secs(3600)));
    let sized = one("sized", TopicOptions::new(1).retention_bytes(1_000));
    let kept = one("kept", TopicOptions::new(1).keep_forever());
    let plain = one("plain", TopicOptions::new(1));
    for partition in [&aged, &sized, &kept, &plain] {
        partition.append(&old(&["a"])).unwrap();
        partition.append(&[Record::without_key(vec![7; 900])]).unwrap();
    }
    sized.append(&[Record::without_key(vec![7; 900])]).unwrap();
    let start = |partition: &Partition| partition.offsets().unwrap().start;
    until("the old record goes", || start(&aged) == 1);
    until("what is too much goes", || start(&sized) == 2);
    assert_eq!([&aged, &sized].map(|p| p.offsets().unwrap().high_watermark), [2, 3]);
    assert_eq!([start(&kept), start(&plain)], [0, 0]);
}

#[test]
fn compaction_keeps_the_last_record_of_each_key_and_wants_keys() {
    let dir = temp();
    let log = open(dir.path(), 1);
    let options = TopicOptions::new(1).cleanup(Cleanup::Compact).segment_age(Duration::from_millis(1));
    let topic = log.create_topic("accounts", options).unwrap();
    let partition = topic.partition(0).unwrap();
    assert!(matches!(partition.append(&old(&["no key"])), Err(Error::Batch(_))));
    for n in 0..50 {
        topic.append(Record::new("a", n.to_string()).with_timestamp_ms(1_000)).unwrap();
    }
    topic.append(Record::new("b", "last").with_timestamp_ms(1_000)).unwrap();
    // A pass leaves the last records alone until their segment is closed.
    let offsets = || partition.read(0, 1 << 20).unwrap().iter().map(|r| r.offset).collect::<Vec<_>>();
    until("all but the last record of a key go", || offsets() == [49, 50]);
    assert!(log.counters().unwrap().compacted > 0);
}

#[test]
fn settings_of_a_topic_shape_what_is_stored_and_outlive_the_engine() {
    let dir = temp();
    let options = TopicOptions::new(1)
        .timestamps(TimestampType::LogAppendTime)
        .compression(Compression::Zstd { level: 1 })
        .retention(Duration::from_secs(3600));
    let log = open(dir.path(), 1);
    log.create_topic("set", options.clone()).unwrap();
    log.close().unwrap();
    let log = open(dir.path(), 1);
    let topic = log.topic("set").unwrap();
    assert_eq!(topic.options(), options);
    let partition = topic.partition(0).unwrap();
    let value = vec![7; 50_000];
    partition.append(&[Record::without_key(value.clone()).with_timestamp_ms(1_000)]).unwrap();
    let stored = partition.read_batches(0, 1 << 20).unwrap();
    assert!(stored.bytes < 5_000, "{} bytes were stored", stored.bytes);
    let read = partition.read(0, 1 << 20).unwrap();
    assert_eq!(read[0].record.value.as_deref(), Some(value.as_slice()));
    assert!(read[0].record.timestamp_ms > 1_000_000, "the time of the append");
    let wrong = TopicOptions::new(1).compression(Compression::Gzip { level: 77 });
    assert!(matches!(log.create_topic("wrong", wrong), Err(Error::InvalidTopic { .. })));
}

#[test]
fn a_stream_sees_what_a_tail_sees_and_ends_with_the_engine() {
    let dir = temp();
    let log = created(dir.path());
    let partition = part(&log, 0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        partition.submit_async(&old(&["a", "b"])).await.unwrap().await.unwrap();
        let mut tail = partition.tail(0);
        assert_eq!(tail.recv_async(LONG).await.unwrap().unwrap().offset, 0);
        let mut stream = tail.into_stream();
        assert_eq!(stream.next().await.unwrap().unwrap().offset, 1);
        // A poll that is given up loses nothing.
        assert!(tokio::time::timeout(Duration::from_millis(20), stream.next()).await.is_err());
        assert_eq!(stream.position(), 2);
        let third = old(&["c"]);
        let (appended, seen) = tokio::join!(partition.submit_async(&third), stream.next());
        assert_eq!(appended.unwrap().await.unwrap(), 2);
        assert_eq!(seen.unwrap().unwrap().offset, 2);
        let mut beyond = partition.tail(9).into_stream();
        assert!(matches!(beyond.next().await, Some(Err(Error::OffsetOutOfRange { .. }))));
        assert!(beyond.next().await.is_none());
        log.close().unwrap();
        assert!(stream.next().await.is_none());
    });
}

#[test]
fn counters_count() {
    let dir = temp();
    let log = created(dir.path());
    let before = log.counters().unwrap();
    for partition in topic(&log).partitions() {
        partition.append(&old(&["a", "b"])).unwrap();
    }
    let after = log.counters().unwrap();
    assert_eq!((before.batches, after.batches), (0, u64::from(PARTITIONS)));
    assert!(after.commits > 0 && after.commit_bytes > 0);
    log.close().unwrap();
    assert!(matches!(log.counters(), Err(Error::Closed)));
}
