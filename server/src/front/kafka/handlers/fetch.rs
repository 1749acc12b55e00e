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
use keylane_kafka::{ErrorCode, Message, Reader};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::core::{Core, FETCH_BYTES, MEMORY_UNIT};
use crate::front::kafka::close::CloseReason;
use crate::front::kafka::context::Context;
use crate::front::kafka::errors::{code_of_read, key_of};
use crate::front::kafka::out::Answer;
use crate::service::error::ReadRefused;
use crate::service::read::{Found, Wanted, read_all, wait_for_more};

/// Largest answer, unless a single batch is larger; clients ask again at once.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// An answer takes at most this part of what each connection could have. Answers that were begun while there
/// were fewer connections are larger: with n connections all of them together take ln(n) / 8 of the memory.
const SLOW_SHARE: usize = 8;
/// Epochs with which a client names all partitions it wants: to open a session, and without one.
const FULL_FETCH: [i32; 2] = [0, -1];
/// When more than one byte is wanted, what is there is looked at again after this at the earliest.
const GATHER: Duration = Duration::from_millis(2);

/// Answers a Fetch request. The next request waits until the fetch before this one is answered.
pub async fn in_turn(context: Rc<Context>, frame: Bytes, body: usize) -> Result<Option<Answer>, CloseReason> {
    let request = FetchRequest::decode(context.version(), &mut Reader::at(&frame, body))?;
    let turn = context.connection.fetches.take().await;
    context.let_next_come();
    let answer = answer(&context, &request).await?;
    Ok(Some(Answer { turn: Some(turn), ..answer }))
}

/// Bytes of one answer, so that even if every client of this core is slow to take its own, there is memory
/// left for the next one.
fn answer_bytes_max(core: &Core) -> usize {
    let share = FETCH_BYTES / SLOW_SHARE / core.connections.borrow().len().max(1);
    share.clamp(MEMORY_UNIT, ANSWER_BYTES_MAX)
}

async fn answer(context: &Context, request: &FetchRequest<'_>) -> Result<Answer, CloseReason> {
    let core = context.core();
    if !FULL_FETCH.contains(&request.session_epoch) {
        // No session is ever opened, so that none can be gone on with (KIP-227).
        let (throttle, error) = (context.throttle_ms(), ErrorCode::FetchSessionIdNotFound);
        let writer = FetchResponseWriter::begin(context.header, throttle, error, 0);
        return Ok(Answer { slices: writer.finish()?, ..Answer::default() });
    }
    let wanted = resolve(core, request);
    let most = answer_bytes_max(core);
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0).min(most);
    let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(most);
    let deadline = context.deadline(request.max_wait_ms);
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
            return respond(context, request, found, held);
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
    context: &Context,
    request: &FetchRequest<'_>,
    found: Vec<Found>,
    held: Option<OwnedSemaphorePermit>,
) -> Result<Answer, CloseReason> {
    let unhurried = found.iter().any(|f| f.from_disk);
    let mut found = found.into_iter();
    let (throttle, topics) = (context.throttle_ms(), request.topics.len());
    let mut writer = FetchResponseWriter::begin(context.header, throttle, ErrorCode::None, topics);
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
