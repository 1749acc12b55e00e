//! ListPartitionReassignments (API 46): the partitions that are on their way to other brokers (KIP-455).
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// A ListPartitionReassignments request.
    pub struct ListPartitionReassignmentsRequest<'a> {
        /// How long the client waits, in milliseconds.
        timeout_ms: i32 = 60_000, ..;
        /// Partitions that are asked for; null for all.
        topics: Option<Vec<ReassignmentsOf<'a>>>, ..;
    }

    /// A topic asked for.
    pub struct ReassignmentsOf<'a> {
        /// Its name.
        name: &'a str, ..;
        /// Its partitions.
        partitions: Vec<i32>, ..;
    }

    /// A ListPartitionReassignments response.
    pub struct ListPartitionReassignmentsResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// Outcome.
        error: ErrorCode, ..;
        /// Explanation of an error.
        error_message: Option<Cow<'a, str>>, ..;
        /// Topics with partitions on their way.
        topics: Vec<OngoingTopic<'a>>, ..;
    }

    /// A topic with partitions on their way.
    pub struct OngoingTopic<'a> {
        /// Its name.
        name: Cow<'a, str>, ..;
        /// These partitions.
        partitions: Vec<OngoingPartition>, ..;
    }

    /// A partition on its way.
    pub struct OngoingPartition {
        /// Its number.
        index: i32, ..;
        /// Brokers that it is on.
        replicas: Vec<i32>, ..;
        /// Brokers that it is coming to.
        adding_replicas: Vec<i32>, ..;
        /// Brokers that it is leaving.
        removing_replicas: Vec<i32>, ..;
    }
}
