//! Fetch: durable batches as they are stored, with a long poll.
//!
//! Records are sent from the memory they were committed from, or were read into, without a copy. A fetch
//! is answered when it has `min_bytes`, when it has something and the disk has more, when a partition has an
//! error, or when `max_wait_ms` is over. One fetch per connection is worked on at a time, and its memory is
//! paid for from the core's budget.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use keylane_engine::partition::Watcher;
use keylane_engine::shard::Cached;
use keylane_engine::{LogId, Offset, ReadError};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

use crate::connection::out::Answer;
use crate::connection::{CloseReason, Connection};
use crate::core::{Core, FETCH_BYTES, MEMORY_UNIT};
use crate::kafka::fetch::{FetchPartition, FetchRequest};
use crate::kafka::fetch_response::{FetchResponseWriter, FetchedPartition};
use crate::kafka::produce::TopicRef;
use crate::kafka::{ErrorCode, Reader, RequestHeader};
use crate::mesh::call;
use crate::topics::Route;

use super::read_code_of;

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

/// One partition of a request.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    route: Result<Route, ErrorCode>,
    offset: Offset,
    bytes_max: usize,
}

/// What was found for it.
#[derive(Debug, Default)]
struct Found {
    error: Option<ErrorCode>,
    high_watermark: Offset,
    log_start: Offset,
    bytes: usize,
    slices: Vec<Bytes>,
    /// The disk was needed.
    from_disk: bool,
    /// There is more on the disk right now: waiting would bring nothing.
    more: bool,
}

/// The right to answer a fetch, one at a time per connection; given back when the answer has been sent.
pub struct Turn(Rc<Connection>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetching.set(false);
        if let Some(waker) = self.0.next_fetch.take() {
            waker.wake();
        }
    }
}

/// Waits until no other fetch of this connection is being answered.
pub async fn take_turn(connection: &Rc<Connection>) -> Turn {
    poll_fn(|cx| {
        if connection.fetching.get() {
            connection.next_fetch.set(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
    connection.fetching.set(true);
    Turn(Rc::clone(connection))
}

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
        let bytes: usize = found.iter().map(|f| f.bytes).sum();
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
        let unknown = match topic.topic {
            TopicRef::Name(_) => ErrorCode::UnknownTopicOrPartition,
            TopicRef::Id(_) => ErrorCode::UnknownTopicId,
        };
        let local = topics.get(topic.topic);
        for partition in &topic.partitions {
            let index = usize::try_from(partition.index).unwrap_or(usize::MAX);
            let route = match local {
                None => Err(unknown),
                Some(local) => local.routes.get(index).copied().ok_or(ErrorCode::UnknownTopicOrPartition),
            };
            wanted.push(Wanted {
                route: route.and_then(|r| check(partition).map(|()| r)),
                offset: u64::try_from(partition.fetch_offset).unwrap_or(Offset::MAX),
                bytes_max: usize::try_from(partition.max_bytes).unwrap_or(0),
            });
        }
    }
    wanted
}

fn check(partition: &FetchPartition) -> Result<(), ErrorCode> {
    // The only leader epoch there ever was is 0 (KIP-320).
    if partition.current_leader_epoch > 0 { Err(ErrorCode::UnknownLeaderEpoch) } else { Ok(()) }
}

/// Reads all partitions of a request, those of other cores by asking them.
async fn read_all(
    core: &Rc<Core>,
    wanted: &[Wanted],
    bytes_max: usize,
) -> (Vec<Found>, Option<OwnedSemaphorePermit>) {
    let units = u32::try_from(bytes_max.div_ceil(MEMORY_UNIT).max(1)).unwrap_or(u32::MAX);
    let mut held = Arc::clone(&core.fetch_memory).acquire_many_owned(units).await.ok();
    let mut found: Vec<Found> = Vec::with_capacity(wanted.len());
    let mut left = bytes_max;
    let mut any = false;
    let mut remote: Vec<(usize, usize)> = Vec::new();
    for (number, wanted) in wanted.iter().enumerate() {
        found.push(match wanted.route {
            Err(code) => Found { error: Some(code), ..Found::default() },
            Ok(Route::There { core, .. }) => {
                remote.push((core, number));
                Found::default()
            }
            Ok(Route::Here { shard, at }) => read_one(core, shard, at, wanted, left, !any).await,
        });
        let bytes = found.last().map_or(0, |f| f.bytes);
        left = left.saturating_sub(bytes);
        any |= bytes > 0;
    }
    for to in 0..core.cluster.cores {
        let numbers: Vec<usize> = remote.iter().filter(|(c, _)| *c == to).map(|(_, n)| *n).collect();
        if numbers.is_empty() {
            continue;
        }
        let list: Vec<Wanted> = numbers.iter().filter_map(|n| wanted.get(*n).copied()).collect();
        let parts =
            call(core, to, move |core| async move { read_here(&core, &list, left, !any).await }).await;
        for (number, part) in numbers.iter().zip(parts.unwrap_or_default()) {
            left = left.saturating_sub(part.bytes);
            any |= part.bytes > 0;
            found[*number] = part;
        }
    }
    let used: usize = found.iter().map(|f| f.bytes).sum();
    let spare = (units as usize).saturating_sub(used.div_ceil(MEMORY_UNIT));
    drop(held.as_mut().and_then(|h| h.split(spare)));
    (found, held)
}

/// Reads partitions of this core for another one.
async fn read_here(core: &Rc<Core>, wanted: &[Wanted], mut left: usize, mut first: bool) -> Vec<Found> {
    let mut found = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let part = match wanted.route {
            Ok(Route::There { shard, log, .. }) => match core.shards[shard].partition(log) {
                Some(at) => read_one(core, shard, at, wanted, left, first).await,
                None => Found { error: Some(ErrorCode::UnknownTopicOrPartition), ..Found::default() },
            },
            _ => Found { error: Some(ErrorCode::UnknownServerError), ..Found::default() },
        };
        left = left.saturating_sub(part.bytes);
        first &= part.bytes == 0;
        found.push(part);
    }
    found
}

/// Reads one partition. `first`: a batch that is larger than the limit may be returned.
async fn read_one(
    core: &Rc<Core>,
    shard: usize,
    at: keylane_engine::shard::PartitionRef,
    wanted: &Wanted,
    left: usize,
    first: bool,
) -> Found {
    let shard = &core.shards[shard];
    let limit = wanted.bytes_max.min(left);
    let failed = |e: &ReadError| {
        let offsets = shard.offsets(at).ok();
        if !matches!(e, ReadError::OutOfRange { .. } | ReadError::UnknownPartition) {
            tracing::error!(%e, "fetch failed");
        }
        Found {
            error: Some(read_code_of(e)),
            high_watermark: offsets.map_or(0, |o| o.high_watermark),
            log_start: offsets.map_or(0, |o| o.start),
            ..Found::default()
        }
    };
    let mut from_disk = false;
    let read = if limit == 0 && !first {
        // Only the offsets: there is no room for records.
        shard.read_cached(at, wanted.offset, 0).map(|_| keylane_engine::shard::Batches::default())
    } else {
        match shard.read_cached(at, wanted.offset, limit) {
            Ok(Cached::Here(batches)) => Ok(batches),
            Ok(Cached::OnDisk) => {
                from_disk = true;
                shard.read(at, wanted.offset, limit).await
            }
            Err(e) => Err(e),
        }
    };
    let batches = match read {
        Ok(batches) => batches,
        Err(e) => return failed(&e),
    };
    let offsets = match shard.offsets(at) {
        Ok(offsets) => offsets,
        Err(e) => return failed(&e),
    };
    let fits = first || batches.bytes <= limit;
    let more = from_disk && fits && batches.bytes > 0 && batches.next_offset < offsets.high_watermark;
    Found {
        error: None,
        high_watermark: offsets.high_watermark,
        log_start: offsets.start,
        bytes: if fits { batches.bytes } else { 0 },
        slices: if fits { batches.slices } else { Vec::new() },
        from_disk,
        more,
    }
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
            let head = match part.error {
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
                    aborted_transactions: None,
                },
            };
            writer.partition(&head, part.slices);
        }
    }
    Ok(Answer { slices: writer.finish()?, held, turn: None, unhurried })
}

