//! OffsetCommit, versions 2 to 10; OffsetFetch, versions 1 to 10; OffsetDelete, version 0.
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition as TheirCommitPartition, OffsetCommitRequestTopic as TheirCommitTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition as TheirDeletePartition, OffsetDeleteRequestTopic as TheirDeleteTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup as TheirGroup, OffsetFetchRequestTopic as TheirTopic,
    OffsetFetchRequestTopics as TheirTopics,
};
use kafka_protocol::messages::{
    GroupId, OffsetCommitRequest as TheirCommit, OffsetCommitResponse as TheirCommitted,
    OffsetDeleteRequest as TheirDelete, OffsetDeleteResponse as TheirDeleted,
    OffsetFetchRequest as TheirFetch, OffsetFetchResponse as TheirFetched,
};
use keylane_kafka::messages::offset_commit::{
    CommittedPartition, CommittedTopic, OffsetCommitPartition, OffsetCommitRequest, OffsetCommitResponse,
    OffsetCommitTopic,
};
use keylane_kafka::messages::offset_delete::{
    OffsetDeletePartition, OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteTopic,
};
use keylane_kafka::messages::offset_fetch::{
    FetchedGroup, FetchedOffset, FetchedTopic, OffsetFetchGroup, OffsetFetchRequest, OffsetFetchResponse,
    OffsetFetchTopic,
};
use keylane_kafka::{ApiKey, ErrorCode, Message, Reader};
use uuid::Uuid;

use super::{answered, encoded, name, prefixes_are_refused, text};

fn outcome(index: i32, error: ErrorCode) -> CommittedPartition {
    CommittedPartition { index, error }
}

/// Name and id of a topic, of which a version has one.
fn topic_in(version: i16) -> (&'static str, Uuid) {
    if version >= 10 { ("", Uuid::from_u128(0x1234)) } else { ("orders", Uuid::nil()) }
}

fn group(s: &str) -> GroupId {
    GroupId(text(s))
}

#[test]
fn commits_of_every_version_are_read() {
    for version in 2..=9 {
        let partition = |index, offset, metadata: Option<&str>| {
            let p = TheirCommitPartition::default()
                .with_partition_index(index)
                .with_committed_offset(offset)
                .with_committed_metadata(metadata.map(text));
            if version >= 6 { p.with_committed_leader_epoch(4) } else { p }
        };
        let topic = TheirCommitTopic::default()
            .with_name(name("orders"))
            .with_partitions(vec![partition(0, 17, Some("m")), partition(3, 1 << 40, None)]);
        let mut request = TheirCommit::default()
            .with_group_id(group("g"))
            .with_generation_id_or_member_epoch(6)
            .with_member_id(text("m-1"))
            .with_topics(vec![topic]);
        if version <= 4 {
            request = request.with_retention_time_ms(77);
        }
        if version >= 7 {
            request = request.with_group_instance_id(Some(text("i")));
        }
        let body = encoded(&request, version);
        let ours = OffsetCommitRequest::decode(version, &mut Reader::new(&body)).unwrap();
        let partition = |index, offset, metadata| OffsetCommitPartition {
            index,
            offset,
            leader_epoch: if version >= 6 { 4 } else { -1 },
            metadata,
        };
        let expected = OffsetCommitRequest {
            group: "g",
            generation: 6,
            member_id: "m-1",
            group_instance_id: (version >= 7).then_some("i"),
            retention_time_ms: if version <= 4 { 77 } else { -1 },
            topics: vec![OffsetCommitTopic {
                name: "orders",
                topic_id: Uuid::nil(),
                partitions: vec![partition(0, 17, Some("m")), partition(3, 1 << 40, None)],
            }],
        };
        assert_eq!(ours, expected, "version {version}");
        prefixes_are_refused(&body, |r| OffsetCommitRequest::decode(version, r).map(drop));
    }
    for version in [1, 11] {
        assert!(OffsetCommitRequest::decode(version, &mut Reader::new(&[0; 64])).is_err());
    }
}

#[test]
fn answers_to_commits_of_every_version_are_written() {
    let partitions = vec![outcome(0, ErrorCode::None), outcome(3, ErrorCode::OffsetMetadataTooLarge)];
    for version in 2..=10 {
        let (named, topic_id) = topic_in(version);
        let response = OffsetCommitResponse {
            topics: vec![CommittedTopic { name: named.into(), topic_id, partitions: partitions.clone() }],
            ..Default::default()
        };
        let theirs: TheirCommitted = answered(ApiKey::OffsetCommit, version, |w| response.encode(version, w));
        assert_eq!((theirs.topics.len(), &theirs.topics[0].name), (1, &name(named)));
        assert_eq!(theirs.topics[0].topic_id, topic_id);
        let flat: Vec<_> =
            theirs.topics[0].partitions.iter().map(|p| (p.partition_index, p.error_code)).collect();
        assert_eq!(flat, [(0, 0), (3, 12)], "version {version}");
    }
}

