//! Proves over the wire that every batch is checked before it is stored: what is wrong inside it, compressed or not, is
//! refused by its name, with the records to blame and a text (KIP-467), and nothing of it is stored; where its header
//! lies about its records, what consumers get states the truth.
#![allow(clippy::unwrap_used)]

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{CreateTopicsRequest, ProduceRequest};
use kafka_protocol::protocol::StrBytes;
use keylane::{ServerConfig, ServerHandle};
use keylane_engine::bytes_at::put_varint;
use keylane_engine::record_batch::{BatchFields, seal};
use keylane_engine::records::compress;
use keylane_tests::e2e::client::{Client, PRODUCE, name};
use keylane_tests::e2e::server::{config, scratch, two_cores};
use tempfile::TempDir;

const TMP: &str = env!("CARGO_TARGET_TMPDIR");
const T: &str = "t";

mod code {
    pub const CORRUPT_MESSAGE: i16 = 2;
    pub const MESSAGE_TOO_LARGE: i16 = 10;
    pub const INVALID_TIMESTAMP: i16 = 32;
    pub const INVALID_TXN_STATE: i16 = 48;
    pub const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
    pub const INVALID_RECORD: i16 = 87;
}

fn start() -> (TempDir, ServerHandle, Client) {
    let dir = scratch(TMP, "bad-records-").unwrap();
    let config = ServerConfig { cores: Some(two_cores()), ..config(dir.path()) };
    let server = keylane::start(config).unwrap();
    let mut client = Client::connect(server.kafka_addr()).unwrap();
    assert_eq!(client.create_topic(T, 2).unwrap(), 0);
    (dir, server, client)
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64
}

/// One encoded record: its fields behind the attributes, then more bytes.
fn record(fields: &[i64], bytes: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    fields.iter().for_each(|&field| put_varint(&mut body, field));
    body.extend_from_slice(bytes);
    let mut out = Vec::new();
    put_varint(&mut out, body.len() as i64);
    out.extend(body);
    out
}

fn small(timestamp_delta: i64, offset_delta: i64) -> Vec<u8> {
    record(&[timestamp_delta, offset_delta, 0, -1, 0], b"")
}

fn sealed(mut batch: Vec<u8>) -> Bytes {
    seal(&mut batch);
    batch.into()
}

/// A batch around records that are compressed already.
fn around(codec: i16, records: &[u8], count: i32, base_timestamp: i64, max_timestamp: i64) -> Vec<u8> {
    BatchFields { attributes: codec, max_timestamp, ..BatchFields::new(count, base_timestamp) }
        .around(records)
}

fn batch(codec: i16, records: &[u8], count: i32, base_timestamp: i64, max_timestamp: i64) -> Vec<u8> {
    let mut compressed = Vec::new();
    compress(codec, records, &mut compressed).unwrap();
    around(codec, &compressed, count, base_timestamp, max_timestamp)
}

fn blamed(answer: &PartitionProduceResponse) -> Vec<i32> {
    let index = |e: &kafka_protocol::messages::produce_response::BatchIndexAndErrorMessage| {
        assert!(e.batch_index_error_message.as_ref().is_some_and(|text| !text.is_empty()));
        e.batch_index
    };
    answer.record_errors.iter().map(index).collect()
}

/// What is wrong, the records, how many the header says there are, the answer's code, and the records to blame.
type Case<'a> = (&'a str, Vec<u8>, i32, i16, &'a [i32]);

