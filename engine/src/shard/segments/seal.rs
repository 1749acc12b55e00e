//! Sealing: a full segment gets its index and is covered by the checkpoint; freed segments are
//! recycled or removed. In the background, one at a time, in order.

use crate::disk::{Disk, DiskFile};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::ids::{CommitSeq, Generation, LogId};
use crate::log::files;
use crate::log::index::{self, IndexEntry, Sealed};
use crate::log::recovery::SealedSegment;
use crate::planted::{self, Bug};

use super::free::{remove_segment, shrink};
use super::manifest::Base;
use crate::shard::write::roll::{Active, Next};
use crate::shard::{Counters, Inner, PartitionRef, State, regroup};

const RETRY: Duration = Duration::from_millis(250);
/// Partitions noted for a checkpoint without giving way.
const NOTED_AT_ONCE: usize = 1000;

/// A segment to be sealed, and the partitions as they were at its end.
#[derive(Clone)]
pub(crate) struct Job {
    sealed: Sealed,
    touched: Rc<Vec<(u32, LogId)>>,
    /// Not there while it is being made, of the last job.
    pub(crate) base: Option<Rc<Base>>,
}

impl Job {
    /// The segment.
    pub fn generation(&self) -> Generation {
        self.sealed.generation
    }
}

impl State {
    pub(crate) fn queue_seal(&mut self, old: &Active, next_seq: CommitSeq) {
        let sealed =
            Sealed { generation: old.generation, first_seq: old.first_seq, next_seq, data_end: old.position };
        self.begin_noting(old.generation.0, next_seq);
        self.seal_jobs.push_back(Job { sealed, touched: Rc::new(old.touched.clone()), base: None });
        self.unsealed += 1;
    }

    /// The batches of a segment, by partition and offset.
    fn batches_of(&self, job: &Job) -> Vec<(LogId, Vec<IndexEntry>)> {
        let mut logs = Vec::with_capacity(job.touched.len());
        for &(slot, log) in job.touched.iter() {
            let partition = self.partitions.get(slot as usize).and_then(Option::as_ref);
            let Some(partition) = partition.filter(|p| p.log == log) else { continue };
            let from = partition.tail.partition_point(|b| b.seq < job.sealed.first_seq);
            let to = partition.tail.partition_point(|b| b.seq < job.sealed.next_seq);
            let mut entries = Vec::with_capacity(to - from);
            for batch in partition.tail.range(from..to) {
                let Some((_, position)) = self.place(batch.seq) else { continue };
                entries.push(IndexEntry {
                    base_offset: batch.base_offset,
                    position: (position + u64::from(batch.at)) as u32,
                    len: batch.len,
                    span: batch.span,
                    max_timestamp: batch.max_timestamp,
                });
            }
            entries.retain(|e| e.base_offset + u64::from(e.span) > partition.start);
            if !entries.is_empty() {
                logs.push((log, entries));
            }
        }
        logs.sort_by_key(|(log, _)| *log);
        logs
    }

    /// Takes the runs of a sealed segment over and forgets what they replace.
    fn adopt(&mut self, index: &index::Index) {
        let mut segment = SealedSegment::new(index);
        for (log, run) in &index.runs {
            let Some(&slot) = self.by_log.get(log) else { continue };
            let Some(partition) = self.partitions[slot as usize].as_mut() else { continue };
            partition.runs.push(*run);
            segment.add(run);
            self.lingering.push(slot);
            // The log start offset may have been raised meanwhile.
            self.trimmed.push((slot, *log));
        }
        let generation = index.sealed.generation;
        if segment.live_runs == 0 {
            self.dead.push(generation);
        } else {
            self.segments.insert(generation, segment);
        }
        self.sealed_below = index.sealed.next_seq;
        self.prune(index.sealed.next_seq);
    }

    /// Counts the bytes of partitions anew: batches that were deleted before their segment was sealed are in
    /// no run of it.
    fn recount(&mut self, touched: &[(u32, LogId)]) {
        for &(slot, log) in touched {
            let sealed_below = self.sealed_below;
            let Some(partition) = self.get_mut(PartitionRef { slot, log }) else { continue };
            let from = partition.tail.partition_point(|b| b.seq < sealed_below);
            let start = partition.start;
            let there = partition.tail.range(from..).filter(|b| b.base_offset + u64::from(b.span) > start);
            let unsealed = there.map(|b| u64::from(b.len));
            partition.bytes = partition.runs.iter().map(|r| u64::from(r.bytes)).chain(unsealed).sum();
        }
    }

