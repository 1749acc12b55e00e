//! The commit log of a shard: its bytes, its memory, its segments, their indexes, its checkpoint.

pub mod checkpoint;
pub mod chunk;
pub mod files;
pub mod format;
pub mod index;
pub(crate) mod scan;
pub mod sealed;
pub mod tail_cache;
