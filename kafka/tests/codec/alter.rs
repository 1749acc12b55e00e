//! AlterConfigs 0 to 2, IncrementalAlterConfigs 0 and 1.
use kafka_protocol::messages::{self as theirs, alter_configs_request, incremental_alter_configs_request};
use keylane_kafka::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResponse, AlteredResource, ConfigEntry,
};
use keylane_kafka::messages::describe_configs::{BROKER, TOPIC};
use keylane_kafka::messages::incremental_alter_configs::{
    ConfigChange, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, IncrementalResource,
    Operation,
};
use keylane_kafka::{ApiKey, ErrorCode, Message, Reader};

use super::{answered, encoded, prefixes_are_refused, text};

#[test]
fn alter_configs_requests_are_read() {
    use alter_configs_request::{AlterConfigsResource as TheirResource, AlterableConfig};
    for version in 0..=2 {
        let config = |name: &str, value: Option<&str>| {
            AlterableConfig::default().with_name(text(name)).with_value(value.map(text))
        };
        let request = theirs::AlterConfigsRequest::default()
            .with_resources(vec![
                TheirResource::default()
                    .with_resource_type(TOPIC)
                    .with_resource_name(text("orders"))
                    .with_configs(vec![config("retention.ms", Some("-1")), config("segment.ms", None)]),
                TheirResource::default().with_resource_type(BROKER),
            ])
            .with_validate_only(true);
        let body = encoded(&request, version);
        let ours = AlterConfigsRequest::decode(version, &mut Reader::new(&body)).unwrap();
        let entry = |name, value| ConfigEntry { name, value };
        let configs = vec![entry("retention.ms", Some("-1")), entry("segment.ms", None)];
        let expected = AlterConfigsRequest {
            resources: vec![
                AlterConfigsResource { kind: TOPIC, name: "orders", configs },
                AlterConfigsResource { kind: BROKER, name: "", configs: vec![] },
            ],
            validate_only: true,
        };
        assert_eq!(ours, expected);
        prefixes_are_refused(&body, |r| AlterConfigsRequest::decode(version, r).map(drop));
    }
}

#[test]
fn incremental_alter_configs_requests_are_read() {
    use incremental_alter_configs_request::{AlterConfigsResource as TheirResource, AlterableConfig};
    for version in 0..=1 {
        let config = |name: &str, operation, value: Option<&str>| {
            AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(operation)
                .with_value(value.map(text))
        };
        let request = theirs::IncrementalAlterConfigsRequest::default().with_resources(vec![
            TheirResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(text("orders"))
                .with_configs(vec![
                    config("cleanup.policy", 2, Some("compact")),
                    config("segment.ms", 1, None),
                ]),
            TheirResource::default().with_resource_type(TOPIC).with_resource_name(text("clicks")),
        ]);
        let body = encoded(&request, version);
        let ours = IncrementalAlterConfigsRequest::decode(version, &mut Reader::new(&body)).unwrap();
        let append = ConfigChange { name: "cleanup.policy", operation: 2, value: Some("compact") };
        let delete = ConfigChange { name: "segment.ms", operation: 1, value: None };
        let expected = IncrementalAlterConfigsRequest {
            resources: vec![
                IncrementalResource { kind: TOPIC, name: "orders", configs: vec![append, delete] },
                IncrementalResource { kind: TOPIC, name: "clicks", configs: vec![] },
            ],
            validate_only: false,
        };
        assert_eq!(ours, expected);
        prefixes_are_refused(&body, |r| IncrementalAlterConfigsRequest::decode(version, r).map(drop));
    }
    for operation in [Operation::Set, Operation::Delete, Operation::Append, Operation::Subtract] {
        assert_eq!(Operation::from_code(operation as i8), Some(operation));
    }
    assert_eq!((Operation::from_code(4), Operation::from_code(-1)), (None, None));
}

#[test]
fn responses_are_written() {
    let resources = vec![
        AlteredResource { error: ErrorCode::None, error_message: None, kind: TOPIC, name: "orders".into() },
        AlteredResource {
            error: ErrorCode::InvalidConfig,
            error_message: Some("why".into()),
            kind: BROKER,
            name: "0".into(),
        },
    ];
    let expected = [(0, None, TOPIC, text("orders")), (40, Some(text("why")), BROKER, text("0"))];
    for version in 0..=2 {
        let api = ApiKey::AlterConfigs;
        let response = AlterConfigsResponse { resources: resources.clone(), ..Default::default() };
        let theirs: theirs::AlterConfigsResponse = answered(api, version, |w| response.encode(version, w));
        let read = theirs.responses.into_iter();
        let read = read.map(|r| (r.error_code, r.error_message, r.resource_type, r.resource_name));
        assert!(read.eq(expected.clone()), "v{version}");
    }
    for version in 0..=1 {
        let api = ApiKey::IncrementalAlterConfigs;
        let response = IncrementalAlterConfigsResponse { resources: resources.clone(), ..Default::default() };
        let theirs: theirs::IncrementalAlterConfigsResponse =
            answered(api, version, |w| response.encode(version, w));
        let read = theirs.responses.into_iter();
        let read = read.map(|r| (r.error_code, r.error_message, r.resource_type, r.resource_name));
        assert!(read.eq(expected.clone()), "v{version}");
    }
}
