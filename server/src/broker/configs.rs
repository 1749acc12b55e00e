//! Settings of topics and of the broker, as Kafka's clients know them.
//!
//! Promise: what is reported is what is in force. A setting of Kafka's that cannot be changed is listed with
//! the behaviour there is, and asking for another one is refused instead of being ignored.

use std::borrow::Cow;

use crate::config::ServerConfig;
use crate::connection::Connection;
use crate::kafka::ErrorCode;
use crate::kafka::describe_configs::{
    BROKER, ConfigSource, ConfigSynonym, ConfigType, DescribeConfigsRequest, DescribeConfigsResponse,
    DescribedConfig, DescribedResource, TOPIC,
};
use crate::kafka::produce::TopicRef;
use crate::topic_settings::{self, SETTINGS, Setting, Values};

use super::NODE_ID;
use ConfigType::{Boolean, Int, List, Long, String as Text};

/// A setting of a topic: name, type, value in force, meaning.
type Fixed = (&'static str, ConfigType, &'static str, &'static str);

/// Settings of Kafka's topics that cannot be changed.
const FIXED: &[Fixed] = &[
    ("compression.type", Text, "producer", "Batches are stored as the producer compressed them."),
    ("compression.gzip.level", Int, "-1", "Unused: the broker never compresses."),
    ("compression.lz4.level", Int, "9", "Unused: the broker never compresses."),
    ("compression.zstd.level", Int, "3", "Unused: the broker never compresses."),
    ("file.delete.delay.ms", Long, "0", "Freed segments are used again at once."),
    ("flush.messages", Long, "1", "Every acknowledged record is on the disk."),
    ("flush.ms", Long, "0", "Every acknowledged record is on the disk."),
    ("follower.replication.throttled.replicas", List, "", "There is one node."),
    ("index.interval.bytes", Int, "0", "Every batch is indexed."),
    ("leader.replication.throttled.replicas", List, "", "There is one node."),
    ("local.retention.bytes", Long, "-2", "There is no tiered storage."),
    ("local.retention.ms", Long, "-2", "There is no tiered storage."),
    ("message.timestamp.after.max.ms", Long, "9223372036854775807", "Any timestamp is accepted."),
    ("message.timestamp.before.max.ms", Long, "9223372036854775807", "Any timestamp is accepted."),
    ("message.timestamp.type", Text, "CreateTime", "Records keep the timestamp of their producer."),
    ("min.insync.replicas", Int, "1", "There is one node."),
    ("preallocate", Boolean, "true", "Commit segments are allocated before they are used."),
    ("remote.storage.enable", Boolean, "false", "There is no tiered storage."),
    ("segment.index.bytes", Int, "10485760", "Unused: an index is as large as its segment needs."),
    ("segment.jitter.ms", Long, "0", "Segments are closed when they are due."),
    ("unclean.leader.election.enable", Boolean, "false", "There is one node."),
];

/// Finds a setting of topics that can be changed; `None`: it cannot. An error: there is none of that name.
pub fn known(name: &str) -> Result<Option<&'static Setting>, String> {
    match topic_settings::find(name) {
        Some(setting) => Ok(Some(setting)),
        None if FIXED.iter().any(|f| f.0 == name) => Ok(None),
        None => Err(format!("there is no setting {name}")),
    }
}

/// Checks a value of a topic's setting. Returns it as it is to be kept; `None`: it is what there is anyway.
/// The error names the setting and says what would be accepted.
pub fn check(name: &str, value: &str, config: &ServerConfig) -> Result<Option<String>, String> {
    if let Some(setting) = known(name)? {
        return setting.check(value, config).map(Some).map_err(|range| format!("{name}={value}: {range}"));
    }
    match FIXED.iter().find(|f| f.0 == name) {
        Some((_, _, fixed, meaning)) if value != *fixed => {
            Err(format!("{name}={value}: this version serves only {fixed:?}. {meaning}"))
        }
        _ => Ok(None),
    }
}

