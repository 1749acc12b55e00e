//! ConsumerGroupHeartbeat (API 68): a member of a consumer group joins, lives, says what it has, and leaves (KIP-848). From
//! version 1 on members choose their ids (KIP-1082), and may subscribe with a regular expression.
use std::borrow::Cow;

use uuid::Uuid;

use crate::declare::message;
use crate::error::ErrorCode;
use crate::field::Nullable;

/// Epoch with which a member joins.
pub const JOINS: i32 = 0;
/// Epoch with which a member leaves.
pub const LEAVES: i32 = -1;
/// Epoch with which a static member leaves and will come back.
pub const LEAVES_FOR_A_WHILE: i32 = -2;

message! {
    /// A ConsumerGroupHeartbeat request. What did not change since the last one may be left out.
    pub struct ConsumerGroupHeartbeatRequest<'a> {
        /// The group.
        group: &'a str, ..;
        /// The member's id.
        member_id: &'a str, ..;
        /// Epoch of the member; or [`JOINS`], [`LEAVES`], [`LEAVES_FOR_A_WHILE`].
        member_epoch: i32, ..;
        /// Name that the member keeps over restarts.
        instance_id: Option<&'a str>, ..;
        /// Where the member is.
        rack_id: Option<&'a str>, ..;
        /// How long the member may take to give partitions back, in milliseconds; -1: as before.
        rebalance_timeout_ms: i32 = -1, ..;
        /// Topics that it wants; `None`: as before.
        subscribed_topic_names: Option<Vec<&'a str>>, ..;
        /// Topics that it wants, as a regular expression; `None`: as before.
        subscribed_topic_regex: Option<&'a str>, 1..;
        /// How it wants partitions to be assigned; `None`: as before.
        server_assignor: Option<&'a str>, ..;
        /// Partitions that it has; `None`: as before.
        topic_partitions: Option<Vec<TopicPartitions>>, ..;
    }

    /// A ConsumerGroupHeartbeat response.
    pub struct ConsumerGroupHeartbeatResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// Outcome.
        error: ErrorCode, ..;
        /// Explanation of an error.
        error_message: Option<Cow<'a, str>>, ..;
        /// The member's id.
        member_id: Option<Cow<'a, str>>, ..;
        /// Its epoch.
        member_epoch: i32, ..;
        /// When the next heartbeat is due, in milliseconds.
        heartbeat_interval_ms: i32, ..;
        /// What it has; null if that did not change.
        assignment: Nullable<Assignment>, ..;
    }

    /// What a member has.
    pub struct Assignment {
        /// Partitions that it may read at once.
        topic_partitions: Vec<TopicPartitions>, ..;
    }

    /// Partitions of a topic.
    pub struct TopicPartitions {
        /// The topic.
        topic_id: Uuid, ..;
        /// Their numbers.
        partitions: Vec<i32>, ..;
    }
}
