//! ListOffsets, versions 1 to 11.
use kafka_protocol::messages::list_offsets_request::{
    ListOffsetsPartition as TheirPartition, ListOffsetsTopic as TheirTopic,
};
use kafka_protocol::messages::{
    BrokerId, ListOffsetsRequest as TheirRequest, ListOffsetsResponse as TheirResponse,
};
use keylane_kafka::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic, ListedPartition,
    ListedTopic,
};
use keylane_kafka::{ApiKey, ErrorCode, Message, Reader};

use super::{answered, encoded, name, prefixes_are_refused};

/// The other codec ends at version 10, whose fields version 11 shares.
fn theirs(version: i16) -> i16 {
    version.min(10)
}

#[test]
fn requests_of_every_version_are_read() {
    for version in 1..=11 {
        let partition = |index, timestamp| {
            let p = TheirPartition::default().with_partition_index(index).with_timestamp(timestamp);
            if version >= 4 { p.with_current_leader_epoch(2) } else { p }
        };
        let topic = TheirTopic::default()
            .with_name(name("orders"))
            .with_partitions(vec![partition(0, -2), partition(7, 1_700_000_000_000)]);
        let mut request = TheirRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
        if version >= 2 {
            request = request.with_isolation_level(1);
        }
        if version >= 10 {
            request = request.with_timeout_ms(1_500);
        }
        let body = encoded(&request, theirs(version));
        let ours = ListOffsetsRequest::decode(version, &mut Reader::new(&body)).unwrap();
        let partition = |index, timestamp| ListOffsetsPartition {
            index,
            current_leader_epoch: if version >= 4 { 2 } else { -1 },
            timestamp,
        };
        let expected = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: i8::from(version >= 2),
            topics: vec![ListOffsetsTopic {
                name: "orders",
                partitions: vec![partition(0, -2), partition(7, 1_700_000_000_000)],
            }],
            timeout_ms: if version >= 10 { 1_500 } else { 0 },
        };
        assert_eq!(ours, expected);
        prefixes_are_refused(&body, |r| ListOffsetsRequest::decode(version, r).map(drop));
    }
}

#[test]
fn responses_of_every_version_are_written() {
    for version in 1..=11 {
        let found =
            ListedPartition { index: 0, error: ErrorCode::None, timestamp: 5, offset: 9, leader_epoch: 0 };
        let failed = ListedPartition::failed(1, ErrorCode::UnknownTopicOrPartition);
        let response = ListOffsetsResponse {
            topics: vec![ListedTopic { name: "orders".into(), partitions: vec![found, failed] }],
            ..Default::default()
        };
        // Both versions have header and body in common.
        let theirs: TheirResponse =
            answered(ApiKey::ListOffsets, theirs(version), |w| response.encode(version, w));
        assert_eq!((theirs.throttle_time_ms, theirs.topics[0].name.clone()), (0, name("orders")));
        let flat: Vec<_> = theirs.topics[0]
            .partitions
            .iter()
            .map(|p| (p.partition_index, p.error_code, p.timestamp, p.offset, p.leader_epoch))
            .collect();
        assert_eq!(flat, [(0, 0, 5, 9, if version >= 4 { 0 } else { -1 }), (1, 3, -1, -1, -1)]);
    }
}