/// Checks the settings of a topic to be created. The error says what would be accepted.
pub fn accept(wanted: &[(&str, Option<&str>)], config: &ServerConfig) -> Result<Values, String> {
    let mut kept = Values::new();
    for (name, value) in wanted {
        let Some(value) = value else { return Err(format!("setting {name} has no value")) };
        if let Some(value) = check(name, value, config)? {
            kept.insert((*name).to_owned(), value);
        }
    }
    topic_settings::check_together(&kept, config)?;
    Ok(kept)
}

/// All settings of a topic.
pub fn topic_configs(own: &Values, config: &ServerConfig) -> Vec<DescribedConfig<'static>> {
    let mut all: Vec<_> = FIXED
        .iter()
        .map(|(n, t, v, d)| described(n, (*v).to_owned(), *t, d, ConfigSource::Default))
        .collect();
    all.extend(SETTINGS.iter().map(|setting| {
        let own = own.get(setting.name).map(|v| (setting.name, v.clone(), ConfigSource::Topic));
        layered(setting, setting.name, own, config)
    }));
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// A setting with the values it has from every source, the one that counts first.
fn layered(
    setting: &Setting,
    name: &'static str,
    own: Option<(&'static str, String, ConfigSource)>,
    config: &ServerConfig,
) -> DescribedConfig<'static> {
    let server = setting.of_server(config);
    let server = server.map(|value| (setting.broker_name, value, ConfigSource::StaticBroker));
    let default = (setting.broker_name, setting.default.to_owned(), ConfigSource::Default);
    let synonyms = own.into_iter().chain(server).chain([default]);
    let synonyms: Vec<_> = synonyms
        .map(|(name, value, source)| ConfigSynonym { name: name.into(), value: Some(value.into()), source })
        .collect();
    DescribedConfig {
        name: name.into(),
        value: synonyms[0].value.clone(),
        read_only: false,
        source: synonyms[0].source,
        is_sensitive: false,
        synonyms,
        config_type: setting.kind(),
        documentation: Some(setting.meaning.into()),
    }
}

fn broker_configs(connection: &Connection) -> Vec<DescribedConfig<'static>> {
    let config = &connection.core.config;
    let (host, port) = super::metadata::address(connection);
    let cores = connection.core.cluster.cores;
    let entry = |name: &'static str, value: String, kind, meaning: &'static str| {
        let mut entry = described(name, value, kind, meaning, ConfigSource::StaticBroker);
        entry.read_only = true;
        entry
    };
    let mut all = vec![
        entry(
            "advertised.listeners",
            format!("PLAINTEXT://{host}:{port}"),
            Text,
            "Where clients connect to.",
        ),
        entry(
            "auto.create.topics.enable",
            config.auto_create_topics.to_string(),
            Boolean,
            "Create topics on demand.",
        ),
        entry("broker.id", NODE_ID.to_string(), Int, "The only node's id."),
        entry("default.replication.factor", "1".to_owned(), Int, "There is one node."),
        entry("listeners", format!("PLAINTEXT://{}", config.kafka), Text, "Where the server listens."),
        entry("log.dirs", config.data.display().to_string(), Text, "The data directory."),
        entry(
            "log.flush.interval.messages",
            "1".to_owned(),
            Long,
            "Every acknowledged record is on the disk.",
        ),
        entry(
            "log.retention.check.interval.ms",
            config.retention_check_interval_ms.to_string(),
            Long,
            "Time between two looks at what may be deleted or compacted.",
        ),
        entry("max.connections", config.max_connections.to_string(), Int, "Most connections at once."),
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
        entry(
            "num.partitions",
            config.default_partitions.to_string(),
            Int,
            "Partitions when none are asked for.",
        ),
        entry("socket.request.max.bytes", config.max_request_bytes.to_string(), Int, "Largest request."),
    ];
    all.extend(SETTINGS.iter().map(|setting| {
        let mut entry = layered(setting, setting.broker_name, None, config);
        entry.read_only = true;
        entry
    }));
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
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
        read_only: false,
        source,
        is_sensitive: false,
        synonyms: vec![own],
        config_type,
        documentation: Some(meaning.into()),
    }
}