    /// Drops references to batches in sealed segments that are no longer cached.
    fn prune(&mut self, sealed_below: CommitSeq) {
        let cached_from = self.tail.first();
        let droppable = sealed_below.min(cached_from);
        let partitions = &mut self.partitions;
        self.lingering.retain(|&slot| {
            let Some(partition) = partitions[slot as usize].as_mut() else { return false };
            while partition.tail.front().is_some_and(|b| b.seq < droppable) {
                partition.tail.pop_front();
            }
            partition.tail.front().is_some_and(|b| b.seq < sealed_below)
        });
        self.lingering.sort_unstable();
        self.lingering.dedup();
        while self.places_first < droppable && self.places.pop_front().is_some() {
            self.places_first += 1;
        }
    }
}

/// Starts the sealer unless it runs: two at a time would write the same files.
pub(crate) fn start_sealer(inner: &Rc<Inner>) {
    if !inner.sealer_runs.replace(true) {
        tokio::task::spawn_local(sealer(Rc::clone(inner)));
    }
}

/// Seals segments as they fill up and frees what is no longer needed, until the shard stops or fails.
async fn sealer(inner: Rc<Inner>) {
    loop {
        if inner.failure.get().is_some() {
            break;
        }
        let (job, garbage, stop) = {
            let mut state = inner.state.borrow_mut();
            state.drop_trimmed_runs();
            if !state.holes.is_empty() {
                inner.punching.notify_one();
            }
            let job = state.seal_jobs.front().cloned();
            (job, !state.dead.is_empty(), state.stopping && state.running == 0)
        };
        let result = match (job, garbage) {
            (Some(job), _) => seal(&inner, &job).await,
            (None, true) => free_dead(&inner).await,
            (None, false) if stop => break,
            (None, false) => {
                inner.sealing.notified().await;
                continue;
            }
        };
        match result {
            Ok(()) => inner.roll.notify_waiters(),
            Err(e) if no_space(&e) => {
                if planted::is(Bug::FullTakenForSealed)
                    && inner.state.borrow_mut().seal_jobs.pop_front().is_some()
                {
                    inner.state.borrow_mut().unsealed -= 1;
                    continue;
                }
                if stop {
                    // A stop does not wait for somebody to make space.
                    let shard = inner.identity.shard.0;
                    tracing::warn!(shard, "no space to seal the last segment; the next start scans it");
                    break;
                }
                tokio::time::sleep(RETRY).await;
            }
            Err(e) => inner.fail("sealing a segment", e),
        }
    }
    inner.sealer_runs.set(false);
    inner.roll.notify_waiters();
}

