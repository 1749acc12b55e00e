//! The engine as its users see it: a shard on a simulated disk, and the embedded engine.

mod bound;
mod catalog;
mod compaction;
mod embed;
mod example;
mod freeing;
mod hooked_disk;
mod many_partitions;
mod pace;
mod reads;
mod retention;
mod shard;
mod structure;
mod tasks;
