//! CreatePartitions (API 37), versions 0 to 3: raises a topic's number of partitions (KIP-195).
use std::borrow::Cow;

use crate::error::ErrorCode;
use crate::versions::ApiKey;
use crate::wire::{Reader, WireError, WireErrorKind, Writer};

/// A CreatePartitions request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatePartitionsRequest<'a> {
    /// Topics to enlarge.
    pub topics: Vec<PartitionsTopic<'a>>,
    /// How long the client waits.
    pub timeout_ms: i32,
    /// Check only, create nothing.
    pub validate_only: bool,
}

/// A topic to enlarge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionsTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// Partitions that it is to have in the end.
    pub count: i32,
    /// Brokers of each new partition; `None` if the server is to choose.
    pub assignments: Option<Vec<Vec<i32>>>,
}

impl<'a> CreatePartitionsRequest<'a> {
    /// Reads a whole request.
    pub fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !ApiKey::CreatePartitions.serves(version) {
            return Err(r.error("request_api_version", WireErrorKind::Version(version)));
        }
        let flexible = ApiKey::CreatePartitions.is_flexible(version);
        let topic_bytes_min = if flexible { 1 + 4 + 1 + 1 } else { 2 + 4 + 4 };
        let request = Self {
            topics: r.vec(flexible, topic_bytes_min, "topics", |r| PartitionsTopic::decode(flexible, r))?,
            timeout_ms: r.i32("timeout_ms")?,
            validate_only: r.bool("validate_only")?,
        };
        r.skip_tags(flexible)?;
        Ok(request)
    }
}

impl<'a> PartitionsTopic<'a> {
    fn decode(flexible: bool, r: &mut Reader<'a>) -> Result<Self, WireError> {
        let name = r.string(flexible, "name")?;
        let count = r.i32("count")?;
        let len = r.nullable_array(flexible, if flexible { 1 + 1 } else { 4 }, "assignments")?;
        let mut assignments = len.map(Vec::with_capacity);
        for _ in 0..len.unwrap_or(0) {
            assignments.get_or_insert_default().push(r.i32s(flexible, "broker_ids")?);
            r.skip_tags(flexible)?;
        }
        r.skip_tags(flexible)?;
        Ok(Self { name, count, assignments })
    }
}

/// A CreatePartitions response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatePartitionsResponse<'a> {
    /// The topics of the request.
    pub topics: Vec<EnlargedTopic<'a>>,
}

/// Outcome for a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnlargedTopic<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Outcome.
    pub error: ErrorCode,
    /// Explanation of an error.
    pub error_message: Option<Cow<'a, str>>,
}

impl CreatePartitionsResponse<'_> {
    /// Writes the body.
    pub fn encode(&self, version: i16, w: &mut Writer<'_>) {
        let flexible = ApiKey::CreatePartitions.is_flexible(version);
        w.i32(0); // throttle_time_ms
        w.length(flexible, self.topics.len());
        for topic in &self.topics {
            w.string(flexible, &topic.name);
            w.i16(topic.error.code());
            w.nullable_string(flexible, topic.error_message.as_deref());
            w.no_tags(flexible);
        }
        w.no_tags(flexible);
    }
}
