//! Fetch, versions 4 to 18.
use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{
    FetchPartition as TheirPartition, FetchTopic as TheirTopic, ForgottenTopic as TheirForgotten,
    ReplicaState,
};
use kafka_protocol::messages::{BrokerId, FetchRequest as TheirRequest, FetchResponse as TheirResponse};
use keylane_kafka::hot::fetch::FetchResponseWriter;
use keylane_kafka::messages::fetch::{
    self, AbortedTransaction, FetchPartition, FetchRequest, FetchTopic, FetchedPartition, ForgottenTopic,
};
use keylane_kafka::{ApiKey, ErrorCode, Message, Reader, TopicRef};
use uuid::Uuid;

use super::{decoded, encoded, id, name, text, to};

fn topic_ref(version: i16, topic: &str, n: u128) -> TopicRef<'_> {
    if version >= 13 { TopicRef::Id(id(n)) } else { TopicRef::Name(topic) }
}

fn their_partition(version: i16, index: i32) -> TheirPartition {
    let mut partition = TheirPartition::default()
        .with_partition(index)
        .with_fetch_offset(i64::from(index) + 1_000)
        .with_partition_max_bytes(1 << 20);
    if version >= 5 {
        partition = partition.with_log_start_offset(3);
    }
    if version >= 9 {
        partition = partition.with_current_leader_epoch(6);
    }
    if version >= 12 {
        partition = partition.with_last_fetched_epoch(4);
    }
    if version >= 17 {
        partition = partition.with_replica_directory_id(id(99));
    }
    if version >= 18 {
        partition = partition.with_high_watermark(55);
    }
    partition
}

fn our_partition(version: i16, index: i32) -> FetchPartition {
    FetchPartition {
        index,
        current_leader_epoch: if version >= 9 { 6 } else { -1 },
        fetch_offset: i64::from(index) + 1_000,
        last_fetched_epoch: if version >= 12 { 4 } else { -1 },
        log_start_offset: if version >= 5 { 3 } else { -1 },
        max_bytes: 1 << 20,
        replica_directory_id: if version >= 17 { id(99) } else { Uuid::nil() },
        high_watermark: if version >= 18 { 55 } else { i64::MAX },
    }
}

fn their_request(version: i16) -> TheirRequest {
    let topic = |topic: &str, n, partitions: &[i32]| {
        let partitions = partitions.iter().map(|&index| their_partition(version, index)).collect();
        let t = TheirTopic::default().with_partitions(partitions);
        if version >= 13 { t.with_topic_id(id(n)) } else { t.with_topic(name(topic)) }
    };
    let mut request = TheirRequest::default()
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_isolation_level(1)
        .with_topics(vec![topic("orders", 1, &[0, 5]), topic("none", 2, &[]), topic("clicks", 3, &[7])]);
    request = if version >= 15 {
        let state = ReplicaState::default().with_replica_id(BrokerId(8)).with_replica_epoch(9);
        request.with_replica_state(state)
    } else {
        request.with_replica_id(BrokerId(8))
    };
    if version >= 7 {
        let forgotten = TheirForgotten::default().with_partitions(vec![1, 2]);
        let forgotten =
            if version >= 13 { forgotten.with_topic_id(id(4)) } else { forgotten.with_topic(name("old")) };
        request =
            request.with_session_id(11).with_session_epoch(12).with_forgotten_topics_data(vec![forgotten]);
    }
    if version >= 11 {
        request = request.with_rack_id(text("rack-1"));
    }
    if version >= 12 {
        request = request.with_cluster_id(Some(text("cluster")));
    }
    request
}

#[test]
fn requests_of_every_version_are_read() {
    for version in 4..=18 {
        let body = encoded(&their_request(version), version);
        let ours = FetchRequest::decode(version, &mut Reader::new(&body)).unwrap();
        let topic = |topic, n, partitions: &[i32]| FetchTopic {
            topic: topic_ref(version, topic, n),
            partitions: partitions.iter().map(|&index| our_partition(version, index)).collect(),
        };
        let forgotten = ForgottenTopic { topic: topic_ref(version, "old", 4), partitions: vec![1, 2] };
        let expected = FetchRequest {
            cluster_id: (version >= 12).then_some("cluster"),
            replica_id: if version >= 15 { -1 } else { 8 },
            replica_state: if version >= 15 {
                fetch::ReplicaState { replica_id: 8, replica_epoch: 9 }
            } else {
                fetch::ReplicaState::default()
            },
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 50 << 20,
            isolation_level: 1,
            session_id: if version >= 7 { 11 } else { 0 },
            session_epoch: if version >= 7 { 12 } else { -1 },
            topics: vec![topic("orders", 1, &[0, 5]), topic("none", 2, &[]), topic("clicks", 3, &[7])],
            forgotten_topics: if version >= 7 { vec![forgotten] } else { vec![] },
            rack_id: if version >= 11 { "rack-1" } else { "" },
        };
        assert_eq!(ours, expected, "v{version}");
        assert_eq!(ours.follower(), 8);
        for len in 0..body.len() {
            assert!(
                FetchRequest::decode(version, &mut Reader::new(&body[..len])).is_err(),
                "v{version}: {len}"
            );
        }
    }
}

