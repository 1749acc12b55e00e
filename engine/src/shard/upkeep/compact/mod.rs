//! Compaction of the partitions whose `cleanup.policy` asks for it, by the rules of [`crate::compaction`]: in the
//! background, one partition after the other, the one with the most dirt first.
//!
//! A pass reads the sealed part of a partition twice and writes what is left of it into sorted segments of its own. They
//! take the place of all that was read when the checkpoint states so; until then nothing has changed. Afterwards the old
//! segments are freed like deleted ones. Where they hold other partitions as well, the space is given back.
//!
//! Promises:
//! * The offsets where a log starts and ends stay, and so does what is known of its producers.
//! * The last batch of a log is left alone until another follows: readers must find the end.
//! * A reader gets each batch as it was before the pass or as it is after it. After the pass, readers are no longer
//!   served from the tail cache what the pass has taken away.
//! * Memory: [`ShardOptions::compaction_keys_bytes`](crate::shard::ShardOptions::compaction_keys_bytes), two reads of
//!   1 MiB (or one batch), three times a batch's records of at most 64 MiB, and 32 bytes for each batch that is left in a
//!   segment.

pub(crate) mod exchange;
pub(crate) mod output;
pub(crate) mod pass;
pub(crate) mod plan;
pub(crate) mod task;

pub(crate) use task::compactor;
