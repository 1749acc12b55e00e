//! OffsetDelete (API 47), version 0: removes committed offsets of a group (KIP-496).
use super::offset_commit::CommittedTopic;
use crate::error::ErrorCode;
use crate::versions::ApiKey;
use crate::wire::{Reader, WireError, WireErrorKind, Writer};

/// An OffsetDelete request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetDeleteRequest<'a> {
    /// The group.
    pub group: &'a str,
    /// Topics and partitions whose offsets go.
    pub topics: Vec<(&'a str, Vec<i32>)>,
}

impl<'a> OffsetDeleteRequest<'a> {
    /// Reads a whole request.
    pub fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !ApiKey::OffsetDelete.serves(version) {
            return Err(r.error("request_api_version", WireErrorKind::Version(version)));
        }
        let group = r.string(false, "group_id")?;
        let topics =
            r.vec(false, 2 + 4, "topics", |r| Ok((r.string(false, "name")?, r.i32s(false, "partitions")?)))?;
        Ok(Self { group, topics })
    }
}

/// An OffsetDelete response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetDeleteResponse<'a> {
    /// What is wrong with all of it.
    pub error: ErrorCode,
    /// The topics of the request, unless all of it is wrong.
    pub topics: Vec<CommittedTopic<'a>>,
}

impl OffsetDeleteResponse<'_> {
    /// Writes the body.
    pub fn encode(&self, _version: i16, w: &mut Writer<'_>) {
        w.i16(self.error.code());
        w.i32(0); // throttle_time_ms
        w.length(false, self.topics.len());
        for topic in &self.topics {
            w.string(false, &topic.name);
            w.length(false, topic.partitions.len());
            for (index, error) in &topic.partitions {
                w.i32(*index);
                w.i16(error.code());
            }
        }
    }
}
