//! Settings of topics and of the broker, as Kafka's clients know them.
//!
//! Promise: what is reported is what was given, by whom, and is in force where it has an effect; a setting that
//! has none says so in its documentation.

use std::borrow::Cow;
use std::collections::BTreeSet;

use keylane_kafka::ErrorCode;
use keylane_kafka::messages::describe_configs::{
    BROKER, BROKER_LOGGER, ConfigResource, ConfigSource, ConfigSynonym, ConfigType, DescribeConfigsRequest,
    DescribeConfigsResponse, DescribedConfig, DescribedResource, TOPIC,
};

use crate::config::{ServerConfig, Values};
use crate::core::Core;
use crate::front::kafka::connection::Connection;
use crate::front::kafka::context::Context;
use crate::front::kafka::errors::{Refusal, refusal_of_topic};
use crate::front::kafka::handlers::Handle;
use crate::front::kafka::node::{NODE_ID, address};
use crate::log_levels;
use crate::service::settings::{BrokerName, BrokerSettings, Kind, Layer, SETTINGS, Setting};
use crate::service::topics::{TopicKey, check_name};

use ConfigType::{Boolean, Int, Long, String as Text};

/// All settings of a topic.
pub fn topic_configs(own: &Values, core: &Core) -> Vec<DescribedConfig<'static>> {
    let (config, changed) = (&core.config, core.changed.borrow());
    let described = SETTINGS.iter().map(|setting| {
        let own = own.get(setting.name).map(|v| (setting.name, v.clone(), ConfigSource::Topic));
        layered(setting, setting.name, own, &changed, config)
    });
    described.collect()
}

/// A setting with the values it has from every source, the one that counts first.
fn layered(
    setting: &Setting,
    name: &'static str,
    own: Option<(&'static str, String, ConfigSource)>,
    changed: &BrokerSettings,
    config: &ServerConfig,
) -> DescribedConfig<'static> {
    let broker = setting.broker.map(BrokerName::name);
    let layers = [
        (Layer::Broker, ConfigSource::DynamicBroker),
        (Layer::AllBrokers, ConfigSource::DynamicDefaultBroker),
    ];
    let changed = layers.into_iter().filter_map(|(layer, source)| {
        Some((broker?, changed.layer(layer).get(setting.name)?.clone(), source))
    });
    let server = broker.zip(setting.of_server(config));
    let server = server.map(|(name, value)| (name, value, ConfigSource::StaticBroker));
    let default = match setting.broker {
        Some(BrokerName::WithDefault(name)) => {
            Some((name, setting.default.to_owned(), ConfigSource::Default))
        }
        Some(BrokerName::Empty(_)) | None => None,
    };
    let synonyms: Vec<_> = own
        .into_iter()
        .chain(changed)
        .chain(server)
        .chain(default)
        .map(|(name, value, source)| ConfigSynonym { name: name.into(), value: Some(value.into()), source })
        .collect();
    let first = synonyms.first().map(|first| (first.value.clone(), first.source));
    let (value, source) = first.unwrap_or((Some(setting.default.into()), ConfigSource::Default));
    DescribedConfig {
        name: name.into(),
        value,
        read_only: false,
        source,
        is_sensitive: false,
        synonyms,
        config_type: type_of(setting.kind()),
        documentation: Some(setting.meaning.into()),
    }
}

/// The protocol's name for the type of a setting.
fn type_of(kind: Kind) -> ConfigType {
    match kind {
        Kind::String => Text,
        Kind::Int => Int,
        Kind::Long => Long,
        Kind::Double => ConfigType::Double,
        Kind::List => ConfigType::List,
        Kind::Boolean => Boolean,
    }
}

/// What a server is by its place, and not by an option that has a default.
fn facts(connection: &Connection) -> Vec<DescribedConfig<'static>> {
    let config = &connection.core.config;
    let (host, port) = address(connection);
    let cores = connection.core.cluster.cores;
    let entry =
        |name, value, kind, meaning| described(name, value, kind, meaning, ConfigSource::StaticBroker);
    vec![
        entry(
            "advertised.listeners",
            format!("PLAINTEXT://{host}:{port}"),
            Text,
            "Where clients connect to.",
        ),
        entry("broker.id", NODE_ID.to_string(), Int, "The only node's id."),
        entry("default.replication.factor", "1".to_owned(), Int, "There is one node."),
        entry("listeners", format!("PLAINTEXT://{}", config.kafka), Text, "Where the server listens."),
        entry("log.dirs", config.data.display().to_string(), Text, "The data directory."),
        entry("node.id", NODE_ID.to_string(), Int, "The only node's id."),
        entry(
            "offset.metadata.max.bytes",
            super::groups::METADATA_MAX.to_string(),
            Int,
            "Longest metadata of a committed offset.",
        ),
        entry(
            "offsets.topic.num.partitions",
            connection.core.cluster.shards.to_string(),
            Int,
            "Partitions that __consumer_offsets is created with: as many as there are shards.",
        ),
        entry("num.network.threads", cores.to_string(), Int, "One thread per core does everything."),
    ]
}

