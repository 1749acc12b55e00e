//! CreateTopics 2 to 7, DeleteTopics 1 to 6, CreatePartitions 0 to 3, InitProducerId 0 to 5.
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic as TheirCreatable, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{self as theirs, BrokerId, ProducerId, TransactionalId};
use keylane_kafka::messages::alter_configs::ConfigEntry;
use keylane_kafka::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, EnlargedTopic, NewPartition, PartitionsTopic,
};
use keylane_kafka::messages::create_topics::{
    CreatableTopic, CreateTopicsRequest, CreateTopicsResponse, CreatedTopic, CreatedTopicConfig,
    ReplicaAssignment,
};
use keylane_kafka::messages::delete_topics::{
    DeletableTopic, DeleteTopicsRequest, DeleteTopicsResponse, DeletedTopic,
};
use keylane_kafka::messages::describe_configs::ConfigSource;
use keylane_kafka::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use keylane_kafka::{ApiKey, ErrorCode, Message, Reader};
use uuid::Uuid;

use super::{answered, encoded, id, name, prefixes_are_refused, text};

#[test]
fn create_topics_requests_are_read() {
    for version in 2..=7 {
        let assignment = CreatableReplicaAssignment::default()
            .with_partition_index(3)
            .with_broker_ids(vec![BrokerId(1), BrokerId(2)]);
        let config = |key: &str, value: Option<&str>| {
            CreatableTopicConfig::default().with_name(text(key)).with_value(value.map(text))
        };
        let request = theirs::CreateTopicsRequest::default()
            .with_topics(vec![
                TheirCreatable::default()
                    .with_name(name("orders"))
                    .with_num_partitions(-1)
                    .with_replication_factor(-1)
                    .with_assignments(vec![assignment])
                    .with_configs(vec![config("retention.ms", Some("1000")), config("cleanup.policy", None)]),
                TheirCreatable::default()
                    .with_name(name("clicks"))
                    .with_num_partitions(12)
                    .with_replication_factor(1),
            ])
            .with_timeout_ms(30_000)
            .with_validate_only(true);
        let body = encoded(&request, version);
        let ours = CreateTopicsRequest::decode(version, &mut Reader::new(&body)).unwrap();
        let expected = CreateTopicsRequest {
            topics: vec![
                CreatableTopic {
                    name: "orders",
                    num_partitions: -1,
                    replication_factor: -1,
                    assignments: vec![ReplicaAssignment { index: 3, brokers: vec![1, 2] }],
                    configs: vec![
                        ConfigEntry { name: "retention.ms", value: Some("1000") },
                        ConfigEntry { name: "cleanup.policy", value: None },
                    ],
                },
                CreatableTopic {
                    name: "clicks",
                    num_partitions: 12,
                    replication_factor: 1,
                    assignments: vec![],
                    configs: vec![],
                },
            ],
            timeout_ms: 30_000,
            validate_only: true,
        };
        assert_eq!(ours, expected);
        prefixes_are_refused(&body, |r| CreateTopicsRequest::decode(version, r).map(drop));
    }
}

#[test]
fn create_topics_responses_are_written() {
    for version in 2..=7 {
        let config = CreatedTopicConfig {
            name: "retention.ms".into(),
            value: Some("1000".into()),
            read_only: false,
            source: ConfigSource::Topic,
            ..Default::default()
        };
        let response = CreateTopicsResponse {
            topics: vec![
                CreatedTopic {
                    name: "orders".into(),
                    topic_id: id(1),
                    error: ErrorCode::None,
                    error_message: None,
                    num_partitions: 4,
                    replication_factor: 1,
                    configs: Some(vec![config]),
                },
                CreatedTopic::failed(
                    "clicks",
                    ErrorCode::TopicAlreadyExists,
                    "Topic 'clicks' already exists.",
                ),
            ],
            ..Default::default()
        };
        let theirs: theirs::CreateTopicsResponse =
            answered(ApiKey::CreateTopics, version, |w| response.encode(version, w));
        let [orders, clicks] = &theirs.topics[..] else { panic!("{theirs:?}") };
        assert_eq!((&orders.name, orders.error_code, &orders.error_message), (&name("orders"), 0, &None));
        assert_eq!(orders.topic_id, if version >= 7 { id(1) } else { Uuid::nil() });
        let message = text("Topic 'clicks' already exists.");
        assert_eq!((clicks.error_code, &clicks.error_message), (36, &Some(message)));
        if version >= 5 {
            assert_eq!((orders.num_partitions, orders.replication_factor), (4, 1));
            let configs = orders.configs.as_deref().unwrap();
            assert_eq!(
                (configs.len(), configs[0].name.as_str(), configs[0].config_source),
                (1, "retention.ms", 1)
            );
            assert_eq!(configs[0].value, Some(text("1000")));
            assert_eq!((clicks.num_partitions, clicks.replication_factor), (-1, -1));
            assert_eq!(clicks.configs.as_deref(), Some(&[][..]), "as in Kafka");
        }
    }
}

