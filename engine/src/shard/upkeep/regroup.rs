//! Regrouping: a sealed commit segment whose extents are small is written anew, by partition, so that a
//! reader of one partition finds what it wants in one stretch. In the background, while the log is quiet.
//!
//! A sorted segment has the form of a commit segment, with commits that are numbered on their own. It
//! takes the place of the old one when the checkpoint names it instead; what was deleted meanwhile is
//! left out. The same is done with a segment of which compaction has left little. Batches are checked while
//! they are copied: damage is not carried on, the old segment stays.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::try_join_all;

use crate::aligned::{AlignedBuf, BLOCK, round_down, round_up};
use crate::disk::{Disk, DiskFile, DynFile, read_exact_at, write_all_at};
use crate::ids::{CommitSeq, Generation, LogId};
use crate::log::chunk::{OpenCommit, Slotted};
use crate::log::files;
use crate::log::format::{COMPACTED, Entry, Place, SegmentHeader, check_entry, commit_len};
use crate::log::index::{self, GAP_BYTES, Index, IndexEntry, Sealed};
use crate::log::recovery::SealedSegment;
use crate::partition::Partition;
use crate::planted::{self, Bug};
use crate::records::with_largest_timestamp;

use super::pace::{Pace, Wait};
use crate::shard::segments::free::{remove_segment, shrink};
use crate::shard::segments::seal::{no_space, remove};
use crate::shard::{Counters, Inner, PartitionRef, State};

/// Bytes read at once.
const READ_BYTES: u64 = 1 << 20;
/// Bytes of a commit in a sorted segment, unless one batch is larger.
const COMMIT_BYTES: usize = 1 << 20;
/// A segment of less bytes is not written anew for the space.
const WASTE_BYTES_MIN: u64 = 64 << 10;
/// Bytes copied without a pause for others.
const COPY_BYTES: usize = 128 << 10;
/// Stretches that are read at once when it must not take long.
const HASTY_READS: usize = 8;

/// The batches of a segment, by partition.
pub(crate) type Grouped = Vec<(LogId, Vec<IndexEntry>)>;

/// Whether a segment is worth the trouble: its extents are smaller than `extent_bytes` on average.
pub(crate) fn is_candidate(index: &Index, extent_bytes: u64) -> bool {
    worth(&index.sealed, index.extents, extent_bytes) && index.runs.len() > 1
}

fn worth(sealed: &Sealed, extents: u32, extent_bytes: u64) -> bool {
    !sealed.generation.is_sorted() && sealed.data_end / u64::from(extents.max(1)) < extent_bytes
}

/// The segments to regroup, oldest first.
pub(crate) fn candidates(
    segments: &BTreeMap<Generation, SealedSegment>,
    extent_bytes: u64,
) -> VecDeque<Generation> {
    let worth = |s: &&SealedSegment| s.live_runs > 1 && worth(&s.sealed, s.extents, extent_bytes);
    segments.values().filter(worth).map(|s| s.sealed.generation).collect()
}

/// Whether little enough is left of a segment that it is worth writing anew for the space, which is also that of
/// directories and entries of the index: less than a quarter.
pub(crate) fn is_wasteful(segment: &SealedSegment) -> bool {
    let end = segment.sealed.data_end;
    end >= WASTE_BYTES_MIN && segment.live_bytes < end / 4
}

/// Regroups segments, one after the other, until the shard stops or fails.
pub(crate) async fn keeper(inner: Rc<Inner>) {
    keep(&inner).await;
    inner.leave_keepers();
}

async fn keep(inner: &Rc<Inner>) {
    let mut pace = Pace::new();
    while !inner.ends() {
        let notified = inner.keeping.notified();
        let Some(generation) = inner.state.borrow_mut().regroup.pop_front() else {
            notified.await;
            continue;
        };
        match regroup(inner, generation, &mut pace).await {
            Ok(()) => {}
            Err(e) if no_space(&e) => tracing::warn!(%generation, "no space to regroup a segment: it stays"),
            Err(e) => {
                // Nothing depends on it: the segment stays as it is, and the log goes on.
                tracing::warn!(%generation, %e, "regrouping a segment failed: it stays as it is");
            }
        }
    }
}

