//! The engine of Keylane: a partitioned, durable log for one machine. It knows no network protocol.
//!
//! Start reading at [`shard`]: append, group commit, read. Below it lie [`log`] (the bytes on disk) and
//! [`disk`] (the seam through which every byte passes). [`data_dir`] opens a directory, [`catalog`]
//! keeps its topics.

pub mod aligned;
pub mod bytes_at;
pub mod catalog;
pub mod compaction;
pub mod data_dir;
pub mod disk;
pub mod environment;
mod error;
mod ids;
pub mod log;
pub mod log_config;
pub mod partition;
pub mod producer_state;
pub mod record_batch;
pub mod records;
pub mod shard;

pub use error::{AppendError, Failure, OpenError, ReadError, TrimError};
pub use ids::{CommitSeq, Generation, LogId, Offset, ShardId};
pub use log_config::LogConfig;
