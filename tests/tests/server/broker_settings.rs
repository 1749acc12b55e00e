//! Proves over the wire that settings of the broker which are changed while the server runs are in force at once for all topics, old ones and
//! new ones, on every core; that a topic's own count more; and that they stay over a restart. What is answered to whom is compared with
//! Apache Kafka by `tests/differential`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use kafka_protocol::protocol::StrBytes;
use keylane::ServerConfig;
use keylane_tests::e2e::batch::{numbered, single};
use keylane_tests::e2e::client::Client;
use keylane_tests::e2e::server::{config, scratch, two_cores};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const MESSAGE_TOO_LARGE: i16 = 10;

fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

/// Sets one value; the error.
fn set(client: &mut Client, kind: i8, whose: &str, setting: &str, value: &str) -> i16 {
    let one = AlterableConfig::default().with_name(text(setting)).with_value(Some(text(value)));
    let resource = AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(whose))
        .with_configs(vec![one]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    client.call(1, &request).unwrap().responses[0].error_code
}

/// The value and the source of each setting.
fn described(client: &mut Client, kind: i8, whose: &str) -> BTreeMap<String, (String, i8)> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(whose))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let answer = client.call(4, &request).unwrap();
    assert_eq!(answer.results[0].error_code, 0);
    let each = answer.results[0].configs.iter();
    each.map(|c| (c.name.to_string(), (c.value.clone().unwrap_or_default().to_string(), c.config_source)))
        .collect()
}

/// What becomes of a large batch in each partition of a topic, which live on all cores.
fn large(client: &mut Client, topic: &str) -> Vec<i16> {
    let batch = single(numbered(1, 5000));
    (0..4).map(|partition| client.produce(topic, partition, batch.clone()).unwrap().error_code).collect()
}

#[test]
fn settings_of_the_broker_are_in_force_at_once_and_stay_over_a_restart() {
    let dir = scratch(env!("CARGO_TARGET_TMPDIR"), "broker-settings-").unwrap();
    let config = || ServerConfig { cores: Some(two_cores()), ..config(&dir.path().join("data")) };
    let server = keylane::start(config()).unwrap();
    let mut client = Client::connect(server.kafka_addr()).unwrap();
    for topic in ["old", "own"] {
        assert_eq!(client.create_topic(topic, 4).unwrap(), 0);
    }
    assert_eq!(set(&mut client, TOPIC, "own", "max.message.bytes", "900000"), 0);
    assert_eq!(large(&mut client, "old"), [0; 4]);
    assert_eq!(set(&mut client, BROKER, "", "message.max.bytes", "700000"), 0);
    assert_eq!(large(&mut client, "old"), [0; 4]);
    assert_eq!(set(&mut client, BROKER, "0", "message.max.bytes", "4000"), 0);
    assert_eq!(set(&mut client, BROKER, "0", "log.retention.ms", "3600000"), 0);
    assert_eq!(set(&mut client, BROKER_LOGGER, "0", "keylane.front", "DEBUG"), 0);
    assert_eq!(client.create_topic("new", 4).unwrap(), 0);
    let check = |client: &mut Client| {
        assert_eq!(large(client, "old"), [MESSAGE_TOO_LARGE; 4]);
        assert_eq!(large(client, "new"), [MESSAGE_TOO_LARGE; 4]);
        assert_eq!(large(client, "own"), [0; 4]);
        let topic = described(client, TOPIC, "old");
        assert_eq!(topic["max.message.bytes"], ("4000".to_owned(), 2));
        assert_eq!(topic["retention.ms"], ("3600000".to_owned(), 2));
        assert_eq!(described(client, TOPIC, "own")["max.message.bytes"], ("900000".to_owned(), 1));
        assert_eq!(described(client, BROKER, "0")["message.max.bytes"], ("4000".to_owned(), 2));
        let all = described(client, BROKER, "");
        assert_eq!(all, BTreeMap::from([("message.max.bytes".to_owned(), ("700000".to_owned(), 3))]));
        let levels = described(client, BROKER_LOGGER, "0");
        assert_eq!((levels["keylane.front.kafka"].0.as_str(), levels["root"].0.as_str()), ("DEBUG", "INFO"));
    };
    check(&mut client);
    drop(client);
    server.stop().unwrap();
    // As many cores as before, and one.
    for cores in [two_cores(), vec![0]] {
        let server = keylane::start(ServerConfig { cores: Some(cores), ..config() }).unwrap();
        let mut client = Client::connect(server.kafka_addr()).unwrap();
        check(&mut client);
        drop(client);
        server.stop().unwrap();
    }
}
