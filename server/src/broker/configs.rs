//! Settings of topics and of the broker, as Kafka's clients know them.
//!
//! Promise: what is reported is what is in force. A setting of Kafka's that is not served yet is listed
//! with the behaviour there is, and asking for another one is refused instead of being ignored.

use std::borrow::Cow;
use std::collections::BTreeMap;

use keylane_engine::catalog::Topic;

use crate::config::ServerConfig;
use crate::connection::Connection;
use crate::kafka::ErrorCode;
use crate::kafka::describe_configs::{
    ConfigSource, ConfigSynonym, ConfigType, DescribeConfigsRequest, DescribeConfigsResponse,
    DescribedConfig, DescribedResource,
};
use crate::kafka::produce::TopicRef;

use super::NODE_ID;
use ConfigType::{Boolean, Double, Int, List, Long, String as Text};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

/// A setting of a topic: name, type, value in force, meaning.
type Fixed = (&'static str, ConfigType, &'static str, &'static str);

/// Settings of Kafka's topics that cannot be changed (yet).
const FIXED: &[Fixed] = &[
    ("cleanup.policy", List, "delete", "Old segments are deleted; compaction is not served yet."),
    ("compression.type", Text, "producer", "Batches are stored as the producer compressed them."),
    ("compression.gzip.level", Int, "-1", "Unused: the broker never compresses."),
    ("compression.lz4.level", Int, "9", "Unused: the broker never compresses."),
    ("compression.zstd.level", Int, "3", "Unused: the broker never compresses."),
    ("delete.retention.ms", Long, "86400000", "Unused: compaction is not served yet."),
    ("file.delete.delay.ms", Long, "0", "Freed segments are used again at once."),
    ("flush.messages", Long, "1", "Every acknowledged record is on the disk."),
    ("flush.ms", Long, "0", "Every acknowledged record is on the disk."),
    ("follower.replication.throttled.replicas", List, "", "There is one node."),
    ("index.interval.bytes", Int, "0", "Every batch is indexed."),
    ("leader.replication.throttled.replicas", List, "", "There is one node."),
    ("local.retention.bytes", Long, "-2", "There is no tiered storage."),
    ("local.retention.ms", Long, "-2", "There is no tiered storage."),
    ("max.compaction.lag.ms", Long, "9223372036854775807", "Unused: compaction is not served yet."),
    ("message.timestamp.after.max.ms", Long, "9223372036854775807", "Any timestamp is accepted."),
    ("message.timestamp.before.max.ms", Long, "9223372036854775807", "Any timestamp is accepted."),
    ("message.timestamp.type", Text, "CreateTime", "Records keep the timestamp of their producer."),
    ("min.cleanable.dirty.ratio", Double, "0.5", "Unused: compaction is not served yet."),
    ("min.compaction.lag.ms", Long, "0", "Unused: compaction is not served yet."),
    ("min.insync.replicas", Int, "1", "There is one node."),
    ("preallocate", Boolean, "true", "Commit segments are allocated before they are used."),
    ("remote.storage.enable", Boolean, "false", "There is no tiered storage."),
    ("retention.bytes", Long, "-1", "Records are kept until their topic is deleted."),
    ("retention.ms", Long, "-1", "Records are kept until their topic is deleted."),
    ("segment.index.bytes", Int, "10485760", "Unused: an index is as large as its segment needs."),
    ("segment.jitter.ms", Long, "0", "Segments are left when they are full."),
    ("segment.ms", Long, "9223372036854775807", "Segments are left when they are full."),
    ("unclean.leader.election.enable", Boolean, "false", "There is one node."),
];

/// Largest batch that a topic takes, in bytes.
pub fn max_message_bytes(topic: &Topic, config: &ServerConfig) -> usize {
    let own = topic.configs.get(MAX_MESSAGE_BYTES).and_then(|v| v.parse().ok());
    own.unwrap_or(config.max_message_bytes)
}

/// Checks the settings of a topic to be created. The error says what would be accepted.
pub fn accept(
    wanted: &[(&str, Option<&str>)],
    config: &ServerConfig,
) -> Result<BTreeMap<String, String>, String> {
    let mut kept = BTreeMap::new();
    for (name, value) in wanted {
        let Some(value) = value else { return Err(format!("setting {name} has no value")) };
        if *name == MAX_MESSAGE_BYTES {
            let most = config.max_request_bytes.min(config.batch_bytes_max());
            match value.parse::<usize>() {
                Ok(n) if n <= most => kept.insert((*name).to_owned(), (*value).to_owned()),
                _ => return Err(format!("{name}={value}: a number of bytes up to {most} is accepted")),
            };
        } else if *name == "segment.bytes" {
            if value.parse() != Ok(config.segment_bytes) {
                return Err(format!(
                    "{name}={value}: segments are shared by all topics and have {} bytes (--segment-bytes)",
                    config.segment_bytes
                ));
            }
        } else if let Some((_, _, fixed, meaning)) = FIXED.iter().find(|f| f.0 == *name) {
            if value != fixed {
                return Err(format!("{name}={value}: this version serves only {fixed:?}. {meaning}"));
            }
        } else {
            return Err(format!("there is no setting {name}"));
        }
    }
    Ok(kept)
}

/// All settings of a topic.
pub fn topic_configs(own: &BTreeMap<String, String>, config: &ServerConfig) -> Vec<DescribedConfig<'static>> {
    let mut all: Vec<_> = FIXED
        .iter()
        .map(|(n, t, v, d)| described(n, (*v).to_owned(), *t, d, ConfigSource::Default))
        .collect();
    let (value, source) = match own.get(MAX_MESSAGE_BYTES) {
        Some(value) => (value.clone(), ConfigSource::Topic),
        None => (config.max_message_bytes.to_string(), ConfigSource::StaticBroker),
    };
    let meaning = "Largest record batch that is accepted.";
    let mut limit = described(MAX_MESSAGE_BYTES, value, Int, meaning, source);
    limit.synonyms.push(ConfigSynonym {
        name: "message.max.bytes".into(),
        value: Some(config.max_message_bytes.to_string().into()),
        source: ConfigSource::StaticBroker,
    });
    all.push(limit);
    let meaning = "Size of the commit segments that all topics share.";
    let segment = config.segment_bytes.to_string();
    all.push(described("segment.bytes", segment, Int, meaning, ConfigSource::StaticBroker));
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
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
        entry("log.retention.bytes", "-1".to_owned(), Long, "Records are kept until their topic is deleted."),
        entry("log.retention.ms", "-1".to_owned(), Long, "Records are kept until their topic is deleted."),
        entry("log.segment.bytes", config.segment_bytes.to_string(), Int, "Size of a commit segment."),
        entry("max.connections", config.max_connections.to_string(), Int, "Most connections at once."),
        entry("message.max.bytes", config.max_message_bytes.to_string(), Int, "Largest record batch."),
        entry("node.id", NODE_ID.to_string(), Int, "The only node's id."),
        entry("num.network.threads", cores.to_string(), Int, "One thread per core does everything."),
        entry(
            "num.partitions",
            config.default_partitions.to_string(),
            Int,
            "Partitions when none are asked for.",
        ),
        entry("socket.request.max.bytes", config.max_request_bytes.to_string(), Int, "Largest request."),
    ];
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
        assert!(refused("cleanup.policy", "compact").contains("only \"delete\""));
        assert!(refused("no.such.thing", "1").contains("no setting"));
        assert!(refused(MAX_MESSAGE_BYTES, "-1").contains("accepted"));
        assert_eq!(accept(&[("cleanup.policy", Some("delete"))], &config), Ok(BTreeMap::new()));
        let kept = accept(&[(MAX_MESSAGE_BYTES, Some("2000"))], &config).unwrap();
        assert_eq!(kept[MAX_MESSAGE_BYTES], "2000");
        let listed = topic_configs(&kept, &config);
        let limit = listed.iter().find(|c| c.name == MAX_MESSAGE_BYTES).unwrap();
        assert_eq!((limit.value.as_deref(), limit.source), (Some("2000"), ConfigSource::Topic));
    }
}
