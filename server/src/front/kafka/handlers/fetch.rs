//! Fetch: durable batches as they are stored, with a long poll.
//!
//! A fetch is one plan. All cores say at the same time what their partitions have (`offer`), the bytes of the answer
//! are divided among the partitions in the order of the request (KIP-74: whoever comes first gets as much as it asks
//! for, so a client that asks in another order each time gets even shares), and all cores read at the same time what
//! was granted. Afterwards each core reads ahead what the same client is likely to ask for next.
//!
//! Records are sent from the memory they were committed from, or were read into, without a copy. A fetch is answered
//! when it has `min_bytes`, when it has something and the disk has more, when a partition has an error, or when
//! `max_wait_ms` is over. One fetch per connection is worked on at a time, and its memory is paid for from the core's
//! budget.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use keylane_engine::partition::Watcher;
use keylane_engine::shard::{Batches, Offer, PartitionRef, Shard, Want};
use keylane_engine::{LogId, Offset, ReadError};
use keylane_kafka::hot::fetch::FetchResponseWriter;
use keylane_kafka::messages::fetch::{FetchPartition, FetchRequest, FetchedPartition};
use keylane_kafka::{ErrorCode, Message, Reader, RequestHeader, TopicRef};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

use crate::core::{Core, FETCH_BYTES, MEMORY_UNIT};
use crate::front::kafka::connection::out::Answer;
use crate::front::kafka::connection::{CloseReason, Connection};
use crate::runtime::mesh::call;
use crate::service::topics::Route;

use crate::front::kafka::dispatch::read_code_of;

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

impl Wanted {
    /// The partition on the core that it lives on: its shard's number, and where in it.
    fn place_number(&self, core: &Core) -> Result<(usize, PartitionRef), ErrorCode> {
        match self.route? {
            Route::Here { shard, at } => Ok((shard, at)),
            Route::There { shard, log, .. } => {
                let at = core.shards[shard].partition(log).ok_or(ErrorCode::UnknownTopicOrPartition)?;
                Ok((shard, at))
            }
        }
    }

    fn place<'a>(&self, core: &'a Core) -> Result<(&'a Shard, PartitionRef), ErrorCode> {
        self.place_number(core).map(|(shard, at)| (&core.shards[shard], at))
    }
}

/// What is asked of the core on which a partition lives.
trait ItsCore {
    /// `None`: this core.
    fn core(&self) -> Option<usize>;
}

impl ItsCore for Wanted {
    fn core(&self) -> Option<usize> {
        match self.route {
            Ok(Route::There { core, .. }) => Some(core),
            _ => None,
        }
    }
}

/// What was found for it.
#[derive(Debug, Default)]
struct Found {
    error: Option<ErrorCode>,
    high_watermark: Offset,
    log_start: Offset,
    batches: Batches,
    /// The disk was needed.
    from_disk: bool,
    /// There is more on the disk right now: waiting would bring nothing.
    more: bool,
}

impl Found {
    fn failed(code: ErrorCode) -> Self {
        Self { error: Some(code), ..Self::default() }
    }

    fn refused(shard: &Shard, at: PartitionRef, error: &ReadError) -> Self {
        if !matches!(error, ReadError::OutOfRange { .. } | ReadError::UnknownPartition) {
            tracing::error!(%error, "fetch failed");
        }
        let offsets = shard.offsets(at).ok();
        Self {
            high_watermark: offsets.map_or(0, |o| o.high_watermark),
            log_start: offsets.map_or(0, |o| o.start),
            ..Self::failed(read_code_of(error))
        }
    }

    fn read(shard: &Shard, at: PartitionRef, batches: Batches, from_disk: bool) -> Self {
        let offsets = match shard.offsets(at) {
            Ok(offsets) => offsets,
            Err(e) => return Self::refused(shard, at, &e),
        };
        let more = from_disk && batches.bytes > 0 && batches.next_offset < offsets.high_watermark;
        let (high_watermark, log_start) = (offsets.high_watermark, offsets.start);
        Self { error: None, high_watermark, log_start, batches, from_disk, more }
    }
}

/// What a partition has: read already where it is in memory.
#[derive(Debug, Default)]
struct Offered {
    found: Found,
    /// Bytes of whole batches on the disk, and of the first of them.
    on_disk: usize,
    first: usize,
}

impl From<Found> for Offered {
    fn from(found: Found) -> Self {
        Self { found, on_disk: 0, first: 0 }
    }
}

/// What a partition may read from the disk.
#[derive(Debug, Clone, Copy)]
struct Granted {
    wanted: Wanted,
    bytes: usize,
}

