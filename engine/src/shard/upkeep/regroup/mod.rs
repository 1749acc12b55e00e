//! Regrouping: a sealed commit segment whose extents are small is rewritten by partition, so that a reader of one
//! partition finds its batches in one extent. In the background, while the log is quiet.
//!
//! The rewritten segment is a sorted segment. It has the form of a commit segment, with commits that are numbered on
//! their own. It takes the place of the old one when the checkpoint names it instead. What was deleted meanwhile is left
//! out. A segment of which compaction has left little is rewritten in the same way, for the space.
//!
//! Batches are checked while they are copied: if one is damaged, the old segment stays, and damage is not carried on.

pub(crate) mod exchange;
pub(crate) mod rewrite;
pub(crate) mod source;
pub(crate) mod task;

pub(crate) use task::regrouper;