/// Kafka's answer to a wrong checksum asks the client to send the batch again; to all else here it must not.
#[test]
fn what_is_wrong_inside_a_batch_is_refused_by_name_and_not_stored() {
    let (_dir, server, mut client) = start();
    let now = now_ms();
    let two = |second: Vec<u8>| [small(0, 0), second].concat();
    let null_header = record(&[0, 1, 0, -1, 1, -1, -1], b"");
    let cases: [Case<'_>; 10] = [
        ("a header with a null key", two(null_header), 2, code::INVALID_RECORD, &[1]),
        ("a count that is too high", two(small(0, 1)), 3, code::INVALID_RECORD, &[2]),
        ("a count that is too low", two(small(0, 1)), 1, code::INVALID_RECORD, &[1]),
        ("bytes after the last record", [two(small(0, 1)), vec![0]].concat(), 2, code::INVALID_RECORD, &[2]),
        ("an offset twice", two(small(0, 0)), 2, code::INVALID_RECORD, &[1]),
        ("a key that ends beyond", two(record(&[0, 1, 9, -1, 0], b"")), 2, code::INVALID_RECORD, &[1]),
        ("a key length below -1", two(record(&[0, 1, -2, -1, 0], b"")), 2, code::INVALID_RECORD, &[1]),
        ("a size that contradicts", two(record(&[0, 1, 0, -1, 0], b"x")), 2, code::INVALID_RECORD, &[1]),
        ("a time in two hours", two(small(7_200_000, 1)), 2, code::INVALID_TIMESTAMP, &[1]),
        ("no records", vec![], 1, code::INVALID_RECORD, &[0]),
    ];
    let refused = |client: &mut Client, what: &str, sent: Bytes, code: i16, records: &[i32]| {
        // Each partition lives on another core.
        for partition in 0..2 {
            let answer = client.produce(T, partition, sent.clone()).unwrap();
            let found = (answer.error_code, answer.base_offset, answer.log_append_time_ms);
            assert_eq!(found, (code, -1, -1), "{what}: {:?}", answer.error_message);
            assert_eq!(blamed(&answer), records, "{what}");
            assert!(answer.error_message.is_some_and(|text| !text.is_empty()), "{what}");
            assert_eq!(client.end_offset(T, partition).unwrap(), 0, "{what} was stored");
        }
    };
    for codec in 0..=4 {
        for (what, records, count, code, blame) in &cases {
            let sent = sealed(batch(codec, records, *count, now, now));
            refused(&mut client, &format!("{what}, codec {codec}"), sent, *code, blame);
        }
    }
    for codec in 1..=4 {
        let garbage = sealed(around(codec, b"this was never compressed", 1, now, now));
        refused(&mut client, "garbage", garbage, code::INVALID_RECORD, &[]);
    }
    let mut wrong_crc = sealed(batch(3, &small(0, 0), 1, now, now)).to_vec();
    wrong_crc[17] ^= 1;
    refused(&mut client, "a wrong checksum", wrong_crc.into(), code::CORRUPT_MESSAGE, &[]);
    let header = |at: usize, bytes: &[u8]| {
        let mut batch = batch(0, &small(0, 0), 1, now, now);
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        sealed(batch)
    };
    let unknown = code::UNSUPPORTED_COMPRESSION_TYPE;
    refused(&mut client, "codec 5", header(22, &[5]), unknown, &[]);
    refused(&mut client, "a control batch", header(22, &[0x20]), code::INVALID_RECORD, &[]);
    refused(&mut client, "a transaction", header(22, &[0x10]), code::INVALID_TXN_STATE, &[]);
    refused(&mut client, "a base offset", header(7, &[1]), code::INVALID_RECORD, &[]);
    drop(client);
    server.stop().unwrap();
}

/// Sarama sent a maximum timestamp of -1 until 2025: such records were never deleted by age and not found by time. With 0,
/// fresh records were deleted. With attribute bit 3, every record had the time of the header.
#[test]
fn what_consumers_get_states_the_truth_whatever_the_header_said() {
    let (_dir, server, mut client) = start();
    let now = now_ms();
    let mut end = 0;
    for codec in 0..=4 {
        let records = [small(0, 0), small(-40, 1), small(60, 2)].concat();
        let right = batch(codec, &records, 3, now - 1000, now - 940);
        for (lie, bits) in
            [(-1, 0), (0, 0), (i64::MAX, 0), (now - 1000, 0), (now - 940, 8), (0, 8), (5, 0x48)]
        {
            let mut sent = right.clone();
            sent[22] |= bits;
            sent[35..43].copy_from_slice(&i64::to_be_bytes(lie));
            for partition in 0..2 {
                assert_eq!(client.append(T, partition, sealed(sent.clone())).unwrap(), end, "{lie} {bits}");
                let found = client.fetch(T, partition, end).unwrap().records.unwrap();
                assert_eq!(found[16..], sealed(right.clone())[16..], "codec {codec}, {lie} {bits}");
                assert_eq!(found[..8], end.to_be_bytes());
            }
            end += 3;
        }
    }
    drop(client);
    server.stop().unwrap();
}

#[test]
fn of_several_partitions_only_the_bad_ones_are_refused_and_blame_is_bounded() {
    let (_dir, server, mut client) = start();
    assert_eq!(client.create_topic("other", 2).unwrap(), 0);
    let now = now_ms();
    let good = sealed(batch(0, &small(0, 0), 1, now, now));
    let late: Vec<u8> = (0..900).flat_map(|n| small(7_200_000, n)).collect();
    let bad = sealed(batch(1, &late, 900, now, now));
    let of = |topic: &str, records: [&Bytes; 2]| {
        let partition = |(index, records): (usize, &Bytes)| {
            PartitionProduceData::default().with_index(index as i32).with_records(Some(records.clone()))
        };
        let partitions = records.into_iter().enumerate().map(partition).collect();
        TopicProduceData::default().with_name(name(topic)).with_partition_data(partitions)
    };
    let topics = vec![of(T, [&bad, &good]), of("other", [&good, &bad])];
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(topics);
    let response = client.call(PRODUCE, &request).unwrap();
    let answers: Vec<_> = response.responses.iter().flat_map(|t| &t.partition_responses).collect();
    let found: Vec<_> = answers.iter().map(|a| (a.error_code, a.record_errors.len())).collect();
    assert_eq!(found, [(code::INVALID_TIMESTAMP, 900), (0, 0), (0, 0), (code::INVALID_TIMESTAMP, 100)]);
    for (topic, partition, end) in [(T, 0, 0), (T, 1, 1), ("other", 0, 1), ("other", 1, 0)] {
        assert_eq!(client.end_offset(topic, partition).unwrap(), end);
    }
    drop(client);
    server.stop().unwrap();
}

