//! The segments of a shard: a full one is sealed, the checkpoint names those that count, what is not needed is freed,
//! and the space of all of them is counted.
//!
//! Promises: the set of segments changes only when the checkpoint is replaced, one change at a time; the file of a
//! segment is removed only after a checkpoint without it is durable.

pub(crate) mod free;
pub(crate) mod manifest;
pub(crate) mod room;
pub(crate) mod seal;
