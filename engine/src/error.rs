//! What can go wrong, with its cause and what a person can do.

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

/// The disk failed a shard. It stays failed until the directory is opened anew: a flush that reports
/// an error once may succeed when repeated although the data is gone.
#[derive(Debug, thiserror::Error)]
#[error("shard {shard} stopped: {during} failed: {cause}; restart to recover what the disk really holds")]
pub struct Failure {
    /// The shard.
    pub shard: ShardId,
    /// What it was doing.
    pub during: String,
    /// What the system said.
    #[source]
    pub cause: io::Error,
}

/// Why a batch was not appended. Nothing of it was stored.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The batch itself is bad.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The batch is out of turn for its producer.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// Larger than a commit may be.
    #[error("batch of {bytes} bytes; at most {max} fit a commit of this directory")]
    TooLarge {
        /// Its size.
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
}

/// Why the log start offset was not raised.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TrimError {
    /// Records that are not durable yet, or do not exist, cannot be deleted.
    #[error("offset {offset} is above the high watermark {high_watermark}")]
    OutOfRange {
        /// Asked for.
        offset: u64,
        /// First offset there is not yet.
        high_watermark: u64,
    },
    /// Too much waits for the disk already: wait with [`Shard::space`](crate::shard::Shard::space).
    #[error("too many bytes wait to be committed")]
    Busy,
    /// Not even the space that is set aside for this is left.
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
        /// Asked for.
        offset: u64,
        /// First offset there is.
        start: u64,
        /// First offset there is not yet.
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
        /// Byte position in it.
        position: u64,
        /// What the system said.
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
        /// Byte position in it.
        position: u64,
        /// In what way.
        what: String,
    },
}

/// Why a data directory could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system refused.
    #[error("{what}: {cause}")]
    Io {
        /// Doing what.
        what: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Written by a newer version.
    #[error(
        "{file} has format version {found}; this program knows versions up to {known}: use a newer keylane"
    )]
    Newer {
        /// Which file.
        file: String,
        /// Its version.
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
        /// Where in it.
        position: u64,
        /// In what way.
        what: String,
    },
    /// Another process has it.
    #[error("{0} is in use by another process: stop that one first, or choose another directory")]
    InUse(String),
    /// Not a data directory, and not empty either.
    #[error("{0} holds files but no keylane.format: not a data directory; choose an empty or new one")]
    NotOurs(String),
    /// The catalog and a shard contradict each other.
    #[error("shard {shard} holds no log {log}, which the catalog names")]
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
