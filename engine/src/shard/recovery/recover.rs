//! Recovery: reads what a shard left on its disk, and brings it into a state in which every segment is sealed.
//! `docs/recovery.md` has the table of cases.
//!
//! Promises: acknowledged records are there, or the start is refused with file and position. What was not acknowledged may
//! be cut off. No segment is removed that the checkpoint names.
//!
//! After a recovery nothing is ever appended to an old segment. Writing goes on in a new generation, so that the rest of a
//! torn tail can never be taken for something newer. A second recovery finds only sealed segments and changes nothing.

use std::collections::{BTreeMap, HashSet};

use futures_util::stream::{self, StreamExt};

use crate::aligned::BLOCK;
use crate::disk::{Disk, DiskFile, DynDisk};
use crate::error::OpenError;
use crate::ids::{Generation, Identity, LogId, Offset, ShardId};
use crate::log::checkpoint::Checkpoint;
use crate::log::files;
use crate::log::format::Entry;
use crate::log::index;
use crate::log::scan::{Scan, Scanner};
use crate::log::sealed::Sealed;
use crate::partition::Partition;
use crate::planted::{self, Bug};
use crate::record_batch::RecordBatch;

use super::recovered::Recovered;

/// Indexes that are read at the same time, so that a start does not wait for one after the other.
const INDEXES_AT_ONCE: usize = 32;

/// Opens a shard's directory, creating it if there is none.
pub async fn recover(
    disk: &DynDisk,
    identity: &Identity,
    live: &HashSet<LogId>,
) -> Result<Recovered, OpenError> {
    let dir = files::shard_dir(identity.shard);
    disk.create_dir(&dir).await.map_err(OpenError::io(format!("creating {dir}")))?;
    disk.sync_dir("").await.map_err(OpenError::io("flushing the data directory"))?;
    disk.sync_dir(&dir).await.map_err(OpenError::io(format!("flushing {dir}")))?;
    let names = disk.list(&dir).await.map_err(OpenError::io(format!("listing {dir}")))?;
    let mut generations: Vec<_> = names.iter().filter_map(|n| files::generation_of(n)).collect();
    generations.sort();
    let path = files::checkpoint(&dir);
    let stored = Checkpoint::load(disk, &dir, identity.shard)
        .await
        .map_err(OpenError::io(format!("reading {path}")))?;
    let has_checkpoint = stored.is_some();
    let checkpoint = match stored {
        Some(Some(checkpoint)) => checkpoint,
        // A shard without segments: a checkpoint is written before the first segment.
        None if generations.is_empty() => Checkpoint::default(),
        None => return Err(OpenError::damaged(path, 0, "it is missing, but there are segments")),
        Some(None) => return Err(OpenError::damaged(path, 0, "both copies in it are damaged")),
    };
    let mut recovery = Recovery { disk, identity, dir, live, out: Recovered::empty() };
    recovery.restore(&checkpoint, &generations).await?;
    let mut removed = false;
    for &generation in &generations {
        if generation.0 <= checkpoint.through || generation.is_sorted() {
            if !checkpoint.segments.iter().any(|s| s.generation == generation) {
                recovery.remove(generation).await?;
                removed = true;
            }
        } else if !recovery.scan_unsealed(generation).await? {
            recovery.remove(generation).await?;
            removed = true;
        }
        if !generation.is_sorted() {
            let next = if planted::is(Bug::OldSegmentUsedAgain) { generation } else { generation.next() };
            recovery.out.next_generation = recovery.out.next_generation.max(next);
        }
    }
    recovery.out.next_generation = recovery.out.next_generation.max(Generation(checkpoint.through + 1));
    let through = recovery.out.next_generation.0 - 1;
    let dead = recovery.free_dead_segments();
    if through != checkpoint.through || removed || !dead.is_empty() || !has_checkpoint {
        let dir = &recovery.dir;
        recovery
            .out
            .checkpoint(through)
            .store(disk, dir, identity.shard)
            .await
            .map_err(OpenError::io(format!("writing {}", files::checkpoint(dir))))?;
    }
    for generation in dead {
        recovery.remove(generation).await?;
    }
    Ok(recovery.out)
}

struct Recovery<'a> {
    disk: &'a DynDisk,
    identity: &'a Identity,
    dir: String,
    live: &'a HashSet<LogId>,
    out: Recovered,
}

