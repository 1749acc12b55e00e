//! Which shards there still are: one that has ended goes when the last of its records has expired. Its partition stays, empty, since
//! Kafka's clients know partitions by their number.

use crate::runtime::clock::now_ms;
use crate::service::streams::{Stream, StreamShard};
use crate::service::topics::LocalTopic;

/// The oldest time of which records are kept.
pub fn horizon_ms(topic: &LocalTopic) -> i64 {
    let kept = topic.log.retention_ms.and_then(|ms| i64::try_from(ms).ok());
    kept.map_or(i64::MIN, |kept| now_ms().saturating_sub(kept))
}

/// The shards that still can have records, by number.
pub fn kept<'a>(topic: &LocalTopic, stream: &'a Stream) -> impl Iterator<Item = (usize, &'a StreamShard)> {
    let horizon = horizon_ms(topic);
    let shards = stream.shards.iter().enumerate();
    shards.filter(move |(_, shard)| kept_at(shard, horizon))
}

/// Whether there is such a shard, and it still can have records.
pub fn is_kept(topic: &LocalTopic, shard: Option<&StreamShard>) -> bool {
    shard.is_some_and(|shard| kept_at(shard, horizon_ms(topic)))
}

fn kept_at(shard: &StreamShard, horizon: i64) -> bool {
    shard.ended.is_none_or(|(_, at)| at >= horizon)
}
