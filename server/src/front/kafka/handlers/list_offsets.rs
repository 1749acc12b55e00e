//! ListOffsets: earliest, latest, by timestamp, of the largest timestamp.
//!
//! A timestamp gives the first record at or after it, not merely the batch that holds one. Promise: no offset below
//! the log start is ever named, also where the log starts in the midst of a batch: what was deleted does not count.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use keylane_engine::shard::{PartitionRef, Shard};
use keylane_engine::{Offset, ReadError};
use keylane_kafka::ErrorCode;
use keylane_kafka::TopicRef;
use keylane_kafka::messages::list_offsets::{
    EARLIEST, EARLIEST_LOCAL, EARLIEST_PENDING_UPLOAD, LATEST, LATEST_TIERED, ListOffsetsPartition,
    ListOffsetsRequest, ListOffsetsResponse, ListedPartition, ListedTopic, MAX_TIMESTAMP,
};

use crate::core::Core;
use crate::runtime::mesh::call;
use crate::service::topics::Route;

use super::topics::repeated;
use crate::front::kafka::dispatch::read_code_of;
use crate::service::record_time;

/// What a timestamp asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// The end of the log.
    End,
    /// The start of the log.
    Start,
    /// The end of what is on remote storage, where nothing is.
    Remote,
    /// The record with the largest timestamp.
    LargestTime,
    /// The first record of this time or a later one, in milliseconds.
    Time(i64),
}

/// What a timestamp asks for; `None` for one that this version does not know.
fn wanted(timestamp: i64, version: i16) -> Option<Wanted> {
    match (timestamp, version) {
        (LATEST, _) => Some(Wanted::End),
        (EARLIEST, _) => Some(Wanted::Start),
        (MAX_TIMESTAMP, 7..) => Some(Wanted::LargestTime),
        (EARLIEST_LOCAL, 8..) => Some(Wanted::Start),
        (LATEST_TIERED, 9..) | (EARLIEST_PENDING_UPLOAD, 11..) => Some(Wanted::Remote),
        (0.., _) => Some(Wanted::Time(timestamp)),
        _ => None,
    }
}

/// Answers ListOffsets. A partition that is named more than once is refused, and answered once.
pub async fn list(
    core: &Rc<Core>,
    request: &ListOffsetsRequest<'_>,
    version: i16,
) -> ListOffsetsResponse<'static> {
    let all = request.topics.iter().flat_map(|t| t.partitions.iter().map(|p| (t.name, p.index)));
    let twice = repeated(all);
    let mut done = HashSet::new();
    // A topic that is named more than once is answered in one place.
    let mut place: HashMap<&str, usize> = HashMap::new();
    let mut topics: Vec<ListedTopic<'static>> = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions.iter().filter(|p| done.insert((topic.name, p.index))) {
            partitions.push(match wanted(partition.timestamp, version) {
                _ if twice.contains(&(topic.name, partition.index)) => {
                    ListedPartition::failed(partition.index, ErrorCode::InvalidRequest)
                }
                None => ListedPartition::failed(partition.index, ErrorCode::UnsupportedVersion),
                Some(wanted) => one(core, topic.name, partition, wanted).await,
            });
        }
        if partitions.is_empty() {
            continue;
        }
        let at = *place.entry(topic.name).or_insert(topics.len());
        match topics.get_mut(at) {
            Some(listed) => listed.partitions.extend(partitions),
            None => topics.push(ListedTopic { name: topic.name.to_owned().into(), partitions }),
        }
    }
    ListOffsetsResponse { topics, ..Default::default() }
}

async fn one(core: &Rc<Core>, topic: &str, asked: &ListOffsetsPartition, wanted: Wanted) -> ListedPartition {
    let index = usize::try_from(asked.index).unwrap_or(usize::MAX);
    let route = core.topics.borrow().get(TopicRef::Name(topic)).and_then(|t| t.routes.get(index).copied());
    let found = match route {
        None => Err(ErrorCode::UnknownTopicOrPartition),
        // The only leader epoch there ever was is 0 (KIP-320); -1: the client does not know it.
        Some(_) if asked.current_leader_epoch > 0 => Err(ErrorCode::UnknownLeaderEpoch),
        Some(_) if asked.current_leader_epoch < -1 => Err(ErrorCode::FencedLeaderEpoch),
        Some(Route::Here { shard, at }) => find(&core.shards[shard], at, wanted).await,
        Some(Route::There { core: to, shard, log }) => {
            let found = call(core, to, move |core| async move {
                let shard = &core.shards[shard];
                match shard.partition(log) {
                    Some(at) => find(shard, at, wanted).await,
                    None => Err(ErrorCode::UnknownTopicOrPartition),
                }
            });
            found.await.unwrap_or(Err(ErrorCode::NotLeaderOrFollower))
        }
    };
    match found {
        Err(code) => ListedPartition::failed(asked.index, code),
        Ok((offset, timestamp)) => ListedPartition {
            index: asked.index,
            error: ErrorCode::None,
            timestamp,
            offset,
            leader_epoch: if (offset, timestamp) == NOTHING { -1 } else { 0 },
        },
    }
}

