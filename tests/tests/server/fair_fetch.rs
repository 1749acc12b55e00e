//! Proves over the wire that a fetch divides its bytes in the order of the request, whatever core a partition lives on
//! (KIP-74): a client that asks in another order each time gets even shares. Once, partitions of the connection's own core
//! came first, so that those of other cores starved beside a backlog.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use keylane::ServerConfig;
use keylane_tests::e2e::batch::{numbered, single, stored};
use keylane_tests::e2e::client::{Client, name};
use keylane_tests::e2e::server::{config, scratch, two_cores};

const TOPIC: &str = "fair";
const RECORD_BYTES: usize = 60_000;
const FETCH: i16 = 11;

/// Asks for all partitions from where each of them is, in this order, and goes on behind what comes.
/// Returns the batches of each partition.
fn fetch(
    client: &mut Client,
    order: &[i32],
    next: &mut [i64],
    max_bytes: i32,
    each: i32,
) -> BTreeMap<i32, usize> {
    let partition = |p: &i32| {
        FetchPartition::default()
            .with_partition(*p)
            .with_fetch_offset(next[*p as usize])
            .with_partition_max_bytes(each)
    };
    let topic =
        FetchTopic::default().with_topic(name(TOPIC)).with_partitions(order.iter().map(partition).collect());
    let request = FetchRequest::default()
        .with_max_wait_ms(0)
        .with_session_epoch(-1)
        .with_max_bytes(max_bytes)
        .with_topics(vec![topic]);
    let response = client.call(FETCH, &request).unwrap();
    let mut got = BTreeMap::new();
    let mut bytes = 0;
    for partition in &response.responses[0].partitions {
        assert_eq!(partition.error_code, 0);
        let records = partition.records.clone().unwrap_or_default();
        bytes += records.len();
        assert!(records.len() <= each as usize);
        let count = stored(&records).unwrap().len();
        next[partition.partition_index as usize] += count as i64;
        got.insert(partition.partition_index, count);
    }
    assert!(bytes > 0 && bytes <= max_bytes as usize, "{bytes} bytes, {max_bytes} asked for");
    got
}

/// Fetches `times` times in an order that is rotated by one each time. Returns each partition's batches.
fn rotated(
    tail_cache_bytes: usize,
    partitions: i32,
    batches: u64,
    times: usize,
    limits: (i32, i32),
) -> Vec<usize> {
    let dir = scratch(env!("CARGO_TARGET_TMPDIR"), "fair-").unwrap();
    let base = config(&dir.path().join("data"));
    let server = keylane::start(ServerConfig { cores: Some(two_cores()), tail_cache_bytes, ..base }).unwrap();
    let mut client = Client::connect(server.kafka_addr()).unwrap();
    assert_eq!(client.create_topic(TOPIC, partitions).unwrap(), 0);
    for n in 0..batches {
        for partition in 0..partitions {
            let records: Bytes = single(numbered(n, RECORD_BYTES));
            client.append(TOPIC, partition, records).unwrap();
        }
    }
    let mut order: Vec<i32> = (0..partitions).collect();
    let mut next = vec![0; partitions as usize];
    let mut sum = vec![0; partitions as usize];
    for _ in 0..times {
        for (partition, count) in fetch(&mut client, &order, &mut next, limits.0, limits.1) {
            sum[partition as usize] += count;
        }
        order.rotate_left(1);
    }
    drop(client);
    server.stop().unwrap();
    sum
}

const FROM_MEMORY: usize = 64 << 20;
/// Little enough that what is read comes from the disk.
const FROM_DISK: usize = 2 << 20;

/// An answer ends where what is sealed ends, so from the disk shares are even but for a batch or two.
fn assert_even(shares: &[usize], each: usize) {
    assert!(shares.iter().all(|share| share.abs_diff(each) <= 2), "{shares:?}");
}

#[test]
fn two_partitions_on_two_cores_get_even_shares() {
    // Each backlog is larger than an answer: whoever comes first gets all of it, or three of five by its own limit.
    for each in [1 << 20, 3 * 61_000] {
        assert_eq!(rotated(FROM_MEMORY, 2, 40, 10, (5 * 61_000, each)), [25, 25]);
        assert_even(&rotated(FROM_DISK, 2, 80, 10, (5 * 61_000, each)), 25);
    }
}

#[test]
fn many_partitions_on_two_cores_get_even_shares() {
    // Four partitions an answer, two batches each.
    assert_eq!(rotated(FROM_MEMORY, 24, 16, 48, (8 * 61_000, 2 * 61_000)), [16; 24]);
    assert_even(&rotated(FROM_DISK, 24, 24, 48, (8 * 61_000, 2 * 61_000)), 16);
}
