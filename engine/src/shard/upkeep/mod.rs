//! Upkeep of sealed segments in the background: old records are deleted, small extents are regrouped, logs are
//! compacted, and space is given back to the file system.
//!
//! Promises: commits and readers come first (`pace`). A failure here leaves the log as it was, and the log goes on.

pub(crate) mod clock;
pub(crate) mod compact;
pub(crate) mod deleted;
pub(crate) mod pace;
pub(crate) mod punch;
pub(crate) mod reclaim;
pub(crate) mod regroup;
pub(crate) mod retention;
pub(crate) mod sorted_writer;
