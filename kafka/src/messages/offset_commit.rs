//! OffsetCommit (API 8): a consumer says how far it has come. From version 10 on topics have their ids (KIP-848).
use std::borrow::Cow;

use uuid::Uuid;

use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// An OffsetCommit request.
    pub struct OffsetCommitRequest<'a> {
        /// The group.
        group: &'a str, ..;
        /// Generation of the group; -1 from who is no member.
        generation: i32 = -1, ..;
        /// Id of the member; empty from who is none.
        member_id: &'a str, ..;
        /// Name that the member keeps over restarts.
        group_instance_id: Option<&'a str>, 7..;
        /// How long the offsets are to be kept; it has no effect.
        retention_time_ms: i64 = -1, ..=4;
        /// What is committed.
        topics: Vec<OffsetCommitTopic<'a>>, ..;
    }

    /// A topic of it.
    pub struct OffsetCommitTopic<'a> {
        /// Its name.
        name: &'a str, ..=9;
        /// Its id.
        topic_id: Uuid, 10..;
        /// Its partitions.
        partitions: Vec<OffsetCommitPartition<'a>>, ..;
    }

    /// A partition of it.
    #[derive(Copy)]
    pub struct OffsetCommitPartition<'a> {
        /// Its number.
        index: i32, ..;
        /// The offset to read next.
        offset: i64, ..;
        /// Epoch of the leader that the last record came from; -1 if it is not known.
        leader_epoch: i32 = -1, 6..;
        /// Whatever the consumer wants to keep beside it.
        metadata: Option<&'a str>, ..;
    }

    /// An OffsetCommit response.
    pub struct OffsetCommitResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, 3..;
        /// The topics of the request.
        topics: Vec<CommittedTopic<'a>>, ..;
    }

    /// Outcome for a topic.
    pub struct CommittedTopic<'a> {
        /// Its name.
        name: Cow<'a, str>, ..=9;
        /// Its id.
        topic_id: Uuid, 10..;
        /// Its partitions.
        partitions: Vec<CommittedPartition>, ..;
    }

    /// Outcome for a partition.
    #[derive(Copy)]
    pub struct CommittedPartition {
        /// Its number.
        index: i32, ..;
        /// Outcome.
        error: ErrorCode, ..;
    }
}