impl Recovery<'_> {
    /// Restores what the checkpoint states, and the runs of the segments that it names.
    async fn restore(&mut self, checkpoint: &Checkpoint, present: &[Generation]) -> Result<(), OpenError> {
        self.out.next_seq = checkpoint.next_seq.max(1);
        self.out.next_sorted = checkpoint.next_sorted.max(1);
        let sorted = present.iter().filter(|g| g.is_sorted()).map(|g| g.number() as u32 + 1).max();
        self.out.next_sorted = self.out.next_sorted.max(sorted.unwrap_or(1));
        for state in checkpoint.logs.decode().into_iter().filter(|s| self.live.contains(&s.log)) {
            let mut partition = Partition::new(state.log);
            partition.start = state.start;
            partition.next = state.next;
            partition.high_watermark = state.next;
            partition.producers.restore(state.producers);
            self.out.partitions.insert(state.log, partition);
        }
        for (log, start) in &checkpoint.trims {
            if let Some(partition) = self.out.partitions.get_mut(log) {
                partition.start = partition.start.max(*start);
            }
        }
        for compacted in &checkpoint.compacted {
            if let Some(partition) = self.out.partitions.get_mut(&compacted.log) {
                partition.compacted = Some(compacted.clone());
            }
        }
        for sealed in &checkpoint.segments {
            if present.binary_search(&sealed.generation).is_err() {
                let path = files::segment(&self.dir, sealed.generation);
                let what = "the checkpoint names this segment, but it is missing";
                return Err(OpenError::damaged(path, 0, what));
            }
        }
        let (disk, dir, shard) = (self.disk, self.dir.clone(), self.identity.shard);
        let mut indexes = stream::iter(&checkpoint.segments)
            .map(|sealed| load_index(disk, files::index(&dir, sealed.generation), shard, sealed))
            .buffered(INDEXES_AT_ONCE);
        for sealed in &checkpoint.segments {
            match indexes.next().await.transpose()?.flatten() {
                Some(index) => self.add_segment(index),
                None => self.derive_index(sealed).await?,
            }
        }
        // Sorted segments come last, and hold older records. The runs are two rising sequences, which sort fast.
        for partition in self.out.partitions.values_mut() {
            partition.runs.sort_by_key(|run| run.base_offset);
        }
        Ok(())
    }

    async fn derive_index(&mut self, sealed: &Sealed) -> Result<(), OpenError> {
        let path = files::segment(&self.dir, sealed.generation);
        tracing::warn!(segment = path, "index missing or damaged: deriving it from the segment");
        let mut scanner = self.scanner(sealed.generation).await?;
        let mut scan = Scan { sealed: Sealed { data_end: BLOCK as u64, ..*sealed }, logs: BTreeMap::new() };
        scan.sealed.next_seq = sealed.first_seq;
        while scan.sealed.next_seq < sealed.next_seq {
            let (position, seq) = (scan.sealed.data_end, scan.sealed.next_seq);
            let dead = |e: &Entry| self.is_dead(sealed.generation, e.log, e.end());
            let Some((header, bytes, entries)) = scanner.commit(position, seq, dead).await? else {
                return Err(OpenError::damaged(path, position, format!("commit {seq} is invalid")));
            };
            scan.add(&header, &entries);
            drop(bytes);
        }
        scan.forget(|log, end| self.is_dead(sealed.generation, log, end));
        self.out.scanned_bytes += scan.sealed.data_end;
        self.seal(scan).await
    }

    /// Whether a batch that ends at `end` was deleted or replaced: its space may have been given back.
    fn is_dead(&self, generation: Generation, log: LogId, end: Offset) -> bool {
        let partition = self.out.partitions.get(&log);
        partition.is_none_or(|p| end <= p.start || p.is_replaced(generation, end))
    }

    /// Adds the runs of a segment. The runs of a partition are put in order afterwards.
    fn add_segment(&mut self, index: index::Index) {
        let mut segment = index.segment();
        for (log, run) in &index.runs {
            let partition = self.out.partitions.get_mut(log);
            if let Some(p) = partition.filter(|p| !p.is_replaced(run.generation, run.next_offset)) {
                p.runs.push(*run);
                segment.add(run);
            }
        }
        self.out.segments.insert(index.sealed.generation, segment);
    }

    /// Scans a segment that the checkpoint does not cover. `false`: nothing in it was ever durable.
    async fn scan_unsealed(&mut self, generation: Generation) -> Result<bool, OpenError> {
        let path = files::segment(&self.dir, generation);
        let mut scanner = self.scanner(generation).await?;
        let first_seq = self.out.next_seq;
        if scanner.header().await?.is_none() {
            return match scanner.find_commit(BLOCK as u64, |_| true).await? {
                None => Ok(false),
                Some(at) => {
                    Err(OpenError::damaged(path, 0, format!("no segment header, but a commit at {at}")))
                }
            };
        }
        let sealed = Sealed { generation, first_seq, next_seq: first_seq, data_end: BLOCK as u64 };
        let mut scan = Scan { sealed, logs: BTreeMap::new() };
        loop {
            let (position, seq) = (scan.sealed.data_end, scan.sealed.next_seq);
            let Some((header, bytes, entries)) = scanner.commit(position, seq, |_| false).await? else {
                break;
            };
            for entry in &entries {
                self.replay(entry, &bytes[entry.at as usize..][..entry.len as usize], &path, position)?;
            }
            scan.add(&header, &entries);
        }
        let (position, seq) = (scan.sealed.data_end, scan.sealed.next_seq);
        if let Some(at) = scanner
            .find_commit(position, |h| h.durable_below > seq && !planted::is(Bug::DamageTakenForEnd))
            .await?
        {
            let what = format!("commit {seq} is invalid, but the commit at {at} says that it was durable");
            return Err(OpenError::damaged(path, position, what));
        }
        self.out.scanned_bytes += position;
        self.out.next_seq = seq;
        if seq == first_seq {
            return Ok(false);
        }
        self.seal(scan).await?;
        Ok(true)
    }

    /// Applies one batch of a scanned commit to its partition.
    fn replay(&mut self, entry: &Entry, raw: &[u8], path: &str, position: u64) -> Result<(), OpenError> {
        if !self.live.contains(&entry.log) {
            return Ok(());
        }
        let partition = self.out.partitions.entry(entry.log).or_insert_with(|| Partition::new(entry.log));
        if entry.is_trim() {
            partition.start = partition.start.max(entry.base_offset);
            return Ok(());
        }
        if entry.base_offset != partition.next {
            let what = format!(
                "log {} continues at offset {} where {} comes next",
                entry.log, entry.base_offset, partition.next
            );
            return Err(OpenError::damaged(path, position, what));
        }
        if let Some(batch) = RecordBatch::peek(raw) {
            partition.producers.record(&batch, entry.base_offset, entry.base_offset);
        }
        partition.next += u64::from(entry.span);
        partition.high_watermark = partition.next;
        Ok(())
    }

    /// Writes the index of a scanned segment and adds its runs.
    async fn seal(&mut self, scan: Scan) -> Result<(), OpenError> {
        let logs: Vec<_> = scan.logs.into_iter().filter(|(log, _)| self.live.contains(log)).collect();
        let (content, index) = index::build(self.identity.shard, scan.sealed, &logs);
        let path = files::index(&self.dir, scan.sealed.generation);
        files::replace(self.disk, &self.dir, &path, content)
            .await
            .map_err(OpenError::io(format!("writing {path}")))?;
        self.add_segment(index);
        Ok(())
    }

    /// Forgets runs before the log start offsets, and segments without runs. Returns these segments.
    fn free_dead_segments(&mut self) -> Vec<Generation> {
        for partition in self.out.partitions.values_mut() {
            let gone = partition.runs.partition_point(|r| r.next_offset <= partition.start);
            for run in partition.runs.drain(..gone) {
                if let Some(segment) = self.out.segments.get_mut(&run.generation) {
                    segment.remove(&run);
                }
            }
            partition.bytes = partition.runs.iter().map(|r| u64::from(r.bytes)).sum();
        }
        let dead: Vec<_> =
            self.out.segments.values().filter(|s| s.live_runs == 0).map(|s| s.sealed.generation).collect();
        for generation in &dead {
            self.out.segments.remove(generation);
        }
        dead
    }

    async fn remove(&self, generation: Generation) -> Result<(), OpenError> {
        for path in [files::segment(&self.dir, generation), files::index(&self.dir, generation)] {
            match self.disk.remove(&path).await {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(OpenError::io(format!("removing {path}"))(e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn scanner(&self, generation: Generation) -> Result<Scanner, OpenError> {
        let path = files::segment(&self.dir, generation);
        let file = self.disk.open(&path).await.map_err(OpenError::io(format!("opening {path}")))?;
        // What a killed process wrote may be in a cache only, so it is made durable before it is believed.
        file.sync().await.map_err(OpenError::io(format!("flushing {path}")))?;
        Scanner::new(file, path, self.identity, generation).await
    }
}

/// The index of a sealed segment. `None`: it is missing or damaged.
async fn load_index(
    disk: &DynDisk,
    path: String,
    shard: ShardId,
    sealed: &Sealed,
) -> Result<Option<index::Index>, OpenError> {
    let file = match disk.open(&path).await {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(OpenError::io(format!("opening {path}")))?,
    };
    let index = index::load(&file, shard, sealed.generation)
        .await
        .map_err(OpenError::io(format!("reading {path}")))?;
    Ok(index.filter(|i| i.sealed == *sealed))
}
