//! DeleteRecords (API 21): moves the log start offset of partitions up (KIP-107).
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;

/// Stands for the high watermark in a request.
pub const HIGH_WATERMARK: i64 = -1;

message! {
    /// A DeleteRecords request.
    pub struct DeleteRecordsRequest<'a> {
        /// Topics to delete records of.
        topics: Vec<DeleteRecordsTopic<'a>>, ..;
        /// How long the client waits.
        timeout_ms: i32, ..;
    }

    /// A topic to delete records of.
    pub struct DeleteRecordsTopic<'a> {
        /// Its name.
        name: &'a str, ..;
        /// Partitions to delete records of.
        partitions: Vec<DeleteRecordsPartition>, ..;
    }

    /// A partition to delete records of.
    #[derive(Copy)]
    pub struct DeleteRecordsPartition {
        /// Its number.
        index: i32, ..;
        /// Records below this offset are deleted; [`HIGH_WATERMARK`]: all that consumers can see.
        offset: i64, ..;
    }

    /// A DeleteRecords response.
    pub struct DeleteRecordsResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// The topics of the request.
        topics: Vec<DeletedRecordsTopic<'a>>, ..;
    }

    /// Outcome for a topic.
    pub struct DeletedRecordsTopic<'a> {
        /// Its name.
        name: Cow<'a, str>, ..;
        /// Its partitions.
        partitions: Vec<DeletedRecordsPartition>, ..;
    }

    /// Outcome for a partition.
    #[derive(Copy)]
    pub struct DeletedRecordsPartition {
        /// Its number.
        index: i32, ..;
        /// Its log start offset afterwards, or -1.
        low_watermark: i64, ..;
        /// Outcome.
        error: ErrorCode, ..;
    }
}
