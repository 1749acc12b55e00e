//! OffsetFetch (API 9), versions 1 to 9: what a group has committed; several groups at once from version 8
//! (KIP-709), all of its topics where no list is given (version 2).
//!
//! Version 10 names topics by id and is not served; clients then take 9. Nothing is ever unstable, as there are
//! no transactions, so that `require_stable` (version 7) asks for nothing.
use std::borrow::Cow;

use crate::error::ErrorCode;
use crate::versions::ApiKey;
use crate::wire::{Reader, WireError, WireErrorKind, Writer};

/// An OffsetFetch request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetFetchRequest<'a> {
    /// The groups; exactly one before version 8.
    pub groups: Vec<OffsetFetchGroup<'a>>,
}

/// A group asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetFetchGroup<'a> {
    /// Its name.
    pub group: &'a str,
    /// Its topics; `None`: all that have a committed offset.
    pub topics: Option<Vec<OffsetFetchTopic<'a>>>,
}

/// A topic asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetFetchTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its partitions.
    pub partitions: Vec<i32>,
}

impl<'a> OffsetFetchRequest<'a> {
    /// Reads a whole request.
    pub fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !ApiKey::OffsetFetch.serves(version) {
            return Err(r.error("request_api_version", WireErrorKind::Version(version)));
        }
        let flexible = ApiKey::OffsetFetch.is_flexible(version);
        let groups = if version >= 8 {
            r.vec(flexible, 1 + 1 + 1, "groups", |r| {
                let group = r.string(flexible, "group_id")?;
                if version >= 9 {
                    r.nullable_string(flexible, "member_id")?;
                    r.i32("member_epoch")?;
                }
                let topics = topics(r, flexible)?;
                r.skip_tags(flexible)?;
                Ok(OffsetFetchGroup { group, topics })
            })?
        } else {
            let group = r.string(flexible, "group_id")?;
            let before = r.clone();
            let topics = topics(r, flexible)?;
            if topics.is_none() && version < 2 {
                return Err(before.error("topics", WireErrorKind::Null));
            }
            vec![OffsetFetchGroup { group, topics }]
        };
        if version >= 7 {
            r.bool("require_stable")?;
        }
        r.skip_tags(flexible)?;
        Ok(Self { groups })
    }
}

fn topics<'a>(r: &mut Reader<'a>, flexible: bool) -> Result<Option<Vec<OffsetFetchTopic<'a>>>, WireError> {
    let bytes_min = if flexible { 1 + 1 + 1 } else { 2 + 4 };
    let Some(len) = r.nullable_array(flexible, bytes_min, "topics")? else { return Ok(None) };
    let mut topics = Vec::with_capacity(len);
    for _ in 0..len {
        let name = r.string(flexible, "name")?;
        let partitions = r.i32s(flexible, "partition_indexes")?;
        r.skip_tags(flexible)?;
        topics.push(OffsetFetchTopic { name, partitions });
    }
    Ok(Some(topics))
}

/// An OffsetFetch response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetFetchResponse<'a> {
    /// The groups of the request, in its order; exactly one before version 8.
    pub groups: Vec<FetchedGroup<'a>>,
}

/// A group's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedGroup<'a> {
    /// Its name.
    pub group: Cow<'a, str>,
    /// What is wrong with all of it; version 1 says so at each partition.
    pub error: ErrorCode,
    /// Its topics.
    pub topics: Vec<FetchedTopic<'a>>,
}

/// A topic's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedTopic<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its partitions.
    pub partitions: Vec<FetchedOffset<'a>>,
}

/// A partition's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedOffset<'a> {
    /// Its number.
    pub index: i32,
    /// What was committed; -1 for nothing.
    pub offset: i64,
    /// Epoch of the leader, as it was committed; -1 for none (v5).
    pub leader_epoch: i32,
    /// What was kept beside it.
    pub metadata: Cow<'a, str>,
}

impl FetchedOffset<'_> {
    /// A partition for which nothing was committed.
    pub fn nothing(index: i32) -> Self {
        Self { index, offset: -1, leader_epoch: -1, metadata: "".into() }
    }
}

impl OffsetFetchResponse<'_> {
    /// Writes the body.
    pub fn encode(&self, version: i16, w: &mut Writer<'_>) {
        let flexible = ApiKey::OffsetFetch.is_flexible(version);
        if version >= 3 {
            w.i32(0); // throttle_time_ms
        }
        if version >= 8 {
            w.length(flexible, self.groups.len());
            for group in &self.groups {
                w.string(flexible, &group.group);
                write_topics(w, version, &group.topics, ErrorCode::None);
                w.i16(group.error.code());
                w.no_tags(flexible);
            }
        } else {
            let (topics, error) = match self.groups.first() {
                Some(group) => (group.topics.as_slice(), group.error),
                None => (&[] as &[_], ErrorCode::InvalidRequest),
            };
            write_topics(w, version, topics, if version < 2 { error } else { ErrorCode::None });
            if version >= 2 {
                w.i16(error.code());
            }
        }
        w.no_tags(flexible);
    }
}

fn write_topics(w: &mut Writer<'_>, version: i16, topics: &[FetchedTopic<'_>], error: ErrorCode) {
    let flexible = ApiKey::OffsetFetch.is_flexible(version);
    w.length(flexible, topics.len());
    for topic in topics {
        w.string(flexible, &topic.name);
        w.length(flexible, topic.partitions.len());
        for partition in &topic.partitions {
            w.i32(partition.index);
            w.i64(partition.offset);
            if version >= 5 {
                w.i32(partition.leader_epoch);
            }
            w.nullable_string(flexible, Some(&partition.metadata));
            w.i16(error.code());
            w.no_tags(flexible);
        }
        w.no_tags(flexible);
    }
}
