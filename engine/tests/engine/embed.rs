//! The embedded engine on the real disk: order under concurrency, records after a close and a drop, tails, times, errors,
//! back-pressure.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use keylane_engine::record_batch::{HEADER_BYTES, build, patch};
use keylane_engine::records::{Compression, recompress};
use keylane_engine::shard::ShardOptions;
use keylane_engine::{
    EmbedError, Keylane, OpenError, Options, PendingAppend, ReadError, Record, StoredRecord,
};

const TOPIC: &str = "events";
const PARTITIONS: u32 = 4;
/// A wait that takes longer than this counts as hanging.
const LONG: Duration = Duration::from_secs(30);

fn temp() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn small(threads: usize) -> Options {
    let shard = ShardOptions {
        segment_bytes: 1 << 20,
        chunk_bytes: 64 << 10,
        tail_cache_bytes: 128 << 10,
        uncommitted_bytes_max: 128 << 10,
        ..ShardOptions::default()
    };
    Options { threads, shards: 2, queue_bytes: 64 << 10, shard, ..Options::default() }
}

fn open(path: &Path, threads: usize) -> Keylane {
    Keylane::open(path, small(threads)).unwrap()
}

fn created(path: &Path) -> Keylane {
    let log = open(path, 2);
    log.create_topic(TOPIC, PARTITIONS).unwrap();
    log
}

fn read_all(log: &Keylane, partition: u32) -> Vec<StoredRecord> {
    let mut all: Vec<StoredRecord> = Vec::new();
    loop {
        let part = log.read(TOPIC, partition, all.len() as u64, 40_000).unwrap();
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
                        pending.push((log.submit_keyed(TOPIC, record.clone()).unwrap(), record));
                    }
                }
                for (append, record) in pending {
                    let partition = append.partition();
                    let offset = append.wait().unwrap();
                    if number_is_some_hundred(&record) {
                        // An acked record can be read at once.
                        assert_eq!(log.read(TOPIC, partition, offset, 1).unwrap()[0].record, record);
                    }
                }
            });
        }
    });
    let mut keys = 0;
    for partition in 0..PARTITIONS {
        let records = read_all(&log, partition);
        assert_eq!(log.offsets(TOPIC, partition).unwrap().high_watermark, records.len() as u64);
        for (key, count) in check_order(&records).unwrap() {
            assert_eq!(count, EACH, "{key:?}");
            assert_eq!(log.partition_for_key(TOPIC, &key).unwrap(), partition);
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
            pending.push((log.submit_keyed(TOPIC, record.clone()).unwrap(), record));
        }
        for (append, record) in pending {
            acked.push((append.partition(), append.wait().unwrap(), record));
        }
        if round % 2 == 0 {
            log.close().unwrap();
            log.close().unwrap();
            assert!(matches!(log.read(TOPIC, 0, 0, 1), Err(EmbedError::Closed)));
            assert!(matches!(log.append(TOPIC, 0, &[Record::new("k", "v")]), Err(EmbedError::Closed)));
            assert!(matches!(log.create_topic("late", 1), Err(EmbedError::Closed)));
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
            pending.push((log.submit_keyed(TOPIC, record.clone()).unwrap(), record));
        }
        let mut tail = log.tail(TOPIC, 0, 0).unwrap();
        let reader = std::thread::spawn(move || while let Some(Ok(_)) = tail.next() {});
        std::thread::sleep(Duration::from_micros(300 * round));
        let begin = Instant::now();
        drop(log);
        for (append, record) in pending {
            let partition = append.partition();
            match append.wait() {
                Ok(offset) => acked.push((partition, offset, record)),
                Err(EmbedError::Interrupted) => interrupted += 1,
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
                match log.submit_keyed(TOPIC, record.clone()) {
                    Ok(append) => pending.push((append, record)),
                    Err(EmbedError::Closed) => break,
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
    let mut tail = log.tail(TOPIC, 1, 0).unwrap();
    assert!(tail.recv(Duration::from_millis(20)).unwrap().is_none());
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            while seen.len() < 2_000 {
                let record = tail.recv(LONG).unwrap().expect("records come");
                assert!(record.offset < log.offsets(TOPIC, 1).unwrap().high_watermark);
                assert_eq!(tail.position(), record.offset + 1);
                seen.push(record);
            }
        });
        // More than is waited for: the last of them are under way when the engine is dropped.
        let mut pending = Vec::new();
        for n in 0..2_100 {
            pending.push(log.submit(TOPIC, 1, &[numbered("key", n)]).unwrap());
        }
        follower.join().unwrap();
    });
    drop(log);
    assert!(matches!(tail.recv(LONG), Ok(Some(_)) | Err(EmbedError::Closed)));
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
    log.append(TOPIC, 0, &records[..4]).unwrap();
    log.append(TOPIC, 0, &records[4..]).unwrap();
    let found = |ms| log.offset_for_time(TOPIC, 0, ms).unwrap();
    assert_eq!(
        [0, 100, 101, 300, 301, 401, 901].map(found),
        [Some(0), Some(0), Some(1), Some(1), Some(3), Some(5), None]
    );
    assert_eq!(log.offset_for_time(TOPIC, 1, 0).unwrap(), None);
}

