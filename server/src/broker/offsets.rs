//! ListOffsets: earliest, latest, by timestamp, of the largest timestamp.
//!
//! A timestamp gives the first record at or after it, not merely the batch that holds one.

use std::rc::Rc;

use keylane_engine::shard::{PartitionRef, Shard};
use keylane_engine::{Offset, ReadError};

use crate::core::Core;
use crate::kafka::ErrorCode;
use crate::kafka::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListedPartition, ListedTopic,
};
use crate::kafka::produce::TopicRef;
use crate::mesh::call;
use crate::topics::Route;

use super::{read_code_of, record_time};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// Answers ListOffsets.
pub async fn list(core: &Rc<Core>, request: &ListOffsetsRequest<'_>) -> ListOffsetsResponse<'static> {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            partitions.push(one(core, topic.name, partition).await);
        }
        topics.push(ListedTopic { name: topic.name.to_owned().into(), partitions });
    }
    ListOffsetsResponse { topics }
}

async fn one(core: &Rc<Core>, topic: &str, wanted: &ListOffsetsPartition) -> ListedPartition {
    let index = usize::try_from(wanted.index).unwrap_or(usize::MAX);
    let route = core.topics.borrow().get(TopicRef::Name(topic)).and_then(|t| t.routes.get(index).copied());
    let timestamp = wanted.timestamp;
    let found = match route {
        None => Err(ErrorCode::UnknownTopicOrPartition),
        Some(_) if wanted.current_leader_epoch > 0 => Err(ErrorCode::UnknownLeaderEpoch),
        Some(Route::Here { shard, at }) => find(&core.shards[shard], at, timestamp).await,
        Some(Route::There { core: to, shard, log }) => {
            let asked = call(core, to, move |core| async move {
                let shard = &core.shards[shard];
                match shard.partition(log) {
                    Some(at) => find(shard, at, timestamp).await,
                    None => Err(ErrorCode::UnknownTopicOrPartition),
                }
            });
            asked.await.unwrap_or(Err(ErrorCode::NotLeaderOrFollower))
        }
    };
    match found {
        Err(code) => ListedPartition::failed(wanted.index, code),
        Ok((offset, timestamp)) => ListedPartition {
            index: wanted.index,
            error: ErrorCode::None,
            timestamp,
            offset,
            leader_epoch: 0,
        },
    }
}

/// Offset and timestamp, or -1 and -1 if there is no such record.
async fn find(
    shard: &Shard<crate::disk::ServerDisk>,
    at: PartitionRef,
    timestamp: i64,
) -> Result<(i64, i64), ErrorCode> {
    let failed = |e: ReadError| {
        tracing::warn!(%e, "looking for a timestamp failed");
        read_code_of(&e)
    };
    let plain = |offset: Offset| Ok((offset as i64, -1));
    let offsets = shard.offsets(at).map_err(failed)?;
    let found = match timestamp {
        LATEST => return plain(offsets.high_watermark),
        EARLIEST | EARLIEST_LOCAL => return plain(offsets.start),
        LATEST_TIERED => return Ok((-1, -1)),
        MAX_TIMESTAMP => shard.find_latest_time(at).await,
        0.. => shard.find_by_time(at, timestamp).await,
        _ => return Err(ErrorCode::InvalidRequest),
    };
    let Some((_, batches)) = found.map_err(failed)? else { return Ok((-1, -1)) };
    let Some(batch) = batches.slices.first() else { return Ok((-1, -1)) };
    let record = if timestamp == MAX_TIMESTAMP {
        record_time::latest(batch)
    } else {
        record_time::first_at_or_after(batch, timestamp)
    };
    match record {
        Ok(Some((offset, timestamp))) => Ok((offset as i64, timestamp)),
        Ok(None) => Ok((-1, -1)),
        Err(e) => {
            tracing::warn!(%e, "the records of a batch cannot be read");
            Err(ErrorCode::CorruptMessage)
        }
    }
}
