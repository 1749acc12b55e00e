//! Proves over the wire what fetch sessions (KIP-227) promise beyond single answers, which `tests/differential` compares with Apache Kafka's:
//! a session is found from connections on every core, a busy partition does not starve the others, and sessions are bounded.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use keylane::ServerConfig;
use keylane_tests::e2e::batch::{numbered, single, stored};
use keylane_tests::e2e::client::{Client, FETCH, name};
use keylane_tests::e2e::server::{config, scratch, two_cores};

const TOPIC: &str = "watched";
const SESSION_NOT_FOUND: i16 = 70;

/// Asks within a session, or for a new one.
fn fetch(client: &mut Client, session: (i32, i32), wanted: &[(i32, i64)], max_bytes: i32) -> FetchResponse {
    let partition = |&(partition, offset): &(i32, i64)| {
        FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(1 << 20)
    };
    let topic =
        FetchTopic::default().with_topic(name(TOPIC)).with_partitions(wanted.iter().map(partition).collect());
    let request = FetchRequest::default()
        .with_max_wait_ms(0)
        .with_max_bytes(max_bytes)
        .with_session_id(session.0)
        .with_session_epoch(session.1)
        .with_topics(if wanted.is_empty() { vec![] } else { vec![topic] });
    client.call(FETCH, &request).unwrap()
}

/// Batches of each partition in an answer.
fn batches(response: &FetchResponse) -> BTreeMap<i32, usize> {
    assert_eq!(response.error_code, 0);
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    let counted = partitions.map(|p| {
        assert_eq!(p.error_code, 0);
        (p.partition_index, stored(&p.records.clone().unwrap_or_default()).unwrap().len())
    });
    counted.collect()
}

fn with_server(change: impl FnOnce(&mut ServerConfig), test: impl FnOnce(&keylane::ServerHandle)) {
    let dir = scratch(env!("CARGO_TARGET_TMPDIR"), "sessions-").unwrap();
    let mut config = ServerConfig { cores: Some(two_cores()), ..config(&dir.path().join("data")) };
    change(&mut config);
    let server = keylane::start(config).unwrap();
    test(&server);
    server.stop().unwrap();
}

#[test]
fn a_session_is_found_from_every_connection() {
    with_server(
        |_| {},
        |server| {
            let mut client = Client::connect(server.kafka_addr()).unwrap();
            assert_eq!(client.create_topic(TOPIC, 4).unwrap(), 0);
            let wanted: Vec<_> = (0..4).map(|partition| (partition, 0)).collect();
            let first = fetch(&mut client, (0, 0), &wanted, 1 << 20);
            let id = first.session_id;
            assert!(id > 0 && batches(&first).len() == 4);
            // The kernel spreads connections over the cores: of twenty, some are on each.
            for epoch in 1..=20 {
                let mut other = Client::connect(server.kafka_addr()).unwrap();
                other.append(TOPIC, epoch % 4, single(numbered(1, 100))).unwrap();
                let answer =
                    fetch(&mut other, (id, epoch), &[(epoch % 4, i64::from(epoch - 1) / 4)], 1 << 20);
                assert_eq!(answer.session_id, id);
                let last: Vec<_> = batches(&answer).into_iter().filter(|(p, _)| *p == epoch % 4).collect();
                assert_eq!(last.len(), 1, "epoch {epoch}: {last:?}");
            }
            let mut other = Client::connect(server.kafka_addr()).unwrap();
            assert_eq!(fetch(&mut other, (id, -1), &[], 1 << 20).session_id, 0);
            assert_eq!(fetch(&mut client, (id, 21), &[], 1 << 20).error_code, SESSION_NOT_FOUND);
        },
    );
}

#[test]
fn a_busy_partition_does_not_starve_the_others() {
    with_server(
        |_| {},
        |server| {
            const RECORD_BYTES: usize = 10_000;
            let mut client = Client::connect(server.kafka_addr()).unwrap();
            assert_eq!(client.create_topic(TOPIC, 8).unwrap(), 0);
            for n in 0..8 {
                for partition in 0..8 {
                    client.append(TOPIC, partition, single(numbered(n, RECORD_BYTES))).unwrap();
                }
            }
            let mut next = [0; 8];
            let wanted: Vec<_> = (0..8).map(|partition| (partition, 0)).collect();
            // Two batches an answer, of partitions that all have eight.
            let mut answer = fetch(&mut client, (0, 0), &wanted, 2 * (RECORD_BYTES as i32 + 200));
            let (id, mut shares) = (answer.session_id, [0; 8]);
            for epoch in 1..=16 {
                let got = batches(&answer);
                let moved: Vec<_> = got.into_iter().filter(|(_, count)| *count > 0).collect();
                for (partition, count) in &moved {
                    next[*partition as usize] += *count as i64;
                    shares[*partition as usize] += count;
                }
                let moved: Vec<_> = moved.iter().map(|(p, _)| (*p, next[*p as usize])).collect();
                answer = fetch(&mut client, (id, epoch), &moved, 2 * (RECORD_BYTES as i32 + 200));
            }
            // The order begins to turn with the second answer, so the first partition is served twice at first.
            assert!(shares.iter().all(|share| (2..=6).contains(share)), "{shares:?}");
            assert_eq!(shares.iter().sum::<usize>(), 32);
        },
    );
}

#[test]
fn without_a_slot_there_is_no_session_and_all_is_answered() {
    with_server(
        |config| (config.cores, config.fetch_sessions) = (Some(vec![0]), 2),
        |server| {
            let mut client = Client::connect(server.kafka_addr()).unwrap();
            assert_eq!(client.create_topic(TOPIC, 2).unwrap(), 0);
            let ids = [(); 4].map(|()| {
                let answer = fetch(&mut client, (0, 0), &[(0, 0), (1, 0)], 1 << 20);
                assert_eq!(batches(&answer).len(), 2);
                answer.session_id
            });
            assert!(ids[0] > 0 && ids[1] > 0 && ids[0] != ids[1] && ids[2..] == [0, 0], "{ids:?}");
            // One that ends makes room, also when another one begins in the same request.
            let again = fetch(&mut client, (ids[0], 0), &[(0, 0)], 1 << 20).session_id;
            assert!(again > 0 && again != ids[0]);
            assert_eq!(fetch(&mut client, (ids[0], 1), &[], 1 << 20).error_code, SESSION_NOT_FOUND);
            assert_eq!(fetch(&mut client, (ids[1], 1), &[], 1 << 20).session_id, ids[1]);
        },
    );
}
