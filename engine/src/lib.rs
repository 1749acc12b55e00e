//! Keylane's engine: a durable, partitioned log for one machine, inside your program.
//!
//! A program opens a directory with [`Keylane::open`], creates a [`Topic`], and appends and reads [`Record`]s from any of its
//! threads. An append is done when its records are on the disk, *flushed*; appends that wait at the same time share writes and
//! flushes.
//!
//! # A first log
//!
//! ```
//! use std::time::Duration;
//! use keylane_engine::{Keylane, Options, Record, TopicOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path();
//! let log = Keylane::open(path, Options::default())?;
//! let payments = log.create_topic("payments", TopicOptions::new(4))?;
//!
//! // The key chooses the partition. Returns when the record is on the disk, flushed.
//! let (number, offset) = payments.append(Record::new("alice", "10 EUR"))?;
//!
//! // Appends that wait at the same time share writes and flushes.
//! let pending = (0..1000)
//!     .map(|n| payments.submit(Record::new("alice", format!("{n} EUR"))))
//!     .collect::<keylane_engine::Result<Vec<_>>>()?;
//! for append in pending {
//!     append.wait()?;
//! }
//!
//! // Reads from an offset on; offsets of a partition are dense.
//! let partition = payments.partition(number)?;
//! let records = partition.read(offset, 64 << 10)?;
//! assert_eq!(records[0].record.value.as_deref(), Some(b"10 EUR".as_slice()));
//!
//! // Follows the partition, and waits for what others append.
//! let mut tail = partition.tail(offset);
//! let mut seen = 0;
//! while let Some(stored) = tail.recv(Duration::from_millis(10))? {
//!     assert_eq!(stored.offset, offset + seen);
//!     seen += 1;
//! }
//! assert_eq!(seen, 1001);
//!
//! // Deletes what is not needed any more.
//! partition.trim(offset + seen)?;
//! log.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! * An append returns, or its [`PendingAppend`] is done, when its records are on the disk, flushed.
//! * Readers and tails see durable records only.
//! * What one thread appends to a partition keeps its order; offsets are dense from 0.
//! * Memory is bounded by [`Options`]. When the disk does not keep up, appenders wait, or get [`Error::Busy`] if they ask not to.
//! * No acked record is lost by a drop without [`Keylane::close`], a crash of the process, or a power loss.
//! * A write or flush that failed is final: its shard takes nothing more until the directory is opened again, which finds out what
//!   the disk really holds ([`Error::Failed`]).
//!
//! # Which call for what
//!
//! | wanted | call |
//! |---|---|
//! | one record or batch, durable now | [`Topic::append`] by key, [`Partition::append`]: each waits for a flush of its own, unless other threads append too |
//! | throughput from one thread | [`Topic::submit`], [`Partition::submit`], then [`PendingAppend::wait`] |
//! | the same in an async runtime | `submit_async(..).await?.await`: [`PendingAppend`] is a future |
//! | never to wait | [`Partition::try_submit`] |
//! | several records, all or none | one [`Partition::append`] of a slice |
//! | records from an offset | [`Partition::read`], [`Partition::read_async`] |
//! | to follow a partition | [`Partition::tail`]: [`Tail::recv`], an iterator, [`Tail::recv_async`], a stream |
//! | where to begin | [`Partition::offsets`], [`Partition::offset_for_time`] |
//! | to delete old records | [`TopicOptions::retention`], [`TopicOptions::retention_bytes`], [`TopicOptions::cleanup`], [`Partition::trim`] |
//! | another encoder, an idempotent producer | [`Partition::append_batch`], [`Partition::read_batches`] |
//!
//! # Threads and runtimes
//!
//! [`Keylane::open`] starts [`Options::threads`] threads, each with an io_uring runtime of its own. Handles are `Send + Sync`, and
//! send these threads messages: they work in any thread and in any async runtime, and need none. Encoding, compression and
//! decoding happen on the caller's thread.
//!
//! # What it needs
//!
//! Linux with io_uring, and a file system with O_DIRECT (ext4, xfs) or [`Options::direct_io`] switched off. If the system lacks
//! something, [`OpenError::Environment`] names it and says what to do.
//!
//! # The same directory under a server
//!
//! The directory is the one that `keylane serve` serves to Kafka's clients, and [`partition_for`] chooses partitions as they do: stop
//! the program, start the server, and clients see the topics. One process at a time has a directory open.

#![deny(missing_docs, rustdoc::broken_intra_doc_links)]

// A helper of the integration tests that unit tests use, too; it calls the crate by its name.
#[cfg(test)]
extern crate self as keylane_engine;
#[cfg(test)]
#[path = "../tests/engine/hooked_disk/mod.rs"]
mod hooked_disk;

/// The README's example is compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod embed;
mod error;
mod ids;

// Hidden modules are for the server, the benchmarks and the tests of this repository. They may change with any version. A program
// that runs shards in a runtime of its own starts at `shard`; `docs/architecture.md` has the map.
#[doc(hidden)]
pub mod aligned;
#[doc(hidden)]
pub mod bytes_at;
#[doc(hidden)]
pub mod catalog;
#[doc(hidden)]
pub mod check;
#[doc(hidden)]
pub mod checksum;
#[doc(hidden)]
pub mod compaction;
#[doc(hidden)]
pub mod data_dir;
#[doc(hidden)]
pub mod disk;
#[doc(hidden)]
pub mod environment;
#[doc(hidden)]
pub mod log;
#[doc(hidden)]
pub mod log_config;
#[doc(hidden)]
pub mod partition;
#[doc(hidden)]
pub mod planted;
#[doc(hidden)]
pub mod producer_state;
#[doc(hidden)]
pub mod record_batch;
#[doc(hidden)]
pub mod records;
#[doc(hidden)]
pub mod shard;

#[doc(inline)]
pub use catalog::CatalogError;
pub use embed::{
    Cleanup, Counters, Error, Header, Keylane, Options, Partition, PendingAppend, Record, Result,
    StoredRecord, Tail, TailStream, Topic, TopicOptions, partition_for,
};
#[doc(hidden)]
pub use embed::{decode_batches, encode_batch};
#[doc(inline)]
pub use environment::EnvironmentError;
#[doc(hidden)]
pub use error::{AppendError, TrimError};
pub use error::{Failure, OpenError, ReadError};
#[doc(hidden)]
pub use ids::CommitSeq;
pub use ids::{Generation, LogId, Offset, ShardId};
#[doc(hidden)]
pub use log_config::LogConfig;
#[doc(inline)]
pub use producer_state::SequenceError;
#[doc(inline)]
pub use record_batch::BatchError;
#[doc(inline)]
pub use records::{Compression, DecodeError, Reason, RecordsError, Refused, RefusedRecord, TimestampType};
#[doc(inline)]
pub use shard::{Batches, Offsets};
