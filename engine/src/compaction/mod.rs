//! Log compaction (`cleanup.policy=compact`): decides which records of a partition are removed, and rewrites its batches
//! without them. Nothing here reads or writes a disk.
//!
//! The promise is Kafka's (<https://kafka.apache.org/documentation/#compaction>): a consumer that reads from the start
//! to the end sees at least the latest record of every key; records keep order, offset, timestamp and
//! headers; a tombstone (a record without a value) stays readable for `delete.retention.ms` after the
//! records that it deletes are gone. Records without a key are removed.
//!
//! How to clean one partition, whose offsets below `clean_end` an earlier pass has cleaned:
//!
//! 1. Ask [`Policy`] whether a pass is due, and up to which offset records are old enough.
//! 2. Make a [`KeyOffsets`] that begins at `clean_end` and [`add`](KeyOffsets::add) to it the dirty batches in
//!    order, from the one that holds `clean_end`, until one does not fit any more or is too young.
//! 3. Make a [`Pass`] with these [`KeyOffsets`], and write every batch below [`KeyOffsets::end`], also the clean ones, as
//!    [`Pass::clean`] says: as it is, smaller, or not at all.
//! 4. Replace all batches that were read by those that were written. Only when *all* of these are durable and in place,
//!    [`KeyOffsets::end`] becomes the new `clean_end`. A pass that was interrupted earlier is repeated from the start, which
//!    does no harm.
//!
//! What a caller must know:
//!
//! - On an error the whole partition must be left as it is. Leaving only the one batch and cleaning the others is wrong: an
//!   old value in that batch would be visible again when the tombstone that hides it is removed.
//! - A batch that is not written leaves a gap in the offsets, and so do batches that lost records at the end
//!   of a log. So the caller must remember the log end offset and the last sequences of producers elsewhere (Kafka keeps
//!   empty batches for that).
//! - A batch may grow a little: timestamps relative to a delete horizon take more bytes, and the producer may have used a
//!   higher compression level than the default.
//! - Step 3 needs memory for one batch beside [`KeyOffsets`]: twice its uncompressed records, and the compressed ones.
//!
//! The rules are those of Kafka's documentation and KIP-534. There are no transactions, so there are no control batches.

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