/// Options, which say something else than their default or do not.
fn options(config: &ServerConfig) -> Vec<DescribedConfig<'static>> {
    let defaults = ServerConfig::default();
    let option = |name, value: String, default: String, kind, meaning| {
        let source = if value == default { ConfigSource::Default } else { ConfigSource::StaticBroker };
        described(name, value, kind, meaning, source)
    };
    vec![
        option(
            "auto.create.topics.enable",
            config.auto_create_topics.to_string(),
            defaults.auto_create_topics.to_string(),
            Boolean,
            "Create topics on demand.",
        ),
        option(
            "log.retention.check.interval.ms",
            config.retention_check_interval_ms.to_string(),
            defaults.retention_check_interval_ms.to_string(),
            Long,
            "Time between two looks at what may be deleted or compacted.",
        ),
        option(
            "max.connections",
            config.max_connections.to_string(),
            defaults.max_connections.to_string(),
            Int,
            "Most connections at once.",
        ),
        option(
            "max.incremental.fetch.session.cache.slots",
            config.fetch_sessions.to_string(),
            defaults.fetch_sessions.to_string(),
            Int,
            "Most fetch sessions that are kept.",
        ),
        option(
            "num.partitions",
            config.default_partitions.to_string(),
            defaults.default_partitions.to_string(),
            Int,
            "Partitions when none are asked for.",
        ),
        option(
            "socket.request.max.bytes",
            config.max_request_bytes.to_string(),
            defaults.max_request_bytes.to_string(),
            Int,
            "Largest request.",
        ),
    ]
}

fn broker_configs(connection: &Connection) -> Vec<DescribedConfig<'static>> {
    let (config, changed) = (&connection.core.config, connection.core.changed.borrow());
    let mut all = facts(connection);
    all.extend(options(config));
    all.extend(SETTINGS.iter().filter_map(|setting| {
        let name = setting.broker?.name();
        Some(layered(setting, name, None, &changed, config))
    }));
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// What was set for all brokers, and nothing else.
fn configs_of_all_brokers(core: &Core) -> Vec<DescribedConfig<'static>> {
    let changed = core.changed.borrow();
    let set = changed.layer(Layer::AllBrokers);
    let described = SETTINGS.iter().filter_map(|setting| {
        let (name, value) = (setting.broker?.name(), set.get(setting.name)?.clone());
        let source = ConfigSource::DynamicDefaultBroker;
        let described = described(name, value, type_of(setting.kind()), setting.meaning, source);
        Some(DescribedConfig { read_only: false, ..described })
    });
    let mut all: Vec<_> = described.collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// The levels of the log (KIP-412).
fn log_configs(core: &Core) -> Vec<DescribedConfig<'static>> {
    let changed = core.changed.borrow();
    let levels = &changed.log_levels;
    let mut names: BTreeSet<&str> = log_levels::MODULES.iter().copied().collect();
    names.insert(log_levels::ROOT);
    names.extend(levels.keys().map(String::as_str));
    let described = names.into_iter().map(|name| {
        let value = log_levels::level_in_force(name, levels);
        let source = ConfigSource::DynamicBrokerLogger;
        let described = described("", value, Text, "A level of the log.", source);
        DescribedConfig { name: name.to_owned().into(), read_only: false, synonyms: Vec::new(), ..described }
    });
    described.collect()
}

fn described(
    name: &'static str,
    value: String,
    config_type: ConfigType,
    meaning: &'static str,
    source: ConfigSource,
) -> DescribedConfig<'static> {
    let own = ConfigSynonym { name: name.into(), value: Some(value.clone().into()), source };
    DescribedConfig {
        name: name.into(),
        value: Some(value.into()),
        read_only: true,
        source,
        is_sensitive: false,
        synonyms: vec![own],
        config_type,
        documentation: Some(meaning.into()),
    }
}