#[test]
fn a_topic_with_the_time_of_the_append_says_so_and_a_duplicate_does_not() {
    let (_dir, server, mut client) = start();
    let config = CreatableTopicConfig::default()
        .with_name(StrBytes::from_static_str("message.timestamp.type"))
        .with_value(Some(StrBytes::from_static_str("LogAppendTime")));
    let new = CreatableTopic::default()
        .with_name(name("of-log"))
        .with_num_partitions(2)
        .with_replication_factor(1)
        .with_configs(vec![config]);
    let request = CreateTopicsRequest::default().with_topics(vec![new]).with_timeout_ms(10_000);
    assert_eq!(client.call(7, &request).unwrap().topics[0].error_code, 0);
    let (producer, epoch) = client.producer_id().unwrap();
    let mut sequence = 0i32;
    for (codec, partition) in (0..=4).flat_map(|codec| [(codec, 0), (codec, 1)]) {
        // Whatever the producer says of the time.
        let mut sent = batch(codec, &[small(0, 0), small(9_000_000_000, 1)].concat(), 2, 5, -1);
        sent[43..51].copy_from_slice(&producer.to_be_bytes());
        sent[51..53].copy_from_slice(&epoch.to_be_bytes());
        sent[53..57].copy_from_slice(&sequence.to_be_bytes());
        let sent = sealed(sent);
        let before = now_ms();
        let answer = client.produce("of-log", partition, sent.clone()).unwrap();
        assert_eq!((answer.error_code, answer.base_offset), (0, i64::from(sequence)));
        let time = answer.log_append_time_ms;
        assert!((before..=now_ms()).contains(&time), "{time}");
        let found = client.fetch("of-log", partition, answer.base_offset).unwrap().records.unwrap();
        assert_eq!((found[22], &found[35..43]), (8 | codec as u8, &time.to_be_bytes()[..]));
        assert_eq!((&found[27..35], &found[43..]), (&sent[27..35], &sent[43..]));
        assert_eq!(found[17..21], crc32c::crc32c(&found[21..]).to_be_bytes());
        let again = client.produce("of-log", partition, sent).unwrap();
        let found = (again.error_code, again.base_offset, again.log_append_time_ms);
        assert_eq!(found, (0, i64::from(sequence), -1));
        sequence += 2 * partition;
    }
    let mut claims = batch(0, &small(0, 0), 1, 5, 5);
    claims[22] |= 8;
    let answer = client.produce("of-log", 0, sealed(claims)).unwrap();
    assert_eq!((answer.error_code, blamed(&answer)), (code::INVALID_TIMESTAMP, vec![0]));
    drop(client);
    server.stop().unwrap();
}

/// A zstd frame of a few bytes that becomes `count` records of 128 KiB.
fn bomb(count: i64) -> Vec<u8> {
    const BLOCK: u32 = 128 << 10;
    let raw = |bytes: &[u8]| [&((bytes.len() as u32) << 3).to_le_bytes()[..3], bytes].concat();
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x38];
    for n in 0..count {
        let mut fields = vec![0];
        [0, n, -1, i64::from(BLOCK)].iter().for_each(|&field| put_varint(&mut fields, field));
        let mut head = Vec::new();
        put_varint(&mut head, fields.len() as i64 + i64::from(BLOCK) + 1);
        frame.extend(raw(&[head, fields].concat()));
        frame.extend_from_slice(&(BLOCK << 3 | 1 << 1).to_le_bytes()[..3]);
        frame.push(7);
        frame.extend(raw(&[0]));
    }
    frame.extend([1, 0, 0]);
    frame
}

#[test]
fn a_bomb_of_gigabytes_is_refused_and_others_are_served() {
    let (_dir, server, mut client) = start();
    let now = now_ms();
    let count = 40_000;
    let sent = sealed(around(4, &bomb(count), count as i32, now, now));
    assert!(sent.len() < 1_048_588, "{} bytes", sent.len());
    let begun = Instant::now();
    for partition in 0..2 {
        let answer = client.produce(T, partition, sent.clone()).unwrap();
        assert_eq!(answer.error_code, code::MESSAGE_TOO_LARGE, "{:?}", answer.error_message);
        assert_eq!(client.end_offset(T, partition).unwrap(), 0);
    }
    println!("two bombs of 5 GB, {} KiB each, were refused in {:?}", sent.len() >> 10, begun.elapsed());
    let few = sealed(around(4, &bomb(100), 100, now, now));
    assert_eq!(client.append(T, 0, few).unwrap(), 0, "the test is not valid");
    let empty: Vec<u8> = (0..100_000).flat_map(|n| small(0, n)).collect();
    assert_eq!(client.append(T, 0, sealed(batch(1, &empty, 100_000, now, now))).unwrap(), 100);
    assert_eq!(client.end_offset(T, 0).unwrap(), 100_100);
    drop(client);
    server.stop().unwrap();
}