async fn regroup(inner: &Rc<Inner>, generation: Generation, pace: &mut Pace) -> io::Result<()> {
    let wasteful = inner.state.borrow().segments.get(&generation).map(is_wasteful);
    let Some(wasteful) = wasteful else { return Ok(()) };
    // What is done for the space must not wait for ever.
    let wait = if wasteful { Wait::AWhile } else { Wait::ForEver };
    rewrite(inner, generation, pace, wait).await.map(drop)
}

/// Writes what is left of a segment anew, by partition, into one that takes its place. `false`: it stays.
pub(crate) async fn rewrite(
    inner: &Rc<Inner>,
    generation: Generation,
    pace: &mut Pace,
    wait: Wait,
) -> io::Result<bool> {
    if !inner.state.borrow().segments.contains_key(&generation) {
        return Ok(false);
    }
    let Some(groups) = load_groups(inner, generation).await? else {
        tracing::warn!(%generation, "its index is damaged: the segment is not regrouped");
        return Ok(false);
    };
    let data = match load_data(inner, generation, &groups, pace, wait).await {
        Ok(Some(data)) => data,
        // Freed meanwhile, and cut.
        Err(_) if !inner.state.borrow().segments.contains_key(&generation) => return Ok(false),
        Ok(None) => return Ok(false),
        Err(e) => return Err(e),
    };
    let (bytes, index_bytes) = sorted_len(&groups);
    // There is no hurry, but a bound to be kept: without room it stays as it is.
    if wait != Wait::Haste && !inner.room_for(bytes + index_bytes).await {
        return Ok(false);
    }
    let Some(number) = inner.take_sorted_number() else { return Ok(false) };
    {
        let mut state = inner.state.borrow_mut();
        if wait == Wait::Haste {
            state.room.held = 0;
        }
        state.room.set_segment(number, bytes);
        state.room.set_index(number, index_bytes);
    }
    let mut writer = match SortedWriter::create(inner, number, Origin::Regrouped, bytes).await {
        Ok(writer) => writer,
        Err(e) => {
            discard(inner, number).await?;
            return Err(e);
        }
    };
    let written = copy(inner, generation, &groups, &data, &mut writer, pace, wait).await;
    drop(data);
    let index = match written {
        Ok(true) => writer.finish(inner).await,
        Ok(false) => return discard(inner, number).await.map(|()| false),
        Err(e) => Err(e),
    };
    let index = match index {
        Ok(index) => index,
        Err(e) => {
            discard(inner, number).await?;
            return Err(e);
        }
    };
    let adopted = {
        let _manifest = inner.manifest.lock().await;
        let there = inner.state.borrow().segments.contains_key(&generation);
        if there {
            let base = Rc::clone(&inner.state.borrow().base);
            if let Err(e) = inner.store_checkpoint(&base, &[index.sealed], &[generation], None).await {
                // It may be in force all the same: the segment goes only after the next checkpoint.
                inner.state.borrow_mut().dead.push(number);
                inner.sealing.notify_one();
                return Err(e);
            }
            inner.state.borrow_mut().exchange(generation, &index);
        }
        there
    };
    if !adopted {
        return discard(inner, number).await.map(|()| false);
    }
    Counters::add(&inner.counters.regrouped, 1);
    inner.sealing.notify_one();
    Ok(true)
}

/// Bytes that the groups take in a sorted segment, or a little more, and those of its index.
fn sorted_len(groups: &Grouped) -> (u64, u64) {
    let entries = groups.iter().flat_map(|(_, group)| group);
    let (bytes, count) = entries.fold((0, 0), |(bytes, count), e| (bytes + u64::from(e.len), count + 1));
    (sorted_bytes(bytes, count), index::bytes_of(groups.len() as u64, count))
}

/// Bytes that batches of so many bytes and such a number take in a sorted segment, or a little more.
pub(crate) fn sorted_bytes(bytes: u64, batches: u64) -> u64 {
    // Each commit begins and ends with a block that is not full.
    let commits = bytes / COMMIT_BYTES as u64 + 1;
    let bytes = bytes + batches * commit_len(0, 64) as u64 / 64 + (1 + 2 * commits) * BLOCK as u64;
    bytes.next_multiple_of(BLOCK as u64)
}

