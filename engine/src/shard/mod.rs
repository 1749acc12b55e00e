//! A shard: one commit log and the partitions that write into it.
//!
//! Promises:
//! * [`Shard::append`] stores nothing of a batch that it refuses, and gives dense offsets to those that it takes.
//! * A batch is durable when its commit is ([`Shard::commit_state`]); commits become durable in sequence.
//! * Readers see durable batches only.
//! * A failed write or flush is final: see [`Failure`](crate::Failure).
//! * Memory is bounded by [`ShardOptions`]; at the limit `append` says [`AppendError::Busy`](crate::AppendError::Busy).
//!
//! A shard lives on one thread, inside a `LocalSet` (a `tokio-uring` runtime has one). Everything but reads from the
//! disk and closing is synchronous.
//!
//! The rooms: `write` is the way of a batch to the disk, `read` the way back, `segments` keeps the set of segments and
//! their space, `upkeep` is background work on sealed segments, `recovery` opens and closes a shard. What all rooms
//! share lies here: `handle` what a user of a shard holds, `inner` what handles and background tasks share, `state`
//! what changes and `checked` how its invariants are checked, `partitions`, `tasks`.

mod checked;
mod counters;
mod handle;
mod inner;
mod options;
mod partitions;
mod read;
mod recovery;
mod segments;
mod state;
mod tasks;
mod upkeep;
mod write;

pub use counters::Counters;
pub use handle::Shard;
pub use options::ShardOptions;
pub use partitions::{Offsets, PartitionRef};
pub use read::ahead::Want;
pub use read::batches::{Batches, Cached, Offer};
pub use write::append::Appended;
pub use write::commits::CommitState;