/// Offset and timestamp, or -1 and -1 if there is no such record.
type Found = (i64, i64);

/// There is no such record.
const NOTHING: Found = (-1, -1);

async fn find(shard: &Shard, at: PartitionRef, wanted: Wanted) -> Result<Found, ErrorCode> {
    let plain = |offset: Offset| Ok((offset as i64, -1));
    let offsets = shard.offsets(at).map_err(|e| failed(&e))?;
    match wanted {
        Wanted::End => plain(offsets.high_watermark),
        Wanted::Start => plain(offsets.start),
        Wanted::Remote => Ok(NOTHING),
        Wanted::LargestTime => match largest_time(shard, at).await? {
            Some((offset, time)) => Ok((offset as i64, time)),
            None => Ok(NOTHING),
        },
        Wanted::Time(time) => match first_at_or_after(shard, at, time).await? {
            Some((offset, time)) => Ok((offset as i64, time)),
            None => Ok(NOTHING),
        },
    }
}

fn failed(error: &ReadError) -> ErrorCode {
    tracing::warn!(%error, "looking for a timestamp failed");
    read_code_of(error)
}

fn unreadable(error: &record_time::RecordTimeError) -> ErrorCode {
    tracing::warn!(%error, "the records of a batch cannot be read");
    ErrorCode::CorruptMessage
}

/// The first record that is there still whose timestamp is `time` or later: its offset and its timestamp.
async fn first_at_or_after(
    shard: &Shard,
    at: PartitionRef,
    time: i64,
) -> Result<Option<(Offset, i64)>, ErrorCode> {
    let mut from = 0;
    loop {
        let found = shard.find_by_time(at, time, from).await.map_err(|e| failed(&e))?;
        let Some((first, batches)) = found else { return Ok(None) };
        let Some(batch) = batches.slices.first() else { return Ok(None) };
        if let Some(record) =
            record_time::first_at_or_after(batch, time, first).map_err(|e| unreadable(&e))?
        {
            return Ok(Some(record));
        }
        // The record that the batch was found for is deleted, or its header states a time that no record has.
        from = batches.next_offset.max(first + 1);
    }
}

/// The first of the records with the largest timestamp that are there still: its offset and its timestamp.
async fn largest_time(shard: &Shard, at: PartitionRef) -> Result<Option<(Offset, i64)>, ErrorCode> {
    let start = shard.offsets(at).map_err(|e| failed(&e))?.start;
    let mut from = start;
    let mut best: Option<(Offset, i64)> = None;
    loop {
        let found = shard.find_latest_time(at, from).await.map_err(|e| failed(&e))?;
        let Some((first, batches)) = found else { return Ok(best) };
        let Some(batch) = batches.slices.first() else { return Ok(best) };
        let record = record_time::latest(batch, first).map_err(|e| unreadable(&e))?;
        best = match (best, record) {
            (Some(best), Some(record)) if record.1 < best.1 || (record.1 == best.1 && record.0 > best.0) => {
                Some(best)
            }
            (best, record) => record.or(best),
        };
        // Only in the batch in whose midst the log starts can the record be deleted that its time is from.
        let cut =
            first == start && keylane_engine::record_batch::base_offset(batch).is_some_and(|b| b < start);
        if !cut || from > start {
            return Ok(best);
        }
        from = batches.next_offset.max(first + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_timestamps_are_known_from_their_versions_on() {
        for (timestamp, from, meaning) in [
            (-1, 1, Wanted::End),
            (-2, 1, Wanted::Start),
            (-3, 7, Wanted::LargestTime),
            (-4, 8, Wanted::Start),
            (-5, 9, Wanted::Remote),
            (-6, 11, Wanted::Remote),
            (0, 1, Wanted::Time(0)),
            (i64::MAX, 1, Wanted::Time(i64::MAX)),
        ] {
            for version in 1..=11 {
                let expected = (version >= from).then_some(meaning);
                assert_eq!(wanted(timestamp, version), expected, "{timestamp} in version {version}");
            }
        }
        assert_eq!([wanted(-7, 11), wanted(-100, 11), wanted(i64::MIN, 11)], [None; 3]);
    }
}
