//! Writing: batches are appended to a commit in memory, commits go to the active segment, and a full segment is left
//! for the next one.
//!
//! Promises: a commit counts only after its flush; commits become visible in sequence; appending waits for nothing.

pub(crate) mod append;
pub(crate) mod busy;
pub(crate) mod commit;
pub(crate) mod commits;
pub(crate) mod mark;
pub(crate) mod prepare;
pub(crate) mod recent;
pub(crate) mod roll;
pub(crate) mod wait;
