//! Durable batches as they are stored, of several partitions at once.
//!
//! A read is one plan. All cores say at the same time what their partitions have (`offer`), the bytes are divided among
//! the partitions (even shares, so that a reader gets on evenly in all of them; where even shares would be small, those that
//! are asked for first get theirs, and clients ask in another order each time), and all cores read at the same time what was granted.
//! Afterwards each core reads ahead what the same reader is likely to ask for next.
//!
//! Promise: records are handed on from the memory they were committed from, or were read into, without a copy; that memory
//! is paid for from the core's budget.

use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::join_all;
use keylane_engine::partition::Watcher;
use keylane_engine::shard::{Batches, Offer, PartitionRef, Shard, Want};
use keylane_engine::{LogId, Offset, ReadError};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

use crate::core::{Core, MEMORY_UNIT};
use crate::runtime::mesh::call;

use super::error::{NoPartition, ReadRefused};
use super::topics::Route;

/// A share of an answer is no smaller: many small reads cost more than a few.
const SHARE_BYTES_MIN: usize = 256 << 10;

/// One partition of a request.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The way to it, or why it is not read.
    pub route: Result<Route, ReadRefused>,
    /// The first offset to be read.
    pub offset: Offset,
    /// Most bytes of it, unless its first batch is larger and the first of all.
    pub bytes_max: usize,
}

impl Wanted {
    /// The partition on the core that it lives on: its shard's number, and where in it.
    fn place_number(&self, core: &Core) -> Result<(usize, PartitionRef), ReadRefused> {
        match self.route? {
            Route::Here { shard, at } => Ok((shard, at)),
            Route::There { shard, log, .. } => {
                let at =
                    core.shards[shard].partition(log).ok_or(ReadRefused::Partition(NoPartition::Number))?;
                Ok((shard, at))
            }
        }
    }

    fn place<'a>(&self, core: &'a Core) -> Result<(&'a Shard, PartitionRef), ReadRefused> {
        self.place_number(core).map(|(shard, at)| (&core.shards[shard], at))
    }
}

/// What is asked of the core on which a partition lives.
pub(super) trait ItsCore {
    /// `None`: this core.
    fn core(&self) -> Option<usize>;
}

impl ItsCore for Route {
    fn core(&self) -> Option<usize> {
        match self {
            Self::There { core, .. } => Some(*core),
            Self::Here { .. } => None,
        }
    }
}

impl ItsCore for Wanted {
    fn core(&self) -> Option<usize> {
        self.route.ok().and_then(|route| route.core())
    }
}

/// What was found for it.
#[derive(Debug, Default)]
pub struct Found {
    /// Why nothing could be read.
    pub error: Option<ReadRefused>,
    /// The offset after the last record that can be read.
    pub high_watermark: Offset,
    /// The first offset that is not deleted.
    pub log_start: Offset,
    /// Whole batches as they are stored.
    pub batches: Batches,
    /// The disk was needed.
    pub from_disk: bool,
    /// There is more on the disk right now: waiting would bring nothing.
    pub more: bool,
}

impl Found {
    fn failed(refused: ReadRefused) -> Self {
        Self { error: Some(refused), ..Self::default() }
    }

