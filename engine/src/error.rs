//! The errors of shards and data directories, with their cause and what a person can do.

use std::io;
use std::rc::Rc;

use crate::environment::EnvironmentError;
use crate::ids::{Generation, LogId, ShardId};
use crate::producer_state::SequenceError;
use crate::record_batch::BatchError;

/// Whether an error says that the disk, or a quota, is full. That can pass.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A write or flush of a shard failed. The shard stays failed until the directory is opened again: a flush that reports
/// an error once may succeed when it is repeated, although the data is gone.
#[derive(Debug, thiserror::Error)]
#[error("shard {shard} stopped: {during} failed: {cause}; restart to recover what the disk really holds")]
pub struct Failure {
    /// The shard.
    pub shard: ShardId,
    /// What the shard was doing.
    pub during: String,
    /// The error of the operating system.
    #[source]
    pub cause: io::Error,
}

/// Why a batch was not appended. Nothing of it was stored.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The batch itself is malformed, or its topic does not take it.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The batch does not continue the sequence of its producer.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// The batch is larger than a commit may be.
    #[error("a batch of {bytes} bytes is too large: a commit of this directory takes at most {max} bytes")]
    TooLarge {
        /// Size of the batch.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Too much waits for the disk already: wait with [`Shard::space`](crate::shard::Shard::space).
    #[error("too many bytes wait to be committed")]
    Busy,
    /// No space for another segment.
    #[error("no space left for another segment: free disk space; writing resumes by itself")]
    DiskFull,
    /// The shard has failed.
    #[error(transparent)]
    Failed(#[from] Rc<Failure>),
    /// The partition was deleted.
    #[error("the partition no longer exists")]
    UnknownPartition,
    /// The partition has ended: it is read, and takes no more batches.
    #[error("the partition has ended and takes no more batches: append to another one")]
    Ended,
}

/// Why the log start offset was not raised.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TrimError {
    /// Records that are not durable yet, or do not exist, cannot be deleted.
    #[error("records up to offset {offset} cannot be deleted: the high watermark is {high_watermark}")]
    OutOfRange {
        /// The offset that was asked for.
        offset: u64,
        /// The high watermark: the first offset that cannot be read or deleted yet.
        high_watermark: u64,
    },
    /// Too much waits for the disk already: wait with [`Shard::space`](crate::shard::Shard::space).
    #[error("too many bytes wait to be committed")]
    Busy,
    /// No space is left, not even the space that is reserved for deleting records.
    #[error("no space left for another segment: free disk space; writing resumes by itself")]
    DiskFull,
    /// The shard has failed.
    #[error(transparent)]
    Failed(#[from] Rc<Failure>),
    /// The partition was deleted.
    #[error("the partition no longer exists")]
    UnknownPartition,
}

impl From<AppendError> for TrimError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::DiskFull => Self::DiskFull,
            AppendError::Failed(failure) => Self::Failed(failure),
            AppendError::UnknownPartition => Self::UnknownPartition,
            _ => Self::Busy,
        }
    }
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The offset is not in the log.
    #[error("offset {offset} is not between the log start {start} and the high watermark {high_watermark}")]
    OutOfRange {
        /// The offset that was asked for.
        offset: u64,
        /// Log start offset.
        start: u64,
        /// The high watermark: the first offset that cannot be read yet.
        high_watermark: u64,
    },
    /// The partition was deleted.
    #[error("the partition no longer exists")]
    UnknownPartition,
    /// The disk could not be read.
    #[error("reading segment {generation} of shard {shard} at {position}: {cause}")]
    Io {
        /// The shard.
        shard: ShardId,
        /// The segment.
        generation: Generation,
        /// Byte position in the segment.
        position: u64,
        /// The error of the operating system.
        #[source]
        cause: io::Error,
    },
    /// The disk returned other bytes than were written.
    #[error("segment {generation} of shard {shard} is damaged at {position}: {what}")]
    Damaged {
        /// The shard.
        shard: ShardId,
        /// The segment.
        generation: Generation,
        /// Byte position in the segment.
        position: u64,
        /// What is wrong.
        what: String,
    },
}

/// Why a data directory could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// An operation of the operating system failed.
    #[error("{what}: {cause}")]
    Io {
        /// What was being done.
        what: String,
        /// The error of the operating system.
        #[source]
        cause: io::Error,
    },
    /// The file was written by a newer version.
    #[error(
        "{file} has format version {found}; this program knows versions up to {known}: use a newer keylane"
    )]
    Newer {
        /// Which file.
        file: String,
        /// The version of the file.
        found: u32,
        /// The newest known version.
        known: u32,
    },
    /// Data that was durable is damaged or missing. Nothing was changed.
    #[error(
        "{file} is damaged at byte {position}: {what}; nothing was changed: restore the file from a copy"
    )]
    Damaged {
        /// Which file.
        file: String,
        /// Byte position in the file.
        position: u64,
        /// What is wrong.
        what: String,
    },
    /// Another process has the directory open.
    #[error("{0} is in use by another process: stop that one first, or choose another directory")]
    InUse(String),
    /// The directory is not a data directory, and not empty.
    #[error("{0} holds files but no keylane.format: not a data directory; choose an empty or new one")]
    NotOurs(String),
    /// The catalog and a shard contradict each other.
    #[error(
        "the catalog names log {log} in shard {shard}, which does not hold it: run `keylane check` on the directory"
    )]
    Catalog {
        /// The shard.
        shard: ShardId,
        /// The log.
        log: LogId,
    },
    /// A setting that cannot work.
    #[error("{0}")]
    Options(String),
    /// The system lacks something that is needed.
    #[error("{0}; {advice}", advice = .0.advice())]
    Environment(#[from] EnvironmentError),
}

impl OpenError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |cause| Self::Io { what, cause }
    }

    pub(crate) fn damaged(file: impl Into<String>, position: u64, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.into(), position, what: what.into() }
    }
}
