//! Fetch request (API 1), versions 4 to 18: topics by id from 13 (KIP-516), the replica's state tagged from
//! 15 (KIP-903). The response is written by [`super::fetch_response`].
//!
//! Promise: what is allocated is bounded by the bytes of the request.
use uuid::Uuid;

use super::produce::TopicRef;
use crate::versions::ApiKey;
use crate::wire::{Reader, WireError, WireErrorKind};

/// A Fetch request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest<'a> {
    /// Cluster that the client thinks it talks to.
    pub cluster_id: Option<&'a str>,
    /// Follower that asks; -1 for a consumer.
    pub replica_id: i32,
    /// Epoch of the follower; -1 for a consumer.
    pub replica_epoch: i64,
    /// How long to wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// What to wait for.
    pub min_bytes: i32,
    /// Most bytes of the response, but for a first batch that is larger.
    pub max_bytes: i32,
    /// 0: read uncommitted, 1: read committed.
    pub isolation_level: i8,
    /// Session; 0 for none.
    pub session_id: i32,
    /// Epoch of the session; -1 for a full fetch without a session.
    pub session_epoch: i32,
    /// What to read.
    pub topics: Vec<FetchTopic<'a>>,
    /// What to take out of the session.
    pub forgotten_topics: Vec<ForgottenTopic<'a>>,
    /// Rack of the consumer.
    pub rack_id: &'a str,
}

/// A topic to read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchTopic<'a> {
    /// Which topic.
    pub topic: TopicRef<'a>,
    /// Its partitions.
    pub partitions: Vec<FetchPartition>,
}

/// A partition to read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPartition {
    /// Which partition.
    pub index: i32,
    /// Epoch of the leader as the client knows it; -1 if it does not.
    pub current_leader_epoch: i32,
    /// First offset wanted.
    pub fetch_offset: i64,
    /// Epoch of the last record a follower has; -1 for a consumer.
    pub last_fetched_epoch: i32,
    /// Log start of a follower; -1 for a consumer.
    pub log_start_offset: i64,
    /// Most bytes from this partition.
    pub max_bytes: i32,
    /// Directory of a follower (v17).
    pub replica_directory_id: Uuid,
    /// High watermark that a follower knows (v18).
    pub high_watermark: i64,
}

/// A topic that leaves the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgottenTopic<'a> {
    /// Which topic.
    pub topic: TopicRef<'a>,
    /// Its partitions.
    pub partitions: Vec<i32>,
}

fn topic<'a>(version: i16, flexible: bool, r: &mut Reader<'a>) -> Result<TopicRef<'a>, WireError> {
    Ok(if version >= 13 {
        TopicRef::Id(r.uuid("topic_id")?)
    } else {
        TopicRef::Name(r.string(flexible, "topic")?)
    })
}

impl<'a> FetchRequest<'a> {
    /// Reads a whole request.
    pub fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !ApiKey::Fetch.serves(version) {
            return Err(r.error("request_api_version", WireErrorKind::Version(version)));
        }
        let flexible = ApiKey::Fetch.is_flexible(version);
        let topic_bytes_min = match version {
            13.. => 16 + 1 + 1,
            12 => 1 + 1 + 1,
            _ => 2 + 4,
        };
        let mut replica_id = if version <= 14 { r.i32("replica_id")? } else { -1 };
        let max_wait_ms = r.i32("max_wait_ms")?;
        let min_bytes = r.i32("min_bytes")?;
        let max_bytes = r.i32("max_bytes")?;
        let isolation_level = r.i8("isolation_level")?;
        let (session_id, session_epoch) =
            if version >= 7 { (r.i32("session_id")?, r.i32("session_epoch")?) } else { (0, -1) };
        let topics =
            r.vec(flexible, topic_bytes_min, "topics", |r| FetchTopic::decode(version, flexible, r))?;
        let forgotten_topics = if version >= 7 {
            r.vec(flexible, topic_bytes_min, "forgotten_topics_data", |r| {
                let topic = topic(version, flexible, r)?;
                let partitions = r.i32s(flexible, "partitions")?;
                r.skip_tags(flexible)?;
                Ok(ForgottenTopic { topic, partitions })
            })?
        } else {
            Vec::new()
        };
        let rack_id = if version >= 11 { r.string(flexible, "rack_id")? } else { "" };
        let mut cluster_id = None;
        let mut replica_epoch = -1;
        r.tags(flexible, |tag, field| {
            match tag {
                0 => cluster_id = field.nullable_string(true, "cluster_id")?,
                1 if version >= 15 => {
                    replica_id = field.i32("replica_id")?;
                    replica_epoch = field.i64("replica_epoch")?;
                    field.skip_tags(true)?;
                }
                _ => return Ok(()),
            }
            field.finish()
        })?;
        Ok(Self {
            cluster_id,
            replica_id,
            replica_epoch,
            max_wait_ms,
            min_bytes,
            max_bytes,
            isolation_level,
            session_id,
            session_epoch,
            topics,
            forgotten_topics,
            rack_id,
        })
    }
}

impl<'a> FetchTopic<'a> {
    fn decode(version: i16, flexible: bool, r: &mut Reader<'a>) -> Result<Self, WireError> {
        let topic = topic(version, flexible, r)?;
        let partition_bytes_min = match version {
            12.. => 4 + 4 + 8 + 4 + 8 + 4 + 1,
            9.. => 4 + 4 + 8 + 8 + 4,
            5.. => 4 + 8 + 8 + 4,
            _ => 4 + 8 + 4,
        };
        let partitions = r.vec(flexible, partition_bytes_min, "partitions", |r| {
            FetchPartition::decode(version, flexible, r)
        })?;
        r.skip_tags(flexible)?;
        Ok(Self { topic, partitions })
    }
}

impl FetchPartition {
    fn decode(version: i16, flexible: bool, r: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut partition = Self {
            index: r.i32("partition")?,
            current_leader_epoch: if version >= 9 { r.i32("current_leader_epoch")? } else { -1 },
            fetch_offset: r.i64("fetch_offset")?,
            last_fetched_epoch: if version >= 12 { r.i32("last_fetched_epoch")? } else { -1 },
            log_start_offset: if version >= 5 { r.i64("log_start_offset")? } else { -1 },
            max_bytes: r.i32("partition_max_bytes")?,
            replica_directory_id: Uuid::nil(),
            high_watermark: i64::MAX,
        };
        r.tags(flexible, |tag, field| {
            match tag {
                0 if version >= 17 => partition.replica_directory_id = field.uuid("replica_directory_id")?,
                1 if version >= 18 => partition.high_watermark = field.i64("high_watermark")?,
                _ => return Ok(()),
            }
            field.finish()
        })?;
        Ok(partition)
    }
}
