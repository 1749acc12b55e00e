//! Streams: topics whose partitions own ranges of hashed keys, and can be split and merged.
//!
//! A stream is a topic of the same name, and a shard of the stream is a partition: shard `n` is partition `n`. What a
//! stream has beyond a topic is [`Stream`], which the catalog keeps with the topic, so that a new partition and its hash range
//! become durable in one write. A topic without it is a stream, too, with even ranges ([`of_topic`]).
//!
//! Promises: the ranges of the open shards cover every hash once; a shard that was split or merged has ended for all
//! writers before its children take a record; a change is answered when it is durable and every core knows of it.

mod change;
mod consumers;
mod hash;
mod rates;
mod reshard;
pub(super) mod stream;
mod subscriptions;
mod throttle;

pub use change::{StreamError, change, create, delete, resume_deletions};
pub use consumers::{deregister, register, subscribe};
pub use hash::{HashRange, of_key};
pub use rates::Rates;
pub use reshard::{merge, set_count, split};
pub use stream::{Consumer, Stream, StreamShard};
pub use subscriptions::{Subscriber, Subscriptions};
pub use throttle::{may_put, may_read, note_read};
