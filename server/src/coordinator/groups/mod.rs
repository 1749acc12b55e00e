//! Committed offsets of groups: which core has them, how they are kept, what is read back at a start.
//!
//! Promises: a change is answered when the commit that holds it is durable, and nothing else is ever shown;
//! after a restart, clean or not, every answered change holds. No lock is on the way of a record: the groups of
//! a partition of `__consumer_offsets` belong to the core that has its shard, and everybody else asks there.
//!
//! The log of a change is `__consumer_offsets`, an internal topic with `cleanup.policy=compact` and as many
//! partitions as the directory has shards, made when something is first committed. `record` is the format, `offsets` what
//! is in memory, `held` the partitions that a core has, `requests` what can be asked on any core. Offsets do not expire;
//! groups have no members.

mod change;
mod error;
mod held;
mod offsets;
mod record;
mod requests;

pub use change::Committed;
pub use error::GroupError;
pub use held::{Groups, Wanted};
pub use requests::{commit, exists, fetch, list, load, remove};