    fn refused(shard: &Shard, at: PartitionRef, error: &ReadError) -> Self {
        if !matches!(error, ReadError::OutOfRange { .. } | ReadError::UnknownPartition) {
            tracing::error!(%error, "fetch failed");
        }
        let offsets = shard.offsets(at).ok();
        Self {
            high_watermark: offsets.map_or(0, |o| o.high_watermark),
            log_start: offsets.map_or(0, |o| o.start),
            ..Self::failed(error.into())
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

/// Reads all partitions of a request, as one plan. Returns what was found for each, and the paid memory of it.
pub async fn read_all(
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
pub(super) async fn on_each_core<T, O, R>(
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

/// Says what partitions of this core have. Those behind as many shares as the whole answer can hold get nothing of it, so
/// only their offsets are looked at.
async fn offer_here(core: Rc<Core>, list: Vec<Wanted>, bytes_max: usize) -> Vec<Offered> {
    let (mut left, mut any) = (bytes_max, false);
    let mut offers = Vec::with_capacity(list.len());
    for wanted in list {
        // The first batch is given whatever the limit, which may be 0.
        let limit = (left > 0 || !any).then_some(wanted.bytes_max.min(bytes_max));
        let offered = offer_one(&core, &wanted, limit).await;
        let bytes = offered.found.batches.bytes + offered.on_disk;
        left = left.saturating_sub(bytes.min(SHARE_BYTES_MIN));
        any |= bytes > 0;
        offers.push(offered);
    }
    offers
}

async fn offer_one(core: &Core, wanted: &Wanted, limit: Option<usize>) -> Offered {
    let (shard, at) = match wanted.place(core) {
        Ok(place) => place,
        Err(refused) => return Found::failed(refused).into(),
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

/// Divides the bytes of the answer in the order of the request, in even shares as far as these are large enough, and cuts what is
/// in memory to it. Returns what each partition may read from the disk. A batch that is larger than its limit is given only as
/// the first one.
fn divide(wanted: &[Wanted], offers: &mut [Offered], bytes_max: usize) -> Vec<usize> {
    let has = |(wanted, offered): (&Wanted, &Offered)| {
        wanted.bytes_max.min(offered.found.batches.bytes + offered.on_disk)
    };
    let all = wanted.iter().zip(&*offers).map(has);
    let share = match all.clone().sum::<usize>() <= bytes_max {
        true => usize::MAX,
        false => even_share(all.collect(), bytes_max).max(SHARE_BYTES_MIN),
    };
    let (mut left, mut any) = (bytes_max, false);
    let mut granted = Vec::with_capacity(wanted.len());
    for (wanted, offered) in wanted.iter().zip(offers) {
        let limit = wanted.bytes_max.min(left);
        let batches = &mut offered.found.batches;
        let first = offered.first.max(batches.first_len());
        // A share is rounded up to whole batches of the size of the first one.
        let share = share.checked_next_multiple_of(first.max(1)).unwrap_or(usize::MAX);
        let grant = match (any, first <= limit) {
            (_, true) => limit.min(share),
            (false, false) => first,
            (true, false) => 0,
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

/// The bytes up to which all get what they have, so that they have `bytes_max` together.
fn even_share(mut has: Vec<usize>, bytes_max: usize) -> usize {
    has.sort_unstable();
    let (mut left, count) = (bytes_max, has.len());
    for (n, bytes) in has.into_iter().enumerate() {
        let share = left / (count - n);
        if bytes > share {
            return share;
        }
        left -= bytes;
    }
    usize::MAX
}

/// What is to be read, by its place in the request: what was granted, and without bytes what comes behind it in the
/// request, up to as much as one answer holds. It is read ahead, because some clients ask in turn.
fn to_read(wanted: &[Wanted], granted: &[usize], bytes_max: usize) -> Vec<(usize, Granted)> {
    let last = granted.iter().rposition(|bytes| *bytes > 0).unwrap_or(0);
    let mut left = bytes_max;
    let behind = wanted[last + 1..].iter().take_while(|wanted| {
        let goes_on = left > 0;
        left = left.saturating_sub(wanted.bytes_max.min(SHARE_BYTES_MIN));
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
        Err(refused) => return Found::failed(refused),
    };
    match shard.read(at, wanted.offset, bytes_max).await {
        Ok(batches) => Found::read(shard, at, batches, true),
        Err(e) => Found::refused(shard, at, &e),
    }
}

/// Waits until a partition has more than was found, or the time is over.
pub async fn wait_for_more(core: &Rc<Core>, wanted: &[Wanted], found: &[Found], deadline: Instant) {
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
        Wanted { route: Err(ReadRefused::Stopping), offset: 0, bytes_max }
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
    fn shares_are_even_if_they_are_large_enough() {
        const MIN: usize = SHARE_BYTES_MIN;
        let all = |count: usize, bytes_max| divided(&vec![4 * MIN; count], &vec![4 * MIN; count], bytes_max);
        let batches = |bytes: usize| bytes.next_multiple_of(10);
        assert_eq!(all(2, 4 * MIN), [batches(2 * MIN), 4 * MIN - batches(2 * MIN)]);
        // Smaller shares than the least are not given: the first ones get the least.
        let first = all(8, 2 * MIN);
        assert_eq!(first[..2], [batches(MIN), 2 * MIN - batches(MIN)]);
        assert_eq!(first[2..], [0; 6]);
        // What one does not need is for the others.
        assert_eq!(
            divided(&[9 * MIN; 3], &[9 * MIN, 0, MIN], 5 * MIN),
            [batches(4 * MIN), 0, 5 * MIN - batches(4 * MIN)]
        );
        assert_eq!(all(3, 12 * MIN), [4 * MIN; 3]);
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