impl ItsCore for Granted {
    fn core(&self) -> Option<usize> {
        self.wanted.core()
    }
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

/// Reads all partitions of a request, as one plan.
async fn read_all(
    core: &Rc<Core>,
    wanted: &[Wanted],
    bytes_max: usize,
) -> (Vec<Found>, Option<OwnedSemaphorePermit>) {
    let units = u32::try_from(bytes_max.div_ceil(MEMORY_UNIT).max(1)).unwrap_or(u32::MAX);
    let mut held = Arc::clone(&core.fetch_memory).acquire_many_owned(units).await.ok();
    let all = wanted.iter().copied().enumerate();
    let offers = on_each_core(core, all, move |core, list| offer_here(core, list, bytes_max)).await;
    let mut offers: Vec<Offered> = offers.into_iter().map(Option::unwrap_or_default).collect();
    let granted = divide(wanted, &mut offers, bytes_max);
    let mut found: Vec<Found> = offers.into_iter().map(|offered| offered.found).collect();
    if granted.iter().any(|bytes| *bytes > 0) {
        let reads = to_read(wanted, &granted, bytes_max);
        let read = on_each_core(core, reads.into_iter(), read_here).await;
        for (found, read) in found.iter_mut().zip(read) {
            *found = read.flatten().unwrap_or_else(|| std::mem::take(found));
        }
    }
    let used: usize = found.iter().map(|f| f.batches.bytes).sum();
    let spare = (units as usize).saturating_sub(used.div_ceil(MEMORY_UNIT));
    drop(held.as_mut().and_then(|h| h.split(spare)));
    (found, held)
}

/// Gives every core its items of a list, which are numbered by their place in the request, and has all cores work at
/// the same time. Returns what came of each place, where there was an item.
async fn on_each_core<T, O, R>(
    core: &Rc<Core>,
    items: impl Iterator<Item = (usize, T)>,
    work: impl Fn(Rc<Core>, Vec<T>) -> R + Clone + Send + 'static,
) -> Vec<Option<O>>
where
    T: ItsCore + Send + 'static,
    O: Send + 'static,
    R: Future<Output = Vec<O>> + 'static,
{
    let mut lists: Vec<(Vec<usize>, Vec<T>)> = (0..core.cluster.cores).map(|_| Default::default()).collect();
    let mut places = 0;
    for (number, item) in items {
        places = places.max(number + 1);
        let (numbers, list) = &mut lists[item.core().unwrap_or(core.index)];
        numbers.push(number);
        list.push(item);
    }
    let calls = lists.into_iter().enumerate().filter(|(_, (numbers, _))| !numbers.is_empty());
    let calls = calls.map(|(to, (numbers, list))| {
        let work = work.clone();
        async move { (numbers, call(core, to, move |core| work(core, list)).await) }
    });
    let mut out: Vec<Option<O>> = (0..places).map(|_| None).collect();
    for (numbers, done) in join_all(calls).await {
        for (number, done) in numbers.into_iter().zip(done.into_iter().flatten()) {
            out[number] = Some(done);
        }
    }
    out
}

/// Says what partitions of this core have. Those behind as much as the whole answer can hold get nothing of it, so
/// only their offsets are looked at.
async fn offer_here(core: Rc<Core>, list: Vec<Wanted>, bytes_max: usize) -> Vec<Offered> {
    let (mut left, mut any) = (bytes_max, false);
    let mut offers = Vec::with_capacity(list.len());
    for wanted in list {
        // The first batch is given whatever the limit, which may be 0.
        let limit = (left > 0 || !any).then_some(wanted.bytes_max.min(bytes_max));
        let offered = offer_one(&core, &wanted, limit).await;
        let bytes = offered.found.batches.bytes + offered.on_disk;
        left = left.saturating_sub(bytes);
        any |= bytes > 0;
        offers.push(offered);
    }
    offers
}

async fn offer_one(core: &Core, wanted: &Wanted, limit: Option<usize>) -> Offered {
    let (shard, at) = match wanted.place(core) {
        Ok(place) => place,
        Err(code) => return Found::failed(code).into(),
    };
    let offer = match limit {
        Some(limit) => shard.offer(at, wanted.offset, limit).await,
        None => shard.read_cached(at, wanted.offset, 0).map(|_| Offer::Here(Batches::default())),
    };
    match offer {
        Err(e) => Found::refused(shard, at, &e).into(),
        Ok(Offer::Here(batches)) => Found::read(shard, at, batches, false).into(),
        Ok(Offer::OnDisk { bytes, first }) => {
            let found = Found::read(shard, at, Batches::default(), true);
            Offered { found, on_disk: bytes, first }
        }
    }
}

/// Divides the bytes of the answer in the order of the request, and cuts what is in memory to it. Returns what each
/// partition may read from the disk. A batch that is larger than its limit is given only as the first one.
fn divide(wanted: &[Wanted], offers: &mut [Offered], bytes_max: usize) -> Vec<usize> {
    let (mut left, mut any) = (bytes_max, false);
    let mut granted = Vec::with_capacity(wanted.len());
    for (wanted, offered) in wanted.iter().zip(offers) {
        let limit = wanted.bytes_max.min(left);
        let batches = &mut offered.found.batches;
        let first = offered.first.max(batches.first_len());
        let grant = match (any, first <= limit) {
            (true, false) => 0,
            _ => limit.max(first),
        };
        let front = if grant == 0 { Batches::default() } else { batches.split_front(grant) };
        let on_disk = grant.min(offered.on_disk);
        left = left.saturating_sub(front.bytes + on_disk);
        any |= front.bytes + on_disk > 0;
        *batches = front;
        granted.push(on_disk);
    }
    granted
}

/// What is to be read, by its place in the request: what was granted, and without bytes what comes behind it in the
/// request, up to as much as one answer holds. It is read ahead, because some clients ask in turn.
fn to_read(wanted: &[Wanted], granted: &[usize], bytes_max: usize) -> Vec<(usize, Granted)> {
    let last = granted.iter().rposition(|bytes| *bytes > 0).unwrap_or(0);
    let mut left = bytes_max;
    let behind = wanted[last + 1..].iter().take_while(|wanted| {
        let goes_on = left > 0;
        left = left.saturating_sub(wanted.bytes_max);
        goes_on
    });
    let end = last + 1 + behind.count();
    let all = wanted[..end].iter().zip(granted).enumerate();
    all.filter(|(n, (_, bytes))| **bytes > 0 || *n > last)
        .map(|(n, (wanted, bytes))| (n, Granted { wanted: *wanted, bytes: *bytes }))
        .collect()
}

/// Reads what was granted to partitions of this core, side by side; then reads ahead for all of them.
async fn read_here(core: Rc<Core>, list: Vec<Granted>) -> Vec<Option<Found>> {
    let reads = list.iter().map(async |granted| match granted.bytes {
        0 => None,
        bytes => Some(read_one(&core, &granted.wanted, bytes).await),
    });
    let found = join_all(reads).await;
    let mut next: Vec<Vec<Want>> = vec![Vec::new(); core.shards.len()];
    for (granted, found) in list.iter().zip(&found) {
        let offset = found.as_ref().map_or(granted.wanted.offset, |found| found.batches.next_offset);
        let ends = found.as_ref().is_some_and(|found| !found.more);
        if !ends && let Ok((shard, at)) = granted.wanted.place_number(&core) {
            next[shard].push((at, offset));
        }
    }
    core.shards.iter().zip(next).for_each(|(shard, next)| shard.read_ahead(next));
    found
}

async fn read_one(core: &Core, wanted: &Wanted, bytes_max: usize) -> Found {
    let (shard, at) = match wanted.place(core) {
        Ok(place) => place,
        Err(code) => return Found::failed(code),
    };
    match shard.read(at, wanted.offset, bytes_max).await {
        Ok(batches) => Found::read(shard, at, batches, true),
        Err(e) => Found::refused(shard, at, &e),
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
                    ..FetchedPartition::default()
                },
            };
            writer.partition(&head, part.batches.slices);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(bytes_max: usize) -> Wanted {
        Wanted { route: Err(ErrorCode::None), offset: 0, bytes_max }
    }

