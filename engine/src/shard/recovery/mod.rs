//! A shard is opened and closed.
//!
//! Promises of a start: what was acknowledged is there, or the start is refused with file and position; what was not
//! acknowledged may be cut off. After a close, the next start has nothing to scan.

pub(crate) mod close;
pub(crate) mod open;
pub(crate) mod recover;
pub(crate) mod recovered;
