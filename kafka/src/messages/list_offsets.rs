//! ListOffsets (API 2), versions 1 to 11: offsets by timestamp, and the ends of a partition.
//!
//! Version 11 adds a special timestamp (tiered storage, KIP-1023) and changes no field.
use std::borrow::Cow;

use crate::error::ErrorCode;
use crate::versions::ApiKey;
use crate::wire::{Reader, WireError, WireErrorKind, Writer};

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

/// A ListOffsets request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOffsetsRequest<'a> {
    /// Follower that asks; -1 for a consumer.
    pub replica_id: i32,
    /// 0: read uncommitted, 1: read committed (v2).
    pub isolation_level: i8,
    /// What is asked for.
    pub topics: Vec<ListOffsetsTopic<'a>>,
    /// How long the client waits (v10); 0 if it does not say.
    pub timeout_ms: i32,
}

/// A topic asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOffsetsTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its partitions.
    pub partitions: Vec<ListOffsetsPartition>,
}

/// A partition asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListOffsetsPartition {
    /// Which partition.
    pub index: i32,
    /// Epoch of the leader as the client knows it; -1 if it does not (v4).
    pub current_leader_epoch: i32,
    /// Time, or one of the constants of this module.
    pub timestamp: i64,
}

impl<'a> ListOffsetsRequest<'a> {
    /// Reads a whole request.
    pub fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !ApiKey::ListOffsets.serves(version) {
            return Err(r.error("request_api_version", WireErrorKind::Version(version)));
        }
        let flexible = ApiKey::ListOffsets.is_flexible(version);
        let topic_bytes_min = if flexible { 1 + 1 + 1 } else { 2 + 4 };
        let partition_bytes_min = if version >= 4 { 4 + 4 + 8 } else { 4 + 8 };
        let request = Self {
            replica_id: r.i32("replica_id")?,
            isolation_level: if version >= 2 { r.i8("isolation_level")? } else { 0 },
            topics: r.vec(flexible, topic_bytes_min, "topics", |r| {
                let name = r.string(flexible, "name")?;
                let partitions = r.vec(flexible, partition_bytes_min, "partitions", |r| {
                    let partition = ListOffsetsPartition {
                        index: r.i32("partition_index")?,
                        current_leader_epoch: if version >= 4 { r.i32("current_leader_epoch")? } else { -1 },
                        timestamp: r.i64("timestamp")?,
                    };
                    r.skip_tags(flexible)?;
                    Ok(partition)
                })?;
                r.skip_tags(flexible)?;
                Ok(ListOffsetsTopic { name, partitions })
            })?,
            timeout_ms: if version >= 10 { r.i32("timeout_ms")? } else { 0 },
        };
        r.skip_tags(flexible)?;
        Ok(request)
    }
}

/// A ListOffsets response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOffsetsResponse<'a> {
    /// The topics asked for.
    pub topics: Vec<ListedTopic<'a>>,
}

/// A topic's answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedTopic<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its partitions.
    pub partitions: Vec<ListedPartition>,
}

/// A partition's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedPartition {
    /// Which partition.
    pub index: i32,
    /// Outcome.
    pub error: ErrorCode,
    /// Timestamp of the record found; -1 for none.
    pub timestamp: i64,
    /// Offset found; -1 for none.
    pub offset: i64,
    /// Epoch of the record's leader; at least 0 if an offset was found, else -1 (v4).
    pub leader_epoch: i32,
}

impl ListedPartition {
    /// A partition without an answer.
    pub fn failed(index: i32, error: ErrorCode) -> Self {
        Self { index, error, timestamp: -1, offset: -1, leader_epoch: -1 }
    }
}

impl ListOffsetsResponse<'_> {
    /// Writes the body.
    pub fn encode(&self, version: i16, w: &mut Writer<'_>) {
        let flexible = ApiKey::ListOffsets.is_flexible(version);
        if version >= 2 {
            w.i32(0); // throttle_time_ms
        }
        w.length(flexible, self.topics.len());
        for topic in &self.topics {
            w.string(flexible, &topic.name);
            w.length(flexible, topic.partitions.len());
            for partition in &topic.partitions {
                w.i32(partition.index);
                w.i16(partition.error.code());
                w.i64(partition.timestamp);
                w.i64(partition.offset);
                if version >= 4 {
                    w.i32(partition.leader_epoch);
                }
                w.no_tags(flexible);
            }
            w.no_tags(flexible);
        }
        w.no_tags(flexible);
    }
}
