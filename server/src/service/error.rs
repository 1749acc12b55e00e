//! Why the service refuses something. Each error says what to do; fronts translate it into what their clients know.

use keylane_engine::catalog::CatalogError;
use keylane_engine::record_batch::BatchError;
use keylane_engine::{ReadError, TrimError};

use crate::runtime::mesh::AppendFailed;

use super::settings::SettingsError;

/// Partitions of one topic; more are refused, so that one request cannot take all memory.
pub const PARTITIONS_MAX: usize = 100_000;

/// Why a topic is not made, changed or deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// A name that no topic can have.
    #[error("a topic name has 1 to 249 letters, digits, dots, underscores and hyphens, and is not . or ..")]
    Name,
    /// A topic of the server's own.
    #[error("{0} belongs to the server: it can be read, and is not changed by clients")]
    Internal(String),
    /// The name is taken.
    #[error("topic '{0}' already exists")]
    Exists(String),
    /// Dots and underscores count as the same, because names of metrics make no difference between them.
    #[error("topic '{name}' collides with existing topic: {other}")]
    Collides {
        /// The name that was wanted.
        name: String,
        /// The topic that there is.
        other: String,
    },
    /// There is no topic of this name.
    #[error("there is no such topic")]
    Unknown,
    /// A number of partitions that a new topic cannot have.
    #[error("{0} partitions: a topic has 1 to {PARTITIONS_MAX}")]
    Partitions(i32),
    /// A number of partitions that a topic cannot get.
    #[error("the topic has {has} partitions; it can have {} to {PARTITIONS_MAX}", has + 1)]
    Shrinks {
        /// Partitions that it has.
        has: usize,
    },
    /// The partitions of a stream own ranges of keys.
    #[error(
        "{0} is a stream, whose partitions own ranges of keys: split its shards (SplitShard, UpdateShardCount)"
    )]
    Stream(String),
    /// Settings that the topic cannot have.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The catalog does not allow it, or cannot be written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The server is stopping: ask again when it is back.
    #[error("the server is stopping")]
    Stopping,
}

/// Why a partition cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPartition {
    /// There is no topic of this name.
    #[error("there is no topic of this name: create it, or ask for the names of all")]
    Topic,
    /// There is no topic with this id.
    #[error("there is no topic with this id: it was deleted, ask again for the id that goes with the name")]
    Id,
    /// The topic has no partition of this number.
    #[error("the topic has no partition of this number: ask for how many it has")]
    Number,
}

/// Why records were not appended. Nothing of them was stored.
#[derive(Debug, thiserror::Error)]
pub enum AppendRefused {
    /// There is nowhere to append to.
    #[error(transparent)]
    Partition(#[from] NoPartition),
    /// A topic of the server's own.
    #[error("the topic belongs to the server, which alone writes to it")]
    Internal,
    /// The topic takes no batch as large as this one.
    #[error("record batch of {bytes} bytes; the topic takes {max} (max.message.bytes)")]
    TooLarge {
        /// Size of the batch.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// No batch at all.
    #[error("there is no record batch")]
    Empty,
    /// The batch itself is malformed, or its topic does not take it.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The log did not take it.
    #[error(transparent)]
    Failed(#[from] AppendFailed),
}

/// Why a partition cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadRefused {
    /// There is nothing to read from.
    #[error(transparent)]
    Partition(#[from] NoPartition),
    /// The reader knows of a later leader of the partition than there ever was.
    #[error("the partition has had one leader only: ask again who leads it")]
    LaterLeader,
    /// The reader knows of an earlier leader of the partition than there ever was.
    #[error("the partition has had no leader before the first: ask again who leads it")]
    EarlierLeader,
    /// The offset is not in the log.
    #[error("the offset is not in the log: begin at the log start offset or at the high watermark")]
    OutOfRange,
    /// A stored batch cannot be read.
    #[error("a stored batch cannot be read; the server's log says which: run `keylane check`")]
    Corrupt,
    /// The disk cannot be read.
    #[error("the disk cannot be read; the server's log says why")]
    Storage,
    /// The server is stopping.
    #[error("the server is stopping: read again when it is back")]
    Stopping,
}

/// Why the log start offset of a partition was not raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrimRefused {
    /// There is nothing to delete from.
    #[error(transparent)]
    Partition(#[from] NoPartition),
    /// A topic of the server's own.
    #[error("the topic belongs to the server, which alone deletes from it")]
    Internal,
    /// A compacted topic keeps the last record of every key.
    #[error("the topic is only compacted (cleanup.policy): delete by key, with a record without a value")]
    Compacted,
    /// The offset is not in the log.
    #[error("the offset lies beyond the high watermark: delete up to that one at most")]
    OutOfRange,
    /// It took longer than was allowed; it may still happen.
    #[error("the time is over; the records may be deleted all the same: look at the log start offset")]
    TimedOut,
    /// The disk failed or is full.
    #[error("the change could not be stored; the server's log says why")]
    Storage,
    /// The server is stopping.
    #[error("the server is stopping: delete again when it is back")]
    Stopping,
}

impl From<&ReadError> for ReadRefused {
    fn from(error: &ReadError) -> Self {
        match error {
            ReadError::OutOfRange { .. } => Self::OutOfRange,
            ReadError::UnknownPartition => NoPartition::Number.into(),
            _ => Self::Storage,
        }
    }
}

impl From<&TrimError> for TrimRefused {
    fn from(error: &TrimError) -> Self {
        match error {
            TrimError::OutOfRange { .. } => Self::OutOfRange,
            TrimError::UnknownPartition => NoPartition::Number.into(),
            // Busy gets this far only when the server stops.
            TrimError::Busy => Self::Stopping,
            other => {
                tracing::error!(%other, "deleting records failed");
                Self::Storage
            }
        }
    }
}