#[test]
fn responses_of_every_version_are_written_without_copying_records() {
    let first = Bytes::from(vec![1u8; 70_000]);
    let second = Bytes::from(vec![2u8; 300]);
    let third = Bytes::from(vec![3u8; 5]);
    for version in 4..=18 {
        let mut writer = FetchResponseWriter::begin(to(ApiKey::Fetch, version, 21), 0, ErrorCode::None, 9, 2);
        writer.topic(topic_ref(version, "orders", 1), 3);
        let aborted = |producer_id, first_offset| AbortedTransaction { producer_id, first_offset };
        let good = FetchedPartition {
            index: 0,
            error: ErrorCode::None,
            high_watermark: 100,
            last_stable_offset: 90,
            log_start_offset: 2,
            aborted_transactions: Some(vec![aborted(5, 50), aborted(6, 60)]),
            ..Default::default()
        };
        writer.partition(&good, [first.clone(), Bytes::new(), second.clone()]);
        writer.partition(&FetchedPartition::failed(4, ErrorCode::OffsetOutOfRange), []);
        let empty = FetchedPartition { index: 5, aborted_transactions: None, ..good.clone() };
        writer.partition(&empty, []);
        writer.topic(topic_ref(version, "clicks", 3), 1);
        let good = FetchedPartition { index: 7, aborted_transactions: Some(vec![]), ..good };
        writer.partition(&good, [third.clone()]);
        assert_eq!(writer.records_bytes(), 70_305);
        let segments = writer.finish().unwrap();
        for slice in [&first, &second, &third] {
            assert!(segments.iter().any(|s| s.as_ptr() == slice.as_ptr() && s.len() == slice.len()));
        }
        assert!(segments.iter().all(|s| !s.is_empty()));

        let frame = segments.concat();
        let theirs: TheirResponse =
            decoded(&frame, version, 21, i16::from(ApiKey::Fetch.is_flexible(version)));
        let session = if version >= 7 { 9 } else { 0 };
        assert_eq!((theirs.error_code, theirs.session_id, theirs.throttle_time_ms), (0, session, 0));
        let [orders, clicks] = &theirs.responses[..] else { panic!("{theirs:?}") };
        if version >= 13 {
            assert_eq!((orders.topic_id, clicks.topic_id), (id(1), id(3)));
        } else {
            assert_eq!((orders.topic.as_str(), clicks.topic.as_str()), ("orders", "clicks"));
        }
        let [p0, p4, p5] = &orders.partitions[..] else { panic!("{orders:?}") };
        let heads =
            [p0, p4, p5].map(|p| (p.partition_index, p.error_code, p.high_watermark, p.last_stable_offset));
        assert_eq!(heads, [(0, 0, 100, 90), (4, 1, -1, -1), (5, 0, 100, 90)]);
        assert_eq!(p0.log_start_offset, if version >= 5 { 2 } else { -1 });
        assert_eq!(p0.preferred_read_replica, -1);
        let aborted: Vec<_> = p0.aborted_transactions.iter().flatten().collect();
        assert_eq!(
            aborted.iter().map(|a| (a.producer_id.0, a.first_offset)).collect::<Vec<_>>(),
            [(5, 50), (6, 60)]
        );
        assert_eq!(p5.aborted_transactions, None);
        assert_eq!(p0.records.as_deref(), Some(&[&first[..], &second[..]].concat()[..]));
        assert_eq!(p4.records.as_deref(), Some(&b""[..]));
        assert_eq!(clicks.partitions[0].records.as_deref(), Some(&third[..]));
        assert_eq!(clicks.partitions[0].aborted_transactions.as_deref(), Some(&[][..]));
    }
}

#[test]
fn a_response_to_a_request_that_failed_as_a_whole_is_one_segment() {
    for version in 7..=18 {
        let segments = FetchResponseWriter::begin(
            to(ApiKey::Fetch, version, 3),
            0,
            ErrorCode::InvalidFetchSessionEpoch,
            0,
            0,
        )
        .finish()
        .unwrap();
        assert_eq!(segments.len(), 1);
        let theirs: TheirResponse =
            decoded(&segments[0], version, 3, i16::from(ApiKey::Fetch.is_flexible(version)));
        assert_eq!((theirs.error_code, theirs.responses.len()), (71, 0));
    }
}