/// Whether the disk is full, which passes.
pub(crate) fn no_space(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The base of the first job, made to the end.
async fn base_of_first(inner: &Rc<Inner>) -> Rc<Base> {
    loop {
        {
            let mut state = inner.state.borrow_mut();
            if let Some(base) = state.seal_jobs.front().and_then(|job| job.base.clone()) {
                return base;
            }
            state.note_some(NOTED_AT_ONCE);
        }
        tokio::task::yield_now().await;
    }
}

async fn seal(inner: &Rc<Inner>, job: &Job) -> io::Result<()> {
    let shard = inner.identity.shard;
    let base = base_of_first(inner).await;
    let logs = inner.state.borrow().batches_of(job);
    let (content, index) = index::build(shard, job.sealed, &logs);
    let path = files::index(&inner.dir, job.sealed.generation);
    {
        let mut state = inner.state.borrow_mut();
        state.room.index_bytes = index.bytes();
        state.room.set_index(job.sealed.generation, index.bytes());
    }
    files::replace(&inner.disk, &inner.dir, &path, content).await?;
    {
        let _manifest = inner.manifest.lock().await;
        let named = (job.sealed.next_seq > job.sealed.first_seq).then_some(job.sealed);
        inner.store_checkpoint(&base, named.as_slice(), &[], None).await?;
        let mut state = inner.state.borrow_mut();
        state.base = base;
        state.trims.retain(|_, (generation, _)| *generation > job.sealed.generation);
        state.adopt(&index);
        state.recount(&job.touched);
        state.seal_jobs.pop_front();
        state.unsealed -= 1;
        if regroup::is_candidate(&index, inner.options.regroup_extent_bytes) {
            state.regroup.push_back(job.sealed.generation);
            inner.keeping.notify_one();
        }
        Counters::add(&inner.counters.sealed, 1);
    }
    inner.keep_to_size(&index);
    inner.look_for_room(&mut inner.state.borrow_mut());
    inner.cleaning.notify_one();
    Ok(())
}

/// Freed segments that are kept to be used again, the prepared one included: as many as are often freed at
/// once, since a segment that was never written is slower.
const SPARES_MAX: usize = 3;

/// Takes freed segments out of the checkpoint, then keeps a few as spares and removes the others.
async fn free_dead(inner: &Rc<Inner>) -> io::Result<()> {
    let dead = inner.state.borrow().dead.clone();
    {
        let _manifest = inner.manifest.lock().await;
        let base = Rc::clone(&inner.state.borrow().base);
        inner.store_checkpoint(&base, &[], &[], None).await?;
    }
    for generation in dead {
        inner.opened.borrow_mut().forget(generation);
        remove(inner, &files::index(&inner.dir, generation)).await?;
        // A segment in which holes are being made must not become another one. A reader who is on its way to it
        // notices that it is gone.
        let keep = {
            let mut state = inner.state.borrow_mut();
            let ready = usize::from(!matches!(state.next, Next::Wanted));
            let kept = state.spares.len() + ready;
            // Beyond the bound only what the next one is made of.
            let max = if state.room.fits(state.room.asked) { SPARES_MAX } else { 1 };
            let wanted = kept < max && !state.stopping;
            let in_use = inner.punched.get() == Some(generation);
            let holed = state.holed.remove(&generation);
            wanted && !generation.is_sorted() && !in_use && !holed
        };
        if !keep {
            remove_segment(inner, generation).await?;
        }
        let mut state = inner.state.borrow_mut();
        state.dead.retain(|g| *g != generation);
        if keep {
            state.room.set_index(generation, 0);
            state.spares.push(generation);
        } else {
            state.room.remove(generation);
        }
        Counters::add(&inner.counters.freed, 1);
    }
    inner.look_for_room(&mut inner.state.borrow_mut());
    Ok(())
}

pub(crate) async fn remove(inner: &Rc<Inner>, path: &str) -> io::Result<()> {
    match inner.disk.remove(path).await {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// A freed segment of full length, to be used again.
pub(crate) async fn take_spare(inner: &Rc<Inner>, len: u64) -> Option<Generation> {
    loop {
        let generation = inner.state.borrow_mut().spares.pop()?;
        let path = files::segment(&inner.dir, generation);
        if let Ok(file) = inner.disk.open(&path).await
            && file.size().await.is_ok_and(|size| size == len)
        {
            // Else each write would have to look for what readers left there.
            file.drop_cached().await;
            return Some(generation);
        }
        drop_spare(inner, generation).await;
    }
}

/// Removes a freed segment.
pub(crate) async fn drop_spare(inner: &Rc<Inner>, generation: Generation) {
    let _gone_already = remove_segment(inner, generation).await;
    inner.state.borrow_mut().room.remove(generation);
}

/// Waits for the workers, seals the active segment, and leaves nothing to be scanned.
pub(crate) async fn close(inner: &Rc<Inner>) {
    wait_until(inner, |s| s.running == 0).await;
    if inner.failure.get().is_some() {
        return;
    }
    let (generation, empty, file, len, end, prepared) = {
        let mut state = inner.state.borrow_mut();
        let next_seq = inner.durable_below.get();
        let active = &state.active;
        let (generation, file, len) = (active.generation, active.file.clone(), active.len);
        let (empty, end) = (active.first_seq == next_seq, active.position);
        let touched = std::mem::take(&mut state.active.touched);
        let placeholder = Active {
            file: file.clone(),
            len: end,
            generation,
            position: end,
            first_seq: state.active.first_seq,
            touched,
        };
        state.queue_seal(&placeholder, next_seq);
        let prepared = match std::mem::replace(&mut state.next, Next::Full) {
            Next::Ready { generation, .. } => Some(generation),
            _ => None,
        };
        (generation, empty, file, len, end, prepared)
    };
    // The sealer may have ended already; if it is at work, it finds the last job when it looks next.
    inner.sealing.notify_one();
    start_sealer(inner);
    let sealed = |s: &State| s.unsealed == 0 && s.dead.is_empty();
    wait_until(inner, |s| sealed(s) || !inner.sealer_runs.get()).await;
    if inner.failure.get().is_some() || !sealed(&inner.state.borrow()) {
        // What is left is what a crash leaves.
        return;
    }
    // Nothing may write into the directory when it is closed.
    wait_until(inner, |_| inner.keepers.get() == 0).await;
    let mut rest: Vec<_> = prepared.into_iter().collect();
    rest.extend(std::mem::take(&mut inner.state.borrow_mut().spares));
    if empty {
        rest.push(generation);
    } else if let Err(e) = shrink(inner, &file, len, end).await {
        tracing::warn!(%e, "could not give back the unused end of the last segment");
    }
    for generation in rest {
        for path in [files::segment(&inner.dir, generation), files::index(&inner.dir, generation)] {
            if let Err(e) = remove(inner, &path).await {
                tracing::warn!(path, %e, "could not remove an unused segment");
            }
        }
    }
    if let Err(e) = inner.disk.sync_dir(&inner.dir).await {
        tracing::warn!(%e, "could not flush the directory");
    }
}

async fn wait_until(inner: &Rc<Inner>, done: impl Fn(&State) -> bool) {
    loop {
        let notified = inner.roll.notified();
        if done(&inner.state.borrow()) || inner.failure.get().is_some() {
            return;
        }
        notified.await;
    }
}
