//! AlterReplicaLogDirs (API 34): moves partitions between the directories of a broker (KIP-113).
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// An AlterReplicaLogDirs request.
    pub struct AlterReplicaLogDirsRequest<'a> {
        /// Where partitions are to be.
        directories: Vec<TargetDirectory<'a>>, ..;
    }

    /// A directory with what is to be in it.
    pub struct TargetDirectory<'a> {
        /// Its absolute path.
        path: &'a str, ..;
        /// The topics.
        topics: Vec<MovedTopic<'a>>, ..;
    }

    /// A topic to move.
    pub struct MovedTopic<'a> {
        /// Its name.
        name: &'a str, ..;
        /// Its partitions.
        partitions: Vec<i32>, ..;
    }

    /// An AlterReplicaLogDirs response.
    pub struct AlterReplicaLogDirsResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// The topics of the request.
        topics: Vec<MovedTopicOutcome<'a>>, ..;
    }

    /// Outcome for a topic.
    pub struct MovedTopicOutcome<'a> {
        /// Its name.
        name: Cow<'a, str>, ..;
        /// Its partitions.
        partitions: Vec<MovedPartition>, ..;
    }

    /// Outcome for a partition.
    #[derive(Copy)]
    pub struct MovedPartition {
        /// Its number.
        index: i32, ..;
        /// Outcome.
        error: ErrorCode, ..;
    }
}
