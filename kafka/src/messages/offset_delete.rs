//! OffsetDelete (API 47): removes committed offsets of a group (KIP-496).
use super::offset_commit::CommittedTopic;
use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// An OffsetDelete request.
    pub struct OffsetDeleteRequest<'a> {
        /// The group.
        group: &'a str, ..;
        /// Topics whose offsets go.
        topics: Vec<OffsetDeleteTopic<'a>>, ..;
    }

    /// A topic of it.
    pub struct OffsetDeleteTopic<'a> {
        /// Its name.
        name: &'a str, ..;
        /// Partitions whose offsets go.
        partitions: Vec<OffsetDeletePartition>, ..;
    }

    /// A partition of it.
    #[derive(Copy)]
    pub struct OffsetDeletePartition {
        /// Its number.
        index: i32, ..;
    }

    /// An OffsetDelete response.
    pub struct OffsetDeleteResponse<'a> {
        /// What is wrong with all of it.
        error: ErrorCode, ..;
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// The topics of the request, unless all of it is wrong.
        topics: Vec<CommittedTopic<'a>>, ..;
    }
}
