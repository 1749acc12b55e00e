//! The commit log of a shard: its bytes, its memory, its segments, its index, its recovery.

pub mod checkpoint;
pub mod chunk;
pub mod files;
pub mod format;
pub mod index;
pub mod recovery;
pub(crate) mod scan;
pub mod tail;
