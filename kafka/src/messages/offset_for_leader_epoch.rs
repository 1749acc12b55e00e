//! OffsetForLeaderEpoch (API 23): where the records of a leader epoch end (KIP-101, KIP-320).
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// An OffsetForLeaderEpoch request.
    pub struct OffsetForLeaderEpochRequest<'a> {
        /// Follower that asks; -1 or -2 for a consumer.
        replica_id: i32 = -2, 3..;
        /// What is asked for.
        topics: Vec<EpochTopic<'a>>, ..;
    }

    /// A topic asked for.
    pub struct EpochTopic<'a> {
        /// Its name.
        name: &'a str, ..;
        /// Its partitions.
        partitions: Vec<EpochPartition>, ..;
    }

    /// A partition asked for.
    #[derive(Copy)]
    pub struct EpochPartition {
        /// Its number.
        index: i32, ..;
        /// Epoch of the leader as the client knows it; -1 if it does not.
        current_leader_epoch: i32 = -1, 2..;
        /// The epoch whose end is asked for.
        leader_epoch: i32, ..;
    }

    /// An OffsetForLeaderEpoch response.
    pub struct OffsetForLeaderEpochResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, 2..;
        /// The topics asked for.
        topics: Vec<EpochTopicEnds<'a>>, ..;
    }

    /// A topic's answer.
    pub struct EpochTopicEnds<'a> {
        /// Its name.
        name: Cow<'a, str>, ..;
        /// Its partitions.
        partitions: Vec<EpochEnd>, ..;
    }

    /// A partition's answer.
    #[derive(Copy)]
    pub struct EpochEnd {
        /// Outcome.
        error: ErrorCode, ..;
        /// Its number.
        index: i32, ..;
        /// The largest epoch that is not later than the one asked for; -1 if there is none.
        leader_epoch: i32 = -1, 1..;
        /// The offset after its last record; -1 if there is none.
        end_offset: i64 = -1, ..;
    }
}
