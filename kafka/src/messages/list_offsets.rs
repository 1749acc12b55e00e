//! ListOffsets (API 2): offsets by timestamp, and the ends of a partition.
//!
//! Version 11 adds a special timestamp (tiered storage, KIP-1023) and changes no field.
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;

/// Timestamp that asks for the end of the log.
pub const LATEST: i64 = -1;
/// Timestamp that asks for the start of the log.
pub const EARLIEST: i64 = -2;
/// Timestamp that asks for the record with the largest timestamp (v7, KIP-734).
pub const MAX_TIMESTAMP: i64 = -3;
/// Timestamp that asks for the start of what is on local storage (v8, KIP-405).
pub const EARLIEST_LOCAL: i64 = -4;
/// Timestamp that asks for the end of what is on remote storage (v9, KIP-1005).
pub const LATEST_TIERED: i64 = -5;
/// Timestamp that asks for the first offset not yet on remote storage (v11, KIP-1023).
pub const EARLIEST_PENDING_UPLOAD: i64 = -6;

message! {
    /// A ListOffsets request.
    pub struct ListOffsetsRequest<'a> {
        /// Follower that asks; -1 for a consumer.
        replica_id: i32 = -1, ..;
        /// 0: read uncommitted, 1: read committed.
        isolation_level: i8, 2..;
        /// What is asked for.
        topics: Vec<ListOffsetsTopic<'a>>, ..;
        /// How long the client waits; 0 if it does not say.
        timeout_ms: i32, 10..;
    }

    /// A topic asked for.
    pub struct ListOffsetsTopic<'a> {
        /// Its name.
        name: &'a str, ..;
        /// Its partitions.
        partitions: Vec<ListOffsetsPartition>, ..;
    }

    /// A partition asked for.
    #[derive(Copy)]
    pub struct ListOffsetsPartition {
        /// Which partition.
        index: i32, ..;
        /// Epoch of the leader as the client knows it; -1 if it does not.
        current_leader_epoch: i32 = -1, 4..;
        /// Time, or one of the constants of this module.
        timestamp: i64, ..;
    }

    /// A ListOffsets response.
    pub struct ListOffsetsResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, 2..;
        /// The topics asked for.
        topics: Vec<ListedTopic<'a>>, ..;
    }

    /// A topic's answers.
    pub struct ListedTopic<'a> {
        /// Its name.
        name: Cow<'a, str>, ..;
        /// Its partitions.
        partitions: Vec<ListedPartition>, ..;
    }

    /// A partition's answer.
    #[derive(Copy)]
    pub struct ListedPartition {
        /// Which partition.
        index: i32, ..;
        /// Outcome.
        error: ErrorCode, ..;
        /// Timestamp of the record found; -1 for none.
        timestamp: i64 = -1, ..;
        /// Offset found; -1 for none.
        offset: i64 = -1, ..;
        /// Epoch of the record's leader; at least 0 if an offset was found, else -1.
        leader_epoch: i32 = -1, 4..;
    }
}

impl ListedPartition {
    /// A partition without an answer.
    pub fn failed(index: i32, error: ErrorCode) -> Self {
        Self { index, error, ..Self::default() }
    }
}
