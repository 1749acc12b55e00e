//! DescribeCluster 0 to 2, DescribeConfigs 1 to 4.
use kafka_protocol::messages as theirs;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use keylane_kafka::messages::describe_cluster::{
    BROKERS, CONTROLLERS, ClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use keylane_kafka::messages::describe_configs::{
    BROKER, ConfigResource, ConfigSource, ConfigSynonym, ConfigType, DescribeConfigsRequest,
    DescribeConfigsResponse, DescribedConfig, DescribedResource, TOPIC,
};
use keylane_kafka::messages::metadata::OPERATIONS_OMITTED;
use keylane_kafka::{ApiKey, ErrorCode, Message, Reader};

use super::{answered, encoded, prefixes_are_refused, text};

#[test]
fn describe_cluster_both_ways() {
    for version in 0..=2 {
        let mut request =
            theirs::DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
        if version >= 1 {
            request = request.with_endpoint_type(CONTROLLERS);
        }
        if version >= 2 {
            request = request.with_include_fenced_brokers(true);
        }
        let body = encoded(&request, version);
        let ours = DescribeClusterRequest::decode(version, &mut Reader::new(&body)).unwrap();
        let expected = DescribeClusterRequest {
            include_cluster_authorized_operations: true,
            endpoint_type: if version >= 1 { CONTROLLERS } else { BROKERS },
            include_fenced_brokers: version >= 2,
        };
        assert_eq!(ours, expected);
        prefixes_are_refused(&body, |r| DescribeClusterRequest::decode(version, r));

        let response = DescribeClusterResponse {
            error: ErrorCode::None,
            error_message: None,
            endpoint_type: BROKERS,
            cluster_id: "cluster".into(),
            controller_id: 1,
            brokers: vec![ClusterBroker {
                id: 1,
                host: "host".into(),
                port: 9092,
                rack: None,
                ..Default::default()
            }],
            cluster_authorized_operations: OPERATIONS_OMITTED,
            ..Default::default()
        };
        let theirs: theirs::DescribeClusterResponse =
            answered(ApiKey::DescribeCluster, version, |w| response.encode(version, w));
        assert_eq!((theirs.error_code, theirs.endpoint_type, theirs.controller_id.0), (0, 1, 1));
        assert_eq!(theirs.cluster_id, text("cluster"));
        assert_eq!(theirs.cluster_authorized_operations, i32::MIN);
        let broker = &theirs.brokers[0];
        assert_eq!((broker.broker_id.0, broker.host.as_str(), broker.port), (1, "host", 9092));
        assert!(!broker.is_fenced && broker.rack.is_none());
    }
}

#[test]
fn describe_configs_requests_are_read() {
    for version in 1..=4 {
        let resource = |kind, name: &str, keys: Option<&[&str]>| {
            DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()))
        };
        let mut request = theirs::DescribeConfigsRequest::default()
            .with_resources(vec![
                resource(TOPIC, "orders", Some(&["retention.ms", "segment.bytes"])),
                resource(BROKER, "1", None),
                resource(BROKER, "", Some(&[])),
            ])
            .with_include_synonyms(true);
        if version >= 3 {
            request = request.with_include_documentation(true);
        }
        let body = encoded(&request, version);
        let ours = DescribeConfigsRequest::decode(version, &mut Reader::new(&body)).unwrap();
        let keys = Some(vec!["retention.ms", "segment.bytes"]);
        let expected = DescribeConfigsRequest {
            resources: vec![
                ConfigResource { kind: TOPIC, name: "orders", keys },
                ConfigResource { kind: BROKER, name: "1", keys: None },
                ConfigResource { kind: BROKER, name: "", keys: Some(vec![]) },
            ],
            include_synonyms: true,
            include_documentation: version >= 3,
        };
        assert_eq!(ours, expected);
        prefixes_are_refused(&body, |r| DescribeConfigsRequest::decode(version, r).map(drop));
    }
}

#[test]
fn describe_configs_responses_are_written() {
    for version in 1..=4 {
        let synonym = ConfigSynonym {
            name: "log.retention.ms".into(),
            value: Some("-1".into()),
            source: ConfigSource::Default,
        };
        let config = DescribedConfig {
            name: "retention.ms".into(),
            value: Some("1000".into()),
            read_only: false,
            source: ConfigSource::Topic,
            is_sensitive: false,
            synonyms: vec![synonym],
            config_type: ConfigType::Long,
            documentation: Some("How long.".into()),
        };
        let secret = DescribedConfig {
            value: None,
            is_sensitive: true,
            read_only: true,
            source: ConfigSource::StaticBroker,
            synonyms: vec![],
            documentation: None,
            config_type: ConfigType::Password,
            ..config.clone()
        };
        let response = DescribeConfigsResponse {
            resources: vec![
                DescribedResource {
                    error: ErrorCode::None,
                    error_message: None,
                    kind: TOPIC,
                    name: "orders".into(),
                    configs: vec![config, secret],
                },
                DescribedResource {
                    error: ErrorCode::UnknownTopicOrPartition,
                    error_message: Some("unknown".into()),
                    kind: TOPIC,
                    name: "clicks".into(),
                    configs: vec![],
                },
            ],
            ..Default::default()
        };
        let theirs: theirs::DescribeConfigsResponse =
            answered(ApiKey::DescribeConfigs, version, |w| response.encode(version, w));
        let [orders, clicks] = &theirs.results[..] else { panic!("{theirs:?}") };
        assert_eq!((orders.resource_type, orders.resource_name.as_str()), (TOPIC, "orders"));
        assert_eq!((clicks.error_code, &clicks.error_message), (3, &Some(text("unknown"))));
        let [first, second] = &orders.configs[..] else { panic!("{orders:?}") };
        assert_eq!((first.name.as_str(), &first.value), ("retention.ms", &Some(text("1000"))));
        assert_eq!((first.config_source, first.read_only, first.is_sensitive), (1, false, false));
        assert_eq!((second.config_source, second.read_only, second.is_sensitive), (4, true, true));
        assert_eq!(second.value, None);
        let synonym = &first.synonyms[0];
        assert_eq!((synonym.name.as_str(), synonym.source), ("log.retention.ms", 5));
        if version >= 3 {
            assert_eq!((first.config_type, second.config_type), (5, 9));
            assert_eq!((&first.documentation, &second.documentation), (&Some(text("How long.")), &None));
        }
    }
}