/// Answers DescribeConfigs.
pub fn describe(
    connection: &Connection,
    request: &DescribeConfigsRequest<'_>,
) -> DescribeConfigsResponse<'static> {
    let core = &connection.core;
    let mut resources = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let found: Result<Vec<_>, (ErrorCode, String)> = match resource.kind {
            TOPIC => match core.topics.borrow().get(TopicRef::Name(resource.name)) {
                Some(topic) => Ok(topic_configs(&topic.topic.configs, &core.config)),
                None => Err((ErrorCode::UnknownTopicOrPartition, "there is no such topic".to_owned())),
            },
            BROKER if resource.name.is_empty() => Ok(Vec::new()),
            BROKER if resource.name == NODE_ID.to_string() => Ok(broker_configs(connection)),
            BROKER => Err((ErrorCode::InvalidRequest, format!("the only node is {NODE_ID}"))),
            other => Err((ErrorCode::InvalidRequest, format!("resource type {other} has no settings here"))),
        };
        let (error, error_message, mut configs) = match found {
            Ok(configs) => (ErrorCode::None, None, configs),
            Err((code, message)) => (code, Some(Cow::Owned(message)), Vec::new()),
        };
        if let Some(keys) = &resource.keys {
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
    DescribeConfigsResponse { resources }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_served_is_accepted() {
        let config = ServerConfig::default();
        let refused = |name, value| accept(&[(name, Some(value))], &config).unwrap_err();
        assert!(refused("message.timestamp.type", "LogAppendTime").contains("only \"CreateTime\""));
        assert!(refused("no.such.thing", "1").contains("no setting no.such.thing"));
        let error = refused("retention.ms", "-2");
        assert!(error.starts_with("retention.ms=-2: a whole number of milliseconds from -1"), "{error}");
        assert!(
            accept(&[("retention.ms", None)], &config).unwrap_err().contains("retention.ms has no value")
        );
        assert_eq!(accept(&[("compression.type", Some("producer"))], &config), Ok(Values::new()));
        let lags = [("min.compaction.lag.ms", Some("9")), ("max.compaction.lag.ms", Some("8"))];
        assert!(accept(&lags, &config).unwrap_err().contains("is above"));
    }

    #[test]
    fn settings_are_described_with_their_sources() {
        let options = Values::from([("retention.ms".to_owned(), "1000".to_owned())]);
        let config = ServerConfig { topic_defaults: options, ..ServerConfig::default() };
        let own = accept(&[("cleanup.policy", Some("compact, delete"))], &config).unwrap();
        let listed = topic_configs(&own, &config);
        let found = |name: &str| listed.iter().find(|c| c.name == name).unwrap();
        let sources = |name: &str| {
            let synonyms = found(name).synonyms.iter();
            synonyms.map(|s| (s.name.to_string(), s.value.as_deref().unwrap().to_owned())).collect::<Vec<_>>()
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let policy = found("cleanup.policy");
        assert_eq!((policy.value.as_deref(), policy.source), (Some("compact,delete"), ConfigSource::Topic));
        let expected = [pair("cleanup.policy", "compact,delete"), pair("log.cleanup.policy", "delete")];
        assert_eq!(sources("cleanup.policy"), expected);
        let retention = found("retention.ms");
        assert_eq!(
            (retention.value.as_deref(), retention.source),
            (Some("1000"), ConfigSource::StaticBroker)
        );
        let expected = [pair("log.retention.ms", "1000"), pair("log.retention.ms", "604800000")];
        assert_eq!(sources("retention.ms"), expected);
        let ratio = found("min.cleanable.dirty.ratio");
        assert_eq!((ratio.value.as_deref(), ratio.source), (Some("0.5"), ConfigSource::Default));
        assert_eq!((ratio.config_type, ratio.read_only), (ConfigType::Double, false));
        assert!(listed.is_sorted_by_key(|c| c.name.clone()));
    }
}
