//! OffsetCommit (API 8), versions 2 to 9: a consumer says how far it has come.
//!
//! Version 10 names topics by id (KIP-848) and is not served; clients then take 9. The retention time of versions
//! 2 to 4 is read and has no effect.
use std::borrow::Cow;

use crate::error::ErrorCode;
use crate::versions::ApiKey;
use crate::wire::{Reader, WireError, WireErrorKind, Writer};

/// An OffsetCommit request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommitRequest<'a> {
    /// The group.
    pub group: &'a str,
    /// Generation of the group; -1 from who is no member.
    pub generation: i32,
    /// Id of the member; empty from who is none.
    pub member_id: &'a str,
    /// Name that the member keeps over restarts (v7).
    pub group_instance_id: Option<&'a str>,
    /// What is committed.
    pub topics: Vec<OffsetCommitTopic<'a>>,
}

/// A topic of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommitTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its partitions.
    pub partitions: Vec<OffsetCommitPartition<'a>>,
}

/// A partition of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetCommitPartition<'a> {
    /// Its number.
    pub index: i32,
    /// The offset to read next.
    pub offset: i64,
    /// Epoch of the leader that the last record came from; -1 if it is not known (v6).
    pub leader_epoch: i32,
    /// Whatever the consumer wants to keep beside it.
    pub metadata: Option<&'a str>,
}

impl<'a> OffsetCommitRequest<'a> {
    /// Reads a whole request.
    pub fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !ApiKey::OffsetCommit.serves(version) {
            return Err(r.error("request_api_version", WireErrorKind::Version(version)));
        }
        let flexible = ApiKey::OffsetCommit.is_flexible(version);
        let group = r.string(flexible, "group_id")?;
        let generation = r.i32("generation_id_or_member_epoch")?;
        let member_id = r.string(flexible, "member_id")?;
        let group_instance_id =
            if version >= 7 { r.nullable_string(flexible, "group_instance_id")? } else { None };
        if version <= 4 {
            r.i64("retention_time_ms")?;
        }
        let topics = r.vec(flexible, if flexible { 1 + 1 + 1 } else { 2 + 4 }, "topics", |r| {
            let name = r.string(flexible, "name")?;
            let partitions = r.vec(flexible, 4 + 8 + 1, "partitions", |r| {
                let partition = OffsetCommitPartition {
                    index: r.i32("partition_index")?,
                    offset: r.i64("committed_offset")?,
                    leader_epoch: if version >= 6 { r.i32("committed_leader_epoch")? } else { -1 },
                    metadata: r.nullable_string(flexible, "committed_metadata")?,
                };
                r.skip_tags(flexible)?;
                Ok(partition)
            })?;
            r.skip_tags(flexible)?;
            Ok(OffsetCommitTopic { name, partitions })
        })?;
        r.skip_tags(flexible)?;
        Ok(Self { group, generation, member_id, group_instance_id, topics })
    }
}

/// An OffsetCommit response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommitResponse<'a> {
    /// The topics of the request.
    pub topics: Vec<CommittedTopic<'a>>,
}

/// Outcome for a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedTopic<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its partitions.
    pub partitions: Vec<(i32, ErrorCode)>,
}

impl OffsetCommitResponse<'_> {
    /// Writes the body.
    pub fn encode(&self, version: i16, w: &mut Writer<'_>) {
        let flexible = ApiKey::OffsetCommit.is_flexible(version);
        if version >= 3 {
            w.i32(0); // throttle_time_ms
        }
        w.length(flexible, self.topics.len());
        for topic in &self.topics {
            w.string(flexible, &topic.name);
            w.length(flexible, topic.partitions.len());
            for (index, error) in &topic.partitions {
                w.i32(*index);
                w.i16(error.code());
                w.no_tags(flexible);
            }
            w.no_tags(flexible);
        }
        w.no_tags(flexible);
    }
}
