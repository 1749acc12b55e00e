//! Writing: batches are appended to a commit in memory, commits go to the active segment, and a full segment is left
//! for the next one.
//!
//! Promises: a commit counts only after its flush; commits become visible in sequence; appending waits for nothing.

pub(crate) mod append;
pub(crate) mod commit;
pub(crate) mod mark;
pub(crate) mod roll;
