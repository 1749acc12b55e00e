//! What can go wrong in an embedded engine, with its cause and what to do next.

use std::io;

use crate::catalog::CatalogError;
use crate::error::{AppendError, Failure, ReadError};
use crate::ids::Offset;
use crate::producer_state::SequenceError;
use crate::record_batch::BatchError;

/// Why an operation of [`Keylane`](super::Keylane) failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// No such topic.
    #[error("there is no topic {0:?}: create it with create_topic")]
    UnknownTopic(String),
    /// No such partition.
    #[error("topic {topic:?} has the partitions 0 to {last}, not {partition}")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition that was asked for.
        partition: u32,
        /// The last partition of the topic.
        last: u32,
    },
    /// The topic was deleted while the operation was on its way. Nothing was appended.
    #[error("the topic was deleted meanwhile")]
    Deleted,
    /// A topic that cannot be created.
    #[error("topic {name:?} cannot be created: {rule}")]
    InvalidTopic {
        /// The name.
        name: String,
        /// The rule that the name or number of partitions broke.
        rule: &'static str,
    },
    /// The catalog refused.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A record without a key, where the key chooses the partition.
    #[error("the record has no key to choose a partition by: give it one, or name a partition")]
    NoKey,
    /// An append without records.
    #[error("an append needs at least one record")]
    Empty,
    /// The batch is malformed.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The batch does not continue the sequence of its idempotent producer.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// The batch is larger than a commit may be.
    #[error(
        "batch of {bytes} bytes; at most {max} fit: append fewer records at once, or open with larger \
         segment_bytes and uncommitted_bytes_max"
    )]
    TooLarge {
        /// Size of the batch.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The queue to the partition's shard is full. Only `try_submit` returns this error; other methods wait.
    #[error("too many bytes wait to be appended: wait for earlier appends, then try again")]
    Busy,
    /// No space for another segment. Nothing was appended.
    #[error("no space left for another segment: free disk space; appending works again by itself")]
    DiskFull,
    /// The disk failed. Records that were not acked may or may not be there when the directory is opened again.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The engine stopped before the append was known to be durable.
    #[error(
        "the engine stopped before the append was durable: open the directory again and look whether its records are there"
    )]
    Interrupted,
    /// The engine was closed. Nothing was done.
    #[error("the engine is closed: open the directory again")]
    Closed,
    /// A thread of the engine ended by a panic.
    #[error("a thread of the engine panicked; its message went to stderr: open the directory again")]
    Panicked,
    /// Reading failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The batch is compressed, and its records were requested one by one.
    #[error(
        "the batch at offset {offset} is compressed ({codec}), which cannot be decoded here: take it as it is \
         with read_batches"
    )]
    Compressed {
        /// First offset of the batch.
        offset: Offset,
        /// The codec's name.
        codec: &'static str,
    },
    /// A stored batch has a malformed record, which its producer wrote before records were checked.
    #[error(
        "record {index} of the batch at offset {offset} is malformed: take it as it is with read_batches"
    )]
    Malformed {
        /// First offset of the batch.
        offset: Offset,
        /// Which record, from 0.
        index: u32,
    },
}

impl From<AppendError> for EmbedError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Batch(e) => Self::Batch(e),
            AppendError::Sequence(e) => Self::Sequence(e),
            AppendError::TooLarge { bytes, max } => Self::TooLarge { bytes, max },
            AppendError::Busy => Self::Busy,
            AppendError::DiskFull => Self::DiskFull,
            AppendError::Failed(failure) => Self::Failed(sendable(&failure)),
            AppendError::UnknownPartition => Self::Deleted,
        }
    }
}

/// A copy of a failure that may be sent to another thread.
pub(super) fn sendable(failure: &Failure) -> Failure {
    let cause = match failure.cause.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(failure.cause.kind(), failure.cause.to_string()),
    };
    Failure { shard: failure.shard, during: failure.during.clone(), cause }
}

pub(super) fn of_read(error: ReadError) -> EmbedError {
    match error {
        ReadError::UnknownPartition => EmbedError::Deleted,
        other => EmbedError::Read(other),
    }
}