#[test]
fn delete_topics_requests_are_read() {
    for version in 1..=6 {
        let request = if version >= 6 {
            theirs::DeleteTopicsRequest::default().with_topics(vec![
                DeleteTopicState::default().with_name(Some(name("orders"))),
                DeleteTopicState::default().with_name(None).with_topic_id(id(2)),
            ])
        } else {
            theirs::DeleteTopicsRequest::default().with_topic_names(vec![name("orders"), name("clicks")])
        };
        let body = encoded(&request.with_timeout_ms(8), version);
        let ours = DeleteTopicsRequest::decode(version, &mut Reader::new(&body)).unwrap();
        let first = DeletableTopic { name: Some("orders"), topic_id: Uuid::nil() };
        let second = if version >= 6 {
            DeletableTopic { name: None, topic_id: id(2) }
        } else {
            DeletableTopic { name: Some("clicks"), topic_id: Uuid::nil() }
        };
        assert_eq!((ours.topics().collect(), ours.timeout_ms), (vec![first, second], 8));
        prefixes_are_refused(&body, |r| DeleteTopicsRequest::decode(version, r).map(drop));
    }
}

#[test]
fn delete_topics_responses_are_written() {
    for version in 1..=6 {
        let deleted = |name: Option<&'static str>, n, error, message: Option<&'static str>| DeletedTopic {
            name: name.map(Into::into),
            topic_id: id(n),
            error,
            error_message: message.map(Into::into),
        };
        let response = DeleteTopicsResponse {
            topics: vec![
                deleted(Some("orders"), 1, ErrorCode::None, None),
                deleted(None, 2, ErrorCode::UnknownTopicId, Some("unknown")),
            ],
            ..Default::default()
        };
        let theirs: theirs::DeleteTopicsResponse =
            answered(ApiKey::DeleteTopics, version, |w| response.encode(version, w));
        let [orders, unknown] = &theirs.responses[..] else { panic!("{theirs:?}") };
        assert_eq!((&orders.name, orders.error_code), (&Some(name("orders")), 0));
        assert_eq!(orders.topic_id, if version >= 6 { id(1) } else { Uuid::nil() });
        assert_eq!(unknown.name, if version >= 6 { None } else { Some(name("")) });
        assert_eq!(unknown.error_code, 100);
        assert_eq!(unknown.error_message, (version >= 5).then(|| text("unknown")));
    }
}

#[test]
fn create_partitions_both_ways() {
    for version in 0..=3 {
        let topic = |topic: &str, assignments: Option<Vec<Vec<i32>>>| {
            let assignments = assignments.map(|list| {
                let brokers = |ids: Vec<i32>| ids.into_iter().map(BrokerId).collect();
                list.into_iter()
                    .map(|ids| CreatePartitionsAssignment::default().with_broker_ids(brokers(ids)))
                    .collect()
            });
            CreatePartitionsTopic::default()
                .with_name(name(topic))
                .with_count(6)
                .with_assignments(assignments)
        };
        let request = theirs::CreatePartitionsRequest::default()
            .with_topics(vec![topic("orders", None), topic("clicks", Some(vec![vec![1], vec![1, 2]]))])
            .with_timeout_ms(5)
            .with_validate_only(true);
        let body = encoded(&request, version);
        let ours = CreatePartitionsRequest::decode(version, &mut Reader::new(&body)).unwrap();
        let expected = CreatePartitionsRequest {
            topics: vec![
                PartitionsTopic { name: "orders", count: 6, assignments: None },
                PartitionsTopic {
                    name: "clicks",
                    count: 6,
                    assignments: Some(vec![
                        NewPartition { brokers: vec![1] },
                        NewPartition { brokers: vec![1, 2] },
                    ]),
                },
            ],
            timeout_ms: 5,
            validate_only: true,
        };
        assert_eq!(ours, expected);
        prefixes_are_refused(&body, |r| CreatePartitionsRequest::decode(version, r).map(drop));

        let response = CreatePartitionsResponse {
            topics: vec![EnlargedTopic {
                name: "orders".into(),
                error: ErrorCode::InvalidPartitions,
                error_message: Some("fewer".into()),
            }],
            ..Default::default()
        };
        let theirs: theirs::CreatePartitionsResponse =
            answered(ApiKey::CreatePartitions, version, |w| response.encode(version, w));
        let result = &theirs.results[0];
        assert_eq!((&result.name, result.error_code), (&name("orders"), 37));
        assert_eq!(result.error_message, Some(text("fewer")));
    }
}

#[test]
fn init_producer_id_both_ways() {
    for version in 0..=5 {
        for transactional_id in [None, Some("tx")] {
            let mut request = theirs::InitProducerIdRequest::default()
                .with_transactional_id(transactional_id.map(|tx| TransactionalId(text(tx))))
                .with_transaction_timeout_ms(60_000);
            if version >= 3 {
                request = request.with_producer_id(ProducerId(70)).with_producer_epoch(7);
            }
            let body = encoded(&request, version);
            let ours = InitProducerIdRequest::decode(version, &mut Reader::new(&body)).unwrap();
            let expected = InitProducerIdRequest {
                transactional_id,
                transaction_timeout_ms: 60_000,
                producer_id: if version >= 3 { 70 } else { -1 },
                producer_epoch: if version >= 3 { 7 } else { -1 },
            };
            assert_eq!(ours, expected);
            prefixes_are_refused(&body, |r| InitProducerIdRequest::decode(version, r).map(drop));
        }
        let response = InitProducerIdResponse {
            error: ErrorCode::None,
            producer_id: 1 << 40,
            producer_epoch: 3,
            ..Default::default()
        };
        let theirs: theirs::InitProducerIdResponse =
            answered(ApiKey::InitProducerId, version, |w| response.encode(version, w));
        assert_eq!((theirs.error_code, theirs.producer_id.0, theirs.producer_epoch), (0, 1 << 40, 3));
    }
}