    /// Whole batches of 10 bytes on the disk.
    fn on_disk(bytes: usize) -> Offered {
        Offered { found: Found::default(), on_disk: bytes, first: bytes.min(10) }
    }

    fn divided(limits: &[usize], offers: &[usize], bytes_max: usize) -> Vec<usize> {
        let wanted: Vec<_> = limits.iter().map(|limit| wanted(*limit)).collect();
        let mut offers: Vec<_> = offers.iter().map(|bytes| on_disk(*bytes)).collect();
        divide(&wanted, &mut offers, bytes_max)
    }

    #[test]
    fn bytes_are_divided_in_the_order_of_the_request() {
        assert_eq!(divided(&[50, 50, 50], &[50, 50, 50], 80), [50, 30, 0]);
        assert_eq!(divided(&[50, 50, 50], &[0, 20, 50], 80), [0, 20, 50]);
        // Both limits hold.
        assert_eq!(divided(&[20, 50], &[50, 50], 60), [20, 40]);
    }

    #[test]
    fn only_the_first_batch_of_an_answer_may_exceed_a_limit() {
        assert_eq!(divided(&[5, 5], &[50, 50], 80), [10, 0]);
        assert_eq!(divided(&[50, 50], &[50, 50], 5), [10, 0]);
        assert_eq!(divided(&[0, 50], &[50, 50], 80), [10, 50]);
        // What is left is less than one batch.
        assert_eq!(divided(&[50, 50], &[50, 50], 55), [50, 0]);
    }

    #[test]
    fn what_comes_behind_in_the_request_is_read_ahead_up_to_an_answer() {
        let wanted = [wanted(50), wanted(50), wanted(50), wanted(50), wanted(50)];
        let read = to_read(&wanted, &[0, 50, 0, 0, 0], 100);
        let read: Vec<_> = read.iter().map(|(n, granted)| (*n, granted.bytes)).collect();
        assert_eq!(read, [(1, 50), (2, 0), (3, 0)]);
        assert_eq!(to_read(&wanted[..1], &[10], 100).len(), 1);
    }
}
