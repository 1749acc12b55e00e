//! The engine inside a program: [`Keylane`], a handle for all threads, with handles of topics and partitions.
//!
//! Promises:
//! * An append returns, or its [`PendingAppend`] is done, when its records are on the disk, flushed.
//! * Readers and tails see durable records only.
//! * What one thread appends to a partition keeps its order.
//! * Memory is bounded: when the disk does not keep up, appenders wait.
//! * No acked record is lost by a drop without [`Keylane::close`], a crash, or a power loss.
//!
//! The directory has the format that the server uses: Kafka's clients can read there what a program has written, and a program
//! what clients have written. Only one process may have a directory open at a time.

#![warn(clippy::missing_errors_doc)]

mod block_on;
mod counters;
mod error;
mod keylane;
mod lane;
mod options;
mod partition;
mod partitioner;
mod record;
mod shared;
mod tail;
mod threads;
mod topic;
mod topic_options;
mod topic_settings;

pub use counters::Counters;
pub use error::{Error, Result};
pub use keylane::Keylane;
pub use lane::PendingAppend;
pub use options::Options;
pub use partition::Partition;
pub use partitioner::partition_for;
pub use record::{Header, Record, StoredRecord, decode as decode_batches, encode as encode_batch};
pub use tail::{Tail, TailStream};
pub use topic::Topic;
pub use topic_options::{Cleanup, TopicOptions};