/// Removes a sorted segment that came to nothing.
pub(crate) async fn discard(inner: &Rc<Inner>, generation: Generation) -> io::Result<()> {
    remove(inner, &files::index(&inner.dir, generation)).await?;
    remove_segment(inner, generation).await?;
    inner.state.borrow_mut().room.remove(generation);
    Ok(())
}

/// The batches of a segment that are still needed. `None`: its index is damaged.
async fn load_groups(inner: &Rc<Inner>, generation: Generation) -> io::Result<Option<Grouped>> {
    let file = inner.disk.open(&files::index(&inner.dir, generation)).await?;
    let shard = inner.identity.shard;
    let Some(index) = index::load(&file, shard, generation).await? else { return Ok(None) };
    let Some(entries) = index::load_entries(&file, shard, &index).await? else { return Ok(None) };
    let state = inner.state.borrow();
    let mut groups = Vec::with_capacity(index.runs.len());
    for (log, run) in &index.runs {
        let from = run.first_entry as usize;
        let Some(all) = entries.get(from..from + run.entries as usize) else { return Ok(None) };
        let Some(start) = state.start_in(*log, generation) else { continue };
        let needed = |e: &&IndexEntry| e.base_offset + u64::from(e.span) > start;
        let group: Vec<_> = all.iter().filter(needed).copied().collect();
        if !group.is_empty() {
            groups.push((*log, group));
        }
    }
    Ok(Some(groups))
}

/// The bytes of a segment that are needed, from where they begin.
type Stretches = Vec<(u64, Bytes)>;

/// Where what is needed lies: stretches of whole blocks, by position, each batch wholly in one of them.
fn needed(groups: &Grouped) -> Vec<(u64, u64)> {
    let place = |e: &IndexEntry| (u64::from(e.position), u64::from(e.position) + u64::from(e.len));
    let mut places: Vec<_> = groups.iter().flat_map(|(_, group)| group).map(place).collect();
    places.sort_unstable();
    let mut needed: Vec<(u64, u64)> = Vec::new();
    for (from, to) in places {
        let (from, to) = (round_down(from), round_up(to as usize) as u64);
        match needed.last_mut() {
            Some((start, end)) if from <= *end + GAP_BYTES && to <= *start + READ_BYTES => *end = to,
            _ => needed.push((from, to)),
        }
    }
    needed
}

/// Reads what is needed of a segment. `None`: the shard ends.
async fn load_data(
    inner: &Rc<Inner>,
    generation: Generation,
    groups: &Grouped,
    pace: &mut Pace,
    wait: Wait,
) -> io::Result<Option<Stretches>> {
    let file = inner.disk.open(&files::segment(&inner.dir, generation)).await?;
    let at_once = if wait == Wait::Haste { HASTY_READS } else { 1 };
    let mut stretches = Vec::new();
    for some in needed(groups).chunks(at_once) {
        if !pace.turn(inner, wait).await {
            return Ok(None);
        }
        let read = async |&(from, to): &(u64, u64)| -> io::Result<_> {
            Ok((from, read_exact_at(&file, from, (to - from) as usize).await?))
        };
        stretches.extend(try_join_all(some.iter().map(read)).await?);
        let bytes = some.iter().map(|(from, to)| to - from).sum();
        Counters::add(&inner.counters.background_bytes, bytes);
    }
    Ok(Some(stretches))
}

/// Copies the groups. `false`: the shard ends, or a batch is damaged.
async fn copy(
    inner: &Rc<Inner>,
    generation: Generation,
    groups: &Grouped,
    data: &Stretches,
    writer: &mut SortedWriter,
    pace: &mut Pace,
    wait: Wait,
) -> io::Result<bool> {
    let mut copied = 0;
    for (log, group) in groups {
        for entry in group {
            let raw = piece(data, entry);
            let expected = expected(*log, entry);
            let good = raw.filter(|raw| check_entry(&expected, raw).is_ok());
            let Some(raw) = good else {
                // Deleted meanwhile, and its space given back or used again?
                let state = inner.state.borrow();
                if !state.segments.contains_key(&generation) {
                    return Ok(false);
                }
                if state.start_in(*log, generation).is_none_or(|start| entry.end() <= start) {
                    continue;
                }
                let at = entry.position;
                tracing::error!(%generation, at, "a batch is damaged: its segment is not regrouped");
                return Ok(false);
            };
            if !writer.fits(raw.len()) {
                if !pace.turn(inner, wait).await {
                    return Ok(false);
                }
                writer.flush(inner, raw.len()).await?;
            }
            writer.push(*log, entry, raw);
            copied += raw.len();
            if copied >= COPY_BYTES {
                copied = 0;
                tokio::task::yield_now().await;
            }
        }
    }
    Ok(true)
}

