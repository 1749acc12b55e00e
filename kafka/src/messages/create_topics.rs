//! CreateTopics (API 19). From version 5 the answer carries the topic's settings (KIP-525), from 7 its id (KIP-516).
use std::borrow::Cow;

use uuid::Uuid;

use super::alter_configs::ConfigEntry;
use super::describe_configs::ConfigSource;
use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// A CreateTopics request.
    pub struct CreateTopicsRequest<'a> {
        /// Topics to create.
        topics: Vec<CreatableTopic<'a>>, ..;
        /// How long the client waits.
        timeout_ms: i32, ..;
        /// Check only, create nothing.
        validate_only: bool, ..;
    }

    /// A topic to create.
    pub struct CreatableTopic<'a> {
        /// Its name.
        name: &'a str, ..;
        /// Partitions; -1: the default, or as many as are assigned.
        num_partitions: i32, ..;
        /// Replicas; -1: the default, or as assigned.
        replication_factor: i16, ..;
        /// Brokers of each partition; empty if the server is to choose.
        assignments: Vec<ReplicaAssignment>, ..;
        /// Settings.
        configs: Vec<ConfigEntry<'a>>, ..;
    }

    /// Brokers of a partition.
    pub struct ReplicaAssignment {
        /// Which partition.
        index: i32, ..;
        /// Its brokers.
        brokers: Vec<i32>, ..;
    }

    /// A CreateTopics response.
    pub struct CreateTopicsResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// The topics of the request.
        topics: Vec<CreatedTopic<'a>>, ..;
    }

    /// Outcome for a topic.
    pub struct CreatedTopic<'a> {
        /// Its name.
        name: Cow<'a, str>, ..;
        /// Its id; nil in an error.
        topic_id: Uuid, 7..;
        /// Outcome.
        error: ErrorCode, ..;
        /// Explanation of an error.
        error_message: Option<Cow<'a, str>>, ..;
        /// Partitions; -1 in an error.
        num_partitions: i32 = -1, 5..;
        /// Replicas; -1 in an error.
        replication_factor: i16 = -1, 5..;
        /// Settings; none in an error.
        configs: Option<Vec<CreatedTopicConfig<'a>>>, 5..;
    }

    /// A setting of a created topic.
    pub struct CreatedTopicConfig<'a> {
        /// Its name.
        name: Cow<'a, str>, ..;
        /// Its value.
        value: Option<Cow<'a, str>>, ..;
        /// Whether it cannot be changed.
        read_only: bool, ..;
        /// Where it comes from.
        source: ConfigSource, ..;
        /// Whether the value is a secret.
        is_sensitive: bool, ..;
    }
}

impl<'a> CreatedTopic<'a> {
    /// A topic that was not created.
    pub fn failed(name: impl Into<Cow<'a, str>>, error: ErrorCode, message: impl Into<Cow<'a, str>>) -> Self {
        Self {
            name: name.into(),
            error,
            error_message: Some(message.into()),
            configs: Some(Vec::new()),
            ..Self::default()
        }
    }
}
