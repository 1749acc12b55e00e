//! Produce (API 0): one record batch per partition, topics by id from version 13 (KIP-516).
//!
//! The server reads requests and writes responses with [`crate::hot::produce`], which allocates nothing.
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;
use crate::field::TopicRef;

message! {
    /// A Produce request.
    pub struct ProduceRequest<'a> {
        /// Transaction, if the producer has one.
        transactional_id: Option<&'a str>, ..;
        /// -1: all, 1: leader, 0: no answer.
        acks: i16 = -1, ..;
        /// How long the client waits.
        timeout_ms: i32, ..;
        /// Topics to write to.
        topics: Vec<ProduceTopic<'a>>, ..;
    }

    /// A topic to write to.
    pub struct ProduceTopic<'a> {
        /// Which topic.
        topic: TopicRef<'a>, ..;
        /// Its partitions.
        partitions: Vec<ProducePartition<'a>>, ..;
    }

    /// Records for one partition.
    pub struct ProducePartition<'a> {
        /// Which partition.
        index: i32, ..;
        /// One record batch.
        records: Option<&'a [u8]>, ..;
    }

    /// A Produce response.
    pub struct ProduceResponse<'a> {
        /// The topics of the request that have partitions.
        topics: Vec<ProducedTopic<'a>>, ..;
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
    }

    /// Outcome for a topic.
    pub struct ProducedTopic<'a> {
        /// Which topic.
        topic: TopicRef<'a>, ..;
        /// Its partitions.
        partitions: Vec<ProducedPartition<'a>>, ..;
    }

    /// What became of the records for one partition.
    pub struct ProducedPartition<'a> {
        /// Which partition.
        index: i32, ..;
        /// What is wrong, if something is.
        error: ErrorCode, ..;
        /// Offset of the first record; -1 in an error.
        base_offset: i64 = -1, ..;
        /// The time that the records got, if that is the time of their append; -1 if not, and in an error.
        log_append_time_ms: i64 = -1, ..;
        /// Log start offset of the partition; -1 in an error.
        log_start_offset: i64 = -1, 5..;
        /// The records to blame.
        record_errors: Vec<RecordError<'a>>, 8..;
        /// What is wrong, for people.
        error_message: Option<Cow<'a, str>>, 8..;
    }

    /// A record to blame for the refusal of its batch (KIP-467).
    pub struct RecordError<'a> {
        /// Its place in the batch, from 0.
        batch_index: i32, ..;
        /// What is wrong with it.
        message: Option<Cow<'a, str>>, ..;
    }
}

impl RecordError<'static> {
    /// What is wrong with the record at `index`.
    pub fn new(index: u32, message: String) -> Self {
        Self { batch_index: i32::try_from(index).unwrap_or(i32::MAX), message: Some(message.into()) }
    }
}

impl ProducedPartition<'_> {
    /// An error, with nothing to say beyond it.
    #[inline]
    pub fn failed(index: i32, error: ErrorCode) -> Self {
        Self { index, error, ..Self::default() }
    }
}
