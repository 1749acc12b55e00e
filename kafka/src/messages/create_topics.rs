//! CreateTopics (API 19), versions 2 to 7. From 5 the answer carries the topic's settings (KIP-525), from 7 its
//! id (KIP-516).
use std::borrow::Cow;

use uuid::Uuid;

use crate::error::ErrorCode;
use crate::versions::ApiKey;
use crate::wire::{Reader, WireError, WireErrorKind, Writer};

/// A CreateTopics request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTopicsRequest<'a> {
    /// Topics to create.
    pub topics: Vec<CreatableTopic<'a>>,
    /// How long the client waits.
    pub timeout_ms: i32,
    /// Check only, create nothing.
    pub validate_only: bool,
}

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatableTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// Partitions; -1: the default, or as many as are assigned.
    pub num_partitions: i32,
    /// Replicas; -1: the default, or as assigned.
    pub replication_factor: i16,
    /// Brokers of each partition; empty if the server is to choose.
    pub assignments: Vec<ReplicaAssignment>,
    /// Settings by name; `None` for the default.
    pub configs: Vec<(&'a str, Option<&'a str>)>,
}

/// Brokers of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaAssignment {
    /// Which partition.
    pub index: i32,
    /// Its brokers.
    pub brokers: Vec<i32>,
}

impl<'a> CreateTopicsRequest<'a> {
    /// Reads a whole request.
    pub fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !ApiKey::CreateTopics.serves(version) {
            return Err(r.error("request_api_version", WireErrorKind::Version(version)));
        }
        let flexible = ApiKey::CreateTopics.is_flexible(version);
        let topic_bytes_min = if flexible { 1 + 4 + 2 + 1 + 1 + 1 } else { 2 + 4 + 2 + 4 + 4 };
        let request = Self {
            topics: r.vec(flexible, topic_bytes_min, "topics", |r| CreatableTopic::decode(flexible, r))?,
            timeout_ms: r.i32("timeout_ms")?,
            validate_only: r.bool("validate_only")?,
        };
        r.skip_tags(flexible)?;
        Ok(request)
    }
}

impl<'a> CreatableTopic<'a> {
    fn decode(flexible: bool, r: &mut Reader<'a>) -> Result<Self, WireError> {
        let assignment_bytes_min = if flexible { 4 + 1 + 1 } else { 4 + 4 };
        let config_bytes_min = if flexible { 1 + 1 + 1 } else { 2 + 2 };
        let topic = Self {
            name: r.string(flexible, "name")?,
            num_partitions: r.i32("num_partitions")?,
            replication_factor: r.i16("replication_factor")?,
            assignments: r.vec(flexible, assignment_bytes_min, "assignments", |r| {
                let index = r.i32("partition_index")?;
                let brokers = r.i32s(flexible, "broker_ids")?;
                r.skip_tags(flexible)?;
                Ok(ReplicaAssignment { index, brokers })
            })?,
            configs: r.vec(flexible, config_bytes_min, "configs", |r| {
                let name = r.string(flexible, "name")?;
                let value = r.nullable_string(flexible, "value")?;
                r.skip_tags(flexible)?;
                Ok((name, value))
            })?,
        };
        r.skip_tags(flexible)?;
        Ok(topic)
    }
}

/// A CreateTopics response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTopicsResponse<'a> {
    /// The topics of the request.
    pub topics: Vec<CreatedTopic<'a>>,
}

/// Outcome for a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its id; nil in an error (v7).
    pub topic_id: Uuid,
    /// Outcome.
    pub error: ErrorCode,
    /// Explanation of an error.
    pub error_message: Option<Cow<'a, str>>,
    /// Partitions; -1 in an error (v5).
    pub num_partitions: i32,
    /// Replicas; -1 in an error (v5).
    pub replication_factor: i16,
    /// Settings; none in an error (v5).
    pub configs: Option<Vec<CreatedTopicConfig<'a>>>,
}

/// A setting of a created topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopicConfig<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its value.
    pub value: Option<Cow<'a, str>>,
    /// Whether it cannot be changed.
    pub read_only: bool,
    /// Where it comes from: see [`super::describe_configs::ConfigSource`].
    pub source: super::describe_configs::ConfigSource,
}

impl<'a> CreatedTopic<'a> {
    /// A topic that was not created.
    pub fn failed(name: impl Into<Cow<'a, str>>, error: ErrorCode, message: impl Into<Cow<'a, str>>) -> Self {
        Self {
            name: name.into(),
            topic_id: Uuid::nil(),
            error,
            error_message: Some(message.into()),
            num_partitions: -1,
            replication_factor: -1,
            configs: Some(Vec::new()),
        }
    }
}

impl CreateTopicsResponse<'_> {
    /// Writes the body.
    pub fn encode(&self, version: i16, w: &mut Writer<'_>) {
        let flexible = ApiKey::CreateTopics.is_flexible(version);
        w.i32(0); // throttle_time_ms
        w.length(flexible, self.topics.len());
        for topic in &self.topics {
            w.string(flexible, &topic.name);
            if version >= 7 {
                w.uuid(topic.topic_id);
            }
            w.i16(topic.error.code());
            w.nullable_string(flexible, topic.error_message.as_deref());
            if version >= 5 {
                w.i32(topic.num_partitions);
                w.i16(topic.replication_factor);
                w.nullable_length(flexible, topic.configs.as_ref().map(Vec::len));
                for config in topic.configs.iter().flatten() {
                    w.string(flexible, &config.name);
                    w.nullable_string(flexible, config.value.as_deref());
                    w.bool(config.read_only);
                    w.i8(config.source.code());
                    w.bool(false); // is_sensitive
                    w.no_tags(flexible);
                }
            }
            w.no_tags(flexible);
        }
        w.no_tags(flexible);
    }
}
