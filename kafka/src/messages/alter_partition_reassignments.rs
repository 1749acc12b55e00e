//! AlterPartitionReassignments (API 45): moves partitions to other brokers (KIP-455).
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// An AlterPartitionReassignments request.
    pub struct AlterPartitionReassignmentsRequest<'a> {
        /// How long the client waits, in milliseconds.
        timeout_ms: i32 = 60_000, ..;
        /// Whether the number of replicas may change.
        allow_replication_factor_change: bool = true, 1..;
        /// Topics to move.
        topics: Vec<ReassignTopic<'a>>, ..;
    }

    /// A topic to move.
    pub struct ReassignTopic<'a> {
        /// Its name.
        name: &'a str, ..;
        /// Its partitions.
        partitions: Vec<ReassignPartition>, ..;
    }

    /// A partition to move.
    pub struct ReassignPartition {
        /// Its number.
        index: i32, ..;
        /// Brokers that it is to be on; null: a move that is under way is to be given up.
        replicas: Option<Vec<i32>>, ..;
    }

    /// An AlterPartitionReassignments response.
    pub struct AlterPartitionReassignmentsResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// As in the request.
        allow_replication_factor_change: bool = true, 1..;
        /// Outcome of the request as a whole.
        error: ErrorCode, ..;
        /// Explanation of an error.
        error_message: Option<Cow<'a, str>>, ..;
        /// The topics of the request.
        topics: Vec<ReassignedTopic<'a>>, ..;
    }

    /// Outcome for a topic.
    pub struct ReassignedTopic<'a> {
        /// Its name.
        name: Cow<'a, str>, ..;
        /// Its partitions.
        partitions: Vec<ReassignedPartition<'a>>, ..;
    }

    /// Outcome for a partition.
    pub struct ReassignedPartition<'a> {
        /// Its number.
        index: i32, ..;
        /// Outcome.
        error: ErrorCode, ..;
        /// Explanation of an error.
        error_message: Option<Cow<'a, str>>, ..;
    }
}
