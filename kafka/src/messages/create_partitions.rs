//! CreatePartitions (API 37): raises a topic's number of partitions (KIP-195).
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// A CreatePartitions request.
    pub struct CreatePartitionsRequest<'a> {
        /// Topics to enlarge.
        topics: Vec<PartitionsTopic<'a>>, ..;
        /// How long the client waits.
        timeout_ms: i32, ..;
        /// Check only, create nothing.
        validate_only: bool, ..;
    }

    /// A topic to enlarge.
    pub struct PartitionsTopic<'a> {
        /// Its name.
        name: &'a str, ..;
        /// Partitions that it is to have in the end.
        count: i32, ..;
        /// Brokers of each new partition; `None` if the server is to choose.
        assignments: Option<Vec<NewPartition>>, ..;
    }

    /// Where a new partition is to be.
    pub struct NewPartition {
        /// Its brokers.
        brokers: Vec<i32>, ..;
    }

    /// A CreatePartitions response.
    pub struct CreatePartitionsResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// The topics of the request.
        topics: Vec<EnlargedTopic<'a>>, ..;
    }

    /// Outcome for a topic.
    pub struct EnlargedTopic<'a> {
        /// Its name.
        name: Cow<'a, str>, ..;
        /// Outcome.
        error: ErrorCode, ..;
        /// Explanation of an error.
        error_message: Option<Cow<'a, str>>, ..;
    }
}
