//! Groups: their members, and the offsets that they have committed; which core has them, how they are kept, what is read back
//! at a start.
//!
//! Promises: a change is answered when the commit that holds it is durable, and nothing else is ever shown;
//! after a restart, clean or not, every answered change holds, and a group whose members had their assignments goes on with
//! them. No lock is on the way of a record: the groups of a partition of `__consumer_offsets` belong to the core that has its
//! shard, and everybody else asks there.
//!
//! The log of a change is `__consumer_offsets`, an internal topic with `cleanup.policy=compact` and as many
//! partitions as the directory has shards, made when a group first needs it. `record` is the format, `table` what is kept,
//! `classic` the state machine of a classic group, `live` those with members, `consumer` the state machine of a consumer group
//! (KIP-848), `consumers` those that there are, `held` a partition, `owned` the partitions that a
//! core has, `requests` what can be asked on any core.

mod change;
pub mod classic;
pub mod consumer;
mod consumers;
mod described;
mod error;
mod held;
mod known_topics;
mod limits;
mod live;
mod offsets;
mod owned;
mod record;
mod requests;
mod table;

pub use change::Committed;
pub use described::{Described, DescribedMember, Listed};
pub use error::GroupError;
pub use held::{Committer, Fetcher, Wanted};
pub use limits::Limits;
pub use owned::Groups;
pub use record::rewrites_group_record;
pub use requests::{
    commit, consumer_heartbeat, delete, delete_offsets, describe, describe_consumer, expire, fetch,
    heartbeat, join, leave, list, load, sync,
};