#[test]
fn what_is_wrong_is_said() {
    let dir = temp();
    let log = created(dir.path());
    let one = [Record::new("k", "v")];
    assert!(matches!(log.append("nowhere", 0, &one), Err(EmbedError::UnknownTopic(t)) if t == "nowhere"));
    assert!(matches!(log.read("nowhere", 0, 0, 1), Err(EmbedError::UnknownTopic(_))));
    assert!(matches!(log.delete_topic("nowhere"), Err(EmbedError::UnknownTopic(_))));
    assert!(matches!(log.partition_for_key("nowhere", b"k"), Err(EmbedError::UnknownTopic(_))));
    let partition = log.append(TOPIC, 4, &one).unwrap_err();
    assert_eq!(partition.to_string(), r#"topic "events" has the partitions 0 to 3, not 4"#);
    assert!(matches!(log.tail(TOPIC, 9, 0), Err(EmbedError::UnknownPartition { .. })));
    assert!(matches!(log.append(TOPIC, 0, &[]), Err(EmbedError::Empty)));
    assert!(matches!(log.append_keyed(TOPIC, Record::without_key("v")), Err(EmbedError::NoKey)));
    let large = [Record::new("k", vec![0; 1 << 20])];
    assert!(matches!(log.append(TOPIC, 0, &large), Err(EmbedError::TooLarge { .. })));
    assert!(matches!(log.append_batch(TOPIC, 0, b"no batch".as_slice()), Err(EmbedError::Batch(_))));
    let beyond = log.read(TOPIC, 0, 1, 1).unwrap_err();
    assert!(matches!(beyond, EmbedError::Read(ReadError::OutOfRange { offset: 1, .. })), "{beyond}");
    let mut tail = log.tail(TOPIC, 0, 7).unwrap();
    assert!(matches!(tail.next(), Some(Err(EmbedError::Read(ReadError::OutOfRange { .. })))));
    assert!(tail.next().is_none());
    assert!(matches!(log.create_topic("a/b", 1), Err(EmbedError::InvalidTopic { .. })));
    assert!(matches!(log.create_topic("a", 0), Err(EmbedError::InvalidTopic { .. })));
    assert!(matches!(log.create_topic(TOPIC, 1), Err(EmbedError::Catalog(_))));
    // None of it was stored, and the log works.
    assert_eq!(log.append(TOPIC, 0, &one).unwrap(), 0);
    log.append(TOPIC, 1, &one).unwrap();
    let mut tail = log.tail(TOPIC, 1, 1).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || tail.recv(LONG));
        std::thread::sleep(Duration::from_millis(20));
        log.delete_topic(TOPIC).unwrap();
        assert!(matches!(waiting.join().unwrap(), Err(EmbedError::Deleted)));
    });
    assert!(log.topics().is_empty());
    log.create_topic(TOPIC, 1).unwrap();
    assert!(log.read(TOPIC, 0, 0, 1).unwrap().is_empty(), "a new topic does not inherit records");
    assert_eq!(log.topics()[0].partitions, 1);
}

#[test]
fn a_directory_that_cannot_be_opened_is_refused_with_the_reason() {
    let dir = temp();
    let log = created(dir.path());
    assert!(matches!(Keylane::open(dir.path(), small(1)), Err(OpenError::InUse(_))));
    log.append(TOPIC, 0, &[Record::new("k", "v")]).unwrap();
    drop(log);
    open(dir.path(), 1).close().unwrap();
    let none = Options { threads: 0, ..small(1) };
    assert!(matches!(Keylane::open(dir.path(), none), Err(OpenError::Options(_))));
    let mut tiny = small(1);
    tiny.shard.segment_bytes = 4096;
    assert!(matches!(Keylane::open(dir.path(), tiny), Err(OpenError::Options(_))));
    let file = dir.path().join("keylane.format");
    assert!(matches!(Keylane::open(&file, small(1)), Err(OpenError::Environment(_))));
    let good = std::fs::read(&file).unwrap();
    std::fs::write(&file, &good[..100]).unwrap();
    assert!(matches!(Keylane::open(dir.path(), small(2)), Err(OpenError::Damaged { .. })));
    std::fs::write(&file, &good).unwrap();
    // No failed attempt kept the lock.
    assert_eq!(read_all(&open(dir.path(), 2), 0).len(), 1);
    let foreign = temp();
    std::fs::write(foreign.path().join("letter.txt"), "hello").unwrap();
    assert!(matches!(Keylane::open(foreign.path(), small(1)), Err(OpenError::NotOurs(_))));
}