fn expected(log: LogId, entry: &IndexEntry) -> Entry {
    Entry {
        log,
        len: entry.len,
        at: 0,
        span: entry.span,
        base_offset: entry.base_offset,
        max_timestamp: entry.max_timestamp,
    }
}

/// The bytes of a batch.
fn piece<'a>(data: &'a Stretches, entry: &IndexEntry) -> Option<&'a [u8]> {
    let at = u64::from(entry.position);
    let (start, bytes) = data.get(data.partition_point(|(start, _)| *start <= at).checked_sub(1)?)?;
    let from = (at - start) as usize;
    bytes.get(from..from + entry.len as usize)
}

/// What a sorted segment is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Of one commit segment.
    Regrouped,
    /// Of what compaction left of one partition.
    Compacted,
}

/// A sorted segment while it is written.
pub(crate) struct SortedWriter {
    file: DynFile,
    origin: Origin,
    generation: Generation,
    /// Bytes that it was created with.
    len: u64,
    position: u64,
    open: OpenCommit,
    /// Batches of the open commit, their places still relative to it.
    pending: Vec<(LogId, IndexEntry)>,
    groups: Grouped,
}

impl SortedWriter {
    /// Creates the file, with room for `bytes`.
    pub async fn create(
        inner: &Rc<Inner>,
        generation: Generation,
        origin: Origin,
        bytes: u64,
    ) -> io::Result<Self> {
        let path = files::segment(&inner.dir, generation);
        let len = bytes.next_multiple_of(BLOCK as u64);
        let file = inner.disk.create(&path, len).await?;
        let header =
            SegmentHeader { directory: inner.identity.directory, shard: inner.identity.shard, generation };
        write_all_at(&file, files::padded(&header.encode()), 0).await?;
        let open = OpenCommit::new(1, AlignedBuf::uninit(COMMIT_BYTES));
        let (pending, groups) = (Vec::new(), Vec::new());
        Ok(Self { file, origin, generation, len, position: BLOCK as u64, open, pending, groups })
    }

    /// Bytes on the disk, with what is still to be written.
    pub fn len(&self) -> u64 {
        self.position + self.open.disk_len() as u64
    }

