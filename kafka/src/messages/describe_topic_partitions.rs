//! DescribeTopicPartitions (API 75): partitions of topics, a page at a time (KIP-966).
use std::borrow::Cow;

use uuid::Uuid;

use crate::declare::message;
use crate::error::ErrorCode;
use crate::field::Nullable;
use crate::messages::metadata::OPERATIONS_OMITTED;

message! {
    /// A DescribeTopicPartitions request.
    pub struct DescribeTopicPartitionsRequest<'a> {
        /// Topics that are asked for; none for all.
        topics: Vec<TopicToDescribe<'a>>, ..;
        /// Most partitions of the answer.
        partitions_max: i32 = 2_000, ..;
        /// Where to begin.
        cursor: Nullable<Cursor<'a>>, ..;
    }

    /// A topic asked for.
    #[derive(Copy)]
    pub struct TopicToDescribe<'a> {
        /// Its name.
        name: &'a str, ..;
    }

    /// A place in all partitions, which are ordered by topic and number.
    pub struct Cursor<'a> {
        /// The topic.
        topic: Cow<'a, str>, ..;
        /// The partition's number.
        partition: i32, ..;
    }

    /// A DescribeTopicPartitions response.
    pub struct DescribeTopicPartitionsResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// The topics.
        topics: Vec<PartitionedTopic<'a>>, ..;
        /// Where the next page begins; null: there is none.
        next: Nullable<Cursor<'a>>, ..;
    }

    /// A topic.
    pub struct PartitionedTopic<'a> {
        /// Outcome.
        error: ErrorCode, ..;
        /// Its name.
        name: Option<Cow<'a, str>>, ..;
        /// Its id.
        topic_id: Uuid, ..;
        /// Whether it is internal.
        is_internal: bool, ..;
        /// Its partitions on this page.
        partitions: Vec<PartitionDescription<'a>>, ..;
        /// Bits of operations on it.
        topic_authorized_operations: i32 = OPERATIONS_OMITTED, ..;
    }

    /// A partition.
    pub struct PartitionDescription<'a> {
        /// Outcome.
        error: ErrorCode, ..;
        /// Its number.
        index: i32, ..;
        /// Broker that leads it.
        leader_id: i32, ..;
        /// Epoch of the leader.
        leader_epoch: i32 = -1, ..;
        /// Brokers that it is on.
        replicas: Cow<'a, [i32]>, ..;
        /// Those in sync.
        isr_nodes: Cow<'a, [i32]>, ..;
        /// Those that are not in sync and may lead all the same; null: not known.
        eligible_leader_replicas: Option<Vec<i32>>, ..;
        /// The last of these that were known.
        last_known_eligible: Option<Vec<i32>>, ..;
        /// Those that cannot be reached.
        offline_replicas: Vec<i32>, ..;
    }
}