/// All settings of what a request names.
fn settings_of(
    connection: &Connection,
    resource: &ConfigResource<'_>,
) -> Result<Vec<DescribedConfig<'static>>, Refusal> {
    let core = &connection.core;
    match resource.kind {
        TOPIC => {
            check_name(resource.name).map_err(|e| refusal_of_topic(&e))?;
            match core.topics.borrow().get(TopicKey::Name(resource.name)) {
                Some(topic) => Ok(topic_configs(&topic.topic.configs, core)),
                None => Err((ErrorCode::UnknownTopicOrPartition, "there is no such topic".to_owned())),
            }
        }
        BROKER if resource.name.is_empty() => Ok(configs_of_all_brokers(core)),
        BROKER if resource.name == NODE_ID.to_string() => Ok(broker_configs(connection)),
        BROKER_LOGGER if resource.name == NODE_ID.to_string() => Ok(log_configs(core)),
        BROKER | BROKER_LOGGER => Err((ErrorCode::InvalidRequest, format!("the only node is {NODE_ID}"))),
        other => Err((ErrorCode::InvalidRequest, format!("resource type {other} has no settings here"))),
    }
}

impl<'q> Handle<'q> for DescribeConfigsRequest<'q> {
    async fn handle(self, context: &Context) -> DescribeConfigsResponse<'static> {
        let (connection, request) = (&context.connection, &self);
        let mut resources = Vec::with_capacity(request.resources.len());
        for resource in &request.resources {
            let (error, error_message, mut configs) = match settings_of(connection, resource) {
                // Kafka has an empty text here where others have none.
                Ok(configs) => (ErrorCode::None, Some(Cow::Borrowed("")), configs),
                Err((code, message)) => (code, Some(Cow::Owned(message)), Vec::new()),
            };
            // An empty list asks for all of them, as in Kafka.
            if let Some(keys) = resource.keys.as_ref().filter(|keys| !keys.is_empty()) {
                configs.retain(|c| keys.contains(&c.name.as_ref()));
            }
            for config in &mut configs {
                if !request.include_synonyms {
                    config.synonyms.clear();
                }
                if !request.include_documentation {
                    config.documentation = None;
                }
            }
            resources.push(DescribedResource {
                error,
                error_message,
                kind: resource.kind,
                name: resource.name.to_owned().into(),
                configs,
            });
        }
        DescribeConfigsResponse { resources, ..Default::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_described_with_their_sources() {
        let options = Values::from([("retention.ms".to_owned(), "1000".to_owned())]);
        let config = ServerConfig { topic_defaults: options, ..ServerConfig::default() };
        let own = Values::from([("cleanup.policy".to_owned(), "compact, delete".to_owned())]);
        let listed: Vec<_> = SETTINGS
            .iter()
            .map(|setting| {
                let own = own.get(setting.name).map(|v| (setting.name, v.clone(), ConfigSource::Topic));
                layered(setting, setting.name, own, &BrokerSettings::default(), &config)
            })
            .collect();
        let found = |name: &str| listed.iter().find(|c| c.name == name).unwrap();
        let sources = |name: &str| {
            let synonyms = found(name).synonyms.iter();
            synonyms.map(|s| (s.name.to_string(), s.value.as_deref().unwrap().to_owned())).collect::<Vec<_>>()
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let policy = found("cleanup.policy");
        assert_eq!((policy.value.as_deref(), policy.source), (Some("compact, delete"), ConfigSource::Topic));
        let expected = [pair("cleanup.policy", "compact, delete"), pair("log.cleanup.policy", "delete")];
        assert_eq!(sources("cleanup.policy"), expected);
        let retention = found("retention.ms");
        assert_eq!(
            (retention.value.as_deref(), retention.source),
            (Some("1000"), ConfigSource::StaticBroker)
        );
        // Kafka's broker has no default of this name, but one in hours.
        assert_eq!(sources("retention.ms"), [pair("log.retention.ms", "1000")]);
        assert!(sources("segment.ms").is_empty() && sources("remote.storage.enable").is_empty());
        assert_eq!(sources("flush.messages"), [pair("log.flush.interval.messages", "1")]);
        let ratio = found("min.cleanable.dirty.ratio");
        assert_eq!((ratio.value.as_deref(), ratio.source), (Some("0.5"), ConfigSource::Default));
        assert_eq!((ratio.config_type, ratio.read_only), (ConfigType::Double, false));
        assert!(listed.is_sorted_by_key(|c| c.name.clone()));
    }
}
