//! Metadata (API 3): brokers, topics and partitions; also where clients ask for a topic to be created. Topic ids
//! from version 10 (KIP-516), topics asked for by id alone from 12.
use std::borrow::Cow;

use uuid::Uuid;

use crate::declare::message;
use crate::error::ErrorCode;

/// "Authorized operations" that were not asked for.
pub const OPERATIONS_OMITTED: i32 = i32::MIN;

message! {
    /// A Metadata request.
    pub struct MetadataRequest<'a> {
        /// Topics asked for; see [`MetadataRequest::topics`].
        topics: Option<Vec<MetadataRequestTopic<'a>>>, .., null 1..;
        /// Whether topics that do not exist may be created; always before v4.
        allow_auto_topic_creation: bool = true, 4..;
        /// Whether operations on the cluster are to be listed.
        include_cluster_authorized_operations: bool, 8..=10;
        /// Whether operations on each topic are to be listed.
        include_topic_authorized_operations: bool, 8..;
    }

    /// A topic asked for: by name, or by id with no name.
    #[derive(Copy)]
    pub struct MetadataRequestTopic<'a> {
        /// Id; nil if it is asked for by name.
        topic_id: Uuid, 10..;
        /// Name. Kafka answers INVALID_REQUEST to a null name below v12.
        name: Option<&'a str>, .., null 10..;
    }

    /// A Metadata response.
    pub struct MetadataResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, 3..;
        /// Brokers that clients can connect to.
        brokers: Vec<MetadataBroker<'a>>, ..;
        /// Id of the cluster.
        cluster_id: Option<Cow<'a, str>>, 2..;
        /// Broker to send administration to.
        controller_id: i32 = -1, 1..;
        /// Topics.
        topics: Vec<MetadataTopic<'a>>, ..;
        /// Bits of operations on the cluster, or [`OPERATIONS_OMITTED`].
        cluster_authorized_operations: i32 = OPERATIONS_OMITTED, 8..=10;
        /// Outcome of the request as a whole.
        error: ErrorCode, 13..;
    }

    /// A broker.
    pub struct MetadataBroker<'a> {
        /// Its id.
        node_id: i32, ..;
        /// Host that clients connect to.
        host: Cow<'a, str>, ..;
        /// Port that clients connect to.
        port: i32, ..;
        /// Rack.
        rack: Option<Cow<'a, str>>, 1..;
    }

    /// A topic.
    pub struct MetadataTopic<'a> {
        /// Outcome for this topic.
        error: ErrorCode, ..;
        /// Name; null only for an id that is not known.
        name: Option<Cow<'a, str>>, .., null 12..;
        /// Id.
        topic_id: Uuid, 10..;
        /// Whether the server made it for its own use.
        is_internal: bool, 1..;
        /// Partitions.
        partitions: Vec<MetadataPartition<'a>>, ..;
        /// Bits of operations on the topic, or [`OPERATIONS_OMITTED`].
        topic_authorized_operations: i32 = OPERATIONS_OMITTED, 8..;
    }

    /// A partition.
    pub struct MetadataPartition<'a> {
        /// Outcome for this partition.
        error: ErrorCode, ..;
        /// Number of the partition.
        index: i32, ..;
        /// Broker that leads it.
        leader_id: i32, ..;
        /// Epoch of the leader, at least 0.
        leader_epoch: i32 = -1, 7..;
        /// Brokers that have it.
        replicas: Cow<'a, [i32]>, ..;
        /// Brokers that have it up to date.
        isr_nodes: Cow<'a, [i32]>, ..;
        /// Brokers that should have it and are not there.
        offline_replicas: Cow<'a, [i32]>, 5..;
    }
}

impl<'a> MetadataRequest<'a> {
    /// Topics asked for; `None`: all. In version 0 an empty list says so.
    pub fn topics(&self, version: i16) -> Option<&[MetadataRequestTopic<'a>]> {
        self.topics.as_deref().filter(|topics| version > 0 || !topics.is_empty())
    }
}
