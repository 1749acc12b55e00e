//! Metadata (API 3), versions 0 to 13: brokers, topics and partitions; also where clients ask for a topic to
//! be created. Topic ids from 10 (KIP-516), topics asked for by id alone from 12.
use std::borrow::Cow;

use uuid::Uuid;

use crate::error::ErrorCode;
use crate::versions::ApiKey;
use crate::wire::{Reader, WireError, WireErrorKind, Writer};

/// "Authorized operations" that were not asked for.
pub const OPERATIONS_OMITTED: i32 = i32::MIN;

/// A Metadata request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataRequest<'a> {
    /// Topics asked for; `None`: all (in version 0 an empty list says so).
    pub topics: Option<Vec<MetadataRequestTopic<'a>>>,
    /// Whether topics that do not exist may be created; always before v4.
    pub allow_auto_topic_creation: bool,
    /// Whether operations on the cluster are to be listed (v8 to 10).
    pub include_cluster_authorized_operations: bool,
    /// Whether operations on each topic are to be listed (v8).
    pub include_topic_authorized_operations: bool,
}

/// A topic asked for: by name, or by id with no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataRequestTopic<'a> {
    /// Id; nil if it is asked for by name.
    pub topic_id: Uuid,
    /// Name. Kafka answers INVALID_REQUEST to a null name below v12.
    pub name: Option<&'a str>,
}

impl<'a> MetadataRequest<'a> {
    /// Reads a whole request.
    pub fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !ApiKey::Metadata.serves(version) {
            return Err(r.error("request_api_version", WireErrorKind::Version(version)));
        }
        let flexible = ApiKey::Metadata.is_flexible(version);
        let topic_bytes_min = match version {
            10.. => 16 + 1 + 1,
            9 => 1 + 1,
            _ => 2,
        };
        let len = match version {
            0 => Some(r.array(flexible, topic_bytes_min, "topics")?).filter(|&len| len > 0),
            _ => r.nullable_array(flexible, topic_bytes_min, "topics")?,
        };
        let mut topics = len.map(Vec::with_capacity);
        for _ in 0..len.unwrap_or(0) {
            let topic_id = if version >= 10 { r.uuid("topic_id")? } else { Uuid::nil() };
            let name = if version >= 10 {
                r.nullable_string(flexible, "name")?
            } else {
                Some(r.string(flexible, "name")?)
            };
            r.skip_tags(flexible)?;
            topics.get_or_insert_default().push(MetadataRequestTopic { topic_id, name });
        }
        let request = Self {
            topics,
            allow_auto_topic_creation: version < 4 || r.bool("allow_auto_topic_creation")?,
            include_cluster_authorized_operations: (8..=10).contains(&version)
                && r.bool("include_cluster_authorized_operations")?,
            include_topic_authorized_operations: version >= 8
                && r.bool("include_topic_authorized_operations")?,
        };
        r.skip_tags(flexible)?;
        Ok(request)
    }
}

/// A Metadata response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataResponse<'a> {
    /// Brokers that clients can connect to.
    pub brokers: Vec<MetadataBroker<'a>>,
    /// Id of the cluster (v2).
    pub cluster_id: Option<Cow<'a, str>>,
    /// Broker to send administration to (v1).
    pub controller_id: i32,
    /// Topics.
    pub topics: Vec<MetadataTopic<'a>>,
    /// Bits of operations on the cluster, or [`OPERATIONS_OMITTED`] (v8 to 10).
    pub cluster_authorized_operations: i32,
    /// Outcome of the request as a whole (v13).
    pub error: ErrorCode,
}

/// A broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataBroker<'a> {
    /// Its id.
    pub node_id: i32,
    /// Host that clients connect to.
    pub host: Cow<'a, str>,
    /// Port that clients connect to.
    pub port: i32,
    /// Rack (v1).
    pub rack: Option<Cow<'a, str>>,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataTopic<'a> {
    /// Outcome for this topic.
    pub error: ErrorCode,
    /// Name; `None` only for an id that is not known (v12; written as an empty name before).
    pub name: Option<Cow<'a, str>>,
    /// Id (v10).
    pub topic_id: Uuid,
    /// Whether the server made it for its own use (v1).
    pub is_internal: bool,
    /// Partitions.
    pub partitions: Vec<MetadataPartition<'a>>,
    /// Bits of operations on the topic, or [`OPERATIONS_OMITTED`] (v8).
    pub topic_authorized_operations: i32,
}

/// A partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataPartition<'a> {
    /// Outcome for this partition.
    pub error: ErrorCode,
    /// Number of the partition.
    pub index: i32,
    /// Broker that leads it.
    pub leader_id: i32,
    /// Epoch of the leader, at least 0 (v7).
    pub leader_epoch: i32,
    /// Brokers that have it; all are in sync.
    pub replicas: &'a [i32],
}

impl MetadataResponse<'_> {
    /// Writes the body.
    pub fn encode(&self, version: i16, w: &mut Writer<'_>) {
        let flexible = ApiKey::Metadata.is_flexible(version);
        if version >= 3 {
            w.i32(0); // throttle_time_ms
        }
        w.length(flexible, self.brokers.len());
        for broker in &self.brokers {
            w.i32(broker.node_id);
            w.string(flexible, &broker.host);
            w.i32(broker.port);
            if version >= 1 {
                w.nullable_string(flexible, broker.rack.as_deref());
            }
            w.no_tags(flexible);
        }
        if version >= 2 {
            w.nullable_string(flexible, self.cluster_id.as_deref());
        }
        if version >= 1 {
            w.i32(self.controller_id);
        }
        w.length(flexible, self.topics.len());
        for topic in &self.topics {
            topic.encode(version, flexible, w);
        }
        if (8..=10).contains(&version) {
            w.i32(self.cluster_authorized_operations);
        }
        if version >= 13 {
            w.i16(self.error.code());
        }
        w.no_tags(flexible);
    }
}

impl MetadataTopic<'_> {
    fn encode(&self, version: i16, flexible: bool, w: &mut Writer<'_>) {
        w.i16(self.error.code());
        if version >= 12 {
            w.nullable_string(flexible, self.name.as_deref());
        } else {
            w.string(flexible, self.name.as_deref().unwrap_or_default());
        }
        if version >= 10 {
            w.uuid(self.topic_id);
        }
        if version >= 1 {
            w.bool(self.is_internal);
        }
        w.length(flexible, self.partitions.len());
        for partition in &self.partitions {
            w.i16(partition.error.code());
            w.i32(partition.index);
            w.i32(partition.leader_id);
            if version >= 7 {
                w.i32(partition.leader_epoch);
            }
            w.i32s(flexible, partition.replicas);
            w.i32s(flexible, partition.replicas); // isr_nodes
            if version >= 5 {
                w.length(flexible, 0); // offline_replicas
            }
            w.no_tags(flexible);
        }
        if version >= 8 {
            w.i32(self.topic_authorized_operations);
        }
        w.no_tags(flexible);
    }
}