#[test]
fn a_full_queue_says_so_or_lets_the_appender_wait() {
    let dir = temp();
    let log = created(dir.path());
    let record = [Record::new("k", vec![7; 10_000])];
    let (mut pending, mut busy) = (Vec::new(), 0);
    let begin = Instant::now();
    while busy < 100 {
        match log.try_submit(TOPIC, 0, &record) {
            Ok(append) => pending.push(append),
            Err(EmbedError::Busy) => busy += 1,
            Err(e) => panic!("{e}"),
        }
        assert!(begin.elapsed() < LONG, "the queue has no bound");
    }
    // Another shard has a queue of its own: partition 1 was placed there.
    log.append(TOPIC, 1, &[Record::new("k", "v")]).unwrap();
    for _ in 0..500 {
        pending.push(log.submit(TOPIC, 0, &record).unwrap());
    }
    let count = pending.len() as u64;
    for (offset, append) in pending.into_iter().enumerate() {
        assert_eq!(append.wait().unwrap(), offset as u64);
    }
    assert_eq!(log.offsets(TOPIC, 0).unwrap().high_watermark, count);
    // A batch that is larger than the whole queue gets through as well.
    log.append(TOPIC, 0, &[Record::new("k", vec![7; 100_000])]).unwrap();
}

#[test]
fn batches_of_other_encoders_are_stored_as_they_are() {
    let dir = temp();
    let log = created(dir.path());
    let mut plain = build(&[(b"a", b"1"), (b"b", b"2")], 5);
    assert_eq!(log.append_batch(TOPIC, 0, plain.clone()).unwrap(), 0);
    let one = build(&[(b"a", b"1")], 5);
    let mut zstd = recompress(&one, Compression::Zstd { level: 3 }).unwrap().expect("another codec");
    assert_eq!(log.submit_batch(TOPIC, 0, zstd.clone()).unwrap().wait().unwrap(), 2);
    patch(&mut plain, 0, 0);
    patch(&mut zstd, 2, 0);
    let batches = log.read_batches(TOPIC, 0, 0, 1 << 20).unwrap();
    assert_eq!(batches.slices.concat(), [plain.clone(), zstd].concat());
    assert_eq!(batches.next_offset, 3);
    let middle = log.read(TOPIC, 0, 1, 1).unwrap();
    assert_eq!((middle.len(), middle[0].offset), (1, 1), "a batch is entered in its middle");
    let compressed = log.read(TOPIC, 0, 2, 1).unwrap_err();
    assert!(matches!(compressed, EmbedError::Compressed { offset: 2, codec: "zstd" }), "{compressed}");
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
            pending.push(log.submit_async(TOPIC, 2, &[record]).await.unwrap());
        }
        for (offset, append) in pending.into_iter().enumerate() {
            assert_eq!(append.await.unwrap(), offset as u64);
        }
        assert_eq!(log.read_async(TOPIC, 2, 499, 1).await.unwrap()[0].offset, 499);
        let mut tail = log.tail(TOPIC, 2, 499).unwrap();
        assert!(tail.recv_async(LONG).await.unwrap().is_some());
        assert!(tail.recv_async(Duration::from_millis(5)).await.unwrap().is_none());
        // Blocking calls block the runtime's thread, but work.
        log.append(TOPIC, 2, &[Record::new("k", "v")]).unwrap();
        log.close().unwrap();
    });
}

#[test]
fn the_handle_can_be_shared_between_threads() {
    fn check<T: Send + Sync>() {}
    fn check_future<T: Send + 'static>(_: &T) {}
    check::<Keylane>();
    check::<PendingAppend>();
    check::<EmbedError>();
    let dir = temp();
    let log = std::sync::Arc::new(created(dir.path()));
    let shared = std::sync::Arc::clone(&log);
    check_future(&async move { shared.submit_async(TOPIC, 0, &[Record::new("k", "v")]).await });
}
