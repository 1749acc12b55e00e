//! What can go wrong in an embedded engine, with its cause and what to do next.

use std::io;

use crate::catalog::CatalogError;
use crate::error::{AppendError, Failure, OpenError, ReadError, TrimError};
use crate::ids::Offset;
use crate::producer_state::SequenceError;
use crate::record_batch::BatchError;
use crate::records::RecordsError;

/// The result of an operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed. The text says what a person can do; [`source`](std::error::Error::source) has the cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No such topic.
    #[error("there is no topic {0:?}: create it with create_topic")]
    UnknownTopic(String),
    /// A topic of this name exists already.
    #[error("topic {0:?} exists already: take it with Keylane::topic, or choose another name")]
    TopicExists(String),
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
    #[error("the topic was deleted meanwhile: handles of it are of no use any more")]
    Deleted,
    /// A topic that cannot be created.
    #[error("topic {name:?} cannot be created: {rule}")]
    InvalidTopic {
        /// The name.
        name: String,
        /// The rule that the name or a setting broke.
        rule: &'static str,
    },
    /// The list of topics could not be changed.
    #[error("{0}; free disk space if it is full, else open the directory again")]
    Catalog(#[source] CatalogError),
    /// A record without a key, where the key chooses the partition.
    #[error("the record has no key to choose a partition by: give it one, or name a partition")]
    NoKey,
    /// An append without records.
    #[error("an append needs at least one record")]
    Empty,
    /// The batch is malformed, or the topic does not take its records.
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
    /// The partition takes no more records; a server ended it. Nothing was appended.
    #[error("the partition has ended and takes no more records: append to another one")]
    Ended,
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
    /// The offset is not in the partition: its records were deleted, or do not exist yet.
    #[error(
        "offset {offset} is not between the first offset {start} and the high watermark {high_watermark}: begin at \
         one that Partition::offsets names"
    )]
    OffsetOutOfRange {
        /// The offset that was asked for.
        offset: Offset,
        /// The first offset.
        start: Offset,
        /// The high watermark: the first offset that cannot be read yet.
        high_watermark: Offset,
    },
    /// Records that are not durable yet, or do not exist, cannot be deleted.
    #[error(
        "records up to offset {offset} cannot be deleted: at most those below the high watermark {high_watermark} can"
    )]
    TrimOutOfRange {
        /// The offset that was asked for.
        offset: Offset,
        /// The high watermark: the first offset that cannot be deleted yet.
        high_watermark: Offset,
    },
    /// Reading from the disk failed, or the disk returned other bytes than were written.
    #[error("{0}; stop this program and run `keylane check` on the directory")]
    Read(#[source] ReadError),
    /// A stored batch cannot be uncompressed or has a malformed record; its producer wrote it before records were checked.
    #[error(
        "the batch at offset {offset} cannot be read: {cause}; take it as it is with read_batches, or go on behind it"
    )]
    Unreadable {
        /// First offset of the batch.
        offset: Offset,
        /// What is wrong with the batch.
        #[source]
        cause: RecordsError,
    },
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Batch(e) => Self::Batch(e),
            AppendError::Sequence(e) => Self::Sequence(e),
            AppendError::TooLarge { bytes, max } => Self::TooLarge { bytes, max },
            AppendError::Busy => Self::Busy,
            AppendError::DiskFull => Self::DiskFull,
            AppendError::Failed(failure) => Self::Failed(sendable(&failure)),
            AppendError::UnknownPartition => Self::Deleted,
            AppendError::Ended => Self::Ended,
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

pub(super) fn of_read(error: ReadError) -> Error {
    match error {
        ReadError::UnknownPartition => Error::Deleted,
        ReadError::OutOfRange { offset, start, high_watermark } => {
            Error::OffsetOutOfRange { offset, start, high_watermark }
        }
        other => Error::Read(other),
    }
}

pub(super) fn of_trim(error: TrimError) -> Error {
    match error {
        TrimError::OutOfRange { offset, high_watermark } => Error::TrimOutOfRange { offset, high_watermark },
        TrimError::Busy => Error::Busy,
        TrimError::DiskFull => Error::DiskFull,
        TrimError::Failed(failure) => Error::Failed(sendable(&failure)),
        TrimError::UnknownPartition => Error::Deleted,
    }
}

impl From<CatalogError> for Error {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Exists(name) => Self::TopicExists(name),
            CatalogError::Unknown(name) => Self::UnknownTopic(name),
            other => Self::Catalog(other),
        }
    }
}
