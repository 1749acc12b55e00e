//! Metadata, versions 0 to 13.
use bytes::BytesMut;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic as TheirTopic;
use kafka_protocol::messages::{MetadataRequest as TheirRequest, MetadataResponse as TheirResponse};
use keylane_kafka::frame::write_response;
use keylane_kafka::messages::metadata::{
    MetadataBroker, MetadataPartition, MetadataRequest, MetadataRequestTopic, MetadataResponse,
    MetadataTopic, OPERATIONS_OMITTED,
};
use keylane_kafka::{ApiKey, ErrorCode, Message, Reader, ResponseHeader};
use uuid::Uuid;

use super::{decoded, encoded, id, name, text};

fn read(request: &TheirRequest, version: i16, check: impl FnOnce(MetadataRequest<'_>)) {
    let body = encoded(request, version);
    check(MetadataRequest::decode(version, &mut Reader::new(&body)).expect("a request"));
    for len in 0..body.len() {
        assert!(MetadataRequest::decode(version, &mut Reader::new(&body[..len])).is_err());
    }
}

#[test]
fn requests_of_every_version_are_read() {
    for version in 0..=13 {
        let mut topics = vec![TheirTopic::default().with_name(Some(name("orders")))];
        if version >= 10 {
            topics.push(TheirTopic::default().with_name(None).with_topic_id(id(2)));
        }
        let mut request =
            TheirRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(version < 4);
        if (8..=10).contains(&version) {
            request = request.with_include_cluster_authorized_operations(true);
        }
        if version >= 8 {
            request = request.with_include_topic_authorized_operations(true);
        }
        read(&request, version, |ours| {
            let mut topics = vec![MetadataRequestTopic { topic_id: Uuid::nil(), name: Some("orders") }];
            if version >= 10 {
                topics.push(MetadataRequestTopic { topic_id: id(2), name: None });
            }
            let expected = MetadataRequest {
                topics: Some(topics),
                allow_auto_topic_creation: version < 4,
                include_cluster_authorized_operations: (8..=10).contains(&version),
                include_topic_authorized_operations: version >= 8,
            };
            assert_eq!(ours, expected, "v{version}");
        });
    }
}

#[test]
fn all_topics_and_no_topics_are_told_apart() {
    read(&TheirRequest::default().with_topics(Some(vec![])), 0, |ours| assert_eq!(ours.topics(0), None));
    for version in 1..=13 {
        read(&TheirRequest::default().with_topics(None), version, |ours| {
            assert_eq!((ours.topics, ours.allow_auto_topic_creation), (None, true));
        });
        let none = TheirRequest::default().with_topics(Some(vec![]));
        read(&none, version, |ours| assert_eq!(ours.topics, Some(vec![])));
    }
}

#[test]
fn responses_of_every_version_are_written() {
    for version in 0..=13 {
        let partition = MetadataPartition {
            error: ErrorCode::None,
            index: 4,
            leader_id: 1,
            leader_epoch: 0,
            replicas: vec![1].into(),
            isr_nodes: vec![1].into(),
            ..Default::default()
        };
        let response = MetadataResponse {
            brokers: vec![MetadataBroker {
                node_id: 1,
                host: "host".into(),
                port: 9092,
                rack: Some("r".into()),
            }],
            cluster_id: Some("cluster".into()),
            controller_id: 1,
            topics: vec![
                MetadataTopic {
                    error: ErrorCode::None,
                    name: Some("orders".into()),
                    topic_id: id(1),
                    is_internal: true,
                    partitions: vec![partition; 2],
                    topic_authorized_operations: 0xdf8,
                },
                MetadataTopic {
                    error: ErrorCode::UnknownTopicId,
                    name: None,
                    topic_id: id(2),
                    is_internal: false,
                    partitions: vec![],
                    topic_authorized_operations: OPERATIONS_OMITTED,
                },
            ],
            cluster_authorized_operations: 7,
            error: ErrorCode::RebootstrapRequired,
            ..Default::default()
        };
        let mut out = BytesMut::new();
        let header = ResponseHeader { api: ApiKey::Metadata, version, correlation_id: 4 };
        write_response(&mut out, header, |w| response.encode(version, w)).unwrap();
        let theirs: TheirResponse =
            decoded(&out, version, 4, i16::from(ApiKey::Metadata.is_flexible(version)));

        let broker = &theirs.brokers[0];
        assert_eq!((broker.node_id.0, broker.host.as_str(), broker.port), (1, "host", 9092));
        assert_eq!(broker.rack, (version >= 1).then(|| text("r")));
        assert_eq!(theirs.cluster_id, (version >= 2).then(|| text("cluster")));
        assert_eq!(theirs.controller_id.0, if version >= 1 { 1 } else { -1 });
        assert_eq!(
            theirs.cluster_authorized_operations,
            if (8..=10).contains(&version) { 7 } else { i32::MIN }
        );
        assert_eq!(theirs.error_code, if version >= 13 { 129 } else { 0 });
        let [orders, unknown] = &theirs.topics[..] else { panic!("{theirs:?}") };
        assert_eq!(orders.name, Some(name("orders")));
        assert_eq!(orders.topic_id, if version >= 10 { id(1) } else { Uuid::nil() });
        assert_eq!((orders.error_code, orders.is_internal), (0, version >= 1));
        assert_eq!(orders.topic_authorized_operations, if version >= 8 { 0xdf8 } else { i32::MIN });
        assert_eq!(orders.partitions.len(), 2);
        let p = &orders.partitions[1];
        assert_eq!((p.error_code, p.partition_index, p.leader_id.0), (0, 4, 1));
        assert_eq!(p.leader_epoch, if version >= 7 { 0 } else { -1 });
        assert_eq!((p.replica_nodes.len(), p.isr_nodes[0].0, p.offline_replicas.len()), (1, 1, 0));
        assert_eq!(unknown.error_code, 100);
        assert_eq!(unknown.name, if version >= 12 { None } else { Some(name("")) });
    }
}