#[test]
fn fetches_of_every_version_are_read() {
    for version in 1..=9 {
        for all in [false, true] {
            if all && version < 2 {
                continue;
            }
            let mut request = TheirFetch::default();
            if version >= 8 {
                let topic =
                    TheirTopics::default().with_name(name("orders")).with_partition_indexes(vec![0, 7]);
                let one = |name: &str| {
                    let g = TheirGroup::default()
                        .with_group_id(group(name))
                        .with_topics((!all).then(|| vec![topic.clone()]));
                    if version >= 9 { g.with_member_id(Some(text("m"))).with_member_epoch(3) } else { g }
                };
                request = request.with_groups(vec![one("g"), one("h")]);
            } else {
                let topic =
                    TheirTopic::default().with_name(name("orders")).with_partition_indexes(vec![0, 7]);
                request = request.with_group_id(group("g")).with_topics((!all).then(|| vec![topic]));
            }
            if version >= 7 {
                request = request.with_require_stable(true);
            }
            let body = encoded(&request, version);
            let ours = OffsetFetchRequest::decode(version, &mut Reader::new(&body)).unwrap();
            let topics = (!all).then(|| {
                vec![OffsetFetchTopic { name: "orders", topic_id: Uuid::nil(), partitions: vec![0, 7] }]
            });
            let member = |group| {
                if version >= 9 {
                    OffsetFetchGroup { group, member_id: Some("m"), member_epoch: 3, topics: None }
                } else {
                    OffsetFetchGroup { group, ..Default::default() }
                }
            };
            let one = |group| OffsetFetchGroup { topics: topics.clone(), ..member(group) };
            let groups = if version >= 8 { vec![one("g"), one("h")] } else { vec![one("g")] };
            assert_eq!(ours.require_stable, version >= 7);
            assert_eq!(ours.into_groups(version), groups, "version {version}");
            prefixes_are_refused(&body, |r| OffsetFetchRequest::decode(version, r).map(drop));
        }
    }
    // All topics cannot be asked for in version 1.
    assert!(OffsetFetchRequest::decode(1, &mut Reader::new(b"\0\x01g\xff\xff\xff\xff")).is_err());
    assert!(OffsetFetchRequest::decode(2, &mut Reader::new(b"\0\x01g\xff\xff\xff\xff")).is_ok());
}

/// Version 10, which the independent codec does not have, after Kafka's message definitions.
#[test]
fn requests_with_topic_ids_are_read() {
    let id = [7; 16];
    let commit =
        [&b"\x02g\0\0\0\x06\x04m-1\0\x02"[..], &id, b"\x02\0\0\0\x03\0\0\0\0\0\0\0\x11\0\0\0\x04\x02m\0\0\0"]
            .concat();
    let read =
        |bytes: &[u8]| OffsetCommitRequest::decode(10, &mut Reader::new(bytes)).map(|r| r.topics.len());
    let ours = OffsetCommitRequest::decode(10, &mut Reader::new(&commit)).unwrap();
    let partition = OffsetCommitPartition { index: 3, offset: 17, leader_epoch: 4, metadata: Some("m") };
    let topic = OffsetCommitTopic { name: "", topic_id: Uuid::from_bytes(id), partitions: vec![partition] };
    let expected = OffsetCommitRequest {
        group: "g",
        generation: 6,
        member_id: "m-1",
        topics: vec![topic],
        ..Default::default()
    };
    assert_eq!(ours, expected);
    (0..commit.len()).for_each(|len| assert!(read(&commit[..len]).is_err(), "{len}"));

    let fetch = [&b"\x02\x02g\0\xff\xff\xff\xff\x02"[..], &id, b"\x03\0\0\0\0\0\0\0\x07\0\0\x01\0"].concat();
    let ours = OffsetFetchRequest::decode(10, &mut Reader::new(&fetch)).unwrap();
    let topic = OffsetFetchTopic { name: "", topic_id: Uuid::from_bytes(id), partitions: vec![0, 7] };
    let group = OffsetFetchGroup { group: "g", topics: Some(vec![topic]), ..Default::default() };
    assert_eq!((ours.require_stable, ours.groups), (true, vec![group]));
    for len in 0..fetch.len() {
        assert!(OffsetFetchRequest::decode(10, &mut Reader::new(&fetch[..len])).is_err(), "{len}");
    }
}

