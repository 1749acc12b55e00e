//! DeleteRecords (API 21), versions 0 to 2: moves the log start offset of partitions up (KIP-107).
use std::borrow::Cow;

use crate::error::ErrorCode;
use crate::versions::ApiKey;
use crate::wire::{Reader, WireError, WireErrorKind, Writer};

/// Stands for the high watermark in a request.
pub const HIGH_WATERMARK: i64 = -1;

/// A DeleteRecords request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteRecordsRequest<'a> {
    /// Topics to delete records of.
    pub topics: Vec<DeleteRecordsTopic<'a>>,
    /// How long the client waits.
    pub timeout_ms: i32,
}

/// A topic to delete records of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteRecordsTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// Partitions to delete records of.
    pub partitions: Vec<DeleteRecordsPartition>,
}

/// A partition to delete records of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeleteRecordsPartition {
    /// Its number.
    pub index: i32,
    /// Records below this offset are deleted; [`HIGH_WATERMARK`]: all that consumers can see.
    pub offset: i64,
}

impl<'a> DeleteRecordsRequest<'a> {
    /// Reads a whole request.
    pub fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !ApiKey::DeleteRecords.serves(version) {
            return Err(r.error("request_api_version", WireErrorKind::Version(version)));
        }
        let flexible = ApiKey::DeleteRecords.is_flexible(version);
        let request = Self {
            topics: r.vec(flexible, if flexible { 1 + 1 + 1 } else { 2 + 4 }, "topics", |r| {
                let name = r.string(flexible, "name")?;
                let partitions = r.vec(flexible, 4 + 8 + usize::from(flexible), "partitions", |r| {
                    let (index, offset) = (r.i32("partition_index")?, r.i64("offset")?);
                    r.skip_tags(flexible)?;
                    Ok(DeleteRecordsPartition { index, offset })
                })?;
                r.skip_tags(flexible)?;
                Ok(DeleteRecordsTopic { name, partitions })
            })?,
            timeout_ms: r.i32("timeout_ms")?,
        };
        r.skip_tags(flexible)?;
        Ok(request)
    }
}

/// A DeleteRecords response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteRecordsResponse<'a> {
    /// The topics of the request.
    pub topics: Vec<DeletedRecordsTopic<'a>>,
}

/// Outcome for a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedRecordsTopic<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its partitions.
    pub partitions: Vec<DeletedRecordsPartition>,
}

/// Outcome for a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletedRecordsPartition {
    /// Its number.
    pub index: i32,
    /// Its log start offset afterwards, or -1.
    pub low_watermark: i64,
    /// Outcome.
    pub error: ErrorCode,
}

impl DeleteRecordsResponse<'_> {
    /// Writes the body.
    pub fn encode(&self, version: i16, w: &mut Writer<'_>) {
        let flexible = ApiKey::DeleteRecords.is_flexible(version);
        w.i32(0); // throttle_time_ms
        w.length(flexible, self.topics.len());
        for topic in &self.topics {
            w.string(flexible, &topic.name);
            w.length(flexible, topic.partitions.len());
            for partition in &topic.partitions {
                w.i32(partition.index);
                w.i64(partition.low_watermark);
                w.i16(partition.error.code());
                w.no_tags(flexible);
            }
            w.no_tags(flexible);
        }
        w.no_tags(flexible);
    }
}
