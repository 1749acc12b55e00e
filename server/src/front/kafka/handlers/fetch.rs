//! Fetch: durable batches as they are stored, with a long poll.
//!
//! A fetch is answered when it has `min_bytes`, when it has something and the disk has more, when a partition has an
//! error, or when `max_wait_ms` is over (`service::read` is how it gets records). One fetch per connection is worked on at
//! a time.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use keylane_kafka::hot::fetch::FetchResponseWriter;
use keylane_kafka::messages::fetch::{FetchPartition, FetchRequest, FetchedPartition};
use keylane_kafka::{ErrorCode, Message, Reader, RequestHeader};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::core::{Core, FETCH_BYTES, MEMORY_UNIT};
use crate::front::kafka::close::CloseReason;
use crate::front::kafka::connection::Connection;
use crate::front::kafka::errors::{code_of_read, key_of};
use crate::front::kafka::out::Answer;
use crate::front::kafka::turn::Turn;
use crate::service::error::ReadRefused;
use crate::service::read::{Found, Wanted, read_all, wait_for_more};

/// Largest answer, unless a single batch is larger; clients ask again at once.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// An answer takes at most this part of what each connection could have. Answers that were begun while there
/// were fewer connections are larger: with n connections all of them together take ln(n) / 8 of the memory.
const SLOW_SHARE: usize = 8;
/// Epochs with which a client names all partitions it wants: to open a session, and without one.
const FULL_FETCH: [i32; 2] = [0, -1];
/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// When more than one byte is wanted, what is there is looked at again after this at the earliest.
const GATHER: Duration = Duration::from_millis(2);

/// Answers a Fetch request.
pub async fn answer(connection: Rc<Connection>, frame: Bytes, turn: Turn) -> Result<Answer, CloseReason> {
    let answer = answer_within(&connection.core, &frame).await?;
    Ok(Answer { turn: Some(turn), ..answer })
}

/// Bytes of one answer, so that even if every client of this core is slow to take its own, there is memory
/// left for the next one.
fn answer_bytes_max(core: &Core) -> usize {
    let share = FETCH_BYTES / SLOW_SHARE / core.connections.borrow().len().max(1);
    share.clamp(MEMORY_UNIT, ANSWER_BYTES_MAX)
}

async fn answer_within(core: &Rc<Core>, frame: &Bytes) -> Result<Answer, CloseReason> {
    let mut reader = Reader::new(frame);
    let header = RequestHeader::decode(&mut reader)?;
    let request = FetchRequest::decode(header.version, &mut reader)?;
    if !FULL_FETCH.contains(&request.session_epoch) {
        // No session is ever opened, so that none can be gone on with (KIP-227).
        let (version, id) = (header.version, header.correlation_id);
        let writer = FetchResponseWriter::begin(version, id, ErrorCode::FetchSessionIdNotFound, 0);
        return Ok(Answer { slices: writer.finish()?, ..Answer::default() });
    }
    let wanted = resolve(core, &request);
    let most = answer_bytes_max(core);
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0).min(most);
    let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(most);
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
    let deadline = Instant::now() + wait;
    loop {
        let (found, held) = read_all(core, &wanted, max_bytes).await;
        let bytes: usize = found.iter().map(|f| f.batches.bytes).sum();
        let failed = found.iter().any(|f| f.error.is_some());
        let more = found.iter().any(|f| f.more);
        // Without partitions there is nothing to wait for.
        if bytes >= min_bytes
            || wanted.is_empty()
            || more
            || failed
            || Instant::now() >= deadline
            || core.stopping.get()
        {
            return respond(&header, &request, found, held);
        }
        drop(held);
        wait_for_more(core, &wanted, &found, deadline).await;
        if min_bytes > 1 {
            tokio::time::sleep_until(deadline.min(Instant::now() + GATHER)).await;
        }
    }
}

fn resolve(core: &Core, request: &FetchRequest<'_>) -> Vec<Wanted> {
    let topics = core.topics.borrow();
    let mut wanted = Vec::with_capacity(request.topics.iter().map(|t| t.partitions.len()).sum());
    for topic in &request.topics {
        let local = topics.find(key_of(topic.topic));
        for partition in &topic.partitions {
            let route = local.and_then(|local| local.route(partition.index));
            wanted.push(Wanted {
                route: route.map_err(Into::into).and_then(|r| check(partition).map(|()| r)),
                offset: u64::try_from(partition.fetch_offset).unwrap_or(u64::MAX),
                bytes_max: usize::try_from(partition.max_bytes).unwrap_or(0),
            });
        }
    }
    wanted
}

fn check(partition: &FetchPartition) -> Result<(), ReadRefused> {
    // The only leader epoch there ever was is 0 (KIP-320).
    if partition.current_leader_epoch > 0 { Err(ReadRefused::LaterLeader) } else { Ok(()) }
}

fn respond(
    header: &RequestHeader<'_>,
    request: &FetchRequest<'_>,
    found: Vec<Found>,
    held: Option<OwnedSemaphorePermit>,
) -> Result<Answer, CloseReason> {
    let unhurried = found.iter().any(|f| f.from_disk);
    let mut found = found.into_iter();
    let (version, id) = (header.version, header.correlation_id);
    let mut writer = FetchResponseWriter::begin(version, id, ErrorCode::None, request.topics.len());
    for topic in &request.topics {
        writer.topic(topic.topic, topic.partitions.len());
        for partition in &topic.partitions {
            let Some(part) = found.next() else { unreachable!("one result for each partition") };
            let head = match part.error.map(code_of_read) {
                Some(error @ ErrorCode::OffsetOutOfRange) => FetchedPartition {
                    log_start_offset: part.log_start as i64,
                    high_watermark: part.high_watermark as i64,
                    ..FetchedPartition::failed(partition.index, error)
                },
                Some(error) => FetchedPartition::failed(partition.index, error),
                None => FetchedPartition {
                    index: partition.index,
                    error: ErrorCode::None,
                    high_watermark: part.high_watermark as i64,
                    last_stable_offset: part.high_watermark as i64,
                    log_start_offset: part.log_start as i64,
                    ..FetchedPartition::default()
                },
            };
            writer.partition(&head, part.batches.slices);
        }
    }
    Ok(Answer { slices: writer.finish()?, held, turn: None, unhurried })
}
