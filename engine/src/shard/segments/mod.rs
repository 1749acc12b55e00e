//! The segments of a shard: a full one is sealed, the checkpoint names those that count, those that are not needed are
//! freed, and the space of all of them is counted.
//!
//! Promises: the set of segments changes only when the checkpoint is replaced, one change at a time. The file of a
//! segment is removed only after a checkpoint without it is durable.

pub(crate) mod base;
pub(crate) mod dir;
pub(crate) mod free;
pub(crate) mod front;
pub(crate) mod manifest;
pub(crate) mod seal;
pub(crate) mod sealer;
pub(crate) mod set;
pub(crate) mod space;
pub(crate) mod space_wait;
pub(crate) mod spares;
