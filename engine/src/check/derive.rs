//! Derives the checkpoint of a shard from its segments, when both copies of it are damaged or it is missing.
//!
//! The derived checkpoint names every whole segment, with these rules:
//!
//! * A sorted segment replaces a commit segment with the same content, from which it was made.
//! * Segments that compaction wrote replace everything before their end. No segment states where the dirty part of a log
//!   begins, so the next pass of compaction counts all of the log as dirty.
//! * What no segment states is lost: idempotent producers, log start offsets that were raised in segments that are gone, and
//!   the end of logs without records.
//!
//! Where records could be lost, no checkpoint is derived.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use crate::aligned::BLOCK;
use crate::disk::{Disk, DynDisk};
use crate::error::OpenError;
use crate::ids::{Generation, Identity, LogId, Offset};
use crate::log::checkpoint::{Checkpoint, Compacted, LogState, LogStates};
use crate::log::files;
use crate::log::format::{COMPACTED, Entry};
use crate::log::index::{self as log_index};
use crate::log::scan::Scan;
use crate::log::sealed::{Run, Sealed};

use super::segment::{read_commit, read_sealed, scanner};

/// First offset, and offset after the last, of each log in a segment.
type Ranges = BTreeMap<LogId, (Offset, Offset)>;

struct Whole {
    sealed: Sealed,
    ranges: Ranges,
    trims: BTreeMap<LogId, Offset>,
}

impl Whole {
    fn generation(&self) -> Generation {
        self.sealed.generation
    }
}

/// All whole segments.
struct Segments {
    sorted: Vec<Whole>,
    commits: Vec<Whole>,
    /// How far the logs were compacted.
    compacted: Vec<Compacted>,
}

/// Start and end of each log.
type Bounds = BTreeMap<LogId, (Offset, Offset)>;

/// The checkpoint that follows from the segments. `Err(Ok(_))`: why no checkpoint can be derived.
pub(super) async fn derive(
    disk: &DynDisk,
    identity: &Identity,
    live: &HashSet<LogId>,
) -> Result<Checkpoint, Result<String, OpenError>> {
    let dir = files::shard_dir(identity.shard);
    let names = disk.list(&dir).await.map_err(|e| Err(OpenError::io(format!("listing {dir}"))(e)))?;
    let mut generations: Vec<_> = names.iter().filter_map(|n| files::generation_of(n)).collect();
    generations.sort();
    let whole = read_segments(disk, identity, live, &generations).await?;
    check_sorted(&whole.sorted).map_err(Ok)?;
    let (segments, bounds) = choose(&whole, live).map_err(Ok)?;
    let sorted = generations.iter().filter(|g| g.is_sorted());
    let commits = generations.iter().filter(|g| !g.is_sorted());
    Ok(Checkpoint {
        through: commits.map(|g| g.0).max().unwrap_or(0),
        next_seq: whole.commits.iter().map(|w| w.sealed.next_seq).max().unwrap_or(1).max(1),
        next_sorted: sorted.map(|g| g.number() as u32 + 1).max().unwrap_or(1),
        segments,
        trims: Vec::new(),
        logs: Arc::new(states(&whole, live, &bounds)),
        compacted: whole.compacted,
    })
}

/// Reads all segments.
async fn read_segments(
    disk: &DynDisk,
    identity: &Identity,
    live: &HashSet<LogId>,
    generations: &[Generation],
) -> Result<Segments, Result<String, OpenError>> {
    let (mut sorted, mut commits): (Vec<Whole>, Vec<Whole>) = (Vec::new(), Vec::new());
    // Segments of compaction come first: the space of the batches that they replace may have been given back.
    for &generation in generations.iter().filter(|g| g.is_sorted()) {
        if by_compaction(disk, identity, generation).await.map_err(Err)? {
            let dead = |e: &Entry| !live.contains(&e.log);
            let found = sorted_segment(disk, identity, generation, dead).await.map_err(Err)?;
            sorted.extend(found.map_err(Ok)?);
        }
    }
    let compacted = compacted_logs(&sorted, live);
    let is_dead = |generation: Generation, log: LogId, end: Offset| {
        !live.contains(&log) || compacted.iter().any(|c| c.log == log && c.replaces(generation, end))
    };
    for &generation in generations {
        let dead = |e: &Entry| is_dead(generation, e.log, e.end());
        if !generation.is_sorted() {
            let before = commits.last().map(|w| w.sealed);
            let found = commit_segment(disk, identity, generation, before, dead).await.map_err(Err)?;
            commits.extend(found.map_err(Ok)?);
        } else if sorted.iter().all(|w| w.generation() != generation) {
            let found = sorted_segment(disk, identity, generation, dead).await.map_err(Err)?;
            sorted.extend(found.map_err(Ok)?);
        }
    }
    for whole in sorted.iter_mut().chain(&mut commits) {
        let generation = whole.generation();
        whole.ranges.retain(|log, (_, end)| !is_dead(generation, *log, *end));
    }
    Ok(Segments { sorted, commits, compacted })
}

