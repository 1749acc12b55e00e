//! The bound of retention by size is kept: before the next segment is made, old ones are emptied until there is space
//! for it.
//!
//! `retention.bytes` of a partition bounds what it holds. All these bounds, the bytes of partitions without one, and one
//! segment together bound the disk space of the shard. So that others keep to the bound, a partition is cut back to no
//! less than half of its own. A segment is emptied by deleting what may go and writing elsewhere what has to stay:
//! partitions that fill slowly, and those without a bound. The segment is taken that costs least for what it gives back,
//! usually the oldest commit segment. As a whole, it becomes the next segment.
//!
//! Half of the bounds, the active and the next segment and the one that is emptied need space in any case: with bounds of
//! less than about seven segments, the limit is higher than they say.

pub(crate) mod empty;
pub(crate) mod task;
pub(crate) mod victim;

pub(crate) use task::reclaimer;
