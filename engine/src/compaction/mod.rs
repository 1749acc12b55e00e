//! Log compaction (`cleanup.policy=compact`): which records of a partition may go, and its batches without
//! them. Nothing here reads or writes a disk.
//!
//! The promise is Kafka's (<https://kafka.apache.org/documentation/#compaction>): whoever reads from the start
//! to the end sees at least the latest record of every key; records keep order, offset, timestamp and
//! headers; a tombstone (a record without a value) stays readable for `delete.retention.ms` after the
//! records that it deletes are gone. Records without a key go.
//!
//! How to clean one partition, whose offsets below `clean_end` an earlier pass has cleaned:
//!
//! 1. Ask [`Policy`] whether it is worth it, and up to where records are old enough.
//! 2. Make a [`KeyOffsets`] that begins at `clean_end` and [`add`](KeyOffsets::add) to it the dirty batches in
//!    order, from the one that holds `clean_end`, until one does not fit any more or is too young.
//! 3. Make a [`Pass`] of it, and write every batch below [`KeyOffsets::end`], the clean ones too, as
//!    [`Pass::clean`] says: as it is, smaller, or not at all.
//! 4. Put all that was written in place of what was read, and only when *all* of it is durable and in place
//!    let [`KeyOffsets::end`] be the new `clean_end`. A pass that ended before is repeated from the start:
//!    that does no harm.
//!
//! What a caller must know:
//!
//! - An error says that the partition cannot be cleaned: leave all of it as it is. To leave the one batch and
//!   clean the others is wrong: an old value in it would be back when the tombstone that hides it goes.
//! - A batch that is not written leaves a gap in the offsets, and so do batches that lost records at the end
//!   of a log: the log end offset must be remembered elsewhere, and so must the last sequences of producers
//!   (Kafka keeps empty batches for that).
//! - A batch may grow a little: timestamps relative to a delete horizon take more bytes, and zstd compresses
//!   less than the producer may have asked for.
//! - Pass 2 needs, beside [`KeyOffsets`], memory for one batch: twice its uncompressed records and what they
//!   are compressed to.
//!
//! Kafka's own rules were taken from its documentation and KIP-534. There are no transactions, so no control
//! batches either.

mod key_offsets;
mod pass;
mod policy;
mod rewrite;

pub use key_offsets::KeyOffsets;
pub use pass::Pass;
pub use policy::{Dirt, Due, Policy, dirty_ratio};
pub use rewrite::{Rewritten, rewrite};

#[cfg(test)]
mod tests;