/// The segments that count, and the bounds of the logs in them. `Err`: why that cannot be told.
fn choose(whole: &Segments, live: &HashSet<LogId>) -> Result<(Vec<Sealed>, Bounds), String> {
    let mut bounds = Bounds::new();
    for commit in &whole.commits {
        for (log, start) in commit.trims.iter().filter(|(log, _)| live.contains(log)) {
            let state = bounds.entry(*log).or_default();
            *state = (state.0.max(*start), state.1.max(*start));
        }
    }
    let mut segments = Vec::new();
    for commit in &whole.commits {
        if !is_replaced(commit, &whole.sorted, &bounds)? {
            segments.push(commit.sealed);
            raise(&mut bounds, &commit.ranges);
        }
    }
    for sorted in &whole.sorted {
        segments.push(sorted.sealed);
        raise(&mut bounds, &sorted.ranges);
    }
    Ok((segments, bounds))
}

/// The states of the logs.
fn states(whole: &Segments, live: &HashSet<LogId>, bounds: &Bounds) -> LogStates {
    let mut states = LogStates::default();
    for log in live.iter().copied().collect::<BTreeSet<_>>() {
        let (start, next) = bounds.get(&log).copied().unwrap_or_default();
        let segments = whole.commits.iter().chain(&whole.sorted);
        let held = segments.filter_map(|w| w.ranges.get(&log)).map(|r| r.0);
        // Compaction removes records at the front without raising the log start offset.
        let first = held.min().filter(|_| whole.compacted.iter().all(|c| c.log != log));
        let start = start.max(first.unwrap_or(start));
        states.push(&LogState { log, start, next, producers: Vec::new() });
    }
    states
}

/// How far the logs were compacted, as far as the segments of compaction tell.
fn compacted_logs(sorted: &[Whole], live: &HashSet<LogId>) -> Vec<Compacted> {
    let mut out: BTreeMap<LogId, Compacted> = BTreeMap::new();
    for whole in sorted {
        for (&log, &(_, end)) in whole.ranges.iter().filter(|(log, _)| live.contains(log)) {
            let new = Compacted { log, end: 0, clean_end: 0, clean_bytes: 0, segments: Vec::new() };
            let compacted = out.entry(log).or_insert(new);
            compacted.end = compacted.end.max(end);
            compacted.segments.push(whole.generation().number() as u32);
        }
    }
    out.into_values().collect()
}

/// Whether a sorted segment was written by compaction.
async fn by_compaction(
    disk: &DynDisk,
    identity: &Identity,
    generation: Generation,
) -> Result<bool, OpenError> {
    let mut scanner = scanner(disk, identity, generation).await?;
    Ok(scanner.head(BLOCK as u64).await?.is_some_and(|h| h.durable_below == COMPACTED))
}

/// Raises the ends of logs to what a segment holds.
fn raise(logs: &mut Bounds, ranges: &Ranges) {
    for (log, (_, end)) in ranges {
        let state = logs.entry(*log).or_default();
        state.1 = state.1.max(*end);
    }
}

fn ranges_of(scan: &Scan) -> Ranges {
    let ends = scan.logs.iter().filter_map(|(log, entries)| {
        let (first, last) = (entries.first()?, entries.last()?);
        Some((*log, (first.base_offset, last.end())))
    });
    ends.collect()
}

/// A sorted segment. Its index is written last: a segment without an index was still being written and never belonged to the
/// shard.
async fn sorted_segment(
    disk: &DynDisk,
    identity: &Identity,
    generation: Generation,
    dead: impl Fn(&Entry) -> bool,
) -> Result<Result<Option<Whole>, String>, OpenError> {
    let path = files::index(&files::shard_dir(identity.shard), generation);
    let file = match disk.open(&path).await {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Ok(None)),
        other => other.map_err(OpenError::io(format!("opening {path}")))?,
    };
    let index = log_index::load(&file, identity.shard, generation).await;
    let Some(index) = index.map_err(OpenError::io(format!("reading {path}")))? else {
        return Ok(Err(format!("{path} is damaged")));
    };
    let mut scanner = scanner(disk, identity, generation).await?;
    let seen = read_sealed(&mut scanner, &index.sealed, dead).await?;
    let there = ranges_of(&seen.scan);
    let inside = |(log, run): &(LogId, Run)| {
        there.get(log).is_some_and(|(from, to)| *from <= run.base_offset && run.next_offset <= *to)
    };
    if !seen.flaws.is_empty() || !index.runs.iter().all(inside) {
        return Ok(Err(format!("segment {generation} is damaged, or records in it were deleted")));
    }
    let ranges = index.runs.iter().map(|(log, r)| (*log, (r.base_offset, r.next_offset))).collect();
    Ok(Ok(Some(Whole { sealed: index.sealed, ranges, trims: BTreeMap::new() })))
}