fn fetched(version: i16, group: &str, error: ErrorCode) -> FetchedGroup<'static> {
    let (named, topic_id) = topic_in(version);
    let found = FetchedOffset {
        index: 0,
        offset: 17,
        leader_epoch: 4,
        metadata: Some("m".into()),
        ..Default::default()
    };
    let topic =
        FetchedTopic { name: named.into(), topic_id, partitions: vec![found, FetchedOffset::nothing(7)] };
    FetchedGroup { group: group.to_owned().into(), error, topics: vec![topic] }
}

#[test]
fn answers_to_fetches_of_every_version_are_written() {
    type Flat = (i32, i64, i32, String, i16);
    for version in 1..=10 {
        let (named, topic_id) = topic_in(version);
        let epoch = if version >= 5 { 4 } else { -1 };
        let row = |error| -> Vec<Flat> {
            vec![(0, 17, epoch, "m".to_owned(), error), (7, -1, -1, String::new(), error)]
        };
        let error = ErrorCode::CoordinatorNotAvailable;
        let response = OffsetFetchResponse::new(
            version,
            vec![fetched(version, "g", error), fetched(version, "h", error)],
        );
        let theirs: TheirFetched = answered(ApiKey::OffsetFetch, version, |w| response.encode(version, w));
        let metadata = |m: &Option<_>| m.clone().map(|m: kafka_protocol::protocol::StrBytes| m.to_string());
        if version < 8 {
            assert_eq!((theirs.topics.len(), &theirs.topics[0].name), (1, &name("orders")));
            assert_eq!(theirs.error_code, if version >= 2 { 15 } else { 0 });
            let flat = theirs.topics[0].partitions.iter().map(|p| {
                let metadata = metadata(&p.metadata).expect("never null");
                (p.partition_index, p.committed_offset, p.committed_leader_epoch, metadata, p.error_code)
            });
            let wanted = row(if version < 2 { 15 } else { 0 });
            assert_eq!(flat.collect::<Vec<_>>(), wanted, "version {version}");
            continue;
        }
        assert_eq!(theirs.groups.len(), 2);
        for (found, wanted) in theirs.groups.iter().zip(["g", "h"]) {
            assert_eq!((&found.group_id, found.error_code), (&group(wanted), 15));
            assert_eq!((found.topics.len(), &found.topics[0].name), (1, &name(named)));
            assert_eq!(found.topics[0].topic_id, topic_id);
            let flat = found.topics[0].partitions.iter().map(|p| {
                let metadata = metadata(&p.metadata).expect("never null");
                (p.partition_index, p.committed_offset, p.committed_leader_epoch, metadata, p.error_code)
            });
            assert_eq!(flat.collect::<Vec<_>>(), row(0), "version {version}");
        }
    }
}

#[test]
fn offset_delete_is_read_and_answered() {
    let partition = |index| TheirDeletePartition::default().with_partition_index(index);
    let topic = TheirDeleteTopic::default()
        .with_name(name("orders"))
        .with_partitions(vec![partition(0), partition(7)]);
    let request = TheirDelete::default().with_group_id(group("g")).with_topics(vec![topic]);
    let body = encoded(&request, 0);
    let ours = OffsetDeleteRequest::decode(0, &mut Reader::new(&body)).unwrap();
    assert_eq!(
        ours,
        OffsetDeleteRequest {
            group: "g",
            topics: vec![OffsetDeleteTopic {
                name: "orders",
                partitions: vec![OffsetDeletePartition { index: 0 }, OffsetDeletePartition { index: 7 }]
            }]
        }
    );
    prefixes_are_refused(&body, |r| OffsetDeleteRequest::decode(0, r).map(drop));

    let partitions = vec![outcome(0, ErrorCode::None), outcome(7, ErrorCode::UnknownTopicOrPartition)];
    let topics = vec![CommittedTopic { name: "orders".into(), topic_id: Uuid::nil(), partitions }];
    let response = OffsetDeleteResponse { error: ErrorCode::GroupIdNotFound, topics, ..Default::default() };
    let theirs: TheirDeleted = answered(ApiKey::OffsetDelete, 0, |w| response.encode(0, w));
    assert_eq!((theirs.error_code, &theirs.topics[0].name), (69, &name("orders")));
    let flat: Vec<_> =
        theirs.topics[0].partitions.iter().map(|p| (p.partition_index, p.error_code)).collect();
    assert_eq!(flat, [(0, 0), (7, 3)]);
}
