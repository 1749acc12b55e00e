//! The engine of Keylane: a partitioned, durable log for one machine, as a crate. It knows no network protocol.
//!
//! A program opens a directory with [`Keylane::open`] and appends and reads from any of its threads:
//!
//! ```no_run
//! use std::time::Duration;
//! use keylane_engine::{Keylane, Options, Record};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let log = Keylane::open("data", Options::default())?;
//! log.create_topic("payments", 4)?;
//!
//! // Returns when the record is on the disk, flushed.
//! let (partition, offset) = log.append_keyed("payments", Record::new("alice", "10 EUR"))?;
//!
//! // Appends that wait at the same time share writes and flushes.
//! let pending: Vec<_> = (0..1000)
//!     .map(|n| log.submit_keyed("payments", Record::new("bob", format!("{n} EUR"))))
//!     .collect::<Result<_, _>>()?;
//! for append in pending {
//!     append.wait()?;
//! }
//!
//! for stored in log.read("payments", partition, offset, 64 << 10)? {
//!     println!("{} {:?}", stored.offset, stored.record);
//! }
//!
//! // Follows the partition: waits for what others append.
//! let mut tail = log.tail("payments", partition, offset)?;
//! while let Some(stored) = tail.recv(Duration::from_millis(100))? {
//!     println!("{} {:?}", stored.offset, stored.record);
//! }
//! log.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! `engine/examples/embed.rs` is a longer example; [`embed`] states the promises. A program that runs shards inside its own
//! runtime, as the server does, starts at [`shard`]: append, group commit, read. Below [`shard`] lie [`log`] (the bytes on
//! disk) and [`disk`] (the seam through which every byte passes). [`data_dir`] opens a directory, [`catalog`] keeps its
//! topics. `docs/architecture.md` has the map and a glossary.

// A helper of the integration tests that unit tests use, too; it calls the crate by its name.
#[cfg(test)]
extern crate self as keylane_engine;
#[cfg(test)]
#[path = "../tests/engine/hooked_disk/mod.rs"]
mod hooked_disk;

pub mod aligned;
pub mod bytes_at;
pub mod catalog;
pub mod check;
pub mod checksum;
pub mod compaction;
pub mod data_dir;
pub mod disk;
pub mod embed;
pub mod environment;
mod error;
mod ids;
pub mod log;
pub mod log_config;
pub mod partition;
pub mod planted;
pub mod producer_state;
pub mod record_batch;
pub mod records;
pub mod shard;

pub use embed::{EmbedError, Header, Keylane, Options, PendingAppend, Record, StoredRecord, Tail};
pub use error::{AppendError, Failure, OpenError, ReadError, TrimError};
pub use ids::{CommitSeq, Generation, LogId, Offset, ShardId};
pub use log_config::LogConfig;