    /// Its generation.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    pub fn fits(&self, len: usize) -> bool {
        self.open.fits(len)
    }

    /// Adds a batch that fits. Batches come by partition, and within one by offset.
    pub fn push(&mut self, log: LogId, entry: &IndexEntry, raw: &[u8]) {
        // From here on the header says what is in the records, as the index does.
        let raw = &*with_largest_timestamp(raw, entry.max_timestamp);
        let at = self.open.push(raw, Slotted { entry: expected(log, entry), slot: 0 }, false);
        self.pending.push((log, IndexEntry { position: at, len: raw.len() as u32, ..*entry }));
    }

    /// Writes the open commit, and begins one that has room for a batch of `next_len` bytes.
    pub async fn flush(&mut self, inner: &Rc<Inner>, next_len: usize) -> io::Result<()> {
        if !self.open.is_empty() {
            let closed = self.open.close();
            let len = closed.disk_len() as u64;
            let shard = inner.identity.shard;
            let place = Place { shard, generation: self.generation, position: self.position };
            let mark = if self.origin == Origin::Compacted { COMPACTED } else { 0 };
            let (bytes, _, _) = closed.seal(place, mark);
            write_all_at(&self.file, bytes, self.position).await?;
            Counters::add(&inner.counters.background_bytes, len);
            for (log, entry) in self.pending.drain(..) {
                let position = u32::try_from(self.position + u64::from(entry.position))
                    .map_err(|_| io::Error::other("a sorted segment would exceed 4 GiB"))?;
                let entry = IndexEntry { position, ..entry };
                match self.groups.last_mut() {
                    Some((last, group)) if *last == log => group.push(entry),
                    _ => self.groups.push((log, vec![entry])),
                }
            }
            self.position += len;
        }
        self.open.renew(AlignedBuf::uninit(COMMIT_BYTES.max(commit_len(next_len, 1))));
        Ok(())
    }

    /// Makes segment and index durable.
    pub async fn finish(mut self, inner: &Rc<Inner>) -> io::Result<Index> {
        self.flush(inner, 0).await?;
        shrink(inner, &self.file, self.len.max(self.position), self.position).await?;
        if !(self.origin == Origin::Compacted && planted::is(Bug::CompactedNotFlushed)) {
            self.file.sync().await?;
        }
        let next_seq: CommitSeq = self.open.seq;
        let sealed = Sealed { generation: self.generation, first_seq: 1, next_seq, data_end: self.position };
        let (content, index) = index::build(inner.identity.shard, sealed, &self.groups);
        // Flushes the directory, which has the name of the segment as well.
        files::replace(&inner.disk, &inner.dir, &files::index(&inner.dir, self.generation), content).await?;
        // What compaction writes counts when it takes the place of something.
        if self.origin == Origin::Regrouped {
            let mut state = inner.state.borrow_mut();
            state.room.set_segment(self.generation, self.position);
            state.room.set_index(self.generation, index.bytes());
        }
        Ok(index)
    }
}

impl Inner {
    /// A task that works on sealed segments has ended.
    pub(crate) fn leave_keepers(&self) {
        self.keepers.set(self.keepers.get() - 1);
        self.roll.notify_waiters();
    }

    pub(crate) fn take_sorted_number(&self) -> Option<Generation> {
        let mut state = self.state.borrow_mut();
        let number = state.next_sorted;
        state.next_sorted = number.checked_add(1)?;
        Some(Generation::sorted(u64::from(number)))
    }
}

impl State {
    /// Log start offset of a partition that has a run in a segment.
    fn start_in(&self, log: LogId, generation: Generation) -> Option<u64> {
        let at = PartitionRef { slot: *self.by_log.get(&log)?, log };
        let has_run = |p: &&Partition| p.runs.iter().any(|r| r.generation == generation);
        self.get(at).filter(has_run).map(|p| p.start)
    }

    /// Lets the runs of a sorted segment take the place of those of the segment it was made from.
    fn exchange(&mut self, old: Generation, index: &Index) {
        let (mut segment, mut gone) = (SealedSegment::new(index), Vec::new());
        for (log, run) in &index.runs {
            let slot = self.by_log.get(log).copied();
            let partition = slot.and_then(|slot| self.partitions[slot as usize].as_mut());
            let place = partition.and_then(|p| {
                let place = p.runs.iter_mut().find(|r| r.generation == old)?;
                Some((place, &mut p.bytes))
            });
            if let (Some((place, bytes)), Some(slot)) = (place, slot) {
                // What was deleted of it was not copied.
                *bytes = bytes.saturating_sub(u64::from(place.bytes)) + u64::from(run.bytes);
                *place = *run;
                segment.add(run);
                self.trimmed.push((slot, *log));
            } else {
                // Deleted or compacted since it was copied: the old run is gone already.
                gone.push(*run);
            }
        }
        // What was deleted altogether before the copy was made has a run in the old segment only.
        if let Some(before) = self.segments.remove(&old)
            && before.live_runs > segment.live_runs
        {
            for partition in self.partitions.iter_mut().flatten() {
                let gone = partition.runs.extract_if(.., |r| r.generation == old);
                let bytes: u64 = gone.map(|r| u64::from(r.bytes)).sum();
                partition.bytes = partition.bytes.saturating_sub(bytes);
            }
        }
        self.holes.remove(&old);
        self.dead.push(old);
        if segment.live_runs == 0 {
            self.dead.push(index.sealed.generation);
        } else {
            self.segments.insert(index.sealed.generation, segment);
            for run in gone {
                self.holes.entry(index.sealed.generation).or_default().add(run, true);
            }
        }
    }
}
