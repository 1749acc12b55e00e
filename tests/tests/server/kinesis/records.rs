//! Records are put and read: by each type of iterator, over two cores, in order, each once.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keylane_tests::e2e::kinesis::{place, text};
use serde_json::{Value, json};

use super::Bench;

const SHARD: &str = "shardId-000000000000";
const MAX_HASH: &str = "340282366920938463463374607431768211455";

fn now_s() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970").as_secs_f64()
}

#[test]
fn every_iterator_begins_where_it_says() {
    let bench = Bench::start();
    let mut client = bench.client();
    client.create("s", 1).unwrap();
    let latest = client.iterator("s", SHARD, "LATEST", &Value::Null).unwrap();
    let mut numbers = Vec::new();
    for n in 0..5u8 {
        let (shard, number) = client.put("s", "key", &[n]).unwrap();
        assert_eq!(shard, SHARD);
        numbers.push(number);
    }
    assert!(numbers.is_sorted() && numbers.iter().all(|n| n.len() == 56), "{numbers:?}");
    let told = client.iterator("s", SHARD, "TRIM_HORIZON", &Value::Null).unwrap();
    let (_, answer) = client.records(&told, 10).unwrap();
    let times: Vec<f64> =
        (0..5).map(|n| answer["Records"][n]["ApproximateArrivalTimestamp"].as_f64().unwrap()).collect();
    let first_of = |time: f64| times.iter().position(|t| *t >= time).unwrap();
    let cases = [
        ("TRIM_HORIZON", Value::Null, 0),
        ("AT_SEQUENCE_NUMBER", json!({"StartingSequenceNumber": numbers[2]}), 2),
        ("AFTER_SEQUENCE_NUMBER", json!({"StartingSequenceNumber": numbers[2]}), 3),
        // A record's own time includes it.
        ("AT_TIMESTAMP", json!({"Timestamp": times[3]}), first_of(times[3])),
        ("AT_TIMESTAMP", json!({"Timestamp": 0}), 0),
        ("AT_TIMESTAMP", json!({"Timestamp": now_s()}), 5),
        ("LATEST", Value::Null, 5),
    ];
    for (kind, more, first) in cases {
        let iterator = client.iterator("s", SHARD, kind, &more).unwrap();
        assert_ne!(iterator, client.iterator("s", SHARD, kind, &more).unwrap(), "a token is new each time");
        let (records, _) = client.records(&iterator, 10).unwrap();
        let data: Vec<u8> = records.iter().map(|r| r.data[0]).collect();
        assert_eq!(data, (first as u8..5).collect::<Vec<_>>(), "{kind} {more}");
        assert!(records.iter().map(|r| &r.sequence).eq(&numbers[first..]), "{kind} {more}");
    }
    // What was put after a LATEST iterator was made comes once; going on never goes back.
    let (records, answer) = client.records(&latest, 3).unwrap();
    assert_eq!(records.len(), 3);
    let (records, answer) = client.records(&text(&answer["NextShardIterator"]).unwrap(), 3).unwrap();
    assert_eq!(records.len(), 2);
    let (records, _) = client.records(&text(&answer["NextShardIterator"]).unwrap(), 3).unwrap();
    assert_eq!(records.len(), 0);
    bench.finish();
}

#[test]
fn behind_latest_is_the_age_of_what_is_left() {
    let bench = Bench::start();
    let mut client = bench.client();
    client.create("s", 1).unwrap();
    client.put("s", "key", b"old").unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    client.put("s", "key", b"new").unwrap();
    let iterator = client.iterator("s", SHARD, "TRIM_HORIZON", &Value::Null).unwrap();
    let (_, answer) = client.records(&iterator, 1).unwrap();
    assert!(answer["MillisBehindLatest"].as_i64().unwrap() >= 1000, "{answer}");
    let (_, answer) = client.records(&text(&answer["NextShardIterator"]).unwrap(), 1).unwrap();
    assert_eq!(answer["MillisBehindLatest"], 0);
    bench.finish();
}