/// Waits until a partition has more than was found, or the time is over.
async fn wait_for_more(core: &Rc<Core>, wanted: &[Wanted], found: &[Found], deadline: Instant) {
    let others = Rc::new(Notify::new());
    let mut here = Vec::new();
    let mut there: Vec<Vec<(usize, LogId, Offset)>> = vec![Vec::new(); core.cluster.cores];
    for (wanted, found) in wanted.iter().zip(found) {
        match wanted.route {
            Ok(Route::Here { shard, at }) => here.push((shard, at.log(), found.high_watermark)),
            Ok(Route::There { core, shard, log }) => there[core].push((shard, log, found.high_watermark)),
            Err(_) => {}
        }
    }
    for (to, list) in there.into_iter().enumerate().filter(|(_, l)| !l.is_empty()) {
        let (core, others) = (Rc::clone(core), Rc::clone(&others));
        tokio::task::spawn_local(async move {
            call(&core, to, move |core| async move { watch(&core, &list, deadline).await }).await;
            others.notify_one();
        });
    }
    tokio::select! {
        () = watch(core, &here, deadline) => {}
        () = others.notified() => {}
        () = core.stop.notified() => {}
    }
}

/// Waits until one of these partitions of this core has more than was seen, or the time is over.
async fn watch(core: &Rc<Core>, list: &[(usize, LogId, Offset)], deadline: Instant) {
    let watcher = Rc::new(Watcher::default());
    for (shard, log, seen) in list {
        let shard = &core.shards[*shard];
        if shard.partition(*log).is_none_or(|at| shard.watch(at, *seen, &watcher)) {
            return;
        }
    }
    tokio::select! {
        () = watcher.fired() => {}
        () = tokio::time::sleep_until(deadline) => {}
        () = core.stop.notified() => {}
    }
}