/// A commit segment up to its last whole commit. `Err`: acknowledged records in the segment are damaged.
async fn commit_segment(
    disk: &DynDisk,
    identity: &Identity,
    generation: Generation,
    before: Option<Sealed>,
    dead: impl Fn(&Entry) -> bool,
) -> Result<Result<Option<Whole>, String>, OpenError> {
    let path = files::segment(&files::shard_dir(identity.shard), generation);
    let mut scanner = scanner(disk, identity, generation).await?;
    let follows = before.filter(|b| b.generation.next() == generation).map(|b| b.next_seq);
    let start = BLOCK as u64;
    if scanner.header().await?.is_none() {
        let commit = scanner.find_commit(start, |_| true).await?;
        return Ok(commit.map_or(Ok(None), |at| Err(format!("{path} has no header, but a commit at {at}"))));
    }
    let first = scanner.head(start).await?.map(|h| h.seq);
    let first_seq = follows.or(first).unwrap_or(1);
    let sealed = Sealed { generation, first_seq, next_seq: first_seq, data_end: start };
    let mut scan = Scan { sealed, logs: BTreeMap::new() };
    let mut trims: BTreeMap<LogId, Offset> = BTreeMap::new();
    loop {
        let (position, seq) = (scan.sealed.data_end, scan.sealed.next_seq);
        match read_commit(&mut scanner, position, seq, &dead).await? {
            Ok((header, entries, bad)) if bad.is_empty() => {
                for entry in entries.iter().filter(|e| e.is_trim()) {
                    let start = trims.entry(entry.log).or_default();
                    *start = entry.base_offset.max(*start);
                }
                scan.add(&header, &entries);
            }
            _ => break,
        }
    }
    let (position, seq) = (scan.sealed.data_end, scan.sealed.next_seq);
    if let Some(at) = scanner.find_commit(position, |h| h.durable_below > seq).await? {
        return Ok(Err(format!(
            "{path} is damaged at {position}, or records in it were deleted; the commit at {at} was written later"
        )));
    }
    if seq == first_seq {
        return Ok(Ok(None));
    }
    Ok(Ok(Some(Whole { sealed: scan.sealed, ranges: ranges_of(&scan), trims })))
}

/// Checks that no two sorted segments hold the same offsets of a log.
fn check_sorted(sorted: &[Whole]) -> Result<(), String> {
    let mut all: Vec<_> = sorted
        .iter()
        .flat_map(|w| w.ranges.iter().map(|(log, range)| (*log, *range, w.sealed.generation)))
        .collect();
    all.sort();
    for pair in all.windows(2) {
        if pair[0].0 == pair[1].0 && pair[1].1.0 < pair[0].1.1 {
            return Err(format!("segments {} and {} hold the same offsets", pair[0].2, pair[1].2));
        }
    }
    Ok(())
}

/// Whether sorted segments hold everything that a commit segment holds. `Err`: they hold only a part.
fn is_replaced(commit: &Whole, sorted: &[Whole], starts: &Bounds) -> Result<bool, String> {
    let (mut covered, mut bare) = (false, false);
    for (log, (from, to)) in &commit.ranges {
        let from = starts.get(log).map_or(*from, |s| s.0.max(*from));
        if from >= *to {
            continue;
        }
        let overlaps = |w: &&Whole| w.ranges.get(log).is_some_and(|(f, t)| *f < *to && from < *t);
        let by: Vec<_> = sorted.iter().filter(overlaps).filter_map(|w| w.ranges.get(log)).collect();
        let ends = by.iter().map(|r| r.0).min().is_some_and(|f| f <= from)
            && by.iter().map(|r| r.1).max().is_some_and(|t| t >= *to);
        match (by.is_empty(), ends) {
            (true, _) => bare = true,
            (false, true) => covered = true,
            (false, false) => (covered, bare) = (true, true),
        }
    }
    if covered && bare {
        let generation = commit.sealed.generation;
        return Err(format!("sorted segments hold a part of what segment {generation} holds"));
    }
    Ok(covered)
}