#[test]
fn records_go_to_the_shard_of_their_hash() {
    let bench = Bench::start();
    let mut client = bench.client();
    client.create("s", 3).unwrap();
    // By their MD5: floor(2^128 / 3) is the first hash of shard 1.
    for (key, shard) in [("alice", 1), ("bob", 1), ("charlie", 2)] {
        assert_eq!(client.put("s", key, b"x").unwrap().0, format!("shardId-{shard:012}"), "{key}");
    }
    let entry = |hash: &str| json!({"Data": "eA==", "PartitionKey": "k", "ExplicitHashKey": hash});
    let hashes =
        ["0", MAX_HASH, "113427455640312821154458202477256070485", "113427455640312821154458202477256070484"];
    let records: Vec<Value> = hashes.iter().map(|hash| entry(hash)).collect();
    let put = client.call("PutRecords", &json!({"StreamName": "s", "Records": records})).unwrap();
    assert_eq!(put["FailedRecordCount"], 0);
    let shards: Vec<_> = (0..4).map(|n| place(&put["Records"][n]).unwrap().0).collect();
    assert_eq!(shards, [0, 2, 1, 0].map(|n| format!("shardId-{n:012}")));
    bench.finish();
}

#[test]
fn many_records_of_many_sizes_come_back_as_they_were() {
    let bench = Bench::start();
    let mut client = bench.client();
    client.create("s", 4).unwrap();
    let emoji = "\u{1f600}".repeat(256);
    let mut sent: Vec<(String, Vec<u8>)> = vec![(emoji, Vec::new()), ("k".repeat(256), vec![0xff; 100_000])];
    // A record of exactly the limit with its key.
    sent.push(("limit".to_owned(), vec![7; (1 << 20) - 5]));
    sent.extend((0..400u32).map(|n| (format!("key-{}", n % 37), n.to_be_bytes().repeat(n as usize % 50))));
    let entry = |(key, data): &(String, Vec<u8>)| json!({"Data": STANDARD.encode(data), "PartitionKey": key});
    let records: Vec<Value> = sent.iter().map(entry).collect();
    let put = client.call("PutRecords", &json!({"StreamName": "s", "Records": records})).unwrap();
    assert_eq!(put["FailedRecordCount"], 0);
    let mut expected: Vec<(String, String, String, Vec<u8>)> = Vec::new();
    for (n, (key, data)) in sent.into_iter().enumerate() {
        let (shard, number) = place(&put["Records"][n]).unwrap();
        expected.push((shard, number, key, data));
    }
    expected.sort();
    // Over another connection, which another core may have taken.
    let mut reader = bench.client();
    let mut got = Vec::new();
    for shard in reader.shards("s").unwrap() {
        let records = reader.read_all("s", &shard).unwrap();
        got.extend(records.into_iter().map(|r| (shard.clone(), r.sequence, r.key, r.data)));
    }
    assert!(got == expected, "{} read of {}", got.len(), expected.len());
    bench.finish();
}

#[test]
fn an_answer_has_ten_mebibytes_at_most_and_the_next_goes_on() {
    let bench = Bench::start();
    let mut client = bench.client();
    client.create("s", 1).unwrap();
    for n in 0..14u8 {
        client.put("s", "k", &vec![n; 1_000_000]).unwrap();
    }
    let first = client.iterator("s", SHARD, "TRIM_HORIZON", &Value::Null).unwrap();
    let (records, answer) = client.records(&first, 10_000).unwrap();
    assert_eq!(records.len(), 10);
    let next = text(&answer["NextShardIterator"]).unwrap();
    let (records, _) = client.records(&next, 10_000).unwrap();
    assert_eq!(records.iter().map(|r| r.data[0]).collect::<Vec<_>>(), [10, 11, 12, 13]);
    bench.finish();
}
